/* gcmalloc.h -- the collector, for programs that know it is there.
 *
 * All of it is optional. A program links against nothing, runs with or without the library, and may
 * call any of these functions either way. Without the library (gcmalloc_active() is 0) each does
 * the sensible thing that stands in its comment, or fails with ENOSYS. C11 and C++11; GNU C.
 *
 * Words. A *block* is what malloc, or any of its family, has returned and free has not taken. It is
 * *reachable* if the program could still find it: memory that the program can write holds its
 * address, or an address inside it. Sizes are in bytes, times in nanoseconds.
 *
 * Errors. Functions that return int return 0, or -1 with errno: EINVAL (NULL or not the start of a
 * block of this library's; a value out of range), ENOMEM, ENOSYS (no library, mode=off, or no
 * memory for a collector), EAGAIN (it cannot be done now: gcmalloc_reason() says why, or the call
 * comes from a signal handler that has interrupted malloc). No function aborts for a bad argument,
 * and none changes errno if it succeeds.
 *
 * Where they may be called. Any thread, any time, unless the comment says otherwise; also in fork's
 * child. Not in a signal handler, except gcmalloc_active, gcmalloc_read_stats, gcmalloc_disable,
 * gcmalloc_enable and gcmalloc_collect_soon. Finalizers and cleanups may call all of them but
 * gcmalloc_collect, which returns -1 with EDEADLK there.
 *
 * How it works. Each function here is an inline one that looks whether the library has one of that
 * name, by way of the global offset table: a weak symbol alone would be found missing once and for
 * all by the linker of a program that is not position-independent. */
#ifndef GCMALLOC_H
#define GCMALLOC_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GCMALLOC_VERSION 1

/* GCMALLOC_FUNCTION(type, name, (parameters), (arguments), otherwise): `otherwise` is what is done
 * without the library. GCMALLOC_ACTION: the same for a function that returns nothing. */
#ifdef GCMALLOC_IMPLEMENTATION
#define GCMALLOC_FUNCTION(type, name, parameters, arguments, otherwise) \
    __attribute__((visibility("default"))) type name parameters;
#define GCMALLOC_ACTION(name, parameters, arguments, otherwise) \
    __attribute__((visibility("default"))) void name parameters;
