/* pins.c -- gcmalloc.h, sections 4 and 5, as a program uses them.   pins KIND
 *
 * Blocks are hidden: their addresses are kept as complements, so that only what the header's
 * functions were told keeps them. A load leaks, and with stress cycles run meanwhile; then each
 * block is read. Without the library nothing is ever reclaimed, and all functions do what their
 * comments say for that case.
 *
 *   pinned, counted, ignored, added, mapped_file, included, leaf, pooled: what keeps a block
 *   excluded, ended, reused: and what does not. Only the library can lose them: `lost` says how
 *           many of the blocks' slots hold something else afterwards
 *   arguments: bad ones; forked: in fork's child; why: the way to a block; pool: objects come and go
 *   threads: pools and pins under contention; in_handler: from a handler of a signal */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "abi.h"
#include "gcmalloc.h"

extern int weak_pin(void *block) __asm__("gcmalloc_pin") __attribute__((weak));

enum { KEPT = 8, SIZE = 200, PAGE = 4096 };

static uintptr_t disguised[KEPT];

static NOINLINE char *reveal(unsigned i)
{
    return (char *)~disguised[i];
}

static NOINLINE void hide(void *(*allocate)(size_t size))
{
    for (unsigned i = 0; i < KEPT; i++) {
        size_t size = i % 4 == 3 ? 100000 : SIZE;
        char *block = allocate(size);
        CHECK(block != NULL);
        pattern_fill(block, SIZE, i);
        disguised[i] = ~(uintptr_t)block;
    }
}

static NOINLINE void each(int (*call)(void *block))
{
    for (unsigned i = 0; i < KEPT; i++)
        CHECK(call(reveal(i)) == 0);
}

static NOINLINE void load(void)
{
    stack_clear();
    pressure(8u << 20, 1);
    stack_clear();
}

static NOINLINE void all_there(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        CHECK(pattern_holds(reveal(i), SIZE, i));
}

static NOINLINE void free_all(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        free(reveal(i));
}

/* How many of them are somebody else's by now. */
static NOINLINE void print_lost(void)
{
    unsigned lost = 0;
    for (unsigned i = 0; i < KEPT; i++)
        lost += !pattern_holds(reveal(i), SIZE, i);
    printf("lost %u\n", lost);
}

/* ---- pins ---- */

static void counted_as(uint64_t pinned, uint64_t ignored)
{
    struct gcmalloc_stats s = {.size = sizeof s};
    CHECK(!gcmalloc_active() || gcmalloc_read_stats(&s) == 0);
    CHECK(!gcmalloc_active() || (s.pinned == pinned && s.ignored == ignored));
}

static void kind_pinned(void)
{
    hide(malloc);
    each(gcmalloc_pin);
    load();
    all_there();
    counted_as(KEPT, 0);
    each(gcmalloc_unpin);
    counted_as(0, 0);
    free_all();
}

static void kind_counted(void)
{
    hide(malloc);
    for (unsigned i = 0; i < 3; i++)
        each(gcmalloc_pin);
    each(gcmalloc_unpin);
    each(gcmalloc_unpin);
    load();
    all_there();
    free_all();
}

/* What only an ignored block holds is kept, too. */
static NOINLINE void chain(void)
{
    void **holder = malloc(sizeof *holder * KEPT);
    CHECK(holder != NULL);
    for (unsigned i = 0; i < KEPT; i++)
        holder[i] = reveal(i);
    CHECK(gcmalloc_ignore(holder) == 0);
    CHECK(gcmalloc_ignore(holder) == 0);
}

static void kind_ignored(void)
{
    hide(malloc);
    chain();
    load();
    all_there();
    counted_as(0, 1);
}

/* free() ends a pin: what comes to lie there is not pinned. */
static void kind_ended(void)
{
    hide(malloc);
    each(gcmalloc_pin);
    each(gcmalloc_pin);
    free_all();
    counted_as(0, 0);
    hide(malloc);
    load();
    load();
    print_lost();
}

