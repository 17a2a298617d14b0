/* gc_mark.c -- everything reachable is marked, and nothing else.
 *
 * Graphs are built of real blocks; what should be reachable is computed from the test's own books,
 * in which no address stands. Each graph is marked with a roomy work list, with one of a few items,
 * and with none at all: the result must be the same, since a list that overflows is a matter of
 * speed only.
 *
 * The marker sees only what mark_word and mark_words are given, so the test's own stack is no root,
 * and plain addresses may stand anywhere. */
#include "gc/mark.h"
#include "gc/scan.h"

#include "base/rng.h"
#include "child.h"
#include "heap/heap.h"
#include "heap/judge.h"
#include "heap/page_heap.h"
#include "mutator/alloc.h"
#include "sys/mem.h"

enum { NODES_MOST = 3000, LINKS = 4, LIST_BYTES = 1 << 20 };

struct node {
    char *block;
    size_t size;
    int target[LINKS];  /* a node, or -1 */
    bool reached;
};

static struct node nodes[NODES_MOST];
static int node_count;
static struct marker marker;
static struct work few_items[4];
static uint64_t seed = 7;

static void start(bool pad)
{
    static const struct alloc_settings plain = {.arena = true};
    EXPECT(heap_init(4 * GIB, pad));
    alloc_start(&plain);
    node_count = 0;
}

static int new_node(size_t size)
{
    struct node *n = &nodes[node_count];
    *n = (struct node){.block = alloc_calloc(1, size), .size = size,
                       .target = {-1, -1, -1, -1}};
    EXPECT(n->block != NULL);
    return node_count++;
}

/* Word `at` of node `from` points `inside` bytes into node `to`. */
static void link_nodes(int from, size_t at, int to, size_t inside)
{
    for (int i = 0; i < LINKS; i++)
        if (nodes[from].target[i] < 0) {
            char *value = nodes[to].block + inside;
            nodes[from].target[i] = to;
            memcpy(nodes[from].block + at * WORD_SIZE, &value, WORD_SIZE);
            return;
        }
    EXPECT(!"room for a link");
}

static void reach(int root)
{
    static int stack[NODES_MOST];
    int depth = 0;
    if (!nodes[root].reached)
        stack[depth++] = root;
    nodes[root].reached = true;
    while (depth > 0) {
        struct node *n = &nodes[stack[--depth]];
        for (int i = 0; i < LINKS; i++)
            if (n->target[i] >= 0 && !nodes[n->target[i]].reached) {
                nodes[n->target[i]].reached = true;
                stack[depth++] = n->target[i];
            }
    }
}

static uint8_t byte_of(const void *block)
{
    return relaxed_load(slot_of((uintptr_t)block));
}

/* ---- one mark ---- */

enum list_kind { ROOMY, FEW, NONE, LIST_KINDS };

static void begin(enum list_kind kind)
{
    static void *memory;
    if (memory == NULL)
        memory = mem_reserve(LIST_BYTES);
    worklist_init(&marker.work, memory, kind == ROOMY ? LIST_BYTES : 0);
    if (kind == FEW)
        marker.work = (struct worklist){few_items, 0, GC_COUNT(few_items), GC_COUNT(few_items),
                                        false, false};
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    marker_start(&marker, NULL);
}

static void expect_marked(void)
{
    uint8_t epoch = relaxed_load(&hot.epoch);
    uint64_t blocks = 0, wrong = 0;
    for (int i = 0; i < node_count; i++) {
        wrong += (byte_of(nodes[i].block) == epoch) != nodes[i].reached;
        blocks += nodes[i].reached;
    }
    EXPECT(wrong == 0);
    EXPECT(marker.marked_blocks == blocks);
    EXPECT(marker.work.count == 0 && !marker.work.overflowed);
}

/* Marks from the given nodes with each kind of list; what was unreached stays so. */
static void mark_from(const int *from, int count)
{
    for (int i = 0; i < node_count; i++)
        nodes[i].reached = false;
    for (int i = 0; i < count; i++)
        reach(from[i]);
    for (int kind = 0; kind < LIST_KINDS; kind++) {
        begin((enum list_kind)kind);
        for (int i = 0; i < count; i++)
            mark_word(&marker, (uintptr_t)nodes[from[i]].block);
        mark_drain(&marker);
        expect_marked();
    }
}

/* ---- shapes ---- */

static void chains(void)
{
    start(true);
    for (int i = 0; i < 2000; i++) /* two chains, through one another in memory */
        new_node(16 + (size_t)(i % 7) * 24);
    for (int i = 2; i < 2000; i++)
        link_nodes(i - 2, (size_t)i % (nodes[i - 2].size / WORD_SIZE), i, 0);
    mark_from((int[]){0}, 1);
    mark_from((int[]){1001}, 1); /* in the middle: the rest of the odd one */
    mark_from((int[]){0, 1}, 2);
    mark_from(NULL, 0);
}

