/* watch_shakedown.c -- the text names the block, what was done to it, and both stacks. */
#include "watch/shakedown.h"

#include "heap/heap.h"
#include "said.h"
#include "watch/stack_table.h"
#include "watch/unwind.h"

#include <string.h>
#include <unistd.h>

static char text[16384];
/* Descriptors only: nobody reads the block. */
static struct slab head = {.kind = SLAB_LARGE, .slots = 1, .slack = 96};
static const struct block block = {0x7f0000400000, 4096, &head, 0};

static __attribute__((noinline)) uint32_t allocation_site(void)
{
    uintptr_t pcs[STACK_DEPTH];
    return stack_table_intern(pcs, unwind_capture(pcs, STACK_DEPTH), 0);
}

static __attribute__((noinline)) void touch_site(const struct withheld_access *access)
{
    struct said s = said_begin();
    shakedown_touched(&block, access);
    said_end(s, text, sizeof text);
}

/* `name` stands in the part of the text between the two. */
static bool has(const char *name, const char *from, const char *to)
{
    const char *begin = strstr(text, from), *end = begin == NULL ? NULL : strstr(begin, to);
    const char *at = begin == NULL ? NULL : strstr(begin, name);
    return at != NULL && end != NULL && at < end;
}

static void test_text(void)
{
    static const char *const words[] = {"reads from a block", "writes to a block",
                                        "frees, or resizes, a block", "gives the kernel a block"};
    EXPECT(heap_init(64 * MIB, true)); /* for the table of stacks */
    head.stack = allocation_site();
    EXPECT(head.stack != 0);
    for (enum withheld_touch how = TOUCH_READ; how <= TOUCH_CALL; how++) {
        struct withheld_access access = {how, block.start + 7, 0};
        touch_site(&access);
        EXPECT(strstr(text, words[how]) != NULL);
        EXPECT(strstr(text, ": 4000 bytes at 0x7f0000400000, byte 7\n") != NULL);
        EXPECT(has("touch_site", "libgcmalloc: shakedown", "  allocated from:"));
        EXPECT(has("allocation_site", "  allocated from:", "  The block is as it was"));
    }
}

/* Where the instruction is known it comes first. */
static void test_pc(void)
{
    struct withheld_access access = {TOUCH_READ, block.start, (uintptr_t)memchr};
    touch_site(&access);
    const char *first = strstr(text, "#0 ");
    EXPECT(first != NULL && strstr(first, "libc") != NULL && strstr(first, "libc") - first < 100);
}

static void test_no_stack(void)
{
    struct withheld_access access = {TOUCH_WRITE, block.start, 0};
    head.stack = 0;
    touch_site(&access);
    EXPECT(strstr(text, "stack was not recorded") != NULL);
}

UNIT_MAIN(TEST(test_text), TEST(test_pc), TEST(test_no_stack))
