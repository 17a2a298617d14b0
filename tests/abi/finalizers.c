/* finalizers.c -- gcmalloc.h: finalizers, cleanups and weak references, with the library and
 * without.
 *
 * Where nothing is ever collected (no library, mode=off, mode=report) nothing may be called: these
 * runs are told so by a second argument, `never`. Else each kind waits until what must happen has
 * happened, and allocates meanwhile; it gives up after ROUNDS. */
#include "gcmalloc.h"

#include "abi.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { ROUNDS = 3000, BATCH = 1000, SIZE = 200, THREADS = 4, EACH = 4000 };

static bool never;
static atomic_int calls, cleanups;
static gcmalloc_weak *weak;

static void allocate_some(void)
{
    for (int i = 0; i < BATCH; i++)
        free(OPAQUE(malloc(48)));
    stack_clear();
}

/* A little longer than it takes, so that what must not happen again has its chance. */
static void wait_until(const atomic_int *count, int wanted)
{
    int rounds = never ? 50 : ROUNDS;
    for (int i = 0; i < rounds && atomic_load(count) < wanted; i++) {
        allocate_some();
        usleep(100);
    }
    for (int i = 0; i < 20; i++)
        allocate_some();
    CHECK(atomic_load(count) == (never ? 0 : wanted));
}

static int set(void *block, gcmalloc_finalizer *finalizer, void *data)
{
    int result = gcmalloc_set_finalizer(block, finalizer, data);
    CHECK(result == 0 || (never && errno == ENOSYS));
    return result;
}

static void add(void *block, gcmalloc_cleanup *cleanup, void *data)
{
    CHECK(gcmalloc_add_cleanup(block, cleanup, data) != 0 || (never && errno == ENOSYS));
}

static void *make(void)
{
    void *block = malloc(SIZE);
    CHECK(block != NULL);
    pattern_fill(block, SIZE, 7);
    return OPAQUE(block);
}

/* Without leaving behind what it has seen. */
static NOINLINE bool reads_null(gcmalloc_weak *w)
{
    bool is_null = gcmalloc_weak_get(w) == NULL;
    stack_clear();
    return is_null;
}

static void count_call(void *block, void *data)
{
    (void)block;
    (void)data;
    calls++;
}

static void count_cleanup(void *data)
{
    CHECK(data == NULL || pattern_holds(data, SIZE, 7));
    cleanups++;
}

static void make_counted(void)
{
    set(make(), count_call, NULL);
    add(make(), count_cleanup, NULL);
}

/* ---- once ---- */

static void check_call(void *block, void *data)
{
    char name[16];
    prctl(PR_GET_NAME, name);
    CHECK(strcmp(name, "gcmalloc-final") == 0);
    CHECK(pattern_holds(block, SIZE, 7) && pattern_holds(data, SIZE, 7));
    CHECK(gcmalloc_weak_get(weak) == NULL && cleanups == 0);
    pattern_fill(block, SIZE, 9);
    calls++;
}

static void make_once(void)
{
    void *block = make();
    set(block, count_call, NULL);
    set(block, check_call, make()); /* one per block */
    add(block, count_cleanup, make());
    weak = gcmalloc_weak_new(block);
    CHECK(weak != NULL && gcmalloc_weak_get(weak) == block);
}

static void kind_once(void)
{
    run_and_forget(make_once);
    wait_until(&calls, 1);
    wait_until(&cleanups, 1);
    CHECK(calls == (never ? 0 : 1) && (never || gcmalloc_weak_get(weak) == NULL));
    gcmalloc_weak_drop(weak);
}

/* What is in use is not finalized, and its weak reference holds. */
static void *volatile used;

static void make_used(void)
{
    used = make();
    set(used, count_call, NULL);
    weak = gcmalloc_weak_new(used);
    set(make(), count_call, NULL);
}

static void make_saved_used(void)
{
    used = make();
    set(used, count_call, NULL);
    weak = gcmalloc_weak_new(used);
    CHECK(gcmalloc_weak_new(used) != NULL);
}

static void kind_used(void)
{
    run_and_forget(make_used);
    wait_until(&calls, 1);
    CHECK(pattern_holds(used, SIZE, 7) && gcmalloc_weak_get(weak) == used);
}

/* ---- order, rings ---- */

static atomic_int order;

static void note_order(void *block, void *data)
{
    int number = *(int *)data;
    CHECK(order == number && *(int *)((char *)block + 64) == number);
    order++;
    calls++;
}