static void trees_and_rings(void)
{
    start(true);
    for (int i = 0; i < 1500; i++)
        new_node(48);
    for (int i = 1; i < 1000; i++)
        link_nodes((i - 1) / 3, (size_t)(i - 1) % 3, i, 0);
    for (int i = 1000; i < 1500; i++) /* rings of 50 */
        link_nodes(i, 5, i % 50 == 49 ? i - 49 : i + 1, 0);
    link_nodes(1000, 0, 1000, 0); /* and one that points to itself */
    mark_from((int[]){0}, 1);
    mark_from((int[]){7, 1077, 1499}, 3);
    link_nodes(999, 0, 1234, 0);
    mark_from((int[]){0}, 1);
}

/* Sizes from 1 byte to 300 KiB, links at any word, to any byte of the target. */
static void random_graphs(void)
{
    start(true);
    for (int i = 0; i < 1200; i++) {
        uint64_t r = rng_next(&seed);
        new_node(r % 16 == 0 ? (r >> 8) % 300000 + 1 : (r >> 8) % 600 + 8);
    }
    for (int i = 0; i < 1200; i++)
        for (int link = 0; link < 2; link++) {
            uint64_t r = rng_next(&seed);
            int to = (int)(r % 1200);
            size_t words = nodes[i].size / WORD_SIZE;
            if (words < 2 || r >> 60 == 0)
                continue;
            link_nodes(i, (size_t)link * (words / 2) + (r >> 16) % (words / 2), to,
                       (size_t)(r >> 32) % nodes[to].size);
        }
    for (int round = 0; round < 5; round++) {
        int from[3];
        for (int i = 0; i < 3; i++)
            from[i] = (int)(rng_next(&seed) % 1200);
        mark_from(from, 1 + round % 3);
    }
}

/* ---- where in a block an address may point ---- */

static bool marks(uintptr_t word, int node)
{
    begin(ROOMY);
    mark_word(&marker, word);
    mark_drain(&marker);
    return marker.marked_blocks == 1 && byte_of(nodes[node].block) == relaxed_load(&hot.epoch);
}

static bool marks_nothing(uintptr_t word)
{
    begin(ROOMY);
    mark_word(&marker, word);
    mark_drain(&marker);
    return marker.marked_blocks == 0;
}

static const size_t sizes[] = {1, 16, 48, 64, 100, 128, 1000, 1024, 4096, 50000, 65536, 70000,
                               1 << 20, (1 << 20) + 16, 3 << 20};

static void interior(void)
{
    start(true);
    for (size_t i = 0; i < GC_COUNT(sizes); i++)
        new_node(sizes[i]);
    for (int i = 0; i < node_count; i++) {
        uintptr_t start_of = (uintptr_t)nodes[i].block;
        EXPECT(marks(start_of, i) && marks(start_of + nodes[i].size / 2, i));
        EXPECT(marks(start_of + nodes[i].size - 1, i));
        EXPECT(marks(start_of + nodes[i].size, i)); /* .inv.past_end */
    }
}

/* Without the pad an address one past a full block belongs to whatever is there. */
static void past_end_without_pad(void)
{
    start(false);
    int first = new_node(48), second = -1;
    uintptr_t end = (uintptr_t)nodes[first].block + 48;
    for (int i = 0; i < 1000 && second < 0; i++) {
        int other = new_node(48);
        second = (uintptr_t)nodes[other].block == end ? other : -1;
    }
    EXPECT(second >= 0 && marks(end - 1, first) && marks(end, second));
    int large = new_node(2 * SLAB_SIZE);
    uintptr_t large_end = (uintptr_t)nodes[large].block + 2 * SLAB_SIZE;
    EXPECT(marks(large_end - 1, large) && !marks(large_end, large));
}

static void nowhere(void)
{
    start(true);
    int small = new_node(48), large = new_node(5 * SLAB_SIZE - 100);
    uintptr_t slab = align_down((uintptr_t)nodes[small].block, SLAB_SIZE);
    struct block b;
    EXPECT(block_find((uintptr_t)nodes[small].block, &b) && b.head->object_size == 64);
    int odd = new_node(200); /* 208 * 315 = 65520: a tail of 16 bytes */
    uintptr_t odd_slab = align_down((uintptr_t)nodes[odd].block, SLAB_SIZE);
    EXPECT(marks_nothing(odd_slab + SLAB_SIZE - 16) && marks_nothing(odd_slab + SLAB_SIZE - 1));
    EXPECT(marks_nothing(slab - 1) || slab != arena.base);
    EXPECT(marks_nothing(arena.base - 1) && marks_nothing(arena.base - 8) && marks_nothing(0));
    EXPECT(marks_nothing(slab_address(relaxed_load(&arena.top))));
    EXPECT(marks_nothing(slab_address(relaxed_load(&arena.top)) + 12345));
    EXPECT(marks_nothing(arena.end) && marks_nothing(UINTPTR_MAX));
    EXPECT(marks_nothing((uintptr_t)arena.slabs) && marks_nothing((uintptr_t)hot.slots));
    char *gone = nodes[large].block;
    alloc_free(gone);
    EXPECT(marks_nothing((uintptr_t)gone) && marks_nothing((uintptr_t)gone + 3 * SLAB_SIZE));
}

