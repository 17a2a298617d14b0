/* cli_profile.c -- a profile as it is read. What is refused: tests/cli/cases_input.py. */
#include "cli/profile.h"

#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

/* Reads lines as a whole file; `count` of them. */
static struct profile read_lines(const char *lines, int count)
{
    static char path[32];
    struct profile profile;
    snprintf(path, sizeof(path), "/tmp/cli_profile.XXXXXX");
    int fd = mkstemp(path);
    dprintf(fd, "gcmalloc-profile 2\n%send %d\n", lines, count + 1);
    close(fd);
    EXPECT(profile_read(path, &profile) == STATUS_OK);
    unlink(path);
    return profile;
}

static void test_process(void)
{
    struct profile p = read_lines("process 1 2 3\nprogram /a b\\x0a\\x5cx\nargument\nargument x\n"
                                  "started 4\ntaken 5 exit\n", 6);
    EXPECT(p.pid == 1 && p.ppid == 2 && p.uid == 3 && p.started_unix_ns == 4 && p.uptime_ns == 5);
    EXPECT(strcmp(p.program, "/a b\n\\x") == 0);
    EXPECT(p.arguments.count == 2 && p.arguments.items[0][0] == 0);
    EXPECT(strcmp(p.reason, "exit") == 0);
}

static void test_options(void)
{
    struct profile p = read_lines("option sample 64K\noption limit 3G\noption report off\n"
                                  "total cycles 7\n", 4);
    EXPECT(profile_size_option(&p, "sample") == 65536);
    EXPECT(profile_size_option(&p, "limit") == 3ull << 30);
    EXPECT(profile_size_option(&p, "none") == 0);
    EXPECT(strcmp(profile_option(&p, "report"), "off") == 0 && profile_option(&p, "x")[0] == 0);
    EXPECT(profile_total(&p, "cycles") == 7 && profile_total(&p, "x") == 0);
}

/* By number, in whatever order they came. */
static void test_stacks(void)
{
    struct profile p = read_lines("stack 9 1 a b\nstack 2 5 ffffffffffffffff\nstack 5 0\n", 3);
    const struct profile_stack *nine = profile_stack(&p, 9), *two = profile_stack(&p, 2);
    EXPECT(nine != NULL && nine->depth == 2 && p.pcs.items[nine->first + 1] == 0xb);
    EXPECT(two != NULL && two->time == 5 && p.pcs.items[two->first] == UINT64_MAX);
    EXPECT(profile_stack(&p, 5)->depth == 0);
    EXPECT(profile_stack(&p, 3) == NULL && profile_stack(&p, 0) == NULL);
}

static bool is_stack(const struct profile *p, uint64_t id, size_t depth, const uint64_t *pcs)
{
    const struct profile_stack *stack = profile_stack(p, id);
    return stack != NULL && stack->depth == depth &&
           memcmp(p->pcs.items + stack->first, pcs, depth * sizeof(*pcs)) == 0;
}

/* Shared frames come from the outer end, whatever the order of the lines. */
static void test_branches(void)
{
    struct profile p = read_lines("branch 9 1 4 3 f\nbranch 4 5 2 2 d e\nstack 2 0 a b c\n"
                                  "branch 10 0 9 1\n", 4);
    EXPECT(is_stack(&p, 2, 3, (uint64_t[]){0xa, 0xb, 0xc}));
    EXPECT(is_stack(&p, 4, 4, (uint64_t[]){0xd, 0xe, 0xb, 0xc}));
    EXPECT(is_stack(&p, 9, 4, (uint64_t[]){0xf, 0xe, 0xb, 0xc}));
    EXPECT(is_stack(&p, 10, 1, (uint64_t[]){0xc}));
    EXPECT(profile_stack(&p, 4)->time == 5);
}

static void test_blocks(void)
{
    struct profile p = read_lines("leak 1 8 indirect reclaimed 2 16 3 4 new fields\n"
                                  "module 10 20 1 2 - /x y\nevent 1 2 STOP 3 4\n", 3);
    const struct profile_leak *leak = &p.leaks.items[0];
    EXPECT(leak->for_blocks == 2 && leak->for_bytes == 16);
    EXPECT(leak->indirect && leak->reclaimed && leak->blocks == 2 && leak->oldest == 4);
    EXPECT(p.modules.items[0].build_id[0] == 0 && p.modules.items[0].end == 0x20);
    EXPECT(strcmp(p.modules.items[0].path, "/x y") == 0);
    EXPECT(p.events.items[0].kind == EVENT_STOP);
}

/* As they stand there; else by the blocks' mean, if the others are samples. */
static void test_estimates(void)
{
    struct profile p = read_lines("leak 1 0 direct remaining 2 16 3 4 20 160\n"
                                  "reach 1 0 3 30 9 99\n", 2);
    EXPECT(p.leaks.items[0].for_blocks == 20 && p.leaks.items[0].for_bytes == 160);
    EXPECT(p.reach.items[0].for_blocks == 9 && p.reach.items[0].for_bytes == 99);
    p = read_lines("reach 1 0 10 200000\nreach 0 32 5 160\noption stacks sampled\n"
                   "option sample 64K\n", 4); /* 1 / (1 - exp(-20000 / 65536)) is 3.8022 */
    EXPECT(profile_is_sampled(&p));
    EXPECT(p.reach.items[0].for_blocks == 38 && p.reach.items[0].for_bytes == 760438);
    EXPECT(p.reach.items[1].for_blocks == 0 && p.reach.items[1].for_bytes == 0);
    EXPECT(profile_sample(&p) == 65536);
    p = read_lines("reach 0 32 5 160\noption stacks sampled\n", 2);
    EXPECT(!profile_is_sampled(&p) && p.reach.items[0].for_blocks == 5);
    p = read_lines("option stacks all\noption sample 64K\nunrecorded a b\n", 3);
    EXPECT(profile_sample(&p) == 1 && strcmp(p.unrecorded, "a b") == 0);
}

UNIT_MAIN(TEST(test_process), TEST(test_options), TEST(test_stacks), TEST(test_branches),
          TEST(test_blocks), TEST(test_estimates))
