/* sys_pagemap.c -- both sources of truth about pages, on the same mappings, against the writes. */
#include "sys/pagemap.h"

#include "sys/syscall.h"
#include "unit.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 2048 }; /* 8 MiB: several page tables */

/* Two ways of asking: the kernel's best, and entries. */
static struct pagemap ways[2];
static int way_count;

static void test_open(void)
{
    EXPECT(pagemap_open(&ways[0]));
    EXPECT(pagemap_open(&ways[1]));
    printf("      PAGEMAP_SCAN: %s\n", ways[0].has_scan ? "yes" : "no");
    way_count = 2;
    ways[1].has_scan = false;
    EXPECT((fcntl(ways[0].fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* Asks for [area, area + pages) with room for `capacity` ranges a call, and marks the pages found.
 * Checks on the way that ranges are ascending, apart, and within what was walked. */
static size_t ask(struct pagemap *p, enum pagemap_want want, const char *area, size_t pages,
                  size_t capacity, bool *found)
{
    static struct page_range ranges[4096];
    uintptr_t base = (uintptr_t)area, at = base, end = base + pages * PAGE_SIZE;
    size_t total = 0;
    memset(found, 0, pages * sizeof *found);
    while (at < end) {
        uintptr_t next = 0, last = at;
        long count = pagemap_scan(p, want, at, end, ranges, capacity, &next);
        if (!EXPECT(count >= 0 && (size_t)count <= capacity && next > at && next <= end))
            return 0;
        for (long i = 0; i < count; i++) {
            struct page_range r = ranges[i];
            if (!EXPECT(r.start >= last && r.start < r.end && r.end <= next) ||
                !EXPECT(i == 0 || r.start > last) || !EXPECT(((r.start | r.end) & 4095) == 0))
                return 0;
            for (uintptr_t page = r.start; page < r.end; page += PAGE_SIZE, total++)
                found[(page - base) / PAGE_SIZE] = true;
            last = r.end;
        }
        at = next;
    }
    return total;
}

static char *map(int protection, int flags, int fd)
{
    char *area = mmap(NULL, (size_t)PAGES * PAGE_SIZE, protection, flags, fd, 0);
    EXPECT(area != MAP_FAILED);
    madvise(area, (size_t)PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
    return area;
}

static void unmap(char *area)
{
    munmap(area, (size_t)PAGES * PAGE_SIZE);
}

static void read_page(const char *page)
{
    (void)*(const volatile char *)page;
}

static bool found[PAGES], wanted[PAGES];

/* Writes a random pattern of pages, in runs, and notes it in `wanted`; returns how many. */
static size_t write_pattern(char *area)
{
    size_t count = 0;
    memset(wanted, 0, sizeof wanted);
    for (size_t i = 0; i < PAGES;) {
        size_t run = (size_t)rand() % 9 + 1;
        bool write = rand() % 2;
        for (; run > 0 && i < PAGES; run--, i++) {
            if (write) {
                area[i * PAGE_SIZE + (size_t)rand() % PAGE_SIZE] = 1;
                wanted[i] = true;
                count++;
            }
        }
    }
    return count;
}

static void expect_wanted(char *area, enum pagemap_want want, size_t count)
{
    static const size_t capacities[] = {1, 2, 3, 127, 128, 129, 4096};
    for (int way = 0; way < way_count; way++) {
        for (size_t i = 0; i < GC_COUNT(capacities); i++) {
            size_t got = ask(&ways[way], want, area, PAGES, capacities[i], found);
            if (!EXPECT(got == count && memcmp(found, wanted, sizeof found) == 0))
                printf("    way %d, capacity %zu: %zu pages, wanted %zu\n", way, capacities[i], got,
                       count);
        }
    }
}

/* ---- kinds of mapping ---- */

static void test_anonymous(void)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    memset(wanted, 0, sizeof wanted);
    expect_wanted(area, PAGEMAP_POPULATED, 0);
    size_t count = write_pattern(area);
    expect_wanted(area, PAGEMAP_POPULATED, count);
    expect_wanted(area, PAGEMAP_COPIED, count);
    mprotect(area, (size_t)PAGES * PAGE_SIZE, PROT_NONE); /* the data is still there */
    expect_wanted(area, PAGEMAP_POPULATED, count);
    madvise(area, (size_t)PAGES * PAGE_SIZE, MADV_DONTNEED);
    memset(wanted, 0, sizeof wanted);
    expect_wanted(area, PAGEMAP_POPULATED, 0);
    unmap(area);
}

static void test_swapped(void)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    size_t count = write_pattern(area);
    madvise(area, (size_t)PAGES * PAGE_SIZE, MADV_PAGEOUT); /* swapped out, where there is swap */
    expect_wanted(area, PAGEMAP_POPULATED, count);
    expect_wanted(area, PAGEMAP_COPIED, count);
    unmap(area);
}

/* The shared zero page: PAGEMAP_SCAN leaves it out, entries cannot tell. */
static void test_zero_page(void)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (size_t i = 0; i < PAGES; i++)
        read_page(area + i * PAGE_SIZE);
    if (ways[0].has_scan)
        EXPECT(ask(&ways[0], PAGEMAP_POPULATED, area, PAGES, 4096, found) == 0);
    EXPECT(ask(&ways[1], PAGEMAP_POPULATED, area, PAGES, 4096, found) <= PAGES);
    size_t count = write_pattern(area);
    if (ways[0].has_scan)
        EXPECT(ask(&ways[0], PAGEMAP_POPULATED, area, PAGES, 4096, found) == count);
    EXPECT(ask(&ways[1], PAGEMAP_POPULATED, area, PAGES, 4096, found) >= count);
    for (size_t i = 0; i < PAGES; i++) /* never under-report */
        if (wanted[i] && !EXPECT(found[i]))
            break;
    unmap(area);
}

/* Pages of the process that are parts of huge ones. */
static size_t pages_in_huge_ones(void)
{
    static char text[8192];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *line = strstr(text, "AnonHugePages:");
    return line == NULL ? 0 : strtoul(line + 14, NULL, 10) / 4;
}

static void test_huge_pages(void)
{
    const size_t size = 8 << 20, before = pages_in_huge_ones();
    char *raw = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *area = (char *)align_up((uintptr_t)raw, 2 << 20);
    madvise(area, size, MADV_HUGEPAGE);
    area[(2 << 20) + 5] = 1;
    memset(area + (4 << 20), 7, 4 << 20);
    for (int way = 0; way < way_count; way++) {
        size_t pages = ask(&ways[way], PAGEMAP_COPIED, area, PAGES, 4096, found);
        EXPECT(found[512] && pages >= 1025 && !found[0]);
        for (size_t i = 1024; i < 2048; i++)
            if (!found[i] && !EXPECT(!"all of the second half"))
                break;
    }
    if (ways[0].has_scan) {
        size_t all = ask(&ways[0], PAGEMAP_COPIED, area, PAGES, 4096, found);
        size_t huge = pages_in_huge_ones() - before;
        EXPECT(ask(&ways[0], PAGEMAP_SINGLE, area, PAGES, 4096, found) == all - huge);
    }
    munmap(raw, 2 * size);
}

/* What is there by itself: no zero page, none of a file, none of a huge page. */
static void test_single(void)
{
    const size_t half = PAGES / 2;
    if (!ways[0].has_scan)
        return;
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (size_t i = 0; i < half; i++)
        read_page(area + i * PAGE_SIZE);
    EXPECT(ask(&ways[0], PAGEMAP_SINGLE, area, PAGES, 4096, found) == 0);
    size_t count = write_pattern(area);
    EXPECT(ask(&ways[0], PAGEMAP_SINGLE, area, PAGES, 4096, found) == count);
    EXPECT(memcmp(found, wanted, sizeof found) == 0);
    EXPECT(madvise(area, half * PAGE_SIZE, MADV_DONTNEED) == 0);
    EXPECT(ask(&ways[0], PAGEMAP_SINGLE, area, half, 4096, found) == 0);
    unmap(area);
    int fd = memfd_create("pagemap", 0);
    EXPECT(ftruncate(fd, (off_t)PAGES * PAGE_SIZE) == 0);
    area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    for (size_t i = 0; i < PAGES; i++)
        read_page(area + i * PAGE_SIZE);
    count = write_pattern(area);
    EXPECT(ask(&ways[0], PAGEMAP_SINGLE, area, PAGES, 4096, found) == count);
    unmap(area);
    close(fd);
}

static void test_private_file(void)
{
    /* Of a disk's file the kernel could take pages back between our look and the answer. */
    int fd = memfd_create("pagemap", 0);
    EXPECT(ftruncate(fd, (off_t)PAGES * PAGE_SIZE) == 0);
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    for (size_t i = 0; i < PAGES; i++) /* all present, all the file's */
        read_page(area + i * PAGE_SIZE);
    memset(wanted, 0, sizeof wanted);
    expect_wanted(area, PAGEMAP_COPIED, 0);
    size_t count = write_pattern(area);
    expect_wanted(area, PAGEMAP_COPIED, count);
    for (int way = 0; way < way_count; way++)
        EXPECT(ask(&ways[way], PAGEMAP_POPULATED, area, PAGES, 4096, found) == PAGES);
    unmap(area);
    close(fd);
}

static void check_shared(int flags, int fd)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd);
    size_t count = write_pattern(area);
    expect_wanted(area, PAGEMAP_POPULATED, count);
    /* The trap: without a page table entry, shared memory that holds data is not reported. If a
     * kernel ever does better, the comment on top of pagemap.c can go. */
    size_t first = 0;
    while (!wanted[first])
        first++;
    madvise(area, (size_t)PAGES * PAGE_SIZE, MADV_DONTNEED);
    for (int way = 0; way < way_count; way++)
        EXPECT(ask(&ways[way], PAGEMAP_POPULATED, area, PAGES, 4096, found) == 0);
    unsigned char resident[PAGES];
    EXPECT(mincore(area, (size_t)PAGES * PAGE_SIZE, resident) == 0 && (resident[first] & 1));
    unmap(area);
}

