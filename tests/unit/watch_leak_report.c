/* watch_leak_report.c -- the text, line by line. */
#include "watch/leak_report.h"

#include "sys/print.h"
#include "unit.h"
#include "watch/stack_table.h"
#include "watch/symbol.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *meta_alloc(size_t bytes);
void *meta_alloc(size_t bytes)
{
    return calloc(1, bytes);
}

/* Longer than a printer's buffer: through a file. */
static const char *print(const struct leak_report *report)
{
    static char text[1 << 18];
    struct printer out;
    int fd = memfd_create("report", 0);
    printer_start(&out, fd);
    leak_report_print(report, &out);
    printer_flush(&out);
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    text[length > 0 ? length : 0] = 0;
    close(fd);
    return text;
}

#define RULER "\n=================================================================\n"
#define HEAD RULER "==42==ERROR: LeakSanitizer: detected memory leaks\n\n"
#define NO_STACK(size) \
    "    (no stack recorded for blocks of " size " bytes: this allocation was not sampled; " \
    "GCMALLOC=stacks=all records every one)\n"

static void test_nothing(void)
{
    struct leak_report report = {.pid = 42, .still_reachable_blocks = 5,
                                 .still_reachable_bytes = 6};
    EXPECT_TEXT(print(&report), "");
    report.not_collected_reason = "the program is a set-user-id one";
    EXPECT_TEXT(print(&report),
                "libgcmalloc: nothing was collected: the program is a set-user-id one\n");
}

static void test_order_and_sections(void)
{
    static const struct leak_group groups[] = {
        {.reclaimed = true, .indirect = true, .blocks = 1, .bytes = 8, .block_size = 8,
         .age_least = 2, .age_most = 2},
        {.indirect = true, .blocks = 10, .bytes = 1000, .block_size = 100, .age_most = 1},
        {.blocks = 3, .bytes = 100, .block_size = 0, .age_least = 1, .age_most = 7},
        {.reclaimed = true, .blocks = 2, .bytes = 64, .block_size = 32, .age_least = 2,
         .age_most = 3},
        {.blocks = 5, .bytes = 240, .block_size = 48},
    };
    struct leak_report report = {.groups = groups, .count = 5, .pid = 42,
                                 .still_reachable_blocks = 9, .still_reachable_bytes = 1234};
    EXPECT_TEXT(print(&report), HEAD
        "Direct leak of 240 byte(s) in 5 object(s) allocated from:\n" NO_STACK("48")
        "    (unreachable for 0 to 0 cycles)\n\n"
        "Direct leak of 100 byte(s) in 3 object(s) allocated from:\n"
        "    (no stack recorded: this allocation was not sampled; GCMALLOC=stacks=all records "
        "every one)\n    (unreachable for 1 to 7 cycles)\n\n"
        "Indirect leak of 1000 byte(s) in 10 object(s) allocated from:\n" NO_STACK("100")
        "    (unreachable for 0 to 1 cycles)\n\n"
        "Reclaimed direct leak of 64 byte(s) in 2 object(s) allocated from:\n" NO_STACK("32")
        "    (unreachable for 2 to 3 cycles)\n\n"
        "Reclaimed indirect leak of 8 byte(s) in 1 object(s) allocated from:\n" NO_STACK("8")
        "    (unreachable for 2 to 2 cycles)\n\n"
        "SUMMARY: LeakSanitizer: 1412 byte(s) leaked in 21 allocation(s).\n"
        "libgcmalloc: 72 byte(s) in 3 allocation(s) of these were reclaimed while the program ran, "
        "1340 byte(s) in 18 allocation(s) remain.\n"
        "libgcmalloc: 1234 byte(s) in 9 allocation(s) are still reachable.\n");
}

static void test_limit(void)
{
    struct leak_group groups[30];
    struct leak_report report = {.groups = groups, .count = 30, .pid = 42, .max_groups = 2};
    for (unsigned i = 0; i < 30; i++)
        groups[i] = (struct leak_group){.blocks = 1, .bytes = 1 + (i * 7) % 30, .block_size = 16};
    const char *text = print(&report);
    unsigned shown = 0;
    for (const char *at = text; (at = strstr(at, "Direct leak of")) != NULL; at++)
        shown++;
    EXPECT(shown == 2);
    EXPECT(strstr(text, "Direct leak of 30 byte(s)") < strstr(text, "Direct leak of 29 byte(s)"));
    EXPECT(strstr(text, "libgcmalloc: 28 more site(s), 406 byte(s) in 28 object(s), are not shown; "
                        "GCMALLOC=max_leaks=0 shows all.\n\nSUMMARY: LeakSanitizer: 465 byte(s) "
                        "leaked in 30 allocation(s).\n") != NULL);
    report.max_groups = 0;
    text = print(&report);
    /* All, and in falling order. */
    unsigned long last = 31, bytes;
    shown = 0;
    for (const char *at = text; (at = strstr(at, "Direct leak of ")) != NULL; at++, shown++) {
        bytes = strtoul(at + strlen("Direct leak of "), NULL, 10);
        EXPECT(bytes < last);
        last = bytes;
    }
    EXPECT(shown == 30 && strstr(text, "more site") == NULL);
}

static void test_frames(void)
{
    struct symbol_reader reader;
    struct symbol s;
    char want[4096];
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uintptr_t pcs[] = {(uintptr_t)test_frames + 1, (uintptr_t)page + 1};
    struct leak_group group = {.stack = stack_table_intern(pcs, 2, 0), .blocks = 1, .bytes = 10};
    struct leak_report report = {.groups = &group, .count = 1, .pid = 42};
    symbol_reader_open(&reader, NULL);
    symbol_find(&reader, pcs[0] - 1, &s);
    symbol_reader_close(&reader);
    snprintf(want, sizeof want,
             HEAD "Direct leak of 10 byte(s) in 1 object(s) allocated from:\n"
                  "    #0 0x%012lx in test_frames (%s+0x%lx) (BuildId: %s)\n"
                  "    #1 0x%012lx  (<unknown module>)\n"
                  "    (unreachable for 0 to 0 cycles)\n\n"
                  "SUMMARY: LeakSanitizer: 10 byte(s) leaked in 1 allocation(s).\n"
                  "libgcmalloc: 0 byte(s) in 0 allocation(s) of these were reclaimed while the "
                  "program ran, 10 byte(s) in 1 allocation(s) remain.\n",
             pcs[0] - 1, s.module, s.module_offset, s.build_id, pcs[1] - 1);
    EXPECT_TEXT(print(&report), want);
    munmap(page, 4096);
}

UNIT_MAIN(TEST(test_nothing), TEST(test_order_and_sections), TEST(test_limit), TEST(test_frames))
