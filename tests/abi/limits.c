/* limits.c -- a program that limits its own address space while it runs.
 *
 *     limits KIND MEGABYTES
 *
 * The limit is far below what an allocator may have reserved, and above what the program uses. Then
 * there is room for a mapping of its own, also where a reservation may have been: what is held
 * from there only must be as it was. malloc takes what is left, fails with ENOMEM, and works again
 * when blocks have been freed.
 *
 *   setrlimit, prlimit       by those functions, while another thread allocates
 *   syscall                  by syscall(SYS_prlimit64)
 *   twice                    first to four times as much
 *   refused                  the kernel says no: too high, or a bad address
 *   vfork                    in a child that shares our memory: nothing changes for us */
#include "kept.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { OWN = 64 << 20, STEP = 1 << 20, SOME = 8 << 20, BLOCKS_MOST = 4096 };

static size_t limit_bytes;
static void *held_in_bss[KEPT];
static atomic_bool over;

/* ---- ways to set it ---- */

static int by_setrlimit(const struct rlimit *limit)
{
    return setrlimit(RLIMIT_AS, limit);
}

static int by_prlimit(const struct rlimit *limit)
{
    return prlimit(getpid(), RLIMIT_AS, limit, NULL);
}

static int by_syscall(const struct rlimit *limit)
{
    return (int)syscall(SYS_prlimit64, 0, RLIMIT_AS, limit, NULL);
}

static int by_two(const struct rlimit *limit)
{
    struct rlimit more = { 4 * limit->rlim_cur, limit->rlim_max };
    CHECK(setrlimit(RLIMIT_AS, &more) == 0);
    pressure(SOME, 0);
    return setrlimit(RLIMIT_AS, limit);
}

/* ---- what must go on ---- */

static void *map(void *at, size_t size, int flags)
{
    return mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* Half a terabyte above the heap: in the middle of a large reservation, if there is one. */
static void **place_beyond(void)
{
    void *block = malloc(100);
    char *at = (char *)((uintptr_t)block & ~(uintptr_t)(STEP - 1)) + ((size_t)1 << 39);
    free(block);
    void **place = map(at, STEP, MAP_FIXED_NOREPLACE);
    CHECK(place == (void *)at);
    return place;
}

static void map_and_unmap(void)
{
    char *own = map(NULL, OWN, 0);
    CHECK(own != MAP_FAILED);
    pattern_fill(own, OWN, 1);
    pressure(SOME, 1);
    CHECK(pattern_holds(own, OWN, 1) && munmap(own, OWN) == 0);
}

static void fill_up(void)
{
    static void *blocks[BLOCKS_MOST];
    size_t count = 0;
    do {
        errno = 0;
        CHECK(count < BLOCKS_MOST);
        blocks[count] = malloc(STEP);
        if (blocks[count] != NULL)
            pattern_fill(blocks[count], 64, (unsigned)count);
    } while (blocks[count++] != NULL);
    CHECK(errno == ENOMEM && count * STEP > limit_bytes / 8 && count * STEP < limit_bytes);
    while (--count > 0) {
        CHECK(pattern_holds(blocks[count - 1], 64, (unsigned)count - 1));
        free(blocks[count - 1]);
    }
}

static void in_child(void (*run)(void))
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        run();
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void use_all(void)
{
    pressure(SOME, 1);
    kept_check(held_in_bss);
    map_and_unmap();
    fill_up();
    kept_check(held_in_bss);
}

static void *churn_thread(void *unused)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    while (!atomic_load(&over))
        pressure(200000, 0);
    kept_check((void **)place);
    return unused;
}

static void limit_and_go_on(int (*set)(const struct rlimit *limit))
{
    struct rlimit limit = { limit_bytes, RLIM_INFINITY };
    pthread_t thread;
    kept_fill_and_forget(held_in_bss);
    CHECK(pthread_create(&thread, NULL, churn_thread, NULL) == 0);
    pressure(2 * SOME, 1);
    CHECK(set(&limit) == 0);
    void **beyond = place_beyond();
    kept_fill_and_forget(beyond);
    for (int i = 0; i < 3; i++)
        map_and_unmap();
    kept_check(beyond);
    atomic_store(&over, true);
    CHECK(pthread_join(thread, NULL) == 0);
    fill_up();
    kept_check(beyond);
    in_child(use_all);
    use_all();
    kept_check(beyond);
}

static void kind_setrlimit(void)
{
    limit_and_go_on(by_setrlimit);
}

static void kind_prlimit(void)
{
    limit_and_go_on(by_prlimit);
}

static void kind_syscall(void)
{
    limit_and_go_on(by_syscall);
}

static void kind_twice(void)
{
    limit_and_go_on(by_two);
}

static void kind_refused(void)
{
    struct rlimit limit = { limit_bytes, limit_bytes / 2 };
    kept_fill_and_forget(held_in_bss);
    CHECK(setrlimit(RLIMIT_AS, &limit) == -1 && errno == EINVAL);
    CHECK(prlimit(0, RLIMIT_AS, (void *)16, NULL) == -1 && errno == EFAULT);
    CHECK(prlimit(0, RLIMIT_AS, NULL, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
    pressure(SOME, 1);
    map_and_unmap();
    kept_check(held_in_bss);
}

static unsigned long pages_mapped(void)
{
    unsigned long pages = 0;
    char text[64];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof text) > 0 && close(fd) == 0);
    CHECK(sscanf(text, "%lu", &pages) == 1);
    return pages;
}

static void kind_vfork(void)
{
    int status = -1;
    kept_fill_and_forget(held_in_bss);
    pressure(SOME, 1);
    unsigned long before = pages_mapped();
    pid_t pid = vfork();
    if (pid == 0) {
        struct rlimit limit = { limit_bytes, limit_bytes };
        _exit(setrlimit(RLIMIT_AS, &limit) != 0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(pages_mapped() > before / 2);
    pressure(SOME, 1);
    kept_check(held_in_bss);
}

static const struct kind kinds[] = {
    KIND(setrlimit), KIND(prlimit), KIND(syscall), KIND(twice), KIND(refused), KIND(vfork),
};

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    limit_bytes = (size_t)strtoul(argv[2], NULL, 10) << 20;
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