/* Free slots, and those that a thread cache holds, are not marked; when a stack is scanned, a
 * pointer to the start of a cached one makes it a newborn. */
static void free_slots(void)
{
    start(true);
    int node = new_node(48);
    uintptr_t block = (uintptr_t)nodes[node].block;
    alloc_free(nodes[node].block);
    EXPECT(byte_of((void *)block) == SLOT_CACHED && marks_nothing(block));
    EXPECT(byte_of((void *)block) == SLOT_CACHED && !judge_is_newborn(block));
    marker.note_newborn = true;
    judge_forget_newborn();
    EXPECT(marks_nothing(block + 8) && !judge.any_noted);
    EXPECT(marks_nothing(block) && judge.any_noted);
    judge_end_newborn();
    EXPECT(judge_is_newborn(block));
    marker.note_newborn = false;
    relaxed_store(slot_of(block), SLOT_FREE);
    EXPECT(marks_nothing(block) && byte_of((void *)block) == SLOT_FREE);
}

/* A kept slot is live: reached, it carries the epoch again; unreached, it stays kept. */
static void kept_slots(void)
{
    start(true);
    int a = new_node(48), b = new_node(48), c = new_node(48);
    link_nodes(a, 0, b, 8);
    relaxed_store(slot_of((uintptr_t)nodes[b].block), SLOT_KEPT);
    relaxed_store(slot_of((uintptr_t)nodes[c].block), SLOT_KEPT);
    link_nodes(c, 0, c, 0);
    mark_from((int[]){a}, 1);
    EXPECT(byte_of(nodes[c].block) == SLOT_KEPT);
}

/* With align=8 only whole, aligned words are pointers; all words of a block are looked at, the last
 * too. */
static void words_of_a_block(void)
{
    mark_set_align(8);
    start(true);
    int a = new_node(1024), b = new_node(64), c = new_node(64);
    char *value = nodes[b].block;
    memcpy(nodes[a].block + 4, &value, WORD_SIZE);
    mark_from((int[]){a}, 1); /* b is no target of a: misaligned */
    link_nodes(a, 1024 / WORD_SIZE - 1, c, 63);
    mark_from((int[]){a}, 1);
}

/* The places in a block of this size where a word that begins in the middle of another crosses a
 * border of what is read at once: the first, the last, pages, pieces. */
static size_t odd_places(size_t size, size_t *places)
{
    const size_t borders[] = {8, PAGE_SIZE, 2 * PAGE_SIZE, MARK_PIECE, 2 * MARK_PIECE,
                              SPARSE_LEAST + PAGE_SIZE, align_down(size, WORD_SIZE) - 8};
    size_t count = 0;
    for (size_t i = 0; i < GC_COUNT(borders); i++)
        if (borders[i] + 8 <= size)
            places[count++] = borders[i] - 4;
    return count;
}

/* align=4: what is found at each of them, from a root, in a whole block and in dirty pages. */
static void halves_of_words(void)
{
    static const size_t odd_sizes[] = {24, 100, 1000, 5000, 40000, 300000, 3 * MIB};
    static struct pagemap pagemap;
    size_t places[8];
    mark_set_align(4);
    start(true);
    EXPECT(pagemap_open(&pagemap));
    for (size_t s = 0; s < GC_COUNT(odd_sizes); s++) {
        size_t count = odd_places(odd_sizes[s], places);
        for (size_t i = 0; i < count; i++) {
            int a = new_node(odd_sizes[s]), b = new_node(48);
            char *value = nodes[b].block;
            memcpy(nodes[a].block + places[i], &value, WORD_SIZE);
            nodes[a].target[0] = b;
            mark_from((int[]){a}, 1);
            begin(ROOMY);
            marker.pagemap = &pagemap;
            mark_word(&marker, (uintptr_t)nodes[a].block);
            mark_drain(&marker);
            expect_marked();
            /* The page on which it begins is dirty, and the next one, which is looked at later. */
            relaxed_store(slot_of((uintptr_t)value), (uint8_t)(marker.epoch - 1));
            uintptr_t page = align_down((uintptr_t)nodes[a].block + places[i], PAGE_SIZE);
            mark_dirty_range(&marker, page, page + PAGE_SIZE);
            mark_drain(&marker);
            EXPECT(byte_of(value) == marker.epoch);
            marker.pagemap = NULL;
        }
    }
    mark_set_align(8);
    pagemap_close(&pagemap);
}

