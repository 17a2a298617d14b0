/* watch_leak.c -- totals by site, and where the report goes.
 *
 * The text itself is leak_report's matter; here its numbers are read back. Each test is a process,
 * since totals are never forgotten. Blocks are descriptors only: nothing looks at their memory. */
#include "watch/leak.h"

#include "child.h"
#include "heap/heap.h"
#include "watch/stack_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { FIRST_ROOM = 256, SITES = 3000 };

static char text[1 << 21];

static void start(void)
{
    EXPECT(heap_init(64 * MIB, true));
}

/* A large block of `size` bytes, allocated with this stack. */
static void note(uint32_t stack, size_t size, unsigned age, bool indirect, bool reclaimed)
{
    static struct slab head = {.kind = SLAB_LARGE, .slots = 1};
    struct block b = {0x7f0000400000, size, &head, 0};
    head.stack = stack;
    head.slack = 0;
    leak_note(&b, age, indirect, reclaimed);
}

static const char *contents(int fd)
{
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    text[got < 0 ? 0 : got] = '\0';
    return text;
}

/* Writes the report as told, and returns what came on descriptor 2: a file that is appended to, as
 * print_stderr_usable wants it. */
static const char *on_stderr(const struct leak_summary *s)
{
    int fd = memfd_create("stderr", 0), saved = dup(2);
    EXPECT(fd >= 0 && fcntl(fd, F_SETFL, O_APPEND) == 0);
    EXPECT(saved >= 0 && dup2(fd, 2) == 2);
    leak_report_write(s);
    dup2(saved, 2);
    close(saved);
    contents(fd);
    close(fd);
    return text;
}

/* Blocks and bytes under headings "KIND leak of N byte(s) in M object(s)", and how many of them. */
struct totals {
    unsigned groups;
    unsigned long blocks, bytes;
};

static struct totals totals_of(const char *report, const char *kind)
{
    struct totals t = {0};
    char heading[64];
    snprintf(heading, sizeof heading, "\n%s leak of ", kind);
    for (const char *at = report; (at = strstr(at, heading)) != NULL; at++) {
        unsigned long bytes = 0, blocks = 0;
        EXPECT(sscanf(at + strlen(heading), "%lu byte(s) in %lu object(s)", &bytes, &blocks) == 2);
        t.groups++;
        t.blocks += blocks;
        t.bytes += bytes;
    }
    return t;
}

static bool are(struct totals t, unsigned groups, unsigned long blocks, unsigned long bytes)
{
    bool good = t.groups == groups && t.blocks == blocks && t.bytes == bytes;
    if (!good)
        printf("    %u groups, %lu blocks, %lu bytes\n", t.groups, t.blocks, t.bytes);
    return good;
}

static uint32_t stack_number(uintptr_t pc)
{
    return stack_table_intern(&pc, 1, 0);
}

static void by_site(void)
{
    start();
    EXPECT(!leak_any());
    uint32_t a = stack_number(0x1000), b = stack_number(0x2000);
    EXPECT(a != 0 && b != 0 && a != b);
    for (int i = 0; i < 10; i++)
        note(a, 100, 2, false, false);
    note(a, 300, 5, false, false); /* a site may allocate blocks of different sizes */
    note(b, 100, 1, false, false);
    note(b, 100, 1, true, false);
    note(a, 64, 1, true, false);
    note(a, 64, 1, false, true);
    note(0, 48, 3, false, false);  /* no stack: by size */
    note(0, 48, 3, false, false);
    note(0, 80, 3, false, false);
    EXPECT(leak_any());
    struct leak_summary s = {.destination = "stderr"};
    on_stderr(&s);
    EXPECT(are(totals_of(text, "Direct"), 4, 15, 10 * 100 + 300 + 100 + 2 * 48 + 80));
    EXPECT(are(totals_of(text, "Indirect"), 2, 2, 164));
    EXPECT(strstr(text, "Direct leak of 1300 byte(s) in 11 object(s)") != NULL);
    EXPECT(strstr(text, "(unreachable for 2 to 5 cycles)") != NULL);
    EXPECT(strstr(text, "for blocks of 48 bytes") != NULL);
    EXPECT(strstr(text, "SUMMARY: LeakSanitizer: 1804 byte(s) leaked in 18 allocation(s).") !=
           NULL);
}

static void growth(void)
{
    start();
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 1; i <= SITES; i++)
            note(0, i * 16, 1, i % 2 == 0, false);
    struct leak_summary s = {.destination = "stderr"};
    on_stderr(&s);
    const unsigned long all = (unsigned long)SITES * (SITES + 1) / 2 * 16 * 3;
    struct totals direct = totals_of(text, "Direct"), indirect = totals_of(text, "Indirect");
    EXPECT(direct.groups == SITES / 2 && indirect.groups == SITES / 2);
    EXPECT(direct.blocks + indirect.blocks == 3 * SITES && direct.bytes + indirect.bytes == all);
    EXPECT(strstr(text, "no memory") == NULL);
    s.max_groups = 5;
    on_stderr(&s);
    direct = totals_of(text, "Direct");
    indirect = totals_of(text, "Indirect");
    EXPECT(direct.groups + indirect.groups <= 10 && direct.groups >= 1);
}

