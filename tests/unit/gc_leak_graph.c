/* gc_leak_graph.c -- which unreached blocks count as direct leaks.
 *
 * A direct leak is what the program dropped; what only leaks hold is indirect; a cycle that nothing
 * holds has exactly one direct head. Nothing is marked here: blocks born in an earlier epoch are
 * unreached as soon as the epoch has advanced. */
#include "gc/leak_graph.h"

#include "child.h"
#include "heap/heap.h"
#include "mutator/alloc.h"
#include "sys/mem.h"

enum { MOST = 4000, LIST_BYTES = 1 << 20 };

static char *blocks[MOST];
static int count;
static struct worklist work;

static void start(void)
{
    static const struct alloc_settings plain = {.arena = true};
    EXPECT(heap_init(256 * MIB, true));
    alloc_start(&plain);
    worklist_init(&work, mem_reserve(LIST_BYTES), LIST_BYTES);
}

static int add(size_t size)
{
    blocks[count] = alloc_calloc(1, size);
    EXPECT(blocks[count] != NULL);
    return count++;
}

static int add_many(int n, size_t size)
{
    int first = count;
    for (int i = 0; i < n; i++)
        add(size);
    return first;
}

static void point(int from, size_t word, int to, size_t inside)
{
    char *value = blocks[to] + inside;
    memcpy(blocks[from] + word * WORD_SIZE, &value, WORD_SIZE);
}

static void advance(unsigned epochs)
{
    while (epochs-- > 0)
        relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
}

static void set_byte(int i, uint8_t byte)
{
    relaxed_store(slot_of((uintptr_t)blocks[i]), byte);
}

static bool indirect(int i)
{
    return leak_graph_is_indirect((uintptr_t)blocks[i]);
}

static int direct_in(int first, int n)
{
    int direct = 0;
    for (int i = first; i < first + n; i++)
        direct += !indirect(i);
    return direct;
}

static void build(void)
{
    leak_graph_count(1, false);
    leak_graph_build(&work, NULL);
    EXPECT(work.count == 0);
}

static void chain_and_tree(void)
{
    start();
    int chain = add_many(500, 48), tree = add_many(500, 64), alone = add(16);
    for (int i = 0; i < 499; i++)
        point(chain + i, 1, chain + i + 1, 5); /* interior pointers count */
    for (int i = 1; i < 500; i++)
        point(tree + (i - 1) / 4, (size_t)(i - 1) % 4, tree + i, 0);
    advance(1);
    EXPECT(!indirect(chain + 1)); /* not built: all are direct */
    build();
    EXPECT(!indirect(chain) && direct_in(chain, 500) == 1);
    EXPECT(!indirect(tree) && direct_in(tree, 500) == 1);
    EXPECT(!indirect(alone));
    leak_graph_drop();
    EXPECT(!indirect(chain + 1));
    leak_graph_drop();
}

static void to_itself(void)
{
    start();
    int self = add(48), large = add(300000), held = add(48);
    point(self, 0, self, 0);
    point(self, 1, self, 47);
    point(large, 30000, large, 299999); /* a piece further on than the scanner's buffer */
    point(held, 0, held, 0);
    point(large, 20000, held, 8);
    advance(1);
    build();
    EXPECT(!indirect(self) && !indirect(large) && indirect(held));
    leak_graph_drop();
}

static void ring(int first, int n)
{
    for (int i = 0; i < n; i++)
        point(first + i, 0, first + (i + 1) % n, 0);
}

static void cycles(void)
{
    start();
    int pair = add_many(2, 48), big = add_many(300, 96), into = add_many(10, 48);
    int chain = add_many(5, 32), out = add_many(10, 48), tail = add_many(5, 32);
    ring(pair, 2);
    ring(big, 300);
    ring(into, 10);
    for (int i = 0; i < 4; i++)
        point(chain + i, 0, chain + i + 1, 0);
    point(chain + 4, 0, into + 3, 0); /* a chain into a cycle: its head holds both */
    ring(out, 10);
    point(out + 5, 1, tail, 0);       /* a cycle into a chain */
    for (int i = 0; i < 4; i++)
        point(tail + i, 0, tail + i + 1, 0);
    advance(1);
    build();
    EXPECT(direct_in(pair, 2) == 1 && direct_in(big, 300) == 1);
    EXPECT(!indirect(chain) && direct_in(chain, 5) == 1 && direct_in(into, 10) == 0);
    EXPECT(direct_in(out, 10) == 1 && direct_in(tail, 5) == 0);
    leak_graph_drop();
}

/* The cycle met first, in address order, becomes a head: if it is the one that is held, it has a
 * direct block too many, but every block has a direct one above it. */
