/* gc_pthread_redirects.h -- threads by the names that programs for Boehm's collector give them. The
 * library knows every thread by itself: they are libc's. */
#ifndef GC_PTHREAD_REDIRECTS_H
#define GC_PTHREAD_REDIRECTS_H

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#ifdef __cplusplus
extern "C" {
#endif

extern int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                             void *(*call)(void *), void *data);
extern int GC_pthread_join(pthread_t thread, void **result);
extern int GC_pthread_detach(pthread_t thread);
extern int GC_pthread_cancel(pthread_t thread);
extern void GC_pthread_exit(void *result) __attribute__((__noreturn__));
extern int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
extern void *GC_dlopen(const char *path, int mode);

#ifdef __cplusplus
}
#endif

#endif