static void test_shared_memory(void)
{
    int fd = memfd_create("pagemap", 0);
    EXPECT(ftruncate(fd, (off_t)PAGES * PAGE_SIZE) == 0);
    check_shared(MAP_ANONYMOUS, -1);
    check_shared(0, fd);
    close(fd);
}

/* ---- this program's own image ---- */

static char data_pages[64 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = {1};
static char bss_pages[64 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static const char const_pages[64 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = {1};

static void check_image(char *area, bool written_only)
{
    static const size_t pages[] = {3, 4, 40, 63};
    for (int way = 0; way < way_count; way++) {
        EXPECT(ask(&ways[way], PAGEMAP_COPIED, area, 64, 64, found) == (written_only ? 4u : 0u));
        for (size_t i = 0; written_only && i < GC_COUNT(pages); i++)
            EXPECT(found[pages[i]]);
    }
}

static void test_own_image(void)
{
    for (size_t i = 0; i < 64; i++)
        read_page(data_pages + i * PAGE_SIZE), read_page(const_pages + i * PAGE_SIZE);
    data_pages[3 * PAGE_SIZE] = data_pages[4 * PAGE_SIZE] = 1;
    data_pages[40 * PAGE_SIZE + 77] = data_pages[64 * PAGE_SIZE - 1] = 1;
    bss_pages[3 * PAGE_SIZE] = bss_pages[4 * PAGE_SIZE] = 1;
    bss_pages[40 * PAGE_SIZE + 77] = bss_pages[64 * PAGE_SIZE - 1] = 1;
    check_image(data_pages, true);
    check_image(bss_pages, true);
    check_image((char *)(uintptr_t)const_pages, false);
    check_image((char *)align_down((uintptr_t)test_own_image, PAGE_SIZE) - 63 * PAGE_SIZE, false);
}

/* ---- edges ---- */

static void test_holes(void)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    size_t count = write_pattern(area);
    munmap(area + 600 * PAGE_SIZE, 700 * PAGE_SIZE);
    for (size_t i = 600; i < 1300; i++) {
        count -= wanted[i];
        wanted[i] = false;
    }
    expect_wanted(area, PAGEMAP_POPULATED, count);
    unmap(area);
}

/* A sparse reservation costs page tables walked, not pages. */
static void test_sparse(void)
{
    const size_t size = (size_t)100 << 30;
    char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return;
    madvise(area, size, MADV_NOHUGEPAGE);
    area[size / 2] = area[size - 1] = 1;
    struct page_range ranges[8];
    uintptr_t next = 0, base = (uintptr_t)area;
    for (int way = 0; way < way_count; way++) {
        EXPECT(pagemap_scan(&ways[way], PAGEMAP_POPULATED, base, base + size, ranges, 8,
                            &next) == 2);
        EXPECT(ranges[0].start == base + size / 2 && ranges[1].end == base + size);
        EXPECT(next == base + size);
    }
    munmap(area, size);
}

static void test_refusals(void)
{
    struct page_range range;
    uintptr_t next = 0;
    for (int way = 0; way < way_count; way++) {
        EXPECT(pagemap_scan(&ways[way], PAGEMAP_POPULATED, 0, 0, &range, 1, &next) == 0);
        struct pagemap closed = {.fd = -1, .has_scan = ways[way].has_scan};
        EXPECT(pagemap_scan(&closed, PAGEMAP_POPULATED, 0, PAGE_SIZE, &range, 1, &next) == -1);
    }
}

static bool sees_page(struct pagemap *p, const char *page)
{
    struct page_range range;
    uintptr_t next = 0, start = (uintptr_t)page;
    return pagemap_scan(p, PAGEMAP_POPULATED, start, start + PAGE_SIZE, &range, 1, &next) == 1;
}

/* The trap: in a child, the parent's descriptor speaks of the parent. An own one works. */
static void test_fork(void)
{
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct pagemap own;
        area[0] = 1;
        bool blind = !sees_page(&ways[0], area) && !sees_page(&ways[1], area);
        bool works = pagemap_open(&own) && own.has_scan == ways[0].has_scan &&
                     sees_page(&own, area);
        _exit(!blind + 2 * !works);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT(status == 0);
    unmap(area);
}

/* ---- written pages ---- */

/* A descriptor under which areas can be write protected asynchronously; -1: this kernel has none.
 * */
static int open_uffd(void)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = (uint64_t)1 << 15 | (uint64_t)1 << 12};
    int fd = (int)syscall1(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void watch(int uffd, char *area, size_t pages)
{
    struct uffdio_register r = {.range = {(uintptr_t)area, pages * PAGE_SIZE},
                                .mode = UFFDIO_REGISTER_MODE_WP};
    EXPECT(ioctl(uffd, UFFDIO_REGISTER, &r) == 0);
}

/* As ask(); -1: refused. */
static long take(enum pagemap_take how, const char *area, size_t pages, size_t capacity,
                 bool *hits)
{
    static struct page_range ranges[4096];
    uintptr_t base = (uintptr_t)area, at = base, end = base + pages * PAGE_SIZE;
    long total = 0;
    memset(hits, 0, pages * sizeof *hits);
    while (at < end) {
        uintptr_t next = 0;
        long count = pagemap_take_written(&ways[0], how, at, end, ranges, capacity, &next);
        if (count < 0)
            return -1;
        if (!EXPECT((size_t)count <= capacity && next > at && next <= end))
            return -1;
        for (long i = 0; i < count; i++)
            for (uintptr_t page = ranges[i].start; page < ranges[i].end; page += PAGE_SIZE, total++)
                if (EXPECT(page >= at && page < next))
                    hits[(page - base) / PAGE_SIZE] = true;
        at = next;
    }
    return total;
}

static void take_with(char *area, size_t capacity)
{
    static bool want[PAGES], hits[PAGES];
    memset(want, 0, sizeof want);
    for (size_t i = 0; i < PAGES; i++)
        if (rand() % 3 == 0) {
            want[i] = true;
            area[i * PAGE_SIZE] = 3;
        }
    take(PAGEMAP_LOOK, area, PAGES, capacity, hits);
    EXPECT(memcmp(want, hits, sizeof want) == 0);
    take(PAGEMAP_LOOK, area, PAGES, capacity, hits); /* looking takes nothing away */
    EXPECT(memcmp(want, hits, sizeof want) == 0);
    take(capacity % 2 ? PAGEMAP_PROTECT : PAGEMAP_PROTECT_PRESENT, area, PAGES, capacity, hits);
    EXPECT(memcmp(want, hits, sizeof want) == 0);
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, capacity, hits) == 0);
}

