/* gc_barrier_uffd.c -- every page that was written is reported, and in a quiet range no other.
 *
 * The reference is the memory itself: `shadow` holds what each page held when it was last reported
 * (and armed again). Whatever differs from it later must be reported again. */
#include "gc/barrier.h"

#include "base/atomic.h"
#include "child.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { PAGES = 2048, WRITERS = 2 };

static const struct barrier *const b = &barrier_uffd;
static unsigned char reported[PAGES];
static size_t ranges, pages, guessed;
static char *base;

static void note(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    ranges++;
    pages += (end - start) >> PAGE_SHIFT;
    guessed += b->exact() ? 0 : (end - start) >> PAGE_SHIFT;
    for (uintptr_t at = start; at < end; at += PAGE_SIZE)
        if (at - (uintptr_t)base < PAGES * PAGE_SIZE)
            reported[(at - (uintptr_t)base) >> PAGE_SHIFT] = 1;
}

/* How many pages of [p, p + size) are reported. */
static size_t take(void *p, size_t size, bool rearm)
{
    memset(reported, 0, sizeof(reported));
    ranges = pages = guessed = 0;
    base = p;
    b->take((uintptr_t)p, (uintptr_t)p + size, rearm, note, NULL);
    return pages;
}

static bool arm(void *p, size_t size)
{
    return b->arm((uintptr_t)p, (uintptr_t)p + size);
}

static char *map(size_t size, int flags, int fd)
{
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    EXPECT(p != MAP_FAILED);
    return p;
}

