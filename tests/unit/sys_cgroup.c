/* The files of control groups, written into a directory of our own. */
#include "sys/cgroup.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char top[64];

static void put(const char *path, const char *text)
{
    char whole[256], *slash;
    snprintf(whole, sizeof(whole), "%s/%s", top, path);
    for (slash = strchr(whole + strlen(top) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    EXPECT(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void start(void)
{
    strcpy(top, "/tmp/cgroup-test-XXXXXX");
    EXPECT(mkdtemp(top) != NULL);
}

static void finish(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", top);
    EXPECT(system(command) == 0);
}

static int64_t room(unsigned share)
{
    char proc[80], sys[80];
    snprintf(proc, sizeof(proc), "%s/proc", top);
    snprintf(sys, sizeof(sys), "%s/sys", top);
    return cgroup_room_at(proc, sys, share);
}

static void test_second_version(void)
{
    start();
    put("proc/cgroup", "0::/a/b\n");
    EXPECT(room(90) == INT64_MAX); /* no files */
    put("sys/a/b/memory.max", "max\n");
    put("sys/a/b/memory.current", "5000\n");
    EXPECT(room(90) == INT64_MAX);
    put("sys/a/b/memory.max", "10000\n");
    EXPECT(room(90) == 4000 && room(100) == 5000);
    put("sys/a/memory.max", "8000\n"); /* the group above is tighter */
    put("sys/a/memory.current", "7000\n");
    EXPECT(room(100) == 1000 && room(50) == -3000);
    put("sys/a/memory.stat", "anon 1\nfile 9\ninactive_file 2000\nactive_file 500\nslab 7\n");
    EXPECT(room(100) == 3500); /* pages of files are no reason to collect */
    finish();
}

static void test_first_version(void)
{
    start();
    put("proc/cgroup", "9:name=systemd:/\n5:cpu,cpuacct:/x\n4:hugetlb,memory:/x\n"
                       "1:memoryless:/y\n0::/\n");
    put("sys/memory/x/memory.limit_in_bytes", "100000\n");
    put("sys/memory/x/memory.usage_in_bytes", "40000\n");
    EXPECT(room(90) == 50000);
    put("sys/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* "none" of that version */
    put("sys/memory/memory.usage_in_bytes", "40000\n");
    EXPECT(room(90) == 50000);
    put("sys/memory/x/memory.stat", "cache 1\nrss 2\ntotal_inactive_file 100\n"
                                    "total_active_file 10\n");
    EXPECT(room(90) == 50110);
    finish();
}

static void test_bad_files(void)
{
    start();
    EXPECT(room(90) == INT64_MAX);
    put("proc/cgroup", "");
    EXPECT(room(90) == INT64_MAX);
    put("proc/cgroup", "nonsense\n:\n::\n0:\n0::relative");
    EXPECT(room(90) == INT64_MAX);
    put("proc/cgroup", "0::/\n");
    put("sys/memory.max", "-5\n");
    put("sys/memory.current", "many\n");
    EXPECT(room(90) == INT64_MAX);
    put("sys/memory.max", "1000\n");
    EXPECT(room(90) == INT64_MAX);
    put("sys/memory.current", "100\n");
    EXPECT(room(90) == 800);
    finish();
}

UNIT_MAIN(TEST(test_second_version), TEST(test_first_version), TEST(test_bad_files))
