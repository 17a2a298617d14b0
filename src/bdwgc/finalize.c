/* finalize.c -- gc.h: finalizers and disappearing links.
 *
 * What is registered for a block is one object: its finalizer, and the links that are cleared with
 * it. The block has one finalizer of gcmalloc.h's, `due`, whose data the object is; if it has only
 * links, one of no order, that holds nothing back. Finalizers are called by hand: at GC_malloc and
 * the like, as Boehm's collector does.
 *
 *   .inv.before    When `due` is called for a block it is still there, and is so until the next
 *                  cycle: its links are cleared before it is reclaimed. Who has read a link before
 *                  that, without the lock, has a block that is alive.
 *   .inv.alive     A link is written to only if the block that it lies in is alive, by a weak
 *                  reference to that which outlives finalizers; or if it lies in no block.
 *   .inv.locked    Links change under the allocator lock. While the program has it, no cycle finds
 *                  anything unreachable that is registered here (gcmalloc_weak_hold), and links of
 *                  what was found before are cleared when it takes the lock.
 *
 * The table finds links by their addresses, which are kept as complements: it holds no block. */
#include "bdwgc/bdwgc.h"
#include "bdwgc/place.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

struct link {
    struct link *same_target, *same_bucket;
    struct object *target;
    struct place *container;           /* NULL: it lies in no block */
    uintptr_t hidden;                  /* ~its address */
    bool is_long;
};

struct object {
    GC_finalization_proc call;
    void *data;
    gcmalloc_weak *self;
    struct link *links;
};

static struct {
    pthread_mutex_t lock;
    struct link **buckets;
    size_t count, mask;
    uint64_t cleared;                  /* as gcmalloc_weak_hold said */
    atomic_uint last_due;              /* when the notifier was told */
    atomic_size_t objects;
} state = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP};

static __thread unsigned depth, called;
static __thread bool finalizing;

BDWGC_EXPORT int GC_finalize_on_demand, GC_java_finalization;
BDWGC_EXPORT GC_finalizer_notifier_proc GC_finalizer_notifier;
static GC_await_finalize_proc await_proc;

void bdwgc_lock(void)
{
    pthread_mutex_lock(&state.lock);
    depth++;
}

void bdwgc_unlock(void)
{
    depth--;
    pthread_mutex_unlock(&state.lock);
}

/* The child is another thread than the one that has locked. */
void bdwgc_lock_anew(void)
{
    state.lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    depth--;
    for (unsigned i = 0; i < depth; i++)
        pthread_mutex_lock(&state.lock);
}

bool bdwgc_locked(void)
{
    return depth != 0;
}

/* ---- the table ---- */

static struct link **bucket_of(struct link **buckets, size_t mask, uintptr_t hidden)
{
    return &buckets[(hidden / sizeof(void *) * 0x9e3779b97f4a7c15) >> 20 & mask];
}

static void enter(struct link *link, void **where)
{
    link->hidden = ~(uintptr_t)where;
    struct link **bucket = bucket_of(state.buckets, state.mask, link->hidden);
    link->same_bucket = *bucket;
    *bucket = link;
    state.count++;
}

static void leave(struct link *link)
{
    struct link **at = bucket_of(state.buckets, state.mask, link->hidden);
    while (*at != link)
        at = &(*at)->same_bucket;
    *at = link->same_bucket;
    state.count--;
}

static struct link *find(void **where)
{
    uintptr_t hidden = ~(uintptr_t)where;
    struct link *link = state.buckets == NULL ? NULL
                                              : *bucket_of(state.buckets, state.mask, hidden);
    while (link != NULL && link->hidden != hidden)
        link = link->same_bucket;
    return link;
}

/* `link` may be taken out meanwhile. */
#define EACH_LINK(link, next) \
    for (size_t i_ = 0; state.buckets != NULL && i_ <= state.mask; i_++) \
        for (struct link *link = state.buckets[i_], *next; \
             link != NULL && ((void)(next = link->same_bucket), true); link = next)

static bool grow(void)
{
    enum { FIRST = 64 };
    size_t size = state.buckets == NULL ? FIRST : 2 * (state.mask + 1);
    struct link **buckets = calloc(size, sizeof *buckets);
    if (buckets == NULL)
        return state.buckets != NULL;
    EACH_LINK(link, next) {
        struct link **bucket = bucket_of(buckets, size - 1, link->hidden);
        link->same_bucket = *bucket;
        *bucket = link;
    }
    free(state.buckets);
    state.buckets = buckets;
    state.mask = size - 1;
    return true;
}

