/* bdwgc.c -- a program written for Boehm's collector: gc.h, with the library and without.
 *
 * Where nothing is ever collected (no library, mode=off, mode=report, probation) nothing may be
 * called or cleared: these runs are told so by a second argument, `never`. Collections are asked for,
 * for finalizers come at those, on this thread. */
#include <gc.h>
#include <gc_inline.h>
#include <gc_mark.h>
#include <gc_typed.h>

#include "abi.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { ROUNDS = 60, SIZE = 200, MANY = 500 };

static bool never;
static int calls, some_cleared;

static bool gcmalloc_is_there(void)
{
    int (*active)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "gcmalloc_active");
    return active != NULL && active();
}

static NOINLINE void collect_once(void)
{
    GC_gcollect();
    stack_clear();
}

/* At most ROUNDS collections, and two more. */
static void wait_until(const int *count, int wanted)
{
    for (int i = 0; i < (never ? 3 : ROUNDS) && *count < wanted; i++)
        collect_once();
    collect_once();
    collect_once();
    CHECK(*count == (never ? 0 : wanted));
}

static bool is_zero(const void *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const char *)block)[i] != 0)
            return false;
    return true;
}

static void *make(void)
{
    char *block = GC_MALLOC(SIZE);
    CHECK(block != NULL && is_zero(block, GC_size(block)));
    pattern_fill(block + 64, SIZE - 64, 7);
    return OPAQUE(block);
}

static bool holds(const void *block)
{
    return pattern_holds((const char *)block + 64, SIZE - 64, 7);
}

/* ---- memory ---- */

static void kind_memory(void)
{
    for (size_t size = 0; size < 5000; size += 37) {
        char *block = GC_malloc(size);
        CHECK(block != NULL && GC_size(block) >= size && is_zero(block, GC_size(block)));
        memset(block, 1, GC_size(block));
        block = GC_realloc(block, size + 100);
        CHECK(block[size > 0 ? size - 1 : 0] == 1);
        CHECK(is_zero(block + GC_size(block) - 1, 1));
        block = GC_realloc(block, size / 2 + 1);
        block = GC_realloc(block, 3 * size + 50);
        CHECK(is_zero(block + size / 2 + 1, 3 * size + 50 - (size / 2 + 1)));
        GC_free(block);
    }
    CHECK(GC_realloc(GC_realloc(NULL, 10), 0) == NULL);
    char *text = GC_STRDUP("some text"), *part = GC_STRNDUP("some text", 4);
    CHECK(strcmp(text, "some text") == 0 && strcmp(part, "some") == 0 && GC_strdup(NULL) == NULL);
    void *aligned = GC_memalign(256, 100);
    CHECK((uintptr_t)aligned % 256 == 0 && is_zero(aligned, 100));
    CHECK(GC_posix_memalign(&aligned, 3, 1) == EINVAL);
    CHECK(GC_posix_memalign(&aligned, 64, 1) == 0 && (uintptr_t)aligned % 64 == 0);
    int *number = GC_NEW(int), *leaf = GC_NEW_ATOMIC(int);
    CHECK(*number == 0 && leaf != NULL && GC_NEXT(GC_malloc_many(1)) == NULL);
    void *list;
    GC_generic_malloc_many(40, GC_I_PTRFREE, &list);
    CHECK(list != NULL && GC_NEXT(list) == NULL);
    unsigned kind = GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    CHECK(kind >= 4 && is_zero(GC_generic_malloc(100, (int)kind), 100));
    GC_word bits[2] = {0, 0};
    CHECK(GC_make_descriptor(bits, 70) == 0);
    GC_set_bit(bits, 69);
    CHECK(GC_make_descriptor(bits, 70) != 0);
    CHECK(is_zero(GC_calloc_explicitly_typed(10, 10, 0), 100));
    CHECK(GC_calloc_explicitly_typed(SIZE_MAX / 2, 3, 0) == NULL);
}

/* ---- what is kept, and what is not ---- */

static GC_hidden_pointer hidden[MANY];
static void *volatile kept;