static void kind_reused(void)
{
    enum { ROUNDS = 20000 };
    for (unsigned i = 0; i < ROUNDS; i++) {
        void *block = malloc(16 + i % 500);
        CHECK(block != NULL && gcmalloc_pin(block) == 0);
        free(block);
        block = malloc(16 + i % 500);
        CHECK(block != NULL);
        if (weak_pin != NULL)
            CHECK(gcmalloc_unpin(block) == -1 && errno == EINVAL);
        free(block);
    }
}

/* ---- ranges ---- */

static NOINLINE void store(void **words)
{
    for (unsigned i = 0; i < KEPT; i++)
        words[i] = reveal(i);
}

static int new_file(void)
{
    char name[] = "/tmp/pins-XXXXXX";
    int fd = mkstemp(name);
    CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 16 * PAGE) == 0);
    return fd;
}

static void *map_file(void)
{
    int fd = new_file();
    char *at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    close(fd);
    return at;
}

static void kind_added(void)
{
    char *file = map_file();
    hide(malloc);
    CHECK(gcmalloc_add_roots(file, 16 * PAGE) == 0);
    store((void **)(file + 9 * PAGE - 8 * KEPT));
    load();
    all_there();
    CHECK(gcmalloc_remove_roots(file, 16 * PAGE) == 0);
}

static void map_words(char **at)
{
    *at = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(*at != MAP_FAILED);
}

static void kind_excluded(void)
{
    char *at;
    map_words(&at);
    hide(malloc);
    CHECK(gcmalloc_exclude(at + 100, 10 * PAGE) == 0);
    store((void **)(at + 2 * PAGE));
    load();
    load();
    print_lost();
}

/* Next to an excluded range, and in one that counts again. */
static void kind_included(void)
{
    char *at;
    map_words(&at);
    hide(malloc);
    CHECK(gcmalloc_exclude(at + PAGE, PAGE) == 0);
    store((void **)(at + 2 * PAGE));
    load();
    all_there();
    CHECK(gcmalloc_exclude(at + 5 * PAGE, 100) == 0);
    CHECK(gcmalloc_include(at + PAGE, PAGE) == 0);
    store((void **)(at + PAGE));
    memset(at + 2 * PAGE, 0, PAGE);
    load();
    all_there();
}

/* Excluded and included again and again, beside the collector. */
static void kind_toggled(void)
{
    char *at;
    map_words(&at);
    hide(malloc);
    store((void **)(at + PAGE));
    for (unsigned i = 0; i < 200; i++) {
        CHECK(gcmalloc_exclude(at + 2 * PAGE, PAGE) == 0);
        store((void **)(at + PAGE));
        memset(at + 2 * PAGE, 0, PAGE);
        pressure(100000, 1);
        CHECK(gcmalloc_include(at + 2 * PAGE, PAGE) == 0);
        store((void **)(at + 2 * PAGE));
        memset(at + PAGE, 0, PAGE);
        pressure(100000, 1);
    }
    all_there();
}

/* ---- leaf memory ---- */

static void *leaf;

/* What lies in a leaf keeps nothing: see `lost`. Kept itself, its bytes are its own. */
static void leaves(size_t size)
{
    leaf = gcmalloc_alloc_leaf(size);
    CHECK(leaf != NULL);
    hide(malloc);
    store(leaf);
    stack_clear();
    load();
    load();
    print_lost();
    leaf = realloc(leaf, 3 * size);
    CHECK(leaf != NULL);
    CHECK(((uintptr_t *)leaf)[0] == ~disguised[0]);
    hide(malloc);
    store(leaf);
    load();
    load();
    print_lost();
    free(leaf);
}

static void kind_leaf_small(void)
{
    leaves(KEPT * sizeof(void *));
}

static void kind_leaf_large(void)
{
    leaves(1u << 20);
}

/* Reachable leaves stay what they are, of all sizes, beside their like. */
static void kind_leaves(void)
{
    enum { COUNT = 3000 };
    static char *kept[COUNT];
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            size_t size = 1 + (i * 37) % 3000 + (i % 100 == 0) * 100000;
            if (kept[i] != NULL)
                CHECK(pattern_holds(kept[i], 1 + (i * 37) % 3000, i));
            free(kept[i]);
            kept[i] = gcmalloc_alloc_leaf(size);
            CHECK(kept[i] != NULL && ((uintptr_t)kept[i] & 15) == 0);
            pattern_fill(kept[i], 1 + (i * 37) % 3000, i);
            if (i % 3 == 0)
                kept[i] = realloc(kept[i], size + 500 * round);
        }
        pressure(1u << 20, 1);
    }
    for (unsigned i = 0; i < COUNT; i++)
        CHECK(pattern_holds(kept[i], 1 + (i * 37) % 3000, i));
}