static void cycle_holds_cycle(void)
{
    start();
    int first = add_many(20, 48), lowest = first;
    for (int i = first; i < first + 20; i++)
        lowest = blocks[i] < blocks[lowest] ? i : lowest;
    int low = lowest < first + 10 ? first : first + 10, high = 2 * first + 10 - low;
    ring(low, 10);
    ring(high, 10);
    point(low, 1, high, 0);
    advance(1);
    build();
    EXPECT(direct_in(low, 10) == 1 && direct_in(high, 10) == 0);
    leak_graph_drop();
    memset(blocks[low] + WORD_SIZE, 0, WORD_SIZE);
    point(high, 1, low, 0);
    build();
    EXPECT(direct_in(high, 10) == 1 && direct_in(low, 10) <= 1);
    leak_graph_drop();
}

/* Reached blocks hold nothing up: a pointer from one that lives does not make its target indirect,
 * and what is no block, or is free, is no target. */
static void live_and_free(void)
{
    start();
    int live = add(48), leak = add(48), freed = add(48), held = add(48);
    point(live, 0, leak, 0);
    point(freed, 0, held, 0);
    alloc_free(blocks[freed]);
    advance(1);
    set_byte(live, relaxed_load(&hot.epoch));
    struct leak_counts c = leak_graph_count(1, false);
    EXPECT(c.blocks == 2);
    leak_graph_build(&work, NULL);
    EXPECT(!indirect(leak) && !indirect(held) && !indirect(live));
    leak_graph_drop();
}

static void counts(void)
{
    start();
    int small = add_many(10, 47), large = add(100000 - 1);
    struct leak_counts c = leak_graph_count(1, true);
    EXPECT(c.blocks == 0 && c.bytes == 0 && c.due_blocks == 0);
    const uint64_t all = 10 * 48 + 100000;
    for (unsigned age = 1; age <= 5; age++) {
        advance(1);
        for (unsigned confirm = 1; confirm <= 6; confirm++) {
            c = leak_graph_count(confirm, false);
            bool due = age >= confirm;
            EXPECT(c.blocks == 11 && c.bytes == all);
            EXPECT(c.due_blocks == (due ? 11 : 0) && c.due_bytes == (due ? all : 0));
        }
    }
    uint8_t now = relaxed_load(&hot.epoch);
    set_byte(small, now); /* reached again */
    set_byte(small + 1, (uint8_t)(now - 1));
    c = leak_graph_count(2, false);
    EXPECT(c.blocks == 10 && c.due_blocks == 9 && c.due_bytes == 8 * 48 + 100000);
    set_byte(large, SLOT_KEPT);
    c = leak_graph_count(2, false);
    EXPECT(c.blocks == 9 && c.due_bytes == 8 * 48);
    c = leak_graph_count(2, true); /* older than any age */
    EXPECT(c.blocks == 10 && c.due_blocks == 9 && c.due_bytes == 8 * 48 + 100000);
    c = leak_graph_count(EPOCH_COUNT, true);
    EXPECT(c.due_blocks == 1 && c.due_bytes == 100000);
}

/* The ages survive the wrap from 255 to 4. */
static void counts_over_the_wrap(void)
{
    start();
    relaxed_store(&hot.epoch, EPOCH_LAST - 1);
    add(47);
    for (unsigned age = 1; age <= 6; age++) {
        advance(1);
        EXPECT(leak_graph_count(age, false).due_blocks == 1);
        EXPECT(leak_graph_count(age + 1, false).due_blocks == 0);
    }
}

/* Kept blocks hold others, and are held, when they are asked for; else they are not there. */
static void kept_blocks(void)
{
    start();
    int kept = add(48), held = add(48), kept_too = add(48);
    point(kept, 0, held, 0);
    point(held, 0, kept_too, 0);
    advance(1);
    set_byte(kept, SLOT_KEPT);
    set_byte(kept_too, SLOT_KEPT);
    EXPECT(leak_graph_count(1, false).blocks == 1);
    leak_graph_build(&work, NULL);
    EXPECT(!indirect(held) && !indirect(kept_too));
    leak_graph_drop();
    EXPECT(leak_graph_count(1, true).blocks == 3);
    leak_graph_build(&work, NULL);
    EXPECT(!indirect(kept) && indirect(held) && indirect(kept_too));
    leak_graph_drop();
}

IN_CHILD(chain_and_tree)
IN_CHILD(to_itself)
IN_CHILD(cycles)
IN_CHILD(cycle_holds_cycle)
IN_CHILD(live_and_free)
IN_CHILD(counts)
IN_CHILD(counts_over_the_wrap)
IN_CHILD(kept_blocks)

UNIT_MAIN(TEST(test_chain_and_tree), TEST(test_to_itself), TEST(test_cycles),
          TEST(test_cycle_holds_cycle), TEST(test_live_and_free), TEST(test_counts),
          TEST(test_counts_over_the_wrap), TEST(test_kept_blocks))
