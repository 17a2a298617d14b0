/* crew.c -- see crew.h. Calls are made as the exported functions make them: the inline fast path
 * first, then the slow one. */
#include "crew.h"

#include "mutator/alloc.h"
#include "mutator/thread.h"
#include "mutator/thread_cache.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

static struct member {
    pthread_t id;
    sem_t go, done;
    struct call *call;
    bool started;
} members[CREW];

static void *allocate(size_t size)
{
    size_t padded = size + hot.pad;
    void *p = padded <= SIZE_CLASS_MAX ? cache_pop(size_class_of(padded)) : NULL;
    return p != NULL ? p : alloc_malloc(size);
}

static void *allocate_zeroed(size_t size)
{
    size_t padded = size + hot.pad;
    void *p = padded <= SIZE_CLASS_MAX ? cache_pop(size_class_of(padded)) : NULL;
    return p != NULL ? memset(p, 0, size) : alloc_calloc(1, size);
}

static void release(void *p)
{
    if (!cache_push(p))
        alloc_free(p);
}

static void attach(void)
{
    thread_detach();
    if (!thread_attach((uintptr_t)__builtin_frame_address(0)))
        abort();
}

static void burst_make(struct call *c)
{
    for (size_t i = 0; i < c->count; i++)
        c->burst[i] = allocate(c->size);
}

static void burst_drop(struct call *c)
{
    for (size_t i = 0; i < c->count; i++)
        release(c->burst[c->backwards ? c->count - 1 - i : i]);
}

static void perform(struct call *c)
{
    switch (c->kind) {
    case CALL_MALLOC:
        c->result = allocate(c->size);
        break;
    case CALL_CALLOC:
        c->result = allocate_zeroed(c->size);
        break;
    case CALL_ALIGNED:
        c->result = alloc_aligned(c->align, c->size);
        break;
    case CALL_REALLOC:
        c->result = alloc_realloc(c->p, c->size);
        break;
    case CALL_FREE:
        release(c->p);
        break;
    case CALL_USABLE:
        c->usable = alloc_usable_size(c->p);
        break;
    case CALL_ATTACH:
        attach();
        break;
    case CALL_DETACH:
        thread_detach();
        break;
    case CALL_BURST_MAKE:
        burst_make(c);
        break;
    case CALL_BURST_DROP:
        burst_drop(c);
    }
    c->attached = thread_cache.state == CACHE_ATTACHED;
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    for (;;) {
        while (sem_wait(&m->go) != 0)
            continue;
        perform(m->call);
        sem_post(&m->done);
    }
    return NULL;
}

static void member_start(struct member *m)
{
    if (sem_init(&m->go, 0, 0) != 0 || sem_init(&m->done, 0, 0) != 0 ||
        pthread_create(&m->id, NULL, member_main, m) != 0)
        abort();
    m->started = true;
}

void crew_call(unsigned member, struct call *call)
{
    struct member *m = &members[member];
    if (member == 0) {
        perform(call);
        return;
    }
    if (!m->started)
        member_start(m);
    m->call = call;
    sem_post(&m->go);
    while (sem_wait(&m->done) != 0)
        continue;
}