static void *make_link(int number, void *to)
{
    static int numbers[4] = {0, 1, 2, 3};
    char *block = make();
    *(void **)block = to;
    *(int *)(void *)(block + 64) = number;
    set(block, note_order, &numbers[number]);
    return block;
}

static void make_chain(void)
{
    make_link(0, make_link(1, make_link(2, make_link(3, NULL))));
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

/* A ring of three, two of which have finalizers, and a block that points into itself; and one with
 * a finalizer that hangs from a ring without any, and has one. */
static void make_rings(void)
{
    void **a = make(), **b = make(), **c = make(), **self = make(), **x = make(), **y = make();
    *a = b;
    *b = c;
    *c = a;
    *self = &self[4];
    set(a, fail_call, NULL);
    set(c, fail_call, NULL);
    set(self, fail_call, NULL);
    *x = y;
    *y = x;
    void **end = make();
    x[1] = end;
    end[1] = make();
    ((void **)end[1])[0] = end[1];
    set(end, count_call, NULL);
}

static void kind_rings(void)
{
    run_and_forget(make_rings);
    wait_until(&calls, 1);
}

/* ---- what a finalizer may do ---- */

static void *volatile saved;

static void save(void *block, void *data)
{
    CHECK(data == NULL && pattern_holds(block, SIZE, 7));
    saved = block;
    calls++;
}

static void make_saved(void)
{
    set(make(), save, NULL);
}

static void kind_resurrected(void)
{
    run_and_forget(make_saved);
    wait_until(&calls, 1);
    pressure(4 << 20, 0);
    CHECK(never || pattern_holds(saved, SIZE, 7));
    free(saved); /* a block like others */
}

static void again(void *block, void *data)
{
    CHECK(pattern_holds(block, SIZE, 7));
    if (++calls < 5)
        set(block, again, data);
    pressure(100000, 0);
}

static void make_again(void)
{
    set(make(), again, NULL);
}

static void kind_again(void)
{
    run_and_forget(make_again);
    wait_until(&calls, 5);
}

static void free_it(void *block, void *data)
{
    free(block);
    free(data);
    calls++;
}

static void make_freed(void)
{
    set(make(), free_it, make());
    void *block = make();
    set(block, fail_call, NULL);
    add(block, (gcmalloc_cleanup *)(void *)fail_call, NULL);
    gcmalloc_weak *w = gcmalloc_weak_new(block);
    free(block); /* takes all off */
    CHECK(gcmalloc_weak_get(w) == NULL || never);
    gcmalloc_weak_drop(w);
    block = make();
    set(block, fail_call, NULL);
    set(block, NULL, NULL);
    block = make();
    set(block, fail_call, NULL);
    set(realloc(block, SIZE - 1), NULL, NULL); /* in place, or not */
    block = make();
    set(block, fail_call, NULL);
    used = realloc(block, 100 * SIZE);
}

static void kind_frees(void)
{
    run_and_forget(make_freed);
    wait_until(&calls, 1);
}

/* Leaves by pthread_exit, once: the others are called all the same. */
static void quit_thread(void *block, void *data)
{
    (void)block;
    (void)data;
    calls++;
    pthread_exit(NULL);
}

static void make_quitting(void)
{
    set(make(), quit_thread, NULL);
}

static void kind_quits(void)
{
    run_and_forget(make_quitting);
    wait_until(&calls, 1);
    run_and_forget(make_counted);
    wait_until(&calls, 2);
    wait_until(&cleanups, 1);
}

/* What the program blocks, and what must not be blocked: the thread's mask. */
static bool is_blocked(int signal)
{
    sigset_t now;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &now) == 0);
    return sigismember(&now, signal);
}

/* Of all functions only one may not be called. */
static void ask_all(void *block, void *data)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    struct gcmalloc_stats stats = {.size = sizeof stats};
    errno = 0;
    CHECK(data == NULL && gcmalloc_collect() == -1 && errno == EDEADLK);
    CHECK(gcmalloc_collect_soon() == 0 && gcmalloc_read_stats(&stats) == 0);
    CHECK(gcmalloc_active() && gcmalloc_reason() == NULL);
    uint64_t number = gcmalloc_add_cleanup(block, count_cleanup, NULL);
    CHECK(number != 0 && gcmalloc_remove_cleanup(number) == 0);
    gcmalloc_weak *w = gcmalloc_weak_new(block);
    CHECK(gcmalloc_weak_get(w) == block);
    free(block);
    CHECK(gcmalloc_weak_get(w) == NULL);
    gcmalloc_weak_drop(w);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        CHECK(!is_blocked(faults[i]));
    CHECK(is_blocked(SIGINT) && is_blocked(SIGTERM) && is_blocked(SIGUSR1) && is_blocked(SIGCHLD));
    calls++;
}

