/* gc_team.c -- several markers mark what one marks, whatever happens meanwhile.
 *
 * A graph lives in real blocks and in the test's own books; the books tell what must be reached. It
 * is marked with one to four workers, with time that runs out again and again, with guests that
 * come and go, without memory for work lists, and while another thread allocates and frees. Books
 * are in plain memory: what is fed to the markers is the only root. */
#include "gc/team.h"

#include "base/rng.h"
#include "child.h"
#include "gc/own_thread.h"
#include "gc/protected.h"
#include "heap/heap.h"
#include "heap/judge.h"
#include "heap/slab.h"
#include "mutator/alloc.h"
#include "mutator/thread.h"
#include "shrink.h"
#include "sys/clock.h"
#include "sys/mem.h"

#include <pthread.h>

enum { NODES_MOST = 60000, LINKS = 3, WORKERS = 4 };

struct node {
    char *block;
    uint32_t size;
    int target[LINKS];
    bool reached;
};

static struct node nodes[NODES_MOST];
static int node_count, pending[NODES_MOST];
static uint64_t seed = 11;
static _Atomic bool refuse_memory, stop_helpers;

/* ---- memory that can be refused ---- */

bool __real_mem_commit(void *start, size_t size);
bool __wrap_mem_commit(void *start, size_t size);
bool __wrap_mem_commit(void *start, size_t size)
{
    bool list = (char *)start >= arena.mark_stack &&
                (char *)start < arena.mark_stack + arena.mark_stack_size;
    return !(list && relaxed_load(&refuse_memory)) && __real_mem_commit(start, size);
}

/* ---- graphs ---- */

static void start(void)
{
    static const struct alloc_settings plain = {.arena = true};
    EXPECT(heap_init(4 * GIB, true));
    alloc_start(&plain);
    EXPECT(team_init());
    node_count = 0;
}

static size_t below(size_t limit)
{
    return rng_next(&seed) % limit;
}

static void new_node(size_t size)
{
    nodes[node_count++] = (struct node){.block = alloc_calloc(1, size), .size = (uint32_t)size,
                                        .target = {-1, -1, -1}};
}

/* Word number `link` (or one far inside) of `from` points somewhere into `to`. */
static void set_link(int from, int link, int to, size_t inside)
{
    struct node *n = &nodes[from];
    size_t share = n->size / WORD_SIZE / LINKS, at = (size_t)link * share + below(share);
    char *value = nodes[to].block + inside;
    n->target[link] = to;
    memcpy(n->block + at * WORD_SIZE, &value, WORD_SIZE);
}

static size_t random_size(void)
{
    uint64_t kind = below(1000);
    if (kind == 0)
        return 200000 + below(3 << 20);
    return kind < 20 ? 1000 + below(20000) : 24 + below(300);
}

/* Random links, about one in four of them missing: a part is reachable from a few nodes. */
static void make_random(int count)
{
    for (int i = 0; i < count; i++)
        new_node(random_size());
    for (int i = 0; i < count; i++)
        for (int link = 0; link < LINKS; link++) {
            int to = (int)below((size_t)count);
            if (below(4) != 0)
                set_link(i, link, to, below(nodes[to].size));
        }
}

static void make_chain(int count)
{
    for (int i = 0; i < count; i++)
        new_node(64);
    for (int i = 1; i < count; i++)
        set_link(i - 1, 0, i, 0);
}

static void reach(int root)
{
    int depth = 0;
    for (int i = 0; i < node_count; i++)
        nodes[i].reached = false;
    nodes[root].reached = true;
    pending[depth++] = root;
    while (depth > 0) {
        struct node *n = &nodes[pending[--depth]];
        for (int i = 0; i < LINKS; i++)
            if (n->target[i] >= 0 && !nodes[n->target[i]].reached) {
                nodes[n->target[i]].reached = true;
                pending[depth++] = n->target[i];
            }
    }
}

static void begin(unsigned workers)
{
    EXPECT(team_hire(workers) >= workers);
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    team_start(workers, NULL);
}