/* ---- objects ---- */

static void due(void *block, void *data);

/* NULL: not by us. */
static struct object *object_of(void *block)
{
    gcmalloc_finalizer *call;
    void *data;
    return gcmalloc_get_finalizer(block, &call, &data) == 0 && call == due ? data : NULL;
}

struct object *bdwgc_object_of(void *block)
{
    if (atomic_load_explicit(&state.objects, memory_order_relaxed) == 0)
        return NULL;
    int saved = errno;
    struct object *object = object_of(block);
    errno = saved;
    return object;
}

/* NULL: a cycle has found it unreachable, or it was freed. */
static void *block_of(const struct object *object)
{
    return object->self == NULL ? NULL : gcmalloc_weak_get(object->self);
}

static bool attach(void *block, struct object *object, enum gcmalloc_order order)
{
    if (object->self == NULL)
        object->self = gcmalloc_weak_new(block);
    return object->self != NULL && gcmalloc_set_finalizer_as(block, due, object, order) == 0;
}

static void free_object(struct object *object)
{
    gcmalloc_weak_drop(object->self);
    free(object);
    atomic_fetch_sub(&state.objects, 1);
}

/* NULL: no memory, or there is no such block. Without a collector links have one all the same. */
static struct object *object_at(void *block, bool for_link)
{
    struct object *object = object_of(block);
    if (object != NULL || (object = calloc(1, sizeof *object)) == NULL)
        return object;
    atomic_fetch_add(&state.objects, 1);
    if (attach(block, object, GCMALLOC_NO_ORDER) || (for_link && errno == ENOSYS))
        return object;
    int error = errno;
    free_object(object);
    errno = error;
    return NULL;
}

/* If nothing is left of it. Not while it waits for its call, where its address is. */
static void drop_empty(struct object *object)
{
    void *block = object->call == NULL && object->links == NULL ? block_of(object) : NULL;
    if (block != NULL && object_of(block) == object) {
        gcmalloc_set_finalizer(block, NULL, NULL);
        free_object(object);
    }
}

/* ---- links ---- */

static void unlink_one(struct link *link)
{
    struct link **at = &link->target->links;
    while (*at != link)
        at = &(*at)->same_target;
    *at = link->same_target;
    leave(link);
    place_drop(link->container);
    free(link);
}

/* .inv.alive */
static void clear(const struct link *link)
{
    void *container = link->container == NULL ? NULL : place_block(link->container);
    if (link->container == NULL || container != NULL)
        *(void *volatile *)~link->hidden = NULL;
    __asm__ volatile("" : : "r"(container) : "memory");
}

static bool is_stale(const struct link *link)
{
    return link->container != NULL && place_block(link->container) == NULL;
}

/* Of a block that has gone there may be links in the table: those are at somebody else's place. */
static struct link *live_link(void **where)
{
    struct link *link = find(where);
    if (link == NULL || !is_stale(link))
        return link;
    unlink_one(link);
    return NULL;
}

static bool have_room(void)
{
    if (state.buckets != NULL && state.count <= state.mask)
        return true;
    EACH_LINK(link, next)
        if (is_stale(link))
            unlink_one(link);
    return grow();
}

/* False: no memory. */
static bool find_container(void **where, struct place **container)
{
    void *around = gcmalloc_block_of(where, NULL);
    *container = around == NULL ? NULL : place_take(around);
    return around == NULL || *container != NULL;
}

static int add_link(void **where, struct object *target, bool is_long)
{
    struct link *link = have_room() ? calloc(1, sizeof *link) : NULL;
    if (link == NULL || !find_container(where, &link->container)) {
        free(link);
        return GC_NO_MEMORY;
    }
    link->is_long = is_long;
    link->target = target;
    link->same_target = target->links;
    target->links = link;
    enter(link, where);
    return GC_SUCCESS;
}

static void remove_link(struct link *link)
{
    struct object *target = link->target;
    unlink_one(link);
    drop_empty(target);
}