static void make_asking(void)
{
    set(make(), ask_all, NULL);
}

static void kind_asks(void)
{
    run_and_forget(make_asking);
    wait_until(&calls, 1);
    CHECK(cleanups == 0);
}

/* ---- blocks of all sizes ---- */

enum { LARGE = 300000 };

static void check_kept(void *block, void *data)
{
    size_t size = (size_t)(uintptr_t)data;
    CHECK(pattern_holds(block, size, 7));
    calls++;
}

static void set_sized(void *block, size_t size)
{
    CHECK(block != NULL);
    pattern_fill(block, size, 7);
    set(OPAQUE(block), check_kept, (void *)(uintptr_t)size);
    add(block, count_cleanup, NULL);
}

static void make_sizes(void)
{
    void *aligned = NULL;
    set_sized(malloc(1), 1);
    set_sized(calloc(3, 1000), 3000);
    set_sized(malloc(LARGE), LARGE);
    set_sized(realloc(malloc(10), 50000), 50000);
    CHECK(posix_memalign(&aligned, 4096, 5000) == 0);
    set_sized(aligned, 5000);
    char *grown = malloc(LARGE); /* in place or not, its finalizer is taken off */
    set(grown, fail_call, NULL);
    grown = realloc(grown, 2 * LARGE);
    set_sized(grown, 2 * LARGE);
}

static void kind_sizes(void)
{
    run_and_forget(make_sizes);
    wait_until(&calls, 6);
    wait_until(&cleanups, 6);
}

/* ---- cycles by request ---- */

/* The caller allocates nothing: calls are made all the same. */
static void collect_until(const atomic_int *count, int wanted)
{
    for (int i = 0; i < ROUNDS && !never && atomic_load(count) < wanted; i++) {
        CHECK(gcmalloc_collect() == 0);
        stack_clear();
        usleep(100);
    }
    CHECK(atomic_load(count) == (never ? 0 : wanted));
}

/* confirm=3: none is called, and no weak reference cleared, before three cycles. */
static void make_confirmed(void)
{
    void *block = make();
    set(block, count_call, NULL);
    weak = gcmalloc_weak_new(make());
}

static struct gcmalloc_stats read_stats(void)
{
    struct gcmalloc_stats stats = {.size = sizeof stats};
    CHECK(gcmalloc_read_stats(&stats) == 0 || never);
    return stats;
}

/* A cycle is counted after its last stop: one more says that it was. */
static void kind_confirmed(void)
{
    uint32_t begun = read_stats().num_gc;
    run_and_forget(make_confirmed);
    while (!never && calls == 0 && !reads_null(weak)) {
        CHECK(gcmalloc_collect() == 0 && read_stats().num_gc - begun < ROUNDS);
        usleep(10000);
    }
    CHECK(never || (gcmalloc_collect() == 0 && read_stats().num_gc - begun >= 4));
    collect_until(&calls, 1);
    for (int i = 0; i < ROUNDS && !never && !reads_null(weak); i++)
        CHECK(gcmalloc_collect() == 0);
    CHECK(reads_null(weak) == !never);
}

/* A pinned block is reachable, and so is what it holds; what a leaf holds is no pointer. */
static uintptr_t hidden_pin;

static void make_pinned(void)
{
    void **pinned = make(), *leaf = gcmalloc_alloc_leaf(SIZE);
    *pinned = make();
    set(*pinned, count_call, NULL);
    set(pinned, count_call, NULL);
    CHECK(gcmalloc_pin(pinned) == 0 && leaf != NULL);
    *(void **)leaf = leaf;
    set(OPAQUE(leaf), count_call, NULL);
    hidden_pin = ~(uintptr_t)pinned;
}

static NOINLINE void unpin(void)
{
    CHECK(gcmalloc_unpin((void *)~hidden_pin) == 0);
    stack_clear();
}

static void kind_pinned(void)
{
    run_and_forget(make_pinned);
    collect_until(&calls, 1);
    for (int i = 0; i < 10 && !never; i++)
        CHECK(gcmalloc_collect() == 0);
    usleep(20000);
    CHECK(calls == (never ? 0 : 1));
    unpin();
    collect_until(&calls, 3);
}

