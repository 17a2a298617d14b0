/* sys_ksm.c -- who has not asked for merging is not merged; what cannot be read may be. */
#include "sys/ksm.h"

#include "child.h"

#include <sys/prctl.h>

static void test_text(void)
{
    EXPECT(!ksm_looks_by("ksm_rmap_items 0\nksm_zero_pages 5\nksm_merging_pages 7\n"));
    EXPECT(ksm_looks_by("ksm_rmap_items 1\nksm_zero_pages 0\nksm_merging_pages 0\n"));
    EXPECT(ksm_looks_by("ksm_rmap_items 1000\n"));
    EXPECT(ksm_looks_by("ksm_merging_pages 0\n")); /* another file */
    EXPECT(ksm_looks_by(""));
}

static void test_here(void)
{
    EXPECT(!ksm_looks_at_us());
}

/* As after setuid, without the right to read what is root's. */
static void undumpable(void)
{
    EXPECT(prctl(PR_SET_DUMPABLE, 0) == 0);
    if (getuid() == 0)
        EXPECT(setgid(65534) == 0 && setuid(65534) == 0);
    EXPECT(ksm_looks_at_us() || access("/proc/thread-self/ksm_stat", F_OK) != 0);
}

IN_CHILD(undumpable)

UNIT_MAIN(TEST(test_text), TEST(test_here), TEST(test_undumpable))