/* ---- bad arguments ---- */

static void bad(int result, int error)
{
    if (weak_pin == NULL) {
        CHECK(result == 0);
        return;
    }
    CHECK(result == -1 && errno == error);
}

static void bad_block(void *block)
{
    bad(gcmalloc_pin(block), EINVAL);
    bad(gcmalloc_unpin(block), EINVAL);
    bad(gcmalloc_ignore(block), EINVAL);
    char text[8];
    CHECK(gcmalloc_why_alive(block, text, sizeof text) == -1);
    CHECK(errno == (weak_pin == NULL ? ENOSYS : EINVAL));
}

static void kind_arguments(void)
{
    static char word[8];
    char here[8], *block = malloc(100), *freed = OPAQUE(malloc(100)), *at;
    map_words(&at);
    free(freed);
    bad_block(NULL);
    bad_block(block + 16);
    bad_block(block + 1);
    bad_block(freed);
    bad_block(word);
    bad_block(here);
    bad_block((void *)1);
    bad_block((void *)-1);
    bad(gcmalloc_unpin(block), EINVAL);
    CHECK(gcmalloc_pin(block) == 0 && gcmalloc_unpin(block) == 0);
    bad(gcmalloc_unpin(block), EINVAL);
    bad(gcmalloc_add_roots(NULL, 10), EINVAL);
    bad(gcmalloc_add_roots(at, 0), EINVAL);
    bad(gcmalloc_add_roots(at, SIZE_MAX), EINVAL);
    CHECK(gcmalloc_add_roots(at, 100) == 0);
    bad(gcmalloc_add_roots(at, 100), EEXIST);
    bad(gcmalloc_add_roots(at + 99, 100), EEXIST);
    CHECK(gcmalloc_add_roots(at + 100, 100) == 0 && gcmalloc_exclude(at, 300) == 0);
    bad(gcmalloc_remove_roots(at, 99), ENOENT);
    bad(gcmalloc_include(at + 1, 299), ENOENT);
    CHECK(gcmalloc_remove_roots(at, 100) == 0 && gcmalloc_include(at, 300) == 0);
    bad(gcmalloc_remove_roots(at, 100), ENOENT);
    size_t most = OPAQUE(SIZE_MAX);
    CHECK(gcmalloc_alloc_leaf(most) == NULL && errno == ENOMEM);
    free(gcmalloc_alloc_leaf(0));
    CHECK(gcmalloc_pool_get(NULL) == NULL);
    gcmalloc_pool_put(NULL, block);
    gcmalloc_pool_free(NULL);
    free(block);
}

/* ---- the child of fork ---- */

static void kind_forked(void)
{
    char *file = map_file();
    hide(malloc);
    each(gcmalloc_pin);
    pid_t child = fork();
    if (child == 0) {
        load();
        all_there();
        CHECK(gcmalloc_add_roots(file, 16 * PAGE) == 0);
        store((void **)file);
        each(gcmalloc_unpin);
        load();
        all_there();
        fflush(stdout);
        _exit(0);
    }
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    load();
    all_there();
}

/* ---- why ---- */

static void **held;

static NOINLINE void make_held(void)
{
    held = malloc(3 * sizeof *held);
    held[1] = malloc(40);
    ((void **)held[1])[2] = gcmalloc_alloc_leaf(77);
    disguised[0] = ~(uintptr_t)((void **)held[1])[2];
}

static NOINLINE long ask(char *text, size_t room)
{
    return gcmalloc_why_alive(reveal(0), text, room);
}

static NOINLINE void drop_held(void)
{
    held[1] = NULL;
}

