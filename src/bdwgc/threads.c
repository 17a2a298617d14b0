/* threads.c -- gc.h: threads. All of them are known to the library by themselves. */
#include "bdwgc/bdwgc.h"
#include "bdwgc/gc_mark.h"

#include <errno.h>

/* The thread has said so itself, and not taken it back. */
static __thread bool registered;
static int suspend_signal = -1, restart_signal = -1;

BDWGC_EXPORT void *GC_do_blocking(GC_fn_type call, void *data)
{
    return call(data);
}

BDWGC_EXPORT void *GC_call_with_gc_active(GC_fn_type call, void *data)
{
    return call(data);
}

BDWGC_EXPORT void *GC_call_with_stack_base(GC_stack_base_func call, void *data)
{
    struct GC_stack_base base = {__builtin_frame_address(0)};
    return call(&base, data);
}

BDWGC_EXPORT int GC_get_stack_base(struct GC_stack_base *base)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return GC_UNIMPLEMENTED;
    bool known = pthread_attr_getstack(&attributes, &low, &size) == 0;
    pthread_attr_destroy(&attributes);
    if (known)
        base->mem_base = (char *)low + size;
    return known ? GC_SUCCESS : GC_UNIMPLEMENTED;
}

/* A handle that means the calling thread. */
BDWGC_EXPORT void *GC_get_my_stackbottom(struct GC_stack_base *base)
{
    GC_get_stack_base(base);
    return (void *)&registered;
}

BDWGC_EXPORT void GC_set_stackbottom(void *thread, const struct GC_stack_base *base)
{
    (void)thread;
    (void)base;
}

BDWGC_EXPORT int GC_register_my_thread(const struct GC_stack_base *base)
{
    (void)base;
    bool before = registered;
    registered = true;
    return before ? GC_DUPLICATE : GC_SUCCESS;
}

BDWGC_EXPORT int GC_unregister_my_thread(void)
{
    registered = false;
    return GC_SUCCESS;
}

BDWGC_EXPORT int GC_thread_is_registered(void)
{
    return 1;
}

BDWGC_EXPORT void GC_allow_register_threads(void)
{
    bdwgc_start();
}

BDWGC_EXPORT void GC_register_altstack(void *stack, GC_word size, void *alternate,
                                       GC_word alternate_size)
{
    (void)stack;
    (void)size;
    (void)alternate;
    (void)alternate_size;
}

BDWGC_EXPORT void *GC_clear_stack(void *value)
{
    return value;
}

#define NOTHING(name) \
    BDWGC_EXPORT void name(void) \
    { \
    }
NOTHING(GC_start_mark_threads)
NOTHING(GC_atfork_prepare)
NOTHING(GC_atfork_parent)
NOTHING(GC_atfork_child)

BDWGC_EXPORT int GC_get_parallel(void)
{
    return 0;
}

BDWGC_EXPORT void GC_set_markers_count(unsigned count)
{
    (void)count;
}

BDWGC_EXPORT void GC_set_handle_fork(int value)
{
    (void)value;
}

BDWGC_EXPORT void GC_set_suspend_signal(int number)
{
    suspend_signal = number;
}

BDWGC_EXPORT int GC_get_suspend_signal(void)
{
    return suspend_signal;
}

BDWGC_EXPORT void GC_set_thr_restart_signal(int number)
{
    restart_signal = number;
}

BDWGC_EXPORT int GC_get_thr_restart_signal(void)
{
    return restart_signal;
}

/* ---- libc's ---- */

BDWGC_EXPORT int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                   void *(*call)(void *), void *data)
{
    return pthread_create(thread, attributes, call, data);
}

BDWGC_EXPORT int GC_pthread_join(pthread_t thread, void **result)
{
    return pthread_join(thread, result);
}

BDWGC_EXPORT int GC_pthread_detach(pthread_t thread)
{
    return pthread_detach(thread);
}

BDWGC_EXPORT int GC_pthread_cancel(pthread_t thread)
{
    return pthread_cancel(thread);
}

BDWGC_EXPORT void GC_pthread_exit(void *result)
{
    pthread_exit(result);
}

BDWGC_EXPORT int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return pthread_sigmask(how, set, old);
}

BDWGC_EXPORT void *GC_dlopen(const char *path, int mode)
{
    return dlopen(path, mode);
}
