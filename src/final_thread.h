/* final_thread.h -- the thread that calls finalizers and cleanups.
 *
 * Thread safety: any thread; final_thread_start and final_thread_poll one that holds no lock. */
#ifndef GC_FINAL_THREAD_H
#define GC_FINAL_THREAD_H

#include "base/base.h"

/* It is there from now on, if something may ever be called in this process and libc has a thread
 * for us. A call of the program's into this library. */
void final_thread_start(void);
/* Something is to be called. Any thread, also the collector's, the world stopped or not. */
void final_thread_wake(void);
/* If that could not be told to anybody: makes it. Before an allocation; harmless at any time. */
void final_thread_poll(void);
/* The program calls, and there is no such thread; or no longer. Returns what was in force. */
bool final_thread_by_hand(bool on);
/* Calls all that is due, on the calling thread, which holds no lock. How many were called. */
unsigned final_thread_call_all(void);
/* The calling thread is it. */
bool final_thread_is_here(void);
/* It calls, and is about to end: what it called has left by pthread_exit, or it is in a child that
 * one has forked. */
void final_thread_ended(void);
/* The main thread, which calls, is about to end, and the process goes on without it. */
void final_thread_main_ended(void);
void final_thread_after_fork(void);

#endif
