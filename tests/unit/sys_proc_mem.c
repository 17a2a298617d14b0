/* sys_proc_mem.c -- reading what may not be there. */
#include "sys/proc_mem.h"

#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 64, SIZE = PAGES * PAGE_SIZE };

/* Both ways, and each alone. */
static struct proc_mem both, vm_only, mem_only;
static struct proc_mem *const all[] = {&both, &vm_only, &mem_only};
static char copy[SIZE];

static void test_open(void)
{
    EXPECT(proc_mem_open(&both));
    EXPECT(both.vm_readv_ok && both.mem_fd >= 0);
    EXPECT((fcntl(both.mem_fd, F_GETFD) & FD_CLOEXEC) != 0);
    vm_only = mem_only = both;
    vm_only.mem_fd = -1;
    mem_only.vm_readv_ok = false;
}

static char *map(void)
{
    char *area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(area != MAP_FAILED);
    for (size_t i = 0; i < SIZE; i++)
        area[i] = (char)(i * 7 + i / 251);
    return area;
}

static bool reads(struct proc_mem *m, const char *from, size_t length, size_t expected,
                  bool unreadable_ok, const char *truth)
{
    memset(copy, 0x55, sizeof copy);
    return proc_mem_read(m, copy, (uintptr_t)from, length, unreadable_ok) == expected &&
           memcmp(copy, truth, expected) == 0;
}

static void test_plain(void)
{
    char *area = map();
    for (size_t i = 0; i < GC_COUNT(all); i++) {
        EXPECT(reads(all[i], area, SIZE, SIZE, false, area));
        EXPECT(reads(all[i], area + 1, 1, 1, false, area + 1));
        EXPECT(reads(all[i], area + 4090, 12, 12, false, area + 4090));
        EXPECT(reads(all[i], area + 77, SIZE - 100, SIZE - 100, false, area + 77));
        EXPECT(reads(all[i], area, 0, 0, false, area));
    }
    munmap(area, SIZE);
}

static void test_text_and_stack(void)
{
    char local[100] = "here";
    for (size_t i = 0; i < GC_COUNT(all); i++) {
        EXPECT(reads(all[i], local, sizeof local, sizeof local, false, local));
        EXPECT(reads(all[i], (char *)(uintptr_t)test_plain, 64, 64, false,
                     (char *)(uintptr_t)test_plain));
    }
}

static void test_unmapped(void)
{
    char *area = map(), *truth = malloc(SIZE);
    memcpy(truth, area, SIZE);
    munmap(area + 10 * PAGE_SIZE, 3 * PAGE_SIZE);
    munmap(area + 60 * PAGE_SIZE, 4 * PAGE_SIZE);
    for (size_t i = 0; i < GC_COUNT(all); i++) {
        for (int ok = 0; ok < 2; ok++) {
            size_t prefix = ok && all[i]->mem_fd < 0 ? 0 : 10 * PAGE_SIZE;
            EXPECT(reads(all[i], area, SIZE, prefix, ok, truth));
            EXPECT(reads(all[i], area + 10 * PAGE_SIZE, PAGE_SIZE, 0, ok, truth));
            EXPECT(reads(all[i], area + 11 * PAGE_SIZE + 9, SIZE / 2, 0, ok, truth));
        }
        EXPECT(reads(all[i], area + 13 * PAGE_SIZE + 1, SIZE, 47 * PAGE_SIZE - 1, false,
                     truth + 13 * PAGE_SIZE + 1));
        EXPECT(reads(all[i], NULL, 100, 0, false, truth));
        EXPECT(reads(all[i], (char *)0x7ffffffff000, PAGE_SIZE, 0, false, truth));
        EXPECT(reads(all[i], (char *)0xdead000000000000, PAGE_SIZE, 0, false, truth));
    }
    munmap(area, SIZE);
    free(truth);
}

static void test_prot_none(void)
{
    char *area = map(), *truth = malloc(SIZE);
    memcpy(truth, area, SIZE);
    mprotect(area + 4 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_NONE);
    mprotect(area + 20 * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
    mprotect(area + 22 * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
    EXPECT(reads(&vm_only, area, SIZE, 4 * PAGE_SIZE, false, truth));
    EXPECT(reads(&vm_only, area + 4 * PAGE_SIZE, PAGE_SIZE, 0, false, truth));
    if (reads(&mem_only, area + 4 * PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, true, truth + 4 * PAGE_SIZE)) {
        EXPECT(reads(&mem_only, area, SIZE, SIZE, false, truth));
        EXPECT(reads(&both, area, SIZE, SIZE, false, truth)); /* back to the fast way each time */
        EXPECT(reads(&both, area, SIZE, SIZE, true, truth));
        EXPECT(reads(&both, area + 5 * PAGE_SIZE + 100, 4 * PAGE_SIZE, 4 * PAGE_SIZE, false,
                     truth + 5 * PAGE_SIZE + 100));
        munmap(area + 23 * PAGE_SIZE, PAGE_SIZE); /* an unmapped page behind a protected one */
        EXPECT(reads(&both, area, SIZE, 23 * PAGE_SIZE, false, truth));
        EXPECT(reads(&both, area, SIZE, 23 * PAGE_SIZE, true, truth));
    } else {
        printf("      this kernel does not read protected pages through /proc/self/mem\n");
        EXPECT(reads(&both, area, SIZE, 4 * PAGE_SIZE, false, truth));
    }
    munmap(area, SIZE);
    free(truth);
}

/* Past the end of a mapped file a load is SIGBUS; here it is a short answer. */
static void test_past_file_end(void)
{
    int fd = memfd_create("short", 0);
    EXPECT(ftruncate(fd, PAGE_SIZE + 100) == 0);
    char *area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memset(area, 3, 2 * PAGE_SIZE);
    for (size_t i = 0; i < GC_COUNT(all); i++)
        EXPECT(reads(all[i], area, SIZE, 2 * PAGE_SIZE, false, area));
    munmap(area, SIZE);
    close(fd);
}

/* ---- a program that unmaps while it is read ---- */

static _Atomic bool stop;

static void *unmap_and_map(void *area)
{
    while (!atomic_load(&stop)) {
        munmap((char *)area + 8 * PAGE_SIZE, 8 * PAGE_SIZE);
        mmap((char *)area + 8 * PAGE_SIZE, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        mprotect((char *)area + 9 * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
    }
    return NULL;
}

static void test_race(void)
{
    char *area = map();
    pthread_t thread;
    size_t whole = 0, cut = 0;
    pthread_create(&thread, NULL, unmap_and_map, area);
    for (int i = 0; i < 5000; i++) {
        size_t got = proc_mem_read(&both, copy, (uintptr_t)area, SIZE, false);
        if (!EXPECT(got >= 8 * PAGE_SIZE && memcmp(copy, area, 8 * PAGE_SIZE) == 0))
            break;
        whole += got == SIZE;
        cut += got < SIZE;
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    printf("      %zu whole, %zu cut short\n", whole, cut);
    munmap(area, SIZE);
}

static void test_close(void)
{
    proc_mem_close(&both);
    proc_mem_close(&both);
    EXPECT(both.mem_fd == -1);
    char word[8] = "1234567";
    EXPECT(reads(&both, word, 8, 8, false, word)); /* the other way still works */
    struct proc_mem none = {-1, false};
    EXPECT(reads(&none, word, 8, 0, false, word));
}

UNIT_MAIN(TEST(test_open), TEST(test_plain), TEST(test_text_and_stack), TEST(test_unmapped),
          TEST(test_prot_none), TEST(test_past_file_end), TEST(test_race), TEST(test_close))
