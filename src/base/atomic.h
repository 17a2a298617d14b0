/* atomic.h -- the few orders this code uses, by name, so that each use says what it relies on. */
#ifndef GC_ATOMIC_H
#define GC_ATOMIC_H

#include <stdatomic.h>

#define relaxed_load(p) atomic_load_explicit((p), memory_order_relaxed)
#define relaxed_store(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define relaxed_add(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define acquire_load(p) atomic_load_explicit((p), memory_order_acquire)
#define release_store(p, v) atomic_store_explicit((p), (v), memory_order_release)

/* Keeps the compiler (not the processor) from moving memory accesses across: enough against a
 * signal handler on the same thread. */
#define compiler_barrier() atomic_signal_fence(memory_order_seq_cst)

/* A plain field that another thread may be changing: read once, and whole. */
#define once(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

#endif