/* Without memory for a new site its blocks are counted; those of known sites go on as before. */
static void no_memory(void)
{
    start();
    for (size_t i = 1; i <= FIRST_ROOM; i++)
        note(0, i * 16, 1, false, false);
    for (size_t size = MIB; size >= CACHE_LINE; size /= 2)
        while (meta_alloc(size) != NULL)
            continue;
    note(0, 100000, 1, false, false);
    note(0, 100016, 1, false, false);
    note(0, 16, 1, false, false);
    struct leak_summary s = {.destination = "stderr"};
    on_stderr(&s);
    EXPECT(strstr(text, "libgcmalloc: 2 leaked block(s) more") != NULL);
    EXPECT(strstr(text, "Direct leak of 32 byte(s) in 2 object(s)") != NULL);
    EXPECT(totals_of(text, "Direct").groups == FIRST_ROOM);
}

/* ---- where it goes ---- */

static char directory[64];

static void enter_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/gcm-leak-XXXXXX");
    EXPECT(mkdtemp(directory) != NULL && chdir(directory) == 0);
}

static void leave_directory(void)
{
    EXPECT(chdir("/") == 0 && rmdir(directory) == 0);
}

static const char *in_file(const char *name)
{
    int fd = open(name, O_RDONLY);
    if (!EXPECT(fd >= 0))
        return "";
    contents(fd);
    close(fd);
    EXPECT(unlink(name) == 0);
    return text;
}

static void to_files(void)
{
    char name[128];
    start();
    enter_directory();
    note(0, 48, 1, false, false);
    struct leak_summary s = {.destination = "a-%p-b-%p%"};
    EXPECT_TEXT(on_stderr(&s), "");
    snprintf(name, sizeof name, "a-%d-b-%d%%", (int)getpid(), (int)getpid());
    EXPECT(are(totals_of(in_file(name), "Direct"), 1, 1, 48));
    s.destination = "plain";
    EXPECT_TEXT(on_stderr(&s), "");
    EXPECT_TEXT(on_stderr(&s), ""); /* written anew, not appended */
    EXPECT(are(totals_of(in_file("plain"), "Direct"), 1, 1, 48));
    leave_directory();
}

static void unwritable(void)
{
    char want[128];
    start();
    note(0, 48, 1, false, false);
    struct leak_summary s = {.destination = "/nonexistent/%p/report"};
    on_stderr(&s);
    snprintf(want, sizeof want, "cannot be written to '/nonexistent/%d/report' (error 2)",
             (int)getpid());
    EXPECT(strstr(text, want) != NULL);
    EXPECT(are(totals_of(text, "Direct"), 1, 1, 48));
    s.destination = "/";
    on_stderr(&s);
    EXPECT(strstr(text, "cannot be written to '/' (error 21)") != NULL);
    EXPECT(are(totals_of(text, "Direct"), 1, 1, 48));
}

static void nothing_to_say(void)
{
    struct stat unused;
    start();
    enter_directory();
    struct leak_summary s = {.destination = "report", .reachable_blocks = 7, .reachable_bytes = 8};
    EXPECT_TEXT(on_stderr(&s), "");
    EXPECT(stat("report", &unused) != 0); /* not even an empty file */
    note(0, 48, 1, false, false);
    s.destination = "off";
    EXPECT_TEXT(on_stderr(&s), "");
    EXPECT(stat("off", &unused) != 0);
    leave_directory();
}

static void remarks(void)
{
    start();
    struct leak_summary s = {.destination = "stderr", .not_collected = "it is a test"};
    EXPECT(strstr(on_stderr(&s), "nothing was collected: it is a test") != NULL);
    s = (struct leak_summary){.destination = "stderr", .contradictions = 3};
    EXPECT(strstr(on_stderr(&s), "3 contradiction(s)") != NULL);
    EXPECT(strstr(on_stderr(&s), "the barrier") == NULL);
    s.written = 2;
    EXPECT(strstr(on_stderr(&s), "2 of them were writes to a page of such blocks") != NULL);
}

IN_CHILD(by_site)
IN_CHILD(growth)
IN_CHILD(no_memory)
IN_CHILD(to_files)
IN_CHILD(unwritable)
IN_CHILD(nothing_to_say)
IN_CHILD(remarks)

UNIT_MAIN(TEST(test_by_site), TEST(test_growth), TEST(test_no_memory), TEST(test_to_files),
          TEST(test_unwritable), TEST(test_nothing_to_say), TEST(test_remarks))
