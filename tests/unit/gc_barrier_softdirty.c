/* gc_barrier_softdirty.c -- the probe finds out every kind of kernel, and no written page is left
 * out.
 *
 * The bits come from a table here: few kernels have them. Where this one does, the barrier is
 * used. */
#include "gc/barrier.h"
#include "gc/softdirty.h"
#include "unit.h"

#include <sys/mman.h>

#define DIRTY ((uint64_t)1 << 55)
enum { PAGES = 3000 };

/* ---- a kernel ---- */

static struct {
    bool has_bits, sets_bits, clears_bits, refuses;
    const volatile char *page;
    char as_cleared;        /* what the page held when the bits were cleared last */
    bool ever_cleared;
} kernel;

static bool read_kernel(int fd, uint64_t *entries, size_t count, uintptr_t start)
{
    (void)fd;
    (void)start;
    bool written = !kernel.ever_cleared || !kernel.clears_bits ||
                   (kernel.sets_bits && *kernel.page != kernel.as_cleared);
    for (size_t i = 0; i < count; i++)
        entries[i] = kernel.has_bits && written ? DIRTY : 0;
    return !kernel.refuses;
}

static bool clear_kernel(int fd)
{
    (void)fd;
    kernel.ever_cleared = true;
    kernel.as_cleared = *kernel.page;
    return true;
}

static bool probe(bool has_bits, bool sets_bits, bool clears_bits, bool refuses)
{
    static char page[PAGE_SIZE];
    struct softdirty_source s = {read_kernel, clear_kernel, 0, 0};
    kernel.has_bits = has_bits;
    kernel.sets_bits = sets_bits;
    kernel.clears_bits = clears_bits;
    kernel.refuses = refuses;
    kernel.page = page;
    kernel.ever_cleared = false;
    return softdirty_works(&s, page);
}

static void test_probe(void)
{
    EXPECT(probe(true, true, true, false));
    EXPECT(!probe(false, true, true, false)); /* accepts the write, and has none */
    EXPECT(!probe(true, false, true, false));
    EXPECT(!probe(true, true, false, false));
    EXPECT(!probe(true, true, true, true));
}

/* ---- taking ---- */

static uint8_t dirty[PAGES], visited[PAGES];
static uintptr_t unreadable;
static const uintptr_t base = (uintptr_t)1 << 40;

static bool read_table(int fd, uint64_t *entries, size_t count, uintptr_t start)
{
    (void)fd;
    for (size_t i = 0; i < count; i++)
        entries[i] = dirty[((start - base) >> PAGE_SHIFT) + i] ? DIRTY | 1 : ~DIRTY;
    return unreadable - start >= count * PAGE_SIZE;
}

static void visit(uintptr_t start, uintptr_t end, void *data)
{
    (*(unsigned *)data)++;
    for (uintptr_t at = start; at < end; at += PAGE_SIZE)
        visited[(at - base) >> PAGE_SHIFT]++;
}

static void expect_taken(size_t from, size_t to, unsigned runs)
{
    struct softdirty_source s = {read_table, NULL, 0, 0};
    unsigned count = 0;
    memset(visited, 0, sizeof visited);
    softdirty_take(&s, base + from * PAGE_SIZE, base + to * PAGE_SIZE, visit, &count);
    EXPECT(count == runs);
    for (size_t i = 0; i < PAGES; i++)
        if (visited[i] != (i >= from && i < to ? dirty[i] : 0)) {
            EXPECT(visited[i] == (i >= from && i < to ? dirty[i] : 0));
            return;
        }
}

static void test_take(void)
{
    expect_taken(0, PAGES, 0);
    dirty[0] = dirty[511] = dirty[512] = dirty[PAGES - 1] = 1;
    expect_taken(0, PAGES, 3);
    expect_taken(1, PAGES - 1, 1);
    expect_taken(5, 5, 0);
    memset(dirty, 1, sizeof dirty);
    expect_taken(0, PAGES, 1);
}

static void test_unreadable_is_written(void)
{
    memset(dirty, 0, sizeof dirty);
    unsigned count = 0;
    struct softdirty_source s = {read_table, NULL, 0, 0};
    memset(visited, 0, sizeof visited);
    unreadable = base + 600 * PAGE_SIZE;
    softdirty_take(&s, base, base + PAGES * PAGE_SIZE, visit, &count);
    EXPECT(count == 1 && !visited[511] && visited[512] && visited[1023] && !visited[1024]);
    unreadable = 0;
}

/* ---- the kernel that runs this ---- */

static void test_here(void)
{
    const char *why = barrier_softdirty.open();
    if (why != NULL) {
        printf("      not here: %s\n", why);
        EXPECT(why[0] != '\0');
        return;
    }
    char *memory = mmap((void *)base, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    memset(memory, 1, 64 * PAGE_SIZE);
    unsigned count = 0;
    memset(visited, 0, sizeof visited);
    EXPECT(barrier_softdirty.begin() == NULL && barrier_softdirty.arm(base, base + 64 * PAGE_SIZE));
    memory[7 * PAGE_SIZE] = 2;
    barrier_softdirty.take(base, base + 64 * PAGE_SIZE, true, visit, &count);
    barrier_softdirty.end();
    EXPECT(visited[7] == 1 && visited[8] == 0);
    munmap(memory, 64 * PAGE_SIZE);
}

UNIT_MAIN(TEST(test_probe), TEST(test_take), TEST(test_unreadable_is_written), TEST(test_here))