static char *anonymous(size_t count)
{
    return map(count * PAGE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

static void touch(char *p, size_t count, char value)
{
    for (size_t i = 0; i < count; i++)
        *(volatile char *)(p + i * PAGE_SIZE) = value;
}

static void open_it(void)
{
    const char *reason = b->open();
    if (!EXPECT(reason == NULL)) {
        printf("    %s\n", reason);
        fflush(stdout);
        _exit(1);
    }
}

/* ---- writers ---- */

static char *shared_area;
static uint64_t shadow[PAGES];
static _Atomic bool quit;

static void *write_at_random(void *data)
{
    uint64_t x = (uint64_t)(uintptr_t)data * 77777 + 1;
    while (!quit) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        _Atomic uint64_t *word = (void *)(shared_area + (x >> 40) % PAGES * PAGE_SIZE);
        if ((x >> 33) % 64 != 0)
            *word += 1;
        else
            madvise(shared_area + (x >> 40) % PAGES * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED);
    }
    return NULL;
}

static uint64_t content(size_t page)
{
    return *(volatile uint64_t *)(void *)(shared_area + page * PAGE_SIZE);
}

/* Armed first, read then: .inv.twice of rescan.c. */
static void note_shadow(uintptr_t start, uintptr_t end, void *data)
{
    note(start, end, data);
    for (uintptr_t at = start; at < end; at += PAGE_SIZE) {
        size_t page = (at - (uintptr_t)shared_area) >> PAGE_SHIFT;
        shadow[page] = content(page);
    }
}

static void take_shadow(void)
{
    b->take((uintptr_t)shared_area, (uintptr_t)shared_area + PAGES * PAGE_SIZE, true, note_shadow,
            NULL);
}

static void round_of_writers(unsigned round)
{
    pthread_t threads[WRITERS];
    quit = false;
    for (uintptr_t i = 0; i < WRITERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, write_at_random,
                              (void *)(i + round * WRITERS)) == 0);
    for (unsigned i = 0; i < 20; i++) {
        take_shadow();
        sched_yield();
    }
    quit = true;
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void writers_on(char *area)
{
    size_t missed = 0;
    open_it();
    shared_area = area;
    EXPECT(arm(area, PAGES * PAGE_SIZE));
    for (size_t i = 0; i < PAGES; i++)
        shadow[i] = content(i);
    for (unsigned round = 0; round < 25; round++) {
        round_of_writers(round);
        take(area, PAGES * PAGE_SIZE, false);
        for (size_t i = 0; i < PAGES; i++)
            missed += content(i) != shadow[i] && !reported[i];
        take_shadow();
        EXPECT(take(area, PAGES * PAGE_SIZE, false) == 0); /* quiet: exact */
    }
    EXPECT(missed == 0);
    b->close();
}

static void writers(void)
{
    writers_on(anonymous(PAGES));
}

static void writers_huge(void)
{
    char *p = anonymous(PAGES + 512);
    p = (char *)align_up((uintptr_t)p, 2 * MIB);
    madvise(p, PAGES * PAGE_SIZE, MADV_HUGEPAGE);
    touch(p, PAGES, 1);
    writers_on(p);
}

static void writers_shared(void)
{
    writers_on(map(PAGES * PAGE_SIZE, MAP_SHARED | MAP_ANONYMOUS, -1));
}

/* ---- exactly what was written ---- */

static void exact_on(char *p)
{
    touch(p, PAGES, 1);
    EXPECT(arm(p, PAGES * PAGE_SIZE) && take(p, PAGES * PAGE_SIZE, false) == 0);
    unsigned wrong = 0;
    for (unsigned round = 0; round < 50; round++) {
        static unsigned char want[PAGES];
        memset(want, 0, sizeof(want));
        for (unsigned i = 0; i < 1u << round % 12; i++) {
            size_t page = (size_t)rand() % PAGES;
            want[page] = 1;
            touch(p + page * PAGE_SIZE, 1, (char)round);
        }
        take(p, PAGES * PAGE_SIZE, false);
        wrong += memcmp(want, reported, PAGES) != 0;
        take(p, PAGES * PAGE_SIZE, true); /* looking took nothing away; more than 256 ranges, too */
        wrong += memcmp(want, reported, PAGES) != 0;
        wrong += guessed;
        wrong += take(p, PAGES * PAGE_SIZE, true) != 0;
    }
    EXPECT(wrong == 0);
}

static char initialised[PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = {1};
static char zeroed[PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static void exact(void)
{
    char path[] = "/tmp/gcm-uffd-XXXXXX";
    int fd = mkstemp(path);
    EXPECT(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)PAGES * PAGE_SIZE) == 0);
    open_it();
    exact_on(anonymous(PAGES));
    exact_on(initialised);
    exact_on(zeroed);
    exact_on(map(PAGES * PAGE_SIZE, MAP_PRIVATE, fd));
    exact_on(map(PAGES * PAGE_SIZE, MAP_SHARED | MAP_ANONYMOUS, -1));
    b->close();
}

/* ---- the kernel writes ---- */

static void kernel_writes(void)
{
    int pipes[2], sockets[2];
    char *p = anonymous(8);
    open_it();
    touch(p, 8, 1);
    EXPECT(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    EXPECT(write(pipes[1], "abc", 3) == 3 && write(sockets[1], "def", 3) == 3);
    EXPECT(arm(p, 8 * PAGE_SIZE));
    EXPECT(read(pipes[0], p + PAGE_SIZE, 3) == 3); /* no EFAULT */
    EXPECT(recv(sockets[0], p + 4 * PAGE_SIZE - 1, 3, 0) == 3); /* across two pages */
    EXPECT(memcmp(p + PAGE_SIZE, "abc", 3) == 0 && memcmp(p + 4 * PAGE_SIZE - 1, "def", 3) == 0);
    EXPECT(take(p, 8 * PAGE_SIZE, true) == 3 && reported[1] && reported[3] && reported[4]);
    EXPECT(take(p, 8 * PAGE_SIZE, true) == 0);
    b->close();
}

/* ---- holes ---- */

static size_t page_table_kib(void)
{
    static char text[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *line = strstr(text, "VmPTE:");
    return line == NULL ? SIZE_MAX : strtoul(line + 6, NULL, 10);
}

static void sparse(void)
{
    const size_t size = (size_t)64 << 30;
    char *p = map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    open_it();
    touch(p + (33 * GIB), 1, 1);
    EXPECT(arm(p, size));
    for (unsigned i = 0; i < 3; i++) {
        char *at = p + (size_t)(7 + 5 * i) * GIB + 12345 * PAGE_SIZE;
        touch(at, 1, 1);
        base = at;
        memset(reported, 0, sizeof(reported));
        b->take((uintptr_t)p, (uintptr_t)p + size, i != 2, note, NULL);
        EXPECT(reported[0]);
    }
    base = p + 33 * GIB;
    memset(reported, 0, sizeof(reported));
    b->take((uintptr_t)p, (uintptr_t)p + size, false, note, NULL);
    EXPECT(!reported[0]); /* never written since it was armed */
    EXPECT(page_table_kib() < 4096);
    munmap(p, size);
    b->close();
}

static void holes(void)
{
    char *p = anonymous(64);
    open_it();
    touch(p, 8, 1);
    EXPECT(arm(p, 64 * PAGE_SIZE));
    take(p, 64 * PAGE_SIZE, true);
    EXPECT(take(p, 64 * PAGE_SIZE, true) == 0); /* short ones are remembered */
    EXPECT(*(volatile char *)(p + 20 * PAGE_SIZE) == 0); /* read: the zero page */
    touch(p + 30 * PAGE_SIZE, 1, 1);
    take(p, 64 * PAGE_SIZE, true);
    EXPECT(reported[30] && !reported[0] && !reported[31]);
    EXPECT(madvise(p + 2 * PAGE_SIZE, 2 * PAGE_SIZE, MADV_DONTNEED) == 0);
    touch(p + 2 * PAGE_SIZE, 1, 5);
    take(p, 64 * PAGE_SIZE, true);
    EXPECT(reported[2] && !reported[1] && !reported[4]);
    b->close();
}

/* ---- mappings that change ---- */

static void refused(void)
{
    char *p = anonymous(64), *q = anonymous(64);
    open_it();
    touch(p, 64, 1);
    touch(q, 64, 2);
    EXPECT(arm(p, 64 * PAGE_SIZE) && arm(q, 64 * PAGE_SIZE));
    /* Unmapped, and mapped anew at the same address: in the middle of the range. */
    const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    EXPECT(munmap(p + 16 * PAGE_SIZE, PAGE_SIZE) == 0);
    EXPECT(mmap(p + 16 * PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, fixed, -1, 0) !=
           MAP_FAILED);
    EXPECT(take(p, 64 * PAGE_SIZE, true) == 64 && guessed == 64); /* whole */
    EXPECT(take(p, 64 * PAGE_SIZE, false) == 64);
    EXPECT(arm(p, 64 * PAGE_SIZE));
    take(p, 64 * PAGE_SIZE, true);
    EXPECT(take(p, 64 * PAGE_SIZE, true) == 0);
    /* Moved there by mremap. */
    EXPECT(mremap(q, 8 * PAGE_SIZE, 8 * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                  p + 8 * PAGE_SIZE) == p + 8 * PAGE_SIZE);
    take(p, 64 * PAGE_SIZE, true);
    for (size_t i = 8; i < 16; i++)
        EXPECT(reported[i]);
    b->close();
}

static void grown(void)
{
    char *p = anonymous(64);
    open_it();
    EXPECT(munmap(p + 32 * PAGE_SIZE, 32 * PAGE_SIZE) == 0);
    touch(p, 32, 1);
    EXPECT(arm(p, 32 * PAGE_SIZE));
    EXPECT(mremap(p, 32 * PAGE_SIZE, 48 * PAGE_SIZE, 0) == p);
    touch(p + 40 * PAGE_SIZE, 1, 1);
    take(p, 48 * PAGE_SIZE, true);
    EXPECT(reported[40]);
    EXPECT(take(p, 32 * PAGE_SIZE, true) == 0 || reported[0]);
    b->close();
}

static void protections(void)
{
    char *p = anonymous(16);
    open_it();
    touch(p, 16, 1);
    EXPECT(mprotect(p + 4 * PAGE_SIZE, 4 * PAGE_SIZE, PROT_READ) == 0);
    EXPECT(arm(p, 16 * PAGE_SIZE)); /* what is read-only now may be written later */
    EXPECT(mprotect(p, 16 * PAGE_SIZE, PROT_NONE) == 0);
    EXPECT(mprotect(p, 16 * PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
    EXPECT(take(p, 16 * PAGE_SIZE, true) == 0);
    touch(p + 5 * PAGE_SIZE, 1, 2);
    EXPECT(mprotect(p, 16 * PAGE_SIZE, PROT_READ) == 0);
    EXPECT(take(p, 16 * PAGE_SIZE, true) == 1 && reported[5]);
    b->close();
}

/* Shared memory that has lost its page table entry: reported now, or at the latest by the last
 * look. */
static void dropped_shared(void)
{
    const size_t size = PAGES * PAGE_SIZE * 4;
    char *p = map(size, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    open_it();
    touch(p, 16, 1);
    EXPECT(arm(p, size));
    touch(p + 3 * PAGE_SIZE, 1, 2);
    EXPECT(madvise(p + 3 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED) == 0);
    take(p, size, true);
    bool at_once = reported[3];
    take(p, size, false);
    EXPECT(at_once || reported[3]);
    b->close();
}

/* ---- what is no write ---- */

static void swap_out(char *p, size_t count)
{
    madvise(p, count * PAGE_SIZE, MADV_PAGEOUT); /* to no avail without swap space */
    for (size_t i = 0; i < count; i++)
        EXPECT(*(volatile char *)(p + i * PAGE_SIZE) == 1);
}

static void child_that_writes(void)
{
    touch(base, PAGES, 3);
}

/* .inv.answer: a page that was armed and stays reads as written after a write alone; but for those
 * who make the kernel write, or as good as. */
static void answers(void)
{
    char *p = anonymous(PAGES);
    open_it();
    touch(p, PAGES, 1);
    EXPECT(arm(p, PAGES * PAGE_SIZE) && take(p, PAGES * PAGE_SIZE, false) == 0);
    swap_out(p, PAGES);
    EXPECT(child_passes(child_that_writes));
    EXPECT(mprotect(p, PAGES * PAGE_SIZE, PROT_READ) == 0);
    EXPECT(mprotect(p, PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
    EXPECT(mlock(p, 8 * PAGE_SIZE) == 0 && munlock(p, 8 * PAGE_SIZE) == 0);
    size_t locked = take(p, 8 * PAGE_SIZE, true); /* touched.c, .inv.nobody */
    printf("      mlock: %zu of 8 pages read as written\n", locked);
    EXPECT(take(p, PAGES * PAGE_SIZE, true) == 0);
    touch(p + 700 * PAGE_SIZE, 1, 2);
    EXPECT(take(p, PAGES * PAGE_SIZE, true) == 1 && reported[700] && guessed == 0);
    b->close();
}

/* ---- fork ---- */

static char *forked_area;

static void in_child(void)
{
    b->after_fork();
    touch(forked_area, 16, 3); /* no fault that nobody answers */
    open_it();
    EXPECT(take(forked_area, 16 * PAGE_SIZE, true) == 16); /* not armed here */
    EXPECT(arm(forked_area, 16 * PAGE_SIZE) && take(forked_area, 16 * PAGE_SIZE, true) == 0);
    touch(forked_area + 5 * PAGE_SIZE, 1, 4);
    EXPECT(take(forked_area, 16 * PAGE_SIZE, true) == 1 && reported[5]);
}

static void forked(void)
{
    forked_area = anonymous(16);
    open_it();
    touch(forked_area, 16, 1);
    EXPECT(arm(forked_area, 16 * PAGE_SIZE));
    touch(forked_area + 2 * PAGE_SIZE, 1, 2);
    EXPECT(child_passes(in_child));
    touch(forked_area + 9 * PAGE_SIZE, 1, 2); /* copied on write: reported all the same */
    take(forked_area, 16 * PAGE_SIZE, true);
    EXPECT(reported[2] && reported[9] && pages == 2);
    b->close();
    touch(forked_area, 16, 5); /* its end leaves nothing behind */
    open_it();
    EXPECT(arm(forked_area, 16 * PAGE_SIZE) && take(forked_area, 16 * PAGE_SIZE, true) == 0);
    b->close();
}

IN_CHILD(writers)
IN_CHILD(writers_huge)
IN_CHILD(writers_shared)
IN_CHILD(exact)
IN_CHILD(kernel_writes)
IN_CHILD(sparse)
IN_CHILD(holes)
IN_CHILD(refused)
IN_CHILD(grown)
IN_CHILD(protections)
IN_CHILD(dropped_shared)
IN_CHILD(answers)
IN_CHILD(forked)

/* .inv.stale: what mremap moves next to an armed mapping joins it, and takes its registration away
 * but not its protection bits. */
static void test_joined(void)
{
    enum { COUNT = 16 };
    open_it();
    char *room = anonymous(4 * COUNT), *moved = room + 3 * COUNT * PAGE_SIZE;
    char *second = room + COUNT * PAGE_SIZE;
    touch(room, COUNT, 1);
    EXPECT(munmap(second, 2 * COUNT * PAGE_SIZE) == 0);
    EXPECT(arm(room, COUNT * PAGE_SIZE) && arm(moved, COUNT * PAGE_SIZE));
    EXPECT(take(room, COUNT * PAGE_SIZE, false) == 0);
    EXPECT(mremap(moved, COUNT * PAGE_SIZE, COUNT * PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED,
                  second) == second);
    touch(room, 2, 2); /* unregistered now: the bits stay in the writable entries */
    EXPECT(arm(room, 2 * COUNT * PAGE_SIZE));
    EXPECT(take(room, COUNT * PAGE_SIZE, false) == 0);
    touch(room, 3, 3);
    EXPECT(take(room, COUNT * PAGE_SIZE, false) == 3 && reported[0] && reported[1] && reported[2]);
    b->close();
}

/* What is relaxed counts as written, also where it was not, until it is armed again. */
static void test_relaxed(void)
{
    open_it();
    char *p = anonymous(PAGES);
    touch(p, PAGES - 100, 1); /* holes at the end */
    EXPECT(arm(p, PAGES * PAGE_SIZE));
    uintptr_t middle = (uintptr_t)p + 300 * PAGE_SIZE;
    b->relax(middle, middle + 200 * PAGE_SIZE);
    touch(p + 400 * PAGE_SIZE, 300, 2);
    EXPECT(take(p, (PAGES - 100) * PAGE_SIZE, false) == 400);
    EXPECT(!reported[299] && reported[300] && reported[699] && !reported[700]);
    EXPECT(arm(p, PAGES * PAGE_SIZE) && take(p, (PAGES - 100) * PAGE_SIZE, false) == 0);
    touch((char *)middle, 10, 3);
    EXPECT(take(p, (PAGES - 100) * PAGE_SIZE, true) == 10 && reported[300] && !reported[310]);
    b->relax((uintptr_t)p, (uintptr_t)p + PAGES * PAGE_SIZE);
    EXPECT(arm(p, PAGES * PAGE_SIZE) && take(p, (PAGES - 100) * PAGE_SIZE, true) == 0);
    b->close();
}

UNIT_MAIN(TEST(test_writers), TEST(test_writers_huge), TEST(test_writers_shared),
          TEST(test_exact), TEST(test_kernel_writes), TEST(test_sparse), TEST(test_holes),
          TEST(test_refused), TEST(test_grown), TEST(test_protections), TEST(test_dropped_shared),
          TEST(test_answers),
          TEST(test_forked), TEST(test_joined), TEST(test_relaxed))