#else
#define GCMALLOC_FIND(name, found) \
    __asm__(".weak " #name "\n\tmovq " #name "@GOTPCREL(%%rip), %0" : "=r"(found))
#define GCMALLOC_FUNCTION(type, name, parameters, arguments, otherwise) \
    static __inline__ type name parameters __asm__("gcmalloc_inline_" #name); \
    static __inline__ type name parameters \
    { \
        type(*found) parameters; \
        GCMALLOC_FIND(name, found); \
        if (found) \
            return found arguments; \
        otherwise; \
    }
#define GCMALLOC_ACTION(name, parameters, arguments, otherwise) \
    static __inline__ void name parameters __asm__("gcmalloc_inline_" #name); \
    static __inline__ void name parameters \
    { \
        void(*found) parameters; \
        GCMALLOC_FIND(name, found); \
        if (found) { \
            found arguments; \
            return; \
        } \
        otherwise; \
    }
#endif
#define GCMALLOC_ABSENT return (errno = ENOSYS, -1)

/* ---- 1. statistics --------------------------------------------------------------------------- */

enum { GCMALLOC_PAUSES = 256, GCMALLOC_SIZES = 96 };

/* Go's MemStats (runtime.MemStats, whose words are taken where the thing is the same), and what is
 * ours. New fields come at the end.
 *
 * Exact, for a program of one thread, and for what other threads did before they came to rest:
 * mallocs, frees, by_size, and what is made of them: alloc, total_alloc, heap_alloc, heap_objects,
 * cached. While other threads allocate, these may miss some of their calls, and the blocks that are
 * on their way between a thread's cache and the heap; they catch up when the thread comes to rest.
 * In a sandbox (seccomp) the other threads' caches are not looked at: their frees count when they
 * leave the cache. Counters never fall. Sizes are those of the classes (malloc_usable_size, and the
 * byte that `past_end` costs), not what was asked for. Not counted: blocks of libc's own malloc,
 * which serves where the heap is full. */
struct gcmalloc_stats {
    size_t size;              /* in: sizeof(struct gcmalloc_stats) of the caller; out: bytes that
                               * were filled */
    uint64_t alloc;           /* bytes in live blocks */
    uint64_t total_alloc;     /* bytes ever allocated; growth of large blocks in place included */
    uint64_t sys;             /* bytes of memory that the kernel has not got back, at most */
    uint64_t mallocs, frees;  /* blocks ever allocated; freed or reclaimed. A block that realloc has
                               * moved is freed, and another one allocated */
    /* heap_alloc: as alloc; heap_sys: address space used so far; heap_idle: of it, what is free, in
     * runs of 64 KiB; heap_inuse: the rest; heap_released: of heap_idle, what the kernel has back;
     * heap_objects: live blocks. */
    uint64_t heap_alloc, heap_sys, heap_idle, heap_inuse, heap_released, heap_objects;
    uint64_t stack_inuse;     /* bytes of stacks that the last cycle read */
    uint64_t mcache_inuse;    /* bytes of thread caches' tables */
    uint64_t buck_hash_sys;   /* bytes of recorded stacks */
    uint64_t gc_sys;          /* bytes of the library's own data */
    uint64_t next_gc;         /* bytes of heap at which the next cycle should end; 0: none yet */
    uint64_t last_gc;         /* when the last one ended, ns since 1970; 0: none yet */
    uint64_t pause_total_ns;
    uint64_t pause_ns[GCMALLOC_PAUSES];   /* ring: the pauses of cycle n at [(n + 255) % 256] */
    uint64_t pause_end[GCMALLOC_PAUSES];  /* when the cycle ended, ns since 1970 */
    uint32_t num_gc, num_forced_gc;
    double gc_cpu_fraction;   /* of the processors' time since the start */
    uint32_t enable_gc;       /* 0: mode=off, or it cannot run, or it is disabled */
    uint32_t debug_gc;        /* gctrace */
    struct gcmalloc_by_size {
        uint32_t size;        /* of the blocks of this class; 0, in the first row: of no class, the
                               * large ones and the guarded ones (guard=N). Rows behind the last
                               * class are 0 */
        uint64_t mallocs, frees;
    } by_size[GCMALLOC_SIZES];
    /* Not in Go. */
    uint64_t live;            /* bytes that the last mark reached */
    uint64_t unreached_blocks, unreached_bytes;    /* by the last mark */
    uint64_t reclaimed_blocks, reclaimed_bytes;    /* ever */
    uint64_t contradictions;  /* blocks used though no pointer to them had been found */
    uint64_t pinned, ignored, finalizers, weak_references; /* how many there are */
    uint32_t threads;
    uint32_t probation_needed, probation_passed;
    uint32_t reclaiming;      /* 1: leaks are reclaimed */
    uint64_t cached;          /* bytes of free blocks in caches: alloc + cached is what mallinfo2
                               * calls uordblks + hblkhd */
    uint64_t finalizers_in_cycles; /* of `finalizers`, as far as is known: see section 3 */
};
/* Fills *stats up to stats->size. Some microseconds, and one for each thread; stops nothing, but
 * waits while the world is stopped. EINVAL: no stats, or a size below that of its first field.
 * EAGAIN: a signal handler has interrupted malloc or this function. Without the library: ENOSYS,
 * nothing is filled. */
GCMALLOC_FUNCTION(int, gcmalloc_read_stats, (struct gcmalloc_stats *stats), (stats),
                  (void)stats; GCMALLOC_ABSENT)

/* ---- 2. control ------------------------------------------------------------------------------ */

/* 1: the library is there and collects. 0 also while it cannot: mode=off, in a sandbox. */
GCMALLOC_FUNCTION(int, gcmalloc_active, (void), (), return 0)
/* Why nothing is collected or reclaimed now, in words; NULL: it is. A static text. */
GCMALLOC_FUNCTION(const char *, gcmalloc_reason, (void), (), return "libgcmalloc is not loaded")
/* A cycle from beginning to end, swept (Go's runtime.GC). Returns when it is over: one that was
 * under way is waited for, and another one begun. EAGAIN: none could be finished. */
GCMALLOC_FUNCTION(int, gcmalloc_collect, (void), (), GCMALLOC_ABSENT)
/* One begins soon, on the collector's thread. */
GCMALLOC_FUNCTION(int, gcmalloc_collect_soon, (void), (), GCMALLOC_ABSENT)
/* Go's debug.SetGCPercent and SetMemoryLimit: a new value, and the old one is returned. percent
 * below 0: never by growth, -1 is returned for it; limit 0: none of one's own. What is above the
 * option's range becomes its end. They count from now on; a cycle under way is waited for. Without
 * the library: 100, and 0. */
GCMALLOC_FUNCTION(int64_t, gcmalloc_set_percent, (int64_t percent), (percent),
                  return ((void)percent, 100))
GCMALLOC_FUNCTION(uint64_t, gcmalloc_set_limit, (uint64_t bytes), (bytes), return ((void)bytes, 0))
/* Go's debug.FreeOSMemory: a cycle, and everything free goes back to the kernel at once, but what
 * lies in threads' caches. -1: no cycle could be run; what is free has gone back all the same. */
GCMALLOC_FUNCTION(int, gcmalloc_give_back, (void), (), GCMALLOC_ABSENT)
/* No cycle begins between the two, on whatever thread, also none that is asked for (EAGAIN), but
 * the one at exit, which is the leak report; they nest, and an enable too many does nothing. A
 * cycle under way goes on. fork's child has what its parent had. */
GCMALLOC_ACTION(gcmalloc_disable, (void), (), (void)0)
GCMALLOC_ACTION(gcmalloc_enable, (void), (), (void)0)
/* An option of GCMALLOC by its name. get: its value as text into buffer[room], cut if need be and
 * ended with 0; returns the length that it has, or -1 (EINVAL: there is no such option). set: the
 * same text as in GCMALLOC; only options that may change at run time (EPERM: not this one):
 * percent, limit, confirm, gctrace, max_leaks, suppressions; and report, profile, exitcode, if one
 * of the three was on when the program began: else no leaks are recorded. */
GCMALLOC_FUNCTION(long, gcmalloc_get_option, (const char *name, char *buffer, size_t room),
                  (name, buffer, room), (void)name;
                  (void)buffer; (void)room; GCMALLOC_ABSENT)
GCMALLOC_FUNCTION(int, gcmalloc_set_option, (const char *name, const char *value), (name, value),
                  (void)name; (void)value; GCMALLOC_ABSENT)
/* A leak report, or a profile for the gcmalloc command, to a file, now, after a cycle. The path is
 * as in GCMALLOC: %p is the process id; for a report also "stderr". The collector's thread writes
 * it. EIO: it could not be written, which is also said on standard error; EAGAIN: there can be no
 * such thread. Stacks are there as far as they are recorded (see gcmalloc_set_option). */
GCMALLOC_FUNCTION(int, gcmalloc_report, (const char *path), (path), (void)path; GCMALLOC_ABSENT)
GCMALLOC_FUNCTION(int, gcmalloc_profile, (const char *path), (path), (void)path; GCMALLOC_ABSENT)

/* ---- 3. finalizers, cleanups, weak references ------------------------------------------------ */

/* Go's runtime.SetFinalizer. When the block is no longer reachable, finalizer(block, data) is
 * called on a thread of its own ("gcmalloc-final"), one after the other; the block lives again for
 * that call, and is a block like others afterwards, without a finalizer. If A points to B, A's is
 * called first, and B's only when A is gone. A cycle of blocks with finalizers, or a block with one
 * that points to itself, is never collected: finalizers_in_cycles counts those, and at exit they
 * are leaks. None is called unless blocks are reclaimed at all (mode=collect, probation passed, no
 * interlock; not those that guard=N has chosen), nor before `confirm` cycles in a row found the
 * block unreachable; until then it counts as reachable. None is called at exit, at the latest when
 * exit() comes to what was set by atexit() before the first of these calls. NULL: takes it off. One
 * per block: another call replaces it. `data` is kept reachable until the call. free() and
 * realloc() of the block take it off, too, wherever the block then is.
 * A finalizer that does not return holds up all others; what it forks ends when it returns; it may
 * leave by pthread_exit. The thread is made by the first call, and anew in fork's child; a process
 * that must have one thread only (unshare, setns) should not call this before. Without the library:
 * -1, ENOSYS; it is never called. */
typedef void gcmalloc_finalizer(void *block, void *data);
GCMALLOC_FUNCTION(int, gcmalloc_set_finalizer,
                  (void *block, gcmalloc_finalizer *finalizer, void *data),
                  (block, finalizer, data), (void)block;
                  (void)finalizer; (void)data; GCMALLOC_ABSENT)

/* The same, and another rule for when it is called (Boehm's kinds of finalizers). ORDERED: as
 * above. IGNORE_SELF: pointers of the block to itself do not count (in one of up to 64 KiB).
 * NO_ORDER: it holds nothing back, so that all of a ring are called, in some order; what an ORDERED
 * one holds still waits for that. LAST: as ORDERED, but never with, or before, one of NO_ORDER. */
enum gcmalloc_order {
    GCMALLOC_ORDERED,
    GCMALLOC_IGNORE_SELF,
    GCMALLOC_NO_ORDER,
    GCMALLOC_LAST
};
GCMALLOC_FUNCTION(int, gcmalloc_set_finalizer_as,
                  (void *block, gcmalloc_finalizer *finalizer, void *data,
                   enum gcmalloc_order order),
                  (block, finalizer, data, order), (void)block;
                  (void)finalizer; (void)data; (void)order; GCMALLOC_ABSENT)
/* What is set, into *finalizer and *data. ENOENT: none, or its call is due already. */
GCMALLOC_FUNCTION(int, gcmalloc_get_finalizer,
                  (void *block, gcmalloc_finalizer **finalizer, void **data),
                  (block, finalizer, data), (void)block;
                  (void)finalizer; (void)data; GCMALLOC_ABSENT)
/* on: from now on no thread of the library's calls finalizers and cleanups, and none is made for
 * that; the program does, by gcmalloc_call_finalizers, on whatever thread, one after the other.
 * Returns how many were called. gcmalloc_finalizers_due: how many wait; some may have been taken
 * off meanwhile. Without the library: 0, all three. by_hand returns what was in force. */
GCMALLOC_FUNCTION(int, gcmalloc_finalizers_by_hand, (int on), (on), return ((void)on, 0))
GCMALLOC_FUNCTION(unsigned, gcmalloc_finalizers_due, (void), (), return 0)
GCMALLOC_FUNCTION(unsigned, gcmalloc_call_finalizers, (void), (), return 0)

/* Go's runtime.AddCleanup: cleanup(data) is called, on the same thread, after the block was
 * reclaimed; it does not bring the block back. Any number per block, in no order. If `data` holds
 * the block, that is for ever. Returns a number, or 0 with errno; remove: 0 if it had not run, and
 * never will; ENOENT: it has, or there is none. free() and realloc() of the block take them off. */
typedef void gcmalloc_cleanup(void *data);
GCMALLOC_FUNCTION(uint64_t, gcmalloc_add_cleanup,
                  (void *block, gcmalloc_cleanup *cleanup, void *data), (block, cleanup, data),
                  (void)block;
                  (void)cleanup; (void)data; return (errno = ENOSYS, (uint64_t)0))
GCMALLOC_FUNCTION(int, gcmalloc_remove_cleanup, (uint64_t cleanup), (cleanup), (void)cleanup;
                  GCMALLOC_ABSENT)

/* A reference that does not keep its block: get() returns the block, or NULL once it was found
 * unreachable (before its finalizer is called, and not before one would be), or was given to free()
 * or realloc(). It stays valid until drop(), and is not itself collected. new: NULL with errno. Any
 * number per block. get() may wait, some ms at most as a rule: while a cycle decides about the
 * block. With mode=off only free() and realloc() are seen. Without the library it keeps nothing
 * either, and get() returns what was put in: free() is not seen there. */
typedef struct gcmalloc_weak gcmalloc_weak;
GCMALLOC_FUNCTION(gcmalloc_weak *, gcmalloc_weak_new, (void *block), (block),
                  return ((void)(block == NULL ? errno = EINVAL : 0), (gcmalloc_weak *)block))
GCMALLOC_FUNCTION(void *, gcmalloc_weak_get, (gcmalloc_weak *weak), (weak), return (void *)weak)
GCMALLOC_ACTION(gcmalloc_weak_drop, (gcmalloc_weak *weak), (weak), (void)weak)
/* One that outlives the block's finalizer (C#'s with trackResurrection): get() returns the block
 * until it is found unreachable, and no finalizer will see it any more. */
GCMALLOC_FUNCTION(gcmalloc_weak *, gcmalloc_weak_new_long, (void *block), (block),
                  return ((void)(block == NULL ? errno = EINVAL : 0), (gcmalloc_weak *)block))
/* Between the two no weak reference is cleared by a cycle, and no finalizer becomes due: for a
 * program that keeps addresses where no pointer is looked for, and a weak reference for each. They
 * nest, per thread; a release too many does nothing. hold may wait as get() does, and returns how
 * many times cycles have cleared a block's weak references until now. */
GCMALLOC_FUNCTION(uint64_t, gcmalloc_weak_hold, (void), (), return 0)
GCMALLOC_ACTION(gcmalloc_weak_release, (void), (), (void)0)

/* ---- 4. roots -------------------------------------------------------------------------------- */

/* [start, start + size) is searched for pointers though the collector would not: shared mappings
 * of files, device memory (as far as the kernel lets it be read; what is not mapped is passed
 * over). All of it is read while the world is stopped, at the speed of memcpy. Or is not, though
 * it would: memory that holds none, from the next collection on; blocks are not meant
 * (gcmalloc_alloc_leaf). What is both is searched. 512 of each kind; they stay when the memory is
 * unmapped. -1 with EEXIST: it overlaps one that is registered; ENOENT: it is not; EINVAL: NULL,
 * no bytes, or beyond the end of memory. Without the library, or with mode=off: 0. */
GCMALLOC_FUNCTION(int, gcmalloc_add_roots, (const void *start, size_t size), (start, size),
                  (void)start; (void)size; return 0)
GCMALLOC_FUNCTION(int, gcmalloc_remove_roots, (const void *start, size_t size), (start, size),
                  (void)start; (void)size; return 0)
GCMALLOC_FUNCTION(int, gcmalloc_exclude, (const void *start, size_t size), (start, size),
                  (void)start; (void)size; return 0)
GCMALLOC_FUNCTION(int, gcmalloc_include, (const void *start, size_t size), (start, size),
                  (void)start; (void)size; return 0)
/* The block is reachable until as many unpins: for what only hardware, another process, or a hidden
 * pointer refers to. free() ends it, and so does a realloc that moves the block. Interior pointers
 * are EINVAL, and so is an unpin too many. Without the library, or with mode=off: 0. */
GCMALLOC_FUNCTION(int, gcmalloc_pin, (void *block), (block), (void)block; return 0)
GCMALLOC_FUNCTION(int, gcmalloc_unpin, (void *block), (block), (void)block; return 0)
/* Neither it nor what only it holds is ever reported, or reclaimed: a leak on purpose
 * (LeakSanitizer's __lsan_ignore_object); in the figures it counts as reachable. free() ends it.
 * Without the library, or with mode=off: 0. */
GCMALLOC_FUNCTION(int, gcmalloc_ignore, (void *block), (block), (void)block; return 0)
/* malloc of memory in which no pointer is looked for (GC_malloc_atomic): text, pixels, numbers.
 * free, realloc (which keeps that) and malloc_usable_size as ever. Small ones take a lock, and some
 * 40 ns more than malloc. Without the library: malloc. */
GCMALLOC_FUNCTION(void *, gcmalloc_alloc_leaf, (size_t size), (size), return malloc(size))
/* The block that holds the address: its start, and its size (malloc_usable_size) into *size unless
 * that is NULL. NULL: there is none that is in use; also for libc's own blocks, and without the
 * library. To ask is to use: the block counts as reachable now, and one that a cycle had found
 * unreachable as a contradiction. */
GCMALLOC_FUNCTION(void *, gcmalloc_block_of, (const void *address, size_t *size), (address, size),
                  (void)address; (void)size; return NULL)
/* A path from a root to the block, root first, one line of text each, into buffer[room]: "static
 * data of FILE+OFFSET", "stack of thread TID", "block of N bytes at ADDRESS allocated from …".
 * Returns the length of the whole text; 0: it is not reachable; -1. What the calling thread's own
 * stack holds is named only if nothing else does. Stops the world for as long as it takes: for
 * debugging. */
GCMALLOC_FUNCTION(long, gcmalloc_why_alive, (const void *block, char *buffer, size_t room),
                  (block, buffer, room),
                  (void)block; (void)buffer; (void)room; GCMALLOC_ABSENT)

/* ---- 5. object pools ------------------------------------------------------------------------- */

/* Go's sync.Pool: objects that cost something to make, kept for reuse until the collector empties
 * the pool: what was not used between two cycles goes (drop(object, data), or free if that is
 * NULL), on the thread that calls get, put or free next. get: an object, or make(data), or NULL.
 * Lock-free on the calling thread's own; else from another thread's. An object in the pool is
 * reachable. free drops what is in it; nobody may use the pool any more, or be at it. make and
 * drop may use it. NULL is no object, and no pool: put and free do nothing, get returns NULL.
 * Without the library it is a list behind a lock, which is never emptied. new: NULL with ENOMEM.
 * */
typedef struct gcmalloc_pool gcmalloc_pool;

#ifndef GCMALLOC_IMPLEMENTATION
/* Without the library. */
struct gcmalloc__plain_pool {
    void *(*make)(void *data);
    void (*drop)(void *object, void *data);
    void *data;
    void **objects;
    size_t count, room;
    char lock;
};

static inline gcmalloc_pool *gcmalloc__plain_new(void *(*make)(void *data),
                                                 void (*drop)(void *object, void *data), void *data)
{
    struct gcmalloc__plain_pool *p = (struct gcmalloc__plain_pool *)calloc(1, sizeof *p);
    if (p) {
        p->make = make;
        p->drop = drop;
        p->data = data;
    }
    return (gcmalloc_pool *)p;
}

static inline void gcmalloc__plain_drop(struct gcmalloc__plain_pool *p, void *object)
{
    if (p->drop)
        p->drop(object, p->data);
    else
        free(object);
}

static inline void *gcmalloc__plain_get(struct gcmalloc__plain_pool *p)
{
    void *object = NULL;
    if (!p)
        return NULL;
    while (__atomic_test_and_set(&p->lock, __ATOMIC_ACQUIRE))
        continue;
    if (p->count != 0)
        object = p->objects[--p->count];
    __atomic_clear(&p->lock, __ATOMIC_RELEASE);
    return !object && p->make ? p->make(p->data) : object;
}

static inline void gcmalloc__plain_put(struct gcmalloc__plain_pool *p, void *object)
{
    if (!p || !object)
        return;
    while (__atomic_test_and_set(&p->lock, __ATOMIC_ACQUIRE))
        continue;
    if (p->count == p->room) {
        size_t room = p->room ? 2 * p->room : 16;
        void **more = (void **)realloc(p->objects, room * sizeof *more);
        p->objects = more ? more : p->objects;
        p->room = more ? room : p->room;
    }
    if (p->count < p->room) {
        p->objects[p->count++] = object;
        object = NULL;
    }
    __atomic_clear(&p->lock, __ATOMIC_RELEASE);
    if (object)
        gcmalloc__plain_drop(p, object);
}

static inline void gcmalloc__plain_free(struct gcmalloc__plain_pool *p)
{
    if (!p)
        return;
    while (p->count != 0)
        gcmalloc__plain_drop(p, p->objects[--p->count]);
    free(p->objects);
    free(p);
}
#endif

GCMALLOC_FUNCTION(gcmalloc_pool *, gcmalloc_pool_new,
                  (void *(*make)(void *data), void (*drop)(void *object, void *data), void *data),
                  (make, drop, data), return gcmalloc__plain_new(make, drop, data))
GCMALLOC_FUNCTION(void *, gcmalloc_pool_get, (gcmalloc_pool *pool), (pool),
                  return gcmalloc__plain_get((struct gcmalloc__plain_pool *)pool))
GCMALLOC_ACTION(gcmalloc_pool_put, (gcmalloc_pool *pool, void *object), (pool, object),
                   gcmalloc__plain_put((struct gcmalloc__plain_pool *)pool, object))
GCMALLOC_ACTION(gcmalloc_pool_free, (gcmalloc_pool *pool), (pool),
                   gcmalloc__plain_free((struct gcmalloc__plain_pool *)pool))

#ifdef __cplusplus
}
#endif

#endif