/* ---- large blocks ---- */

static void sparse(void)
{
    static struct pagemap pagemap;
    start(true);
    EXPECT(pagemap_open(&pagemap));
    int big = new_node(GIB), other = new_node(64), last = new_node(64), not = new_node(3 * MIB);
    link_nodes(big, 100 * MIB / WORD_SIZE, other, 0);
    link_nodes(big, GIB / WORD_SIZE - 1, last, 0);
    link_nodes(last, 0, big, GIB - 1);
    link_nodes(not, 5, not, 0);
    for (int kind = 0; kind < LIST_KINDS; kind++) {
        begin((enum list_kind)kind);
        marker.pagemap = &pagemap;
        mark_word(&marker, (uintptr_t)nodes[big].block + 12345);
        mark_drain(&marker);
        for (int i = 0; i < node_count; i++)
            nodes[i].reached = i != not;
        expect_marked();
        EXPECT(marker.marked_bytes >= GIB && marker.scanned_bytes < 64 * MIB);
    }
    marker.pagemap = NULL;
    pagemap_close(&pagemap);
}

/* The pagemap fails: the block is read whole. */
static void sparse_unknown(void)
{
    static struct pagemap pagemap = {.fd = -1};
    start(true);
    int big = new_node(8 * MIB), other = new_node(64);
    link_nodes(big, 5 * MIB / WORD_SIZE, other, 0);
    begin(ROOMY);
    marker.pagemap = &pagemap;
    mark_word(&marker, (uintptr_t)nodes[big].block);
    mark_drain(&marker);
    EXPECT(marker.marked_blocks == 2 && marker.scanned_bytes >= 8 * MIB);
}

/* A root area of every length, around SCAN_MOST and the FIFO's 16. */
static void root_areas(void)
{
    static uintptr_t area[3 * SCAN_MOST];
    start(true);
    for (int i = 0; i < 40; i++)
        new_node(64);
    for (size_t count = 1; count <= GC_COUNT(area); count += count < 40 ? 1 : 97) {
        memset(area, 0, sizeof area);
        for (size_t i = 0; i < count && i < 40; i++) {
            area[count - 1 - i] = (uintptr_t)nodes[i].block + i;
            nodes[i].reached = true;
        }
        begin(ROOMY);
        mark_words(&marker, area, count);
        mark_flush(&marker);
        mark_drain(&marker);
        expect_marked();
        EXPECT(marker.scanned_bytes >= count * WORD_SIZE);
        for (int i = 0; i < 40; i++)
            nodes[i].reached = false;
    }
}

/* A root area in which one word begins at any byte, across the edges of pieces too. */
static void code_areas(void)
{
    static uintptr_t area[2 * SCAN_MOST];
    const size_t places[] = {0, 9, SCAN_MOST - 1, SCAN_MOST, GC_COUNT(area) - 2};
    start(true);
    int node = new_node(64);
    uintptr_t block = (uintptr_t)nodes[node].block;
    nodes[node].reached = true;
    for (size_t i = 0; i < GC_COUNT(places) * WORD_SIZE; i++) {
        memset(area, 0, sizeof area);
        memcpy((char *)&area[places[i / WORD_SIZE]] + i % WORD_SIZE, &block, sizeof block);
        begin(ROOMY);
        mark_code(&marker, area, GC_COUNT(area));
        mark_flush(&marker);
        mark_drain(&marker);
        expect_marked();
    }
}

IN_CHILD(chains)
IN_CHILD(trees_and_rings)
IN_CHILD(random_graphs)
IN_CHILD(interior)
IN_CHILD(past_end_without_pad)
IN_CHILD(nowhere)
IN_CHILD(free_slots)
IN_CHILD(kept_slots)
IN_CHILD(words_of_a_block)
IN_CHILD(halves_of_words)
IN_CHILD(sparse)
IN_CHILD(sparse_unknown)
IN_CHILD(root_areas)
IN_CHILD(code_areas)

UNIT_MAIN(TEST(test_chains), TEST(test_trees_and_rings), TEST(test_random_graphs),
          TEST(test_interior), TEST(test_past_end_without_pad), TEST(test_nowhere),
          TEST(test_free_slots), TEST(test_kept_slots), TEST(test_words_of_a_block),
          TEST(test_halves_of_words), TEST(test_sparse), TEST(test_sparse_unknown),
          TEST(test_root_areas), TEST(test_code_areas))