static void kind_why(void)
{
    static char text[4096];
    run_and_forget(make_held);
    stack_clear();
    long length = ask(text, sizeof text);
    if (weak_pin == NULL) {
        CHECK(length == -1 && errno == ENOSYS);
        return;
    }
    CHECK(length > 0 && (size_t)length == strlen(text));
    fputs(text, stdout);
    char less[10] = "";
    stack_clear();
    CHECK(ask(less, sizeof less) == length && strlen(less) == 9);
    CHECK(ask(NULL, 0) == length);
    run_and_forget(drop_held);
    stack_clear();
    /* Or some word that our own calls have left on this stack: that comes last, if nothing else is
     * found. */
    CHECK(ask(text, sizeof text) == 0 || strncmp(text, "stack of thread ", 16) == 0);
    CHECK(gcmalloc_pin(reveal(0)) == 0);
    stack_clear();
    CHECK(ask(text, sizeof text) > 0);
    fputs(text, stdout);
    CHECK(gcmalloc_unpin(reveal(0)) == 0);
}

/* ---- pools ---- */

static _Atomic unsigned made, dropped;

static void *make(void *data)
{
    atomic_fetch_add(&made, 1);
    char *object = malloc(100);
    CHECK(object != NULL);
    pattern_fill(object, 100, *(unsigned *)data);
    return object;
}

static void drop(void *object, void *data)
{
    CHECK(pattern_holds(object, 100, *(unsigned *)data));
    atomic_fetch_add(&dropped, 1);
    free(object);
}

static unsigned seed = 5;

static NOINLINE void fill(gcmalloc_pool *pool, unsigned count)
{
    static void *objects[3000];
    for (unsigned i = 0; i < count; i++)
        CHECK((objects[i] = gcmalloc_pool_get(pool)) != NULL);
    for (unsigned i = 0; i < count; i++)
        gcmalloc_pool_put(pool, objects[i]);
}

static void kind_pool(void)
{
    gcmalloc_pool *pool = gcmalloc_pool_new(make, drop, &seed);
    CHECK(pool != NULL);
    fill(pool, 3000);
    CHECK(made == 3000);
    fill(pool, 3000); /* a cycle may lie in between, but not two */
    gcmalloc_pool_put(pool, NULL);
    for (unsigned i = 0; i < 10; i++)
        load();
    fill(pool, 1);
    printf("dropped %s\n", dropped >= 2900 ? "most" : "few");
    gcmalloc_pool_free(pool);
    CHECK(made == dropped);
    pool = gcmalloc_pool_new(NULL, NULL, NULL);
    CHECK(gcmalloc_pool_get(pool) == NULL);
    gcmalloc_pool_put(pool, malloc(10));
    gcmalloc_pool_free(pool);
}

static void *use_pool(void *argument)
{
    gcmalloc_pool *pool = argument;
    for (unsigned i = 0; i < 20000; i++) {
        char *first = gcmalloc_pool_get(pool), *second = gcmalloc_pool_get(pool);
        CHECK(first != second && pattern_holds(first, 100, seed));
        memset(first, (int)i, 100);
        CHECK(pattern_holds(second, 100, seed));
        pattern_fill(first, 100, seed);
        CHECK(gcmalloc_pin(first) == 0 && gcmalloc_unpin(first) == 0);
        gcmalloc_pool_put(pool, first);
        gcmalloc_pool_put(pool, second);
        if (i % 16 == 0)
            pressure(3000, 1);
    }
    return NULL;
}

static void kind_threads(void)
{
    pthread_t threads[4];
    gcmalloc_pool *pool = gcmalloc_pool_new(make, drop, &seed);
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, use_pool, pool) == 0);
    for (unsigned i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    pid_t child = fork();
    if (child == 0) {
        use_pool(pool);
        gcmalloc_pool_free(pool);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    gcmalloc_pool_free(pool);
    CHECK(made == dropped);
}

/* ---- the table ---- */

static const struct kind kinds[] = {
    KIND(pinned), KIND(counted), KIND(ignored), KIND(ended), KIND(reused), KIND(added),
    KIND(excluded), KIND(included), KIND(toggled), KIND(leaf_small), KIND(leaf_large),
    KIND(leaves), KIND(arguments), KIND(forked), KIND(why), KIND(pool), KIND(threads),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