static void make_pinned(void)
{
    for (int i = 0; i < MANY; i++) {
        char *block = GC_MALLOC_UNCOLLECTABLE(SIZE);
        *(void **)(void *)block = make(); /* is found by way of it */
        pattern_fill(block + 64, SIZE - 64, 7);
        if (i % 2 != 0)
            block = GC_REALLOC(block, 2 * SIZE);
        hidden[i] = GC_HIDE_POINTER(block);
    }
}

static void kind_uncollectable(void)
{
    run_and_forget(make_pinned);
    for (int i = 0; i < 4; i++)
        collect_once();
    for (int i = 0; i < MANY; i++) {
        void **block = GC_REVEAL_POINTER(hidden[i]);
        CHECK(holds(block) && holds(*block));
        GC_FREE(block);
    }
}

static void count_call(void *block, void *data)
{
    CHECK(holds(block) && (data == NULL || holds(data)));
    calls++;
}

/* Through pointers into the middle, also in a leaf's neighbour; but not by what lies in a leaf. */
static void make_kept(void)
{
    char *block = make();
    GC_register_finalizer(block, count_call, NULL, NULL, NULL);
    void **leaf = GC_MALLOC_ATOMIC(sizeof(void *));
    *leaf = make();
    GC_register_finalizer(*leaf, count_call, NULL, NULL, NULL);
    void **both = GC_MALLOC(2 * sizeof(void *));
    both[0] = block + 100;
    both[1] = leaf;
    kept = both;
}

static void kind_atomic(void)
{
    run_and_forget(make_kept);
    wait_until(&calls, 1);
    CHECK(holds((char *)*(void **)kept - 100));
}

/* ---- finalizers ---- */

static int order;

static void note_order(void *block, void *data)
{
    CHECK(order++ == *(int *)data && holds(block));
    calls++;
}

static void make_chain(void)
{
    static int numbers[4] = {0, 1, 2, 3};
    void **before = NULL;
    for (int i = 3; i >= 0; i--) {
        void **block = make();
        *block = before;
        GC_REGISTER_FINALIZER(block, note_order, &numbers[i], NULL, NULL);
        before = block;
    }
}

static void kind_order(void)
{
    run_and_forget(make_chain);
    wait_until(&calls, 4);
}

static void fail_call(void *block, void *data)
{
    CHECK(block == NULL && data == block && "must not be called");
}

static void make_ring(GC_finalization_proc call,
                      void (*set)(void *, GC_finalization_proc, void *, GC_finalization_proc *,
                                  void **))
{
    void **a = make(), **b = make();
    *a = b;
    *b = a;
    set(a, call, NULL, NULL, NULL);
    set(b, call, NULL, NULL, NULL);
}

static void make_rings(void)
{
    void **self = make(), **other = make();
    *self = self;
    *other = &other[3];
    GC_register_finalizer(self, fail_call, NULL, NULL, NULL);
    GC_register_finalizer_ignore_self(other, count_call, NULL, NULL, NULL);
    make_ring(fail_call, GC_register_finalizer);
    make_ring(fail_call, GC_register_finalizer_ignore_self);
    make_ring(count_call, GC_register_finalizer_no_order);
}

static void kind_rings(void)
{
    run_and_forget(make_rings);
    wait_until(&calls, 3);
}

/* One whose block is reachable from another of no order comes after that. */
static void *volatile seen;

static void see(void *block, void *data)
{
    (void)data;
    CHECK(calls++ == 0);
    seen = *(void **)block; /* and lives again */
}

static void make_last(void)
{
    void **a = make(), *b = make();
    *a = b;
    GC_register_finalizer_no_order(a, see, NULL, NULL, NULL);
    GC_register_finalizer_unreachable(b, count_call, NULL, NULL, NULL);
}

static void kind_last(void)
{
    GC_set_java_finalization(1);
    run_and_forget(make_last);
    wait_until(&calls, 1);
    CHECK(never || holds(seen));
    seen = NULL;
    wait_until(&calls, 2);
}