static bool is_marked(const struct node *n)
{
    return relaxed_load(slot_of((uintptr_t)n->block)) == relaxed_load(&hot.epoch);
}

static void expect_marked(void)
{
    uint64_t blocks = 0, wrong = 0;
    for (int i = 0; i < node_count; i++) {
        wrong += is_marked(&nodes[i]) != nodes[i].reached;
        blocks += nodes[i].reached;
    }
    EXPECT(wrong == 0);
    EXPECT(team_totals().marked_blocks == blocks);
}

static void mark_from(unsigned workers, int root)
{
    reach(root);
    begin(workers);
    mark_word(team_leader(), (uintptr_t)nodes[root].block);
    EXPECT(team_drain(0));
    expect_marked();
    team_end();
}

static void random_graphs(void)
{
    start();
    make_random(20000);
    for (int round = 0; round < 40; round++)
        mark_from(1 + (unsigned)round % WORKERS, (int)below(20000));
}

static void chains(void)
{
    start();
    make_chain(NODES_MOST);
    for (unsigned workers = 1; workers <= WORKERS; workers++)
        mark_from(workers, (int)workers);
}

/* ---- both loops ---- */

static void loops(void)
{
    start();
    make_random(20000);
    for (int round = 0; round < 6; round++) {
        int root = (int)below(20000);
        reach(root);
        begin(1);
        team_leader()->loop = round % 2 == 0 ? mark_loop_portable : mark_loop_avx2;
        if (round % 2 == 1 && !__builtin_cpu_supports("avx2"))
            continue;
        mark_word(team_leader(), (uintptr_t)nodes[root].block);
        EXPECT(team_drain(0));
        expect_marked();
        EXPECT(team_totals().scanned_bytes + WORD_SIZE * 20000 >= team_totals().marked_bytes);
    }
}

/* ---- no memory for lists ---- */

static void full_lists(void)
{
    start();
    make_random(8000);
    relaxed_store(&refuse_memory, true);
    for (int round = 0; round < 12; round++)
        mark_from(1 + (unsigned)round % WORKERS, (int)below(8000));
    relaxed_store(&refuse_memory, false);
    mark_from(2, 5);
}

/* ---- a shorter list ---- */

static void shrunk(void)
{
    start();
    make_random(20000);
    for (unsigned workers = 1; workers <= WORKERS; workers++)
        mark_from(workers, (int)below(20000));
    EXPECT(shrink(GIB / 4));
    team_divide();
    EXPECT(team_leader()->work.items == (struct work *)(void *)arena.mark_stack);
    EXPECT(team_leader()->work.most * sizeof(struct work) <= arena.mark_stack_size / 2);
    for (unsigned workers = 1; workers <= WORKERS; workers++)
        mark_from(workers, (int)below(20000));
}

/* ---- time runs out ---- */

static void deadlines(void)
{
    start();
    make_random(40000);
    for (unsigned workers = 1; workers <= WORKERS; workers++) {
        unsigned late = 0;
        reach(17);
        begin(workers);
        mark_word(team_leader(), (uintptr_t)nodes[17].block);
        while (!team_drain(clock_now_ns() + 50000))
            late++;
        expect_marked();
        EXPECT(late > 0);
        team_end();
    }
}

static void no_time_at_all(void)
{
    start();
    make_chain(2000);
    reach(0);
    begin(2);
    mark_word(team_leader(), (uintptr_t)nodes[0].block);
    EXPECT(!team_drain(1));
    EXPECT(team_drain(0));
    expect_marked();
    EXPECT(team_drain(0)); /* and nothing more to do */
    team_end();
}

static void *abort_soon(void *unused)
{
    (void)unused;
    usleep(300);
    team_abort();
    return NULL;
}