/* In a child that allocates nothing. */
static void kind_child(void)
{
    int status = -1;
    run_and_forget(make_counted);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        collect_until(&calls, 1);
        collect_until(&cleanups, 1);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* What is told of them; those in cycles are known as such. */
static void kind_stats(void)
{
    make_saved_used();
    struct gcmalloc_stats stats = read_stats();
    CHECK(never || (stats.finalizers == 1 && stats.weak_references == 2));
    free(used);
    gcmalloc_weak_drop(weak);
    stats = read_stats();
    CHECK(never || (stats.finalizers == 0 && stats.weak_references == 1));
    run_and_forget(make_rings);
    collect_until(&calls, 1);
    for (int i = 0; i < ROUNDS && !never && read_stats().finalizers_in_cycles != 3; i++)
        CHECK(gcmalloc_collect() == 0);
    CHECK(never || (read_stats().finalizers == 3 && read_stats().finalizers_in_cycles == 3));
}

/* ---- a freed block's address is used again ---- */

static void kind_reused(void)
{
    for (int i = 0; i < 20000; i++) {
        void *block = make();
        gcmalloc_weak *w = gcmalloc_weak_new(block);
        uint64_t number = gcmalloc_add_cleanup(block, count_cleanup, NULL);
        set(block, fail_call, NULL);
        free(OPAQUE(block));
        block = OPAQUE(malloc(SIZE)); /* mostly the same one */
        CHECK(never || (gcmalloc_weak_get(w) == NULL && gcmalloc_remove_cleanup(number) == -1));
        CHECK(gcmalloc_weak_new(block) != NULL);
        gcmalloc_weak_drop(w);
        free(block);
    }
    CHECK(cleanups == 0);
}

/* ---- bad arguments ---- */

static void expect_error(int result, int error)
{
    CHECK(result == -1 && (errno == error || (never && errno == ENOSYS)));
}

static void kind_bad(void)
{
    int local = 0;
    char *block = make(), *freed = make();
    free(freed);
    void *places[] = {NULL, block + 16, block + 1, &local, freed, (void *)(uintptr_t)4096};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        expect_error(gcmalloc_set_finalizer(places[i], count_call, NULL), EINVAL);
        CHECK(gcmalloc_add_cleanup(places[i], count_cleanup, NULL) == 0);
        CHECK(never || gcmalloc_weak_new(places[i]) == NULL);
    }
    CHECK(gcmalloc_add_cleanup(block, NULL, NULL) == 0);
    CHECK(gcmalloc_weak_new(NULL) == NULL && errno == EINVAL && gcmalloc_weak_get(NULL) == NULL);
    expect_error(gcmalloc_remove_cleanup(0), ENOENT);
    expect_error(gcmalloc_remove_cleanup(UINT64_MAX), ENOENT);
    uint64_t number = gcmalloc_add_cleanup(block, count_cleanup, NULL);
    int removed = gcmalloc_remove_cleanup(number);
    CHECK(number != 0 ? removed == 0 : never);
    expect_error(gcmalloc_remove_cleanup(number), ENOENT);
    gcmalloc_weak *w = gcmalloc_weak_new(block);
    gcmalloc_weak_drop(w);
    gcmalloc_weak_drop(w); /* no reference any more */
    gcmalloc_weak_drop(NULL);
    CHECK(never || (gcmalloc_weak_get((gcmalloc_weak *)(void *)block) == NULL && errno == EINVAL));
    CHECK(pattern_holds(block, SIZE, 7));
    free(block);
    wait_until(&calls, 0);
    CHECK(cleanups == 0);
}

/* Another thread frees, or resizes, what one has set a finalizer on. */
static void *_Atomic handed;
static atomic_bool all_handed;

static void *end_blocks(void *unused)
{
    for (unsigned i = 0; !all_handed || handed != NULL; i++) {
        void *block = atomic_exchange(&handed, NULL);
        if (block == NULL)
            sched_yield();
        else
            free(i % 2 != 0 ? block : realloc(block, i % 4 != 0 ? SIZE / 2 + 10 : 3 * SIZE));
    }
    return unused;
}

static void kind_handed(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, end_blocks, NULL) == 0);
    for (int i = 0; i < 20000; i++) {
        void *block = make(), *nothing = NULL;
        set(block, fail_call, NULL);
        add(block, (gcmalloc_cleanup *)(void *)fail_call, NULL);
        while (!atomic_compare_exchange_weak(&handed, &nothing, block)) {
            nothing = NULL;
            sched_yield();
        }
    }
    all_handed = true;
    CHECK(pthread_join(thread, NULL) == 0);
    wait_until(&calls, 0);
}