/* What was set is told; one per block; 0 takes it off. */
static void make_replaced(void)
{
    GC_finalization_proc old = fail_call;
    void *old_data = &old, *block = make(), *data = make();
    GC_register_finalizer(block, fail_call, data, &old, &old_data);
    CHECK(old == NULL && old_data == NULL);
    GC_register_finalizer_no_order(block, count_call, NULL, &old, &old_data);
    CHECK(never || (old == fail_call && old_data == data));
    GC_register_finalizer(block, count_call, data, &old, NULL);
    CHECK(never || old == count_call);
    block = make();
    GC_register_finalizer(block, fail_call, NULL, NULL, NULL);
    GC_register_finalizer(block, NULL, NULL, &old, &old_data);
    CHECK(never || (old == fail_call && old_data == NULL));
    block = make();
    GC_register_finalizer(block, fail_call, NULL, NULL, NULL);
    GC_free(block);
}

static void kind_replaced(void)
{
    run_and_forget(make_replaced);
    wait_until(&calls, 1);
}

/* Nothing of this thread's is called by another one, nor at a time of its own. */
static pthread_t self_thread;
static int told;

static void check_thread(void *block, void *data)
{
    CHECK(pthread_equal(pthread_self(), self_thread));
    count_call(block, data);
}

static void make_many(void)
{
    for (int i = 0; i < MANY; i++)
        GC_register_finalizer(make(), check_thread, NULL, NULL, NULL);
}

static void tell(void)
{
    told++;
}

static void kind_demand(void)
{
    self_thread = pthread_self();
    GC_set_finalize_on_demand(1);
    GC_set_finalizer_notifier(tell);
    run_and_forget(make_many);
    for (int i = 0; i < ROUNDS && !never && !GC_should_invoke_finalizers(); i++)
        collect_once();
    collect_once();
    CHECK(calls == 0 && (told > 0) == !never && GC_should_invoke_finalizers() == !never);
    int called = GC_invoke_finalizers();
    CHECK(called == calls && (calls > MANY / 2) == !never && GC_invoke_finalizers() == 0);
    GC_set_finalize_on_demand(0);
    wait_until(&calls, MANY);
}

/* ---- links ---- */

static void *static_link;
static void **heap_links;          /* of a leaf: no pointer is looked for there */
static int cleared;

static void make_links(void)
{
    GC_unregister_disappearing_link(&static_link);
    void *block = make(), *used = make();
    kept = used;
    heap_links = GC_MALLOC_ATOMIC(8 * sizeof(void *));
    memset(heap_links, 0, 8 * sizeof(void *));
    static_link = (void *)GC_HIDE_POINTER(block);
    heap_links[0] = block;
    heap_links[1] = used;
    heap_links[2] = heap_links[3] = heap_links[5] = heap_links[6] = block;
    CHECK(GC_general_register_disappearing_link(&static_link, block) == GC_SUCCESS);
    CHECK(GC_general_register_disappearing_link(&static_link, block) == GC_DUPLICATE);
    CHECK(GC_general_register_disappearing_link(&heap_links[0], used) == GC_SUCCESS);
    CHECK(GC_general_register_disappearing_link(&heap_links[0], block) == GC_DUPLICATE);
    CHECK(GC_general_register_disappearing_link(&heap_links[1], used) == GC_SUCCESS);
    CHECK(GC_general_register_disappearing_link(&heap_links[2], block) == GC_SUCCESS);
    CHECK(GC_move_disappearing_link(&heap_links[2], &heap_links[2]) == GC_SUCCESS);
    CHECK(GC_move_disappearing_link(&heap_links[2], &heap_links[1]) == GC_DUPLICATE);
    CHECK(GC_move_disappearing_link(&heap_links[2], &heap_links[3]) == GC_SUCCESS);
    CHECK(GC_move_disappearing_link(&heap_links[2], &heap_links[4]) == GC_NOT_FOUND);
    CHECK(GC_register_long_link(&heap_links[5], block) == GC_SUCCESS);
    CHECK(GC_unregister_disappearing_link(&heap_links[5]) == 0);
    CHECK(GC_general_register_disappearing_link(&heap_links[6], block) == GC_SUCCESS);
    CHECK(GC_unregister_disappearing_link(&heap_links[6]) == 1);
    CHECK(GC_unregister_disappearing_link(&heap_links[6]) == 0);
    heap_links[2] = heap_links[6] = NULL;
}