static void test_take_written(void)
{
    static bool hits[PAGES];
    int uffd = open_uffd();
    if (uffd < 0 || !ways[0].has_scan) {
        printf("      no asynchronous write protection here\n");
        return;
    }
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    memset(area, 1, (size_t)PAGES * PAGE_SIZE);
    uintptr_t start = (uintptr_t)area, end = start + (size_t)PAGES * PAGE_SIZE;
    EXPECT(!pagemap_protect(&ways[0], start, end)); /* nobody watches it */
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, 8, hits) == -1);
    watch(uffd, area, PAGES);
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, 8, hits) == PAGES);
    EXPECT(pagemap_protect(&ways[0], start, end));
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, 8, hits) == 0);
    for (size_t capacity = 1; capacity < 4096; capacity = capacity * 2 + 1)
        take_with(area, capacity);
    take_with(area, 4096);
    /* Part of it mapped anew: refused, wherever that part is. */
    EXPECT(mmap(area + (size_t)(PAGES - 1) * PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    EXPECT(take(PAGEMAP_PROTECT, area, PAGES, 4096, hits) == -1);
    EXPECT(!pagemap_protect(&ways[0], start, end));
    unmap(area);
    close(uffd);
}

/* Holes: written to the eye that looks; remembered by one mode of protection, not by the other. */
static void test_take_holes(void)
{
    static bool hits[PAGES];
    int uffd = open_uffd();
    if (uffd < 0 || !ways[0].has_scan)
        return;
    char *area = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    area[0] = area[700 * PAGE_SIZE] = 1;
    watch(uffd, area, PAGES);
    EXPECT(pagemap_protect(&ways[0], (uintptr_t)area, (uintptr_t)area + PAGES * PAGE_SIZE));
    take(PAGEMAP_LOOK, area, PAGES, 4096, hits);
    EXPECT(!hits[0] && !hits[700] && hits[PAGES - 1]);
    area[1500 * PAGE_SIZE] = 1;
    EXPECT(take(PAGEMAP_PROTECT_PRESENT, area, PAGES, 4096, hits) >= 1 && hits[1500]);
    EXPECT(!hits[0] && !hits[700]);
    take(PAGEMAP_LOOK, area, PAGES, 4096, hits);
    EXPECT(!hits[1500] && hits[PAGES - 1]);
    take(PAGEMAP_PROTECT, area, PAGES, 4096, hits);
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, 4096, hits) == 0); /* all holes are remembered */
    area[PAGES * PAGE_SIZE - 1] = 1;
    EXPECT(take(PAGEMAP_LOOK, area, PAGES, 4096, hits) == 1 && hits[PAGES - 1]);
    unmap(area);
    close(uffd);
}

static void test_close(void)
{
    pagemap_close(&ways[0]);
    pagemap_close(&ways[0]);
    pagemap_close(&ways[1]);
    EXPECT(ways[0].fd == -1 && !ways[0].has_scan);
}

UNIT_MAIN(TEST(test_open), TEST(test_anonymous), TEST(test_swapped), TEST(test_zero_page),
          TEST(test_huge_pages), TEST(test_single), TEST(test_private_file),
          TEST(test_shared_memory), TEST(test_own_image), TEST(test_holes), TEST(test_sparse),
          TEST(test_refusals), TEST(test_fork), TEST(test_take_written), TEST(test_take_holes),
          TEST(test_close))