/* The last call counts; it is told of the one before. */
static int register_locked(void **where, void *block, bool is_long)
{
    struct link *old = live_link(where);
    struct object *target = object_at(block, true);
    if (target == NULL)
        return errno == ENOMEM ? GC_NO_MEMORY : GC_UNIMPLEMENTED;
    int result = add_link(where, target, is_long);
    if (result != GC_SUCCESS)
        drop_empty(target);
    else if (old != NULL)
        remove_link(old);
    return result == GC_SUCCESS && old != NULL ? GC_DUPLICATE : result;
}

static int register_link(void **where, const void *block, bool is_long)
{
    int result = GC_UNIMPLEMENTED, saved = errno;
    bdwgc_start();
    GC_alloc_lock();
    if (where != NULL && block != NULL)
        result = register_locked(where, (void *)(uintptr_t)block, is_long);
    GC_alloc_unlock();
    errno = saved;
    return result;
}

static struct link *link_of(void **where, bool is_long)
{
    struct link *link = live_link(where);
    return link != NULL && link->is_long == is_long ? link : NULL;
}

static int unregister_link(void **where, bool is_long)
{
    int saved = errno;
    GC_alloc_lock();
    struct link *link = link_of(where, is_long);
    if (link != NULL)
        remove_link(link);
    GC_alloc_unlock();
    errno = saved;
    return link != NULL;
}

static int move_locked(void **where, void **to, bool is_long)
{
    struct place *container;
    struct link *link = link_of(where, is_long);
    if (link == NULL)
        return GC_NOT_FOUND;
    if (where == to)
        return GC_SUCCESS;
    if (live_link(to) != NULL)
        return GC_DUPLICATE;
    if (!find_container(to, &container))
        return GC_NO_MEMORY;
    leave(link);
    place_drop(link->container);
    link->container = container;
    enter(link, to);
    return GC_SUCCESS;
}

static int move_link(void **where, void **to, bool is_long)
{
    int saved = errno;
    GC_alloc_lock();
    int result = to == NULL ? GC_UNIMPLEMENTED : move_locked(where, to, is_long);
    GC_alloc_unlock();
    errno = saved;
    return result;
}

/* All whose blocks cycles have found unreachable. What is cleared is no link any more: the program
 * puts another address there. */
static void clear_found(void)
{
    EACH_LINK(link, next)
        if (!link->is_long && block_of(link->target) == NULL) {
            clear(link);
            unlink_one(link);
        }
}

static void clear_all(struct object *object, bool long_too)
{
    for (struct link *link = object->links, *next; link != NULL; link = next) {
        next = link->same_target;
        if (link->is_long && !long_too)
            continue;
        clear(link);
        unlink_one(link);
    }
}

void bdwgc_object_ended(struct object *object)
{
    int saved = errno;
    bdwgc_lock();
    clear_all(object, true);
    free_object(object);
    bdwgc_unlock();
    errno = saved;
}

BDWGC_EXPORT int GC_register_disappearing_link(void **link)
{
    void *block = gcmalloc_block_of(link, NULL);
    if (block == NULL && !gcmalloc_active())
        block = link; /* nobody knows, and nothing will be cleared */
    return register_link(link, block, false);
}

BDWGC_EXPORT int GC_general_register_disappearing_link(void **link, const void *block)
{
    return register_link(link, block, false);
}

BDWGC_EXPORT int GC_unregister_disappearing_link(void **link)
{
    return unregister_link(link, false);
}

BDWGC_EXPORT int GC_move_disappearing_link(void **link, void **to)
{
    return move_link(link, to, false);
}

BDWGC_EXPORT int GC_register_long_link(void **link, const void *block)
{
    return register_link(link, block, true);
}

BDWGC_EXPORT int GC_unregister_long_link(void **link)
{
    return unregister_link(link, true);
}

BDWGC_EXPORT int GC_move_long_link(void **link, void **to)
{
    return move_link(link, to, true);
}

/* ---- a call is due ---- */

/* For gcmalloc.h: the block is alive, and its weak references are cleared. Long links stay until it
 * is unreachable once more. */
static void due(void *block, void *data)
{
    struct object *object = data;
    bdwgc_lock();
    GC_finalization_proc call = object->call;
    void *call_data = object->data;
    clear_all(object, call == NULL);
    object->call = NULL;
    object->data = NULL;
    gcmalloc_weak_drop(object->self);
    object->self = NULL;
    if (object->links == NULL || !attach(block, object, GCMALLOC_NO_ORDER))
        bdwgc_object_ended(object);
    bdwgc_unlock();
    if (call != NULL) {
        called++;
        call(block, call_data);
    }
}