static void *count_cleared(void *unused)
{
    cleared = (static_link == NULL) + (heap_links[0] == NULL) + (heap_links[3] == NULL) +
              (heap_links[5] == NULL);
    return unused;
}

static void kind_links(void)
{
    run_and_forget(make_links);
    for (int i = 0; i < (never ? 3 : ROUNDS) && cleared < 4; i++) {
        collect_once();
        GC_call_with_alloc_lock(count_cleared, NULL);
    }
    CHECK(cleared == (never ? 0 : 4) && heap_links[1] == kept && holds(kept));
    CHECK(never || GC_unregister_disappearing_link(&static_link) == 0);
}

/* A ring of blocks with links only goes; links whose own block has gone write nowhere; and one is
 * cleared before the finalizer of its block, or of a block that goes with it, is called. */
static void *links_are_good(void *block)
{
    void **target = block, **a;
    if (target[0] != NULL)
        return NULL;
    if (target[1] == NULL)
        return block;
    a = GC_REVEAL_POINTER((GC_word)target[1]); /* some stale word holds its ring: it is whole */
    return GC_is_heap_ptr(a) && GC_is_heap_ptr(*a) && *(void ***)*a == a ? block : NULL;
}

static void check_cleared(void *block, void *data)
{
    (void)data;
    CHECK(GC_call_with_alloc_lock(links_are_good, block) == block);
    calls++;
    some_cleared += ((void **)block)[1] == NULL;
}

static void make_going(void)
{
    for (int i = 0; i < MANY; i++) {
        void **a = make(), **b = make(), **target = GC_MALLOC(SIZE);
        void **leaf = GC_MALLOC_ATOMIC(SIZE); /* nothing holds this one */
        *a = b;
        *b = a;
        CHECK(GC_general_register_disappearing_link(&a[3], b) == GC_SUCCESS);
        CHECK(GC_general_register_disappearing_link(&leaf[i % 8], a) == GC_SUCCESS);
        leaf[i % 8] = a;
        target[0] = (void *)GC_HIDE_POINTER(target); /* a block that is its own link's */
        target[1] = (void *)GC_HIDE_POINTER(a);      /* … and of another one's */
        CHECK(GC_register_disappearing_link(&target[0]) == GC_SUCCESS);
        CHECK(GC_general_register_disappearing_link(&target[1], a) == GC_SUCCESS);
        GC_register_finalizer(target, check_cleared, NULL, NULL, NULL);
    }
}

static void kind_going(void)
{
    run_and_forget(make_going);
    wait_until(&calls, MANY);
    CHECK(never || some_cleared > MANY / 2);
}

/* A long link outlives the finalizer, and its block when that lives again. */
static void *volatile revived;
static void *short_link, *long_link;

static void revive(void *block, void *data)
{
    (void)data;
    CHECK(short_link == NULL && (GC_hidden_pointer)long_link == GC_HIDE_POINTER(block));
    revived = block;
    calls++;
}

static void make_long(void)
{
    void *block = make();
    short_link = long_link = (void *)GC_HIDE_POINTER(block);
    CHECK(GC_general_register_disappearing_link(&short_link, block) == GC_SUCCESS);
    CHECK(GC_register_long_link(&long_link, block) == GC_SUCCESS);
    GC_register_finalizer(block, revive, NULL, NULL, NULL);
}

static void kind_long(void)
{
    run_and_forget(make_long);
    wait_until(&calls, 1);
    if (never)
        return;
    for (int i = 0; i < 4; i++)
        collect_once();
    CHECK((GC_hidden_pointer)long_link == GC_HIDE_POINTER(revived) && holds(revived));
    revived = NULL;
    for (int i = 0; i < ROUNDS && long_link != NULL; i++)
        collect_once();
    CHECK(long_link == NULL && GC_unregister_long_link(&long_link) == 0);
}