static void aborts(void)
{
    start();
    make_random(40000);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        begin(1 + (unsigned)round % WORKERS);
        EXPECT(pthread_create(&thread, NULL, abort_soon, NULL) == 0);
        mark_word(team_leader(), (uintptr_t)nodes[round].block);
        team_drain(0);
        pthread_join(thread, NULL);
        EXPECT(!team_drain(0)); /* for the rest of the phase */
        team_end();
    }
    mark_from(3, 4); /* the next is as any */
}

/* ---- guests ---- */

static void *visit(void *unused)
{
    (void)unused;
    while (!relaxed_load(&stop_helpers))
        team_assist(20000);
    return NULL;
}

static void guests(void)
{
    pthread_t threads[6];
    start();
    make_random(40000);
    for (size_t i = 0; i < GC_COUNT(threads); i++)
        EXPECT(pthread_create(&threads[i], NULL, visit, NULL) == 0);
    for (int round = 0; round < 30; round++) {
        int root = (int)below(40000);
        reach(root);
        begin(1 + (unsigned)round % 2);
        mark_word(team_leader(), (uintptr_t)nodes[root].block);
        team_open_guests();
        bool done = team_drain(round % 3 == 0 ? 0 : clock_now_ns() + 200000);
        team_close_guests();
        EXPECT(done || team_drain(0)); /* with what the guests left */
        expect_marked();
        team_end();
    }
    relaxed_store(&stop_helpers, true);
    for (size_t i = 0; i < GC_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
}

/* ---- the program runs ---- */

static void *allocate_and_free(void *unused)
{
    char *kept[64] = {0};
    uint64_t rng = 99;
    (void)unused;
    while (!relaxed_load(&stop_helpers)) {
        uint64_t r = rng_next(&rng);
        char **place = &kept[r % 64];
        if (*place != NULL)
            alloc_free(*place);
        *place = alloc_malloc(r % 50 == 0 ? 100000 : (r >> 8) % 2000 + 16);
        memcpy(*place, place, WORD_SIZE);
        memcpy(*place + 8, &nodes[(r >> 20) % 20000].block, WORD_SIZE);
    }
    return NULL;
}

/* Everything of the graph is marked; the other thread's blocks come and go, and are fed too. */
static void races(void)
{
    pthread_t thread;
    start();
    make_random(20000);
    EXPECT(pthread_create(&thread, NULL, allocate_and_free, NULL) == 0);
    for (int round = 0; round < 60; round++) {
        int root = (int)below(20000);
        reach(root);
        relaxed_store(&hot.window, 1);
        begin(1 + (unsigned)round % 3);
        uintptr_t top = slab_address(relaxed_load(&arena.top));
        mark_word(team_leader(), (uintptr_t)nodes[root].block);
        EXPECT(team_drain(0));
        uint64_t wrong = 0;
        for (int i = 0; i < node_count; i++)
            wrong += nodes[i].reached && !is_marked(&nodes[i]);
        EXPECT(wrong == 0);
        for (uintptr_t at = arena.base; at < top; at += 16 * (1 + below(200)))
            mark_word(team_leader(), at); /* any address, while spans are made and unmade */
        EXPECT(team_drain(0));
        team_end();
    }
    relaxed_store(&stop_helpers, true);
    pthread_join(thread, NULL);
}

/* ---- protection ---- */

static _Atomic uint32_t careful_reads;

static void read_carefully(struct marker *m, struct work work)
{
    relaxed_add(&careful_reads, 1);
    mark_words(m, (const uintptr_t *)work.start, work.size / WORD_SIZE);
}

static void forbidden_reads(void)
{
    start();
    make_random(10000);
    reach(3);
    begin(2);
    team_leader()->read_carefully = read_carefully;
    protected_change_begin();
    mark_word(team_leader(), (uintptr_t)nodes[3].block);
    EXPECT(team_drain(0));
    protected_change_end();
    protected_pass_begin();
    protected_pass_end();
    expect_marked();
    EXPECT(relaxed_load(&careful_reads) > 0);
    team_end();
    uint32_t before = relaxed_load(&careful_reads);
    mark_from(2, 7);
    EXPECT(relaxed_load(&careful_reads) == before);
}

/* ---- dirty pages ---- */

/* The slow reference: to which nodes do words of the range in nodes of `from_set` point? */
static void find_targets(uintptr_t from, uintptr_t to, const bool *from_set, bool *target)
{
    struct block b;
    memset(target, 0, NODES_MOST);
    for (int i = 0; i < node_count; i++) {
        if (!from_set[i] || !block_find((uintptr_t)nodes[i].block, &b))
            continue;
        for (size_t at = 0; at + WORD_SIZE <= b.size; at += WORD_SIZE) {
            uintptr_t word = b.start + at, value;
            memcpy(&value, (void *)word, WORD_SIZE);
            if (value == 0 || word < from || word >= to)
                continue;
            for (int k = 0; k < LINKS; k++) {
                int t = nodes[i].target[k];
                if (t >= 0 && value - (uintptr_t)nodes[t].block < nodes[t].size)
                    target[t] = true;
            }
        }
    }
}

/* All targets of old nodes are marked. What is marked beyond that is a target too: of a node that
 * was marked before its turn came. */
static void expect_range(uintptr_t from, uintptr_t to)
{
    static bool old[NODES_MOST], marked[NODES_MOST], least[NODES_MOST], most[NODES_MOST];
    uint64_t wrong = 0;
    begin(1);
    for (int i = 0; i < node_count; i++) {
        old[i] = below(3) != 0;
        if (old[i])
            relaxed_store(slot_of((uintptr_t)nodes[i].block), relaxed_load(&hot.epoch));
    }
    mark_dirty_range(team_leader(), from, to);
    mark_flush(team_leader());
    for (int i = 0; i < node_count; i++)
        marked[i] = is_marked(&nodes[i]);
    find_targets(from, to, old, least);
    find_targets(from, to, marked, most);
    for (int i = 0; i < node_count; i++)
        wrong += marked[i] ? !old[i] && !most[i] : old[i] || least[i];
    EXPECT(wrong == 0);
    team_end();
}

static void dirty_ranges(void)
{
    start();
    make_random(3000);
    for (int round = 0; round < 200; round++) {
        size_t pages = (slab_address(relaxed_load(&arena.top)) - arena.base) >> PAGE_SHIFT;
        size_t first = below(pages), most = round % 5 == 0 ? 200 : 3;
        uintptr_t from = arena.base + first * PAGE_SIZE;
        expect_range(from, from + size_min(pages - first, 1 + below(most)) * PAGE_SIZE);
    }
}

/* Small blocks on a page that is in the list are read carefully too. */
static void protected_small(void)
{
    start();
    make_random(3000);
    reach(5);
    begin(2);
    team_leader()->read_carefully = read_carefully;
    protected_pass_begin();
    protected_pass_end();
    EXPECT(!protected_any() && protected_add(arena.base, slab_address(relaxed_load(&arena.top))));
    mark_word(team_leader(), (uintptr_t)nodes[5].block);
    uint32_t before = relaxed_load(&careful_reads);
    EXPECT(team_drain(0));
    expect_marked();
    EXPECT(relaxed_load(&careful_reads) - before >= team_totals().marked_blocks);
    team_end();
}

IN_CHILD(random_graphs)
IN_CHILD(chains)
IN_CHILD(loops)
IN_CHILD(full_lists)
IN_CHILD(shrunk)
IN_CHILD(deadlines)
IN_CHILD(no_time_at_all)
IN_CHILD(aborts)
IN_CHILD(guests)
IN_CHILD(races)
IN_CHILD(forbidden_reads)
IN_CHILD(protected_small)
IN_CHILD(dirty_ranges)

UNIT_MAIN(TEST(test_random_graphs), TEST(test_chains), TEST(test_loops), TEST(test_full_lists),
          TEST(test_shrunk), TEST(test_deadlines), TEST(test_no_time_at_all), TEST(test_aborts),
          TEST(test_guests), TEST(test_races), TEST(test_forbidden_reads),
          TEST(test_protected_small), TEST(test_dirty_ranges))