/* Many weak references to one block, and a cache of weak references: get() beside everything. */
enum { CACHED = 64 };
static struct {
    pthread_mutex_t lock;
    gcmalloc_weak *weak;
    void *strong;
} cache[CACHED];

static void refill(unsigned i)
{
    pthread_mutex_lock(&cache[i].lock);
    gcmalloc_weak_drop(cache[i].weak);
    cache[i].strong = make();
    cache[i].weak = gcmalloc_weak_new(cache[i].strong);
    pthread_mutex_unlock(&cache[i].lock);
}

/* What get() has given stays whole for as long as it is held. */
static void use_cached(unsigned i)
{
    pthread_mutex_lock(&cache[i].lock);
    void *block = gcmalloc_weak_get(cache[i].weak);
    cache[i].strong = NULL;
    pthread_mutex_unlock(&cache[i].lock);
    if (block == NULL) {
        calls++;
        refill(i);
        return;
    }
    for (int k = 0; k < 20; k++)
        free(OPAQUE(malloc(SIZE)));
    CHECK(pattern_holds(OPAQUE(block), SIZE, 7));
}

static void *use_cache(void *seed)
{
    uint32_t state = (uint32_t)(uintptr_t)seed;
    for (int i = 0; i < EACH; i++)
        use_cached(random_next(&state) % CACHED);
    return NULL;
}

static void kind_cache(void)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < CACHED; i++) {
        pthread_mutex_init(&cache[i].lock, NULL);
        refill(i);
    }
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, use_cache, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(never ? calls == 0 : calls > 0);
}

/* Nothing but weak references knows these blocks: what get() gives is whole for as long as it is
 * held, here by a stack, also if a cycle was just about to give it up. */
enum { LOST = 1000, HELD = 100 };

static void *take_lost(gcmalloc_weak **w)
{
    void *block = *w == NULL ? NULL : gcmalloc_weak_get(*w);
    if (block == NULL) {
        gcmalloc_weak_drop(*w);
        block = make();
        *w = gcmalloc_weak_new(block);
    }
    return block;
}

static void *hold_lost(void *seed)
{
    static gcmalloc_weak *lost[THREADS][LOST];
    void *held[HELD] = {NULL};
    uint32_t number = (uint32_t)(uintptr_t)seed, state = number + 1;
    for (int i = 0; i < 20 * EACH; i++) {
        void **oldest = &held[i % HELD];
        CHECK(*oldest == NULL || pattern_holds(OPAQUE(*oldest), SIZE, 7));
        *oldest = take_lost(&lost[number][random_next(&state) % LOST]);
        memset(make(), 11, SIZE); /* in the place of one, if it were free; lost */
    }
    return NULL;
}