/* Threads that intern: under the lock a block is there, or the link is cleared. */
enum { NAMES = 64, THREADS = 3, LOOKS = 20000 };
static void *names[NAMES];
static atomic_int misses;

struct look {
    void **place, *found;
};

static void *look_up(void *data)
{
    struct look *look = data;
    look->found = *look->place == NULL ? NULL
                                       : GC_REVEAL_POINTER((GC_hidden_pointer)*look->place);
    return NULL;
}

static void *intern(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed;
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    for (int i = 0; i < LOOKS; i++) {
        random = random * 1103515245 + 12345;
        struct look look = {&names[random >> 16 & (NAMES - 1)], NULL};
        pthread_mutex_lock(&one);
        GC_call_with_alloc_lock(look_up, &look);
        if (look.found != NULL) {
            CHECK(holds(look.found));
        } else {
            look.found = make();
            *look.place = (void *)GC_HIDE_POINTER(look.found);
            int result = GC_general_register_disappearing_link(look.place, look.found);
            CHECK(result == GC_SUCCESS);
            misses++;
        }
        GC_reachable_here(look.found);
        pthread_mutex_unlock(&one);
        if (i % 1000 == 0)
            GC_gcollect();
    }
    return NULL;
}

static void kind_threads(void)
{
    pthread_t threads[THREADS];
    struct GC_stack_base base;
    GC_allow_register_threads();
    CHECK(GC_get_stack_base(&base) == GC_SUCCESS && (char *)base.mem_base > (char *)&base);
    CHECK(GC_register_my_thread(&base) == GC_SUCCESS);
    CHECK(GC_register_my_thread(&base) == GC_DUPLICATE && GC_unregister_my_thread() == GC_SUCCESS);
    for (int i = 0; i < THREADS; i++)
        CHECK(GC_pthread_create(&threads[i], NULL, intern, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(GC_pthread_join(threads[i], NULL) == 0);
    CHECK(never ? misses == NAMES : misses > NAMES);
}

/* ---- the rest ---- */

static void make_shared(void)
{
    static char path[] = "roots.XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && unlink(path) == 0 && ftruncate(fd, 4096) == 0);
    void **map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    GC_add_roots(map, (char *)map + 4096);
    *map = make();
    GC_register_finalizer(*map, count_call, NULL, NULL, NULL);
    kept = map;
}

static void kind_roots(void)
{
    run_and_forget(make_shared);
    for (int i = 0; i < 4; i++)
        collect_once();
    CHECK(calls == 0 && holds(*(void **)kept));
    GC_remove_roots((void *)kept, (char *)kept + 4096);
    wait_until(&calls, 1);
}

/* Where they are made finalizers may be called as well. */
static void make_counted(void)
{
    for (int i = 0; i < MANY; i++)
        GC_register_finalizer(make(), count_call, NULL, NULL, NULL);
}

static void check_child(void)
{
    run_and_forget(make_counted);
    run_and_forget(make_links);
    for (int i = 0; i < (never ? 3 : ROUNDS) && calls < MANY; i++)
        collect_once();
    CHECK(calls == (never ? 0 : MANY));
}

static void *fork_locked(void *unused)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        return &calls;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return unused;
}

static void kind_forked(void)
{
    int status;
    run_and_forget(make_links);
    pid_t child = fork();
    if (child == 0) {
        check_child();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    if (GC_call_with_alloc_lock(fork_locked, NULL) != NULL) {
        check_child();
        _exit(0);
    }
    check_child();
}

static void *give_nothing(size_t size)
{
    CHECK(size > SIZE_MAX / 4);
    calls++;
    return &calls;
}

static void kind_bad(void)
{
    GC_finalization_proc old = fail_call;
    void *old_data = &old, *block = make(), *somewhere[4] = {0};
    size_t size = SIZE_MAX / 2;
    GC_register_finalizer(NULL, fail_call, NULL, &old, &old_data);
    CHECK(old == NULL && old_data == NULL);
    old = fail_call;
    GC_register_finalizer(somewhere, fail_call, NULL, &old, NULL);
    CHECK(old == NULL);
    old = fail_call;
    GC_register_finalizer((char *)block + 8, fail_call, NULL, &old, NULL);
    CHECK(old == NULL);
    CHECK(GC_base(NULL) == NULL && GC_base(somewhere) == NULL && !GC_is_heap_ptr(&calls));
    if (gcmalloc_is_there()) {
        CHECK(GC_base((char *)block + 50) == block && GC_base(block) == block);
        CHECK(GC_is_heap_ptr((char *)block + 1));
        CHECK(GC_general_register_disappearing_link(&somewhere[0], somewhere) == GC_UNIMPLEMENTED);
        CHECK(GC_general_register_disappearing_link(&somewhere[0], (char *)block + 8) ==
              GC_UNIMPLEMENTED);
        CHECK(GC_register_disappearing_link(&somewhere[0]) == GC_UNIMPLEMENTED);
    }
    CHECK(GC_general_register_disappearing_link(NULL, block) == GC_UNIMPLEMENTED);
    CHECK(GC_unregister_disappearing_link(NULL) == 0 && GC_unregister_long_link(NULL) == 0);
    GC_free(NULL);
    CHECK(OPAQUE(GC_malloc(size)) == NULL && OPAQUE(GC_realloc(block, size)) == NULL);
    CHECK(holds(block));
    GC_set_oom_fn(give_nothing);
    CHECK(OPAQUE(GC_malloc(size)) == (void *)&calls && GC_get_oom_fn() == give_nothing);
    GC_add_roots(block, block);
    GC_add_roots((char *)block + 8, block);
    GC_remove_roots(&calls, &calls + 1);
    GC_enable(); /* one too many */
    CHECK(!GC_is_disabled());
    GC_disable();
    GC_disable();
    GC_enable();
    CHECK(GC_is_disabled() && !GC_try_to_collect(GC_get_stop_func()));
    GC_enable();
    CHECK(!GC_is_disabled());
}

static int stop_at_once(void)
{
    return 1;
}

static void kind_figures(void)
{
    struct GC_prof_stats_s stats;
    GC_word number = GC_get_gc_no();
    CHECK(GC_get_version() >> 16 == GC_VERSION_MAJOR && GC_is_init_called());
    kept = make();
    CHECK(!GC_try_to_collect(stop_at_once));
    CHECK(GC_get_prof_stats(&stats, sizeof stats) == sizeof stats);
    CHECK(GC_get_prof_stats(&stats, sizeof stats.heapsize_full) == sizeof stats.heapsize_full);
    if (gcmalloc_is_there()) {
        GC_gcollect();
        CHECK(GC_get_gc_no() > number && GC_get_heap_size() > 0);
        CHECK(GC_get_total_bytes() >= SIZE && GC_get_memory_use() >= SIZE);
        size_t before = GC_get_total_bytes();
        kept = GC_malloc(100000);
        CHECK(GC_get_total_bytes() >= before + 100000 && GC_get_bytes_since_gc() >= 100000);
    }
    GC_word heap, total;
    GC_get_heap_usage_safe(&heap, NULL, NULL, NULL, &total);
    CHECK(heap != 0 || !gcmalloc_is_there());
    GC_set_free_space_divisor(6);
    CHECK(GC_get_free_space_divisor() == 6 && GC_expand_hp(1 << 20) == 1);
    GC_collect_a_little();
    GC_gcollect_and_unmap();
}

int main(int argc, char **argv)
{
    static const struct kind kinds[] = {
        KIND(memory), KIND(uncollectable), KIND(atomic), KIND(order), KIND(rings), KIND(last),
        KIND(replaced), KIND(demand), KIND(links), KIND(going), KIND(long), KIND(threads),
        KIND(roots), KIND(forked), KIND(bad), KIND(figures),
    };
    CHECK(argc > 1);
    never = argc > 2 && strcmp(argv[2], "never") == 0;
    if (argc > 2 && strcmp(argv[argc - 1], "absent") == 0) {
        argv[argc - 1] = NULL;
        unsetenv("LD_PRELOAD");
        execv("/proc/self/exe", argv);
    }
    GC_INIT();
    run_kind(kinds, sizeof kinds / sizeof *kinds, argv[1]);
}