/* ---- finalizers ---- */

static bool set_call(void *block, GC_finalization_proc call, void *data,
                     enum gcmalloc_order order, struct object *before)
{
    struct object *object = call == NULL ? object_of(block) : object_at(block, false);
    if (object == NULL)
        return false;
    *before = *object;
    object->call = call;
    object->data = data;
    attach(block, object, call == NULL ? GCMALLOC_NO_ORDER : order);
    drop_empty(object);
    return true;
}

static void set(void *block, GC_finalization_proc call, void *data, GC_finalization_proc *old,
                void **old_data, enum gcmalloc_order order)
{
    struct object before = {.call = NULL};
    int saved = errno;
    bdwgc_start();
    bdwgc_lock();
    errno = 0;
    bool done = set_call(block, call, data, order, &before) || errno != ENOMEM;
    bdwgc_unlock();
    errno = saved;
    if (done && old != NULL)
        *old = before.call;
    if (done && old_data != NULL)
        *old_data = before.data;
}

#define REGISTERS(name, order) \
    BDWGC_EXPORT void GC_##name(void *block, GC_finalization_proc call, void *data, \
                                GC_finalization_proc *old, void **old_data) \
    { \
        set(block, call, data, old, old_data, order); \
    } \
    BDWGC_EXPORT void GC_debug_##name(void *block, GC_finalization_proc call, void *data, \
                                      GC_finalization_proc *old, void **old_data) \
    { \
        set(block, call, data, old, old_data, order); \
    }
REGISTERS(register_finalizer, GCMALLOC_ORDERED)
REGISTERS(register_finalizer_ignore_self, GCMALLOC_IGNORE_SELF)
REGISTERS(register_finalizer_no_order, GCMALLOC_NO_ORDER)
REGISTERS(register_finalizer_unreachable, GCMALLOC_LAST)

/* ---- who calls them ---- */

BDWGC_EXPORT int GC_should_invoke_finalizers(void)
{
    return gcmalloc_finalizers_due() != 0;
}

BDWGC_EXPORT int GC_invoke_finalizers(void)
{
    unsigned before = called;
    bool nested = finalizing;
    finalizing = true;
    gcmalloc_call_finalizers();
    finalizing = nested;
    return (int)(called - before);
}

/* Told when more are due than it was told of. */
static void notify(unsigned number)
{
    unsigned last = atomic_exchange(&state.last_due, number);
    GC_finalizer_notifier_proc notifier = GC_finalizer_notifier;
    if (number > last && notifier != NULL)
        notifier();
}

void bdwgc_finalize_due(void)
{
    unsigned number = gcmalloc_finalizers_due();
    if (number == 0) {
        atomic_store_explicit(&state.last_due, 0, memory_order_relaxed);
        return;
    }
    if (finalizing || bdwgc_locked())
        return;
    if (!GC_finalize_on_demand)
        GC_invoke_finalizers();
    else
        notify(number);
}

BDWGC_EXPORT void GC_finalize_all(void)
{
    GC_gcollect();
    GC_invoke_finalizers();
}

BDWGC_SETTING(int, finalize_on_demand, GC_finalize_on_demand)
BDWGC_SETTING(int, java_finalization, GC_java_finalization)
BDWGC_SETTING(GC_finalizer_notifier_proc, finalizer_notifier, GC_finalizer_notifier)
BDWGC_SETTING(GC_await_finalize_proc, await_finalize_proc, await_proc)

/* ---- the lock, as the program takes it ---- */

BDWGC_EXPORT void GC_alloc_lock(void)
{
    bdwgc_lock();
    uint64_t cleared = gcmalloc_weak_hold();
    if (cleared != state.cleared)
        clear_found();
    state.cleared = cleared;
}

BDWGC_EXPORT void GC_alloc_unlock(void)
{
    gcmalloc_weak_release();
    bdwgc_unlock();
}

BDWGC_EXPORT void *GC_call_with_alloc_lock(GC_fn_type call, void *data)
{
    GC_alloc_lock();
    void *result = call(data);
    GC_alloc_unlock();
    return result;
}