static void kind_lost(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, hold_lost, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static gcmalloc_weak *weaks[EACH];

static void make_weaks(void)
{
    void *block = make();
    for (int i = 0; i < EACH; i++)
        weaks[i] = gcmalloc_weak_new(block);
}

/* All of them in one stop. */
static void kind_weaks(void)
{
    run_and_forget(make_weaks);
    for (int i = 0; i < ROUNDS && !never && !reads_null(weaks[EACH / 2]); i++)
        allocate_some();
    for (int i = 0; i < EACH; i++) {
        CHECK(never || gcmalloc_weak_get(weaks[i]) == NULL);
        gcmalloc_weak_drop(weaks[i]);
    }
}

/* ---- many threads ---- */

struct item {
    atomic_int called;
    gcmalloc_weak *weak;
};
static struct item items[THREADS][EACH];

static void call_item(void *block, void *data)
{
    struct item *item = data;
    CHECK(pattern_holds(block, SIZE, 7) && gcmalloc_weak_get(item->weak) == NULL);
    CHECK(atomic_fetch_add(&item->called, 1) == 0);
    calls++;
}

/* What a weak reference gives is whole. */
static void look_at(struct item *item)
{
    void *block = item->weak == NULL ? NULL : gcmalloc_weak_get(item->weak);
    CHECK(block == NULL || pattern_holds(block, SIZE, 7));
}

static void *lose_many(void *data)
{
    struct item *mine = data;
    for (int i = 0; i < EACH; i++) {
        void *block = make();
        mine[i].weak = gcmalloc_weak_new(block);
        set(block, call_item, &mine[i]);
        block = NULL;
        block = OPAQUE(block);
        for (int k = 1; k < 200; k *= 3)
            look_at(&mine[i >= k ? i - k : 0]);
    }
    return NULL;
}

static void kind_many(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, lose_many, items[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < ROUNDS && !never && calls < THREADS * EACH - 16; i++) {
        allocate_some();
        usleep(100);
    }
    CHECK(never ? calls == 0 : calls >= THREADS * EACH - 16);
}

/* ---- fork ---- */

/* The first blocks are made before fork: parent and child call for their own. A call that is just
 * being made when the process forks is not made again in the child, so one is held up meanwhile. */
static atomic_bool forked;

static void wait_for_fork(void *block, void *data)
{
    count_call(block, data);
    while (!forked)
        usleep(1000);
}

static void make_waiting(void)
{
    set(make(), wait_for_fork, NULL);
}

static void expect_counted(int wanted)
{
    wait_until(&calls, wanted);
    wait_until(&cleanups, wanted);
}

static void kind_forked(void)
{
    run_and_forget(make_waiting);
    wait_until(&calls, 1);
    calls = 0;
    run_and_forget(make_counted);
    allocate_some();
    pid_t child = fork();
    CHECK(child >= 0);
    forked = true;
    expect_counted(1);
    run_and_forget(make_counted);
    expect_counted(2);
    if (child == 0)
        _exit(0);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* The child makes none of the calls that wait. */
static pid_t first_pid;

static void fork_it(void *block, void *data)
{
    int status = -1;
    (void)block;
    (void)data;
    if (getpid() != first_pid)
        _exit(1);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        free(OPAQUE(malloc(100)));
        return;
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    calls++;
}

static void make_forking(void)
{
    for (int i = 0; i < 3; i++)
        set(make(), fork_it, NULL);
}

static void kind_forks(void)
{
    first_pid = getpid();
    run_and_forget(make_forking);
    wait_until(&calls, 3);
}

/* ---- how a process ends ---- */

static void block_for_ever(void *block, void *data)
{
    (void)block;
    (void)data;
    calls++;
    for (;;)
        pause();
}

static void make_blocking(void)
{
    set(make(), block_for_ever, NULL);
}

static void kind_blocks(void)
{
    run_and_forget(make_blocking);
    wait_until(&calls, 1);
}

/* Nothing is called when exit() has come to what was set before. */
static int calls_before;

static void look_for_calls(void)
{
    calls_before = calls;
    if (!never)
        run_and_forget(make_counted);
    for (int i = 0; i < 100; i++)
        allocate_some();
    usleep(20000);
    if (calls != calls_before || cleanups != 0)
        _exit(1);
}

static void kind_exits(void)
{
    CHECK(atexit(look_for_calls) == 0);
    set(make(), count_call, NULL);
}

static void *say_done(void *unused)
{
    allocate_some();
    printf("done\n");
    fflush(stdout);
    return unused;
}

/* The last thread of the program ends, by itself. */
static void kind_leaves(void)
{
    pthread_t thread;
    run_and_forget(make_counted);
    wait_until(&calls, 1);
    CHECK(pthread_create(&thread, NULL, say_done, NULL) == 0 && pthread_detach(thread) == 0);
    pthread_exit(NULL);
}

static volatile int *volatile nowhere;

static void crash(void *block, void *data)
{
    (void)block;
    (void)data;
    printf("crashing\n");
    fflush(stdout);
    *nowhere = 1;
}

static void make_crashing(void)
{
    set(make(), crash, NULL);
}

static void kind_crashes(void)
{
    run_and_forget(make_crashing);
    wait_until(&calls, 1);
}

int main(int argc, char **argv)
{
    static const struct kind kinds[] = {
        KIND(once), KIND(used), KIND(order), KIND(rings), KIND(resurrected), KIND(again),
        KIND(frees), KIND(reused), KIND(bad), KIND(many), KIND(forked), KIND(forks), KIND(blocks),
        KIND(leaves), KIND(crashes), KIND(quits), KIND(asks), KIND(sizes), KIND(confirmed),
        KIND(child), KIND(pinned), KIND(stats), KIND(handed), KIND(cache), KIND(lost),
        KIND(weaks), KIND(exits),
    };
    CHECK(argc >= 2);
    never = argc > 2 && strcmp(argv[2], "never") == 0;
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
