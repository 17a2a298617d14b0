/* watch_suppress.c -- known leaks are left out, and counted. */
#include "watch/suppress.h"

#include "child.h"
#include "said.h"
#include "sys/print.h"
#include "unit.h"
#include "watch/leak_report.h"
#include "watch/stack_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *meta_alloc(size_t bytes);
void *meta_alloc(size_t bytes)
{
    return calloc(1, bytes);
}

/* Return addresses in these name them. */
__attribute__((noinline)) static void known_leak(void)
{
    __asm__ volatile("nop; nop; nop; nop");
}

__attribute__((noinline)) static void other_leak(void)
{
    __asm__ volatile("nop; nop; nop; nop; nop");
}

static uint32_t stack_of(void (*function)(void))
{
    uintptr_t pcs[] = {(uintptr_t)function + 2, (uintptr_t)__builtin_return_address(0)};
    return stack_table_intern(pcs, 2, 0);
}

static const char *file_with(const char *text)
{
    static char path[32];
    strcpy(path, "/tmp/suppressions.XXXXXX");
    int fd = mkstemp(path);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        path[0] = 0;
    close(fd);
    return path;
}

static const char *printed(void)
{
    static char text[4096];
    struct printer out;
    int fd = memfd_create("suppressions", 0);
    printer_start(&out, fd);
    suppress_print(&out);
    printer_flush(&out);
    ssize_t length = pread(fd, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = 0;
    close(fd);
    return text;
}

static void apply(void)
{
    struct leak_group groups[] = {
        {.stack = stack_of(known_leak), .blocks = 3, .bytes = 300},
        {.stack = stack_of(other_leak), .blocks = 5, .bytes = 50},
        {.stack = 0, .blocks = 7, .bytes = 70},
        {.stack = stack_of(known_leak), .indirect = true, .blocks = 2, .bytes = 20},
    };
    const char *path = file_with("# a comment\n\n  leak:nobody\r\nleak:^known*k$\n");
    suppress_start(path);
    unlink(path);
    for (int again = 0; again < 2; again++) { /* counts are the last call's */
        struct leak_group copy[4];
        memcpy(copy, groups, sizeof(copy));
        EXPECT(suppress_apply(copy, 4, NULL) == 2);
        EXPECT(copy[0].blocks == 5 && copy[1].blocks == 7);
        EXPECT_TEXT(printed(), "-----------------------------------------------------\n"
                               "Suppressions used:\n  count      bytes template\n"
                               "      5        320 ^known*k$\n"
                               "-----------------------------------------------------\n\n");
    }
}

static void modules(void)
{
    struct leak_group groups[] = {{.stack = stack_of(known_leak), .blocks = 1, .bytes = 8}};
    const char *path = file_with("leak:unit_watch_suppress\n");
    suppress_start(path);
    unlink(path);
    EXPECT(suppress_apply(groups, 1, NULL) == 0);
}

static void none(void)
{
    struct leak_group groups[] = {{.stack = stack_of(known_leak), .blocks = 1, .bytes = 8}};
    suppress_start("off");
    EXPECT(suppress_apply(groups, 1, NULL) == 1 && printed()[0] == 0);
}

static void missing(void)
{
    char text[512];
    struct said s = said_begin();
    suppress_start("/nonexistent/file");
    said_end(s, text, sizeof(text));
    EXPECT(strstr(text, "cannot read '/nonexistent/file' (error 2); none is used") != NULL);
}

static void bad_lines(void)
{
    char text[512];
    const char *path = file_with("race:thing\nleak:\nleak:known_leak\n");
    struct said s = said_begin();
    suppress_start(path);
    said_end(s, text, sizeof(text));
    unlink(path);
    EXPECT(strstr(text, "line 1: not leak:PATTERN") && strstr(text, "line 2: not leak:PATTERN"));
    EXPECT(strstr(text, "line 3") == NULL);
}

static void too_long(void)
{
    char text[512], *lines = calloc(1, 70000);
    memset(lines, '#', 69999);
    const char *path = file_with(lines);
    struct said s = said_begin();
    suppress_start(path);
    said_end(s, text, sizeof(text));
    unlink(path);
    EXPECT(strstr(text, "is longer than 64 KiB; none is used") != NULL);
}

/* The file is read once in a process. */
static void test_in_children(void)
{
    EXPECT(child_passes(apply));
    EXPECT(child_passes(modules));
    EXPECT(child_passes(none));
    EXPECT(child_passes(missing));
    EXPECT(child_passes(bad_lines));
    EXPECT(child_passes(too_long));
}

UNIT_MAIN(TEST(test_in_children))
