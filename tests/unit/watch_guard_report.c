/* watch_guard_report.c -- GWP-ASan's text, with the stacks that are known. */
#include "watch/guard_report.h"

#include "heap/heap.h"
#include "said.h"
#include "watch/stack_table.h"
#include "watch/unwind.h"

#include <string.h>
#include <unistd.h>

static char text[32768];

static __attribute__((noinline)) uint32_t allocation_site(void)
{
    uintptr_t pcs[STACK_DEPTH];
    return stack_table_intern(pcs, unwind_capture(pcs, STACK_DEPTH), 0);
}

/* Not the same code, or it would be the same function. */
static __attribute__((noinline)) uint32_t free_site(void)
{
    uintptr_t pcs[STACK_DEPTH];
    return stack_table_intern(pcs, unwind_capture(pcs, STACK_DEPTH - 1), 0);
}

static __attribute__((noinline)) void use_site(const struct guard_error *error)
{
    struct said s = said_begin();
    guard_report_print(error);
    said_end(s, text, sizeof text);
}

static const char *header(enum guard_what what, long offset, uint32_t freed)
{
    struct guard_error e = {.what = what,
                            .address = 0x7000 + (uintptr_t)offset,
                            .start = 0x7000,
                            .size = 41,
                            .allocated = {11, allocation_site()},
                            .freed = {freed == 0 ? 0 : 12, freed}};
    use_site(&e);
    char *line = strchr(text, '\n'), *by = line == NULL ? NULL : strstr(line, " by thread ");
    EXPECT(strncmp(text, "*** GWP-ASan detected a memory error ***\n", 41) == 0 && by != NULL);
    char *end = strstr(text, "\n*** End GWP-ASan report ***\n");
    EXPECT(end != NULL && end[29] == '\0');
    return by == NULL ? "" : line + 1;
}

static void test_words(void)
{
    static const struct {
        enum guard_what what;
        long offset;
        const char *words;
    } rows[] = {
        {GUARD_USE_AFTER_FREE, 0, "Use After Free at 0x7000 (0 bytes into a 41-byte allocation at 0x7000) by"},
        {GUARD_USE_AFTER_FREE, 41, "Use After Free at 0x7029 (0 bytes to the right of a 41-byte allocation"},
        {GUARD_OVERFLOW, 42, "Buffer Overflow at 0x702a (1 byte to the right of a 41-byte allocation at"},
        {GUARD_UNDERFLOW, -2, "Buffer Underflow at 0x6ffe (2 bytes to the left of a 41-byte allocation at"},
        {GUARD_DOUBLE_FREE, 0, "Double Free at 0x7000 (a 41-byte allocation) by thread "},
        {GUARD_WILD_FREE, 8, "Invalid (Wild) Free at 0x7008 (8 bytes into a 41-byte allocation at"},
    };
    EXPECT(heap_init(64 * MIB, true)); /* for the table of stacks */
    for (size_t i = 0; i < GC_COUNT(rows); i++) {
        const char *line = header(rows[i].what, rows[i].offset, 0);
        EXPECT(strncmp(line, rows[i].words, strlen(rows[i].words)) == 0);
    }
}

static void test_stacks(void)
{
    header(GUARD_USE_AFTER_FREE, 0, free_site());
    const char *use = strstr(text, "use_site"), *freed = strstr(text, "free_site");
    const char *freed_by = strstr(text, "0x7000 was deallocated by thread 12 here:\n    #0 ");
    const char *made_by = strstr(text, "0x7000 was allocated by thread 11 here:\n    #0 ");
    const char *made = strstr(text, "allocation_site");
    EXPECT(use != NULL && freed_by != NULL && use < freed_by);
    EXPECT(freed != NULL && made_by != NULL && freed_by < freed && freed < made_by);
    EXPECT(made != NULL && made_by < made);
    header(GUARD_OVERFLOW, 41, 0);
    EXPECT(strstr(text, "deallocated") == NULL);
}

/* Of a slot that never was used nothing is known. */
static void test_unknown(void)
{
    struct guard_error e = {.what = GUARD_WILD_FREE, .address = 0x7000};
    use_site(&e);
    EXPECT(strstr(text, "Invalid (Wild) Free at 0x7000 by thread ") != NULL);
    EXPECT(strstr(text, "allocated") == NULL);
}

UNIT_MAIN(TEST(test_words), TEST(test_stacks), TEST(test_unknown))
