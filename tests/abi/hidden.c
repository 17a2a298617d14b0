/* hidden.c -- a program that hides its pointers, and uses the blocks all the same.   hidden HOW
 *
 * HOW: read, write, free, resize, call (write(2) from the block), vector (writev(2)), none. The
 * addresses of twelve blocks are kept as their complements; when enough was allocated and leaked for
 * some cycles, each block is used, and every byte of it compared. Where a judged block is reclaimed
 * that fails; where it is withheld, or only reported, it does not.
 *
 *   handler   as `read`; a handler of the program's for SIGSEGV is there, and is not called
 *   faults    the same, and then the program makes a fault of its own, twice, and its handler mends
 *             it
 *   blocked   as `write`, by a thread that blocks all signals
 *
 * Others write all the time, while marks are under way, and free nothing; what they find must be
 * what they wrote:
 *
 *   pages     to hidden blocks that fill pages together
 *   ranges    to hidden blocks of several pages each
 *   beside    to blocks whose addresses are kept, with leaked ones in between: nothing is hidden
 *   locked    nothing: all memory is locked again and again, for which the kernel acts as if the
 *             program wrote to each page */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "abi.h"

enum { KEPT = 12 };

static const size_t kept_sizes[KEPT] = { 24, 24, 24, 24, 5000, 5000, 5000, 5000, 300000, 300000,
                                         300000, 300000 };
static uintptr_t disguised[KEPT];

static NOINLINE void hide(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        char *block = malloc(kept_sizes[i]);
        CHECK(block != NULL);
        pattern_fill(block, kept_sizes[i], i);
        disguised[i] = ~(uintptr_t)block;
    }
}

static void load(void)
{
    stack_clear();
    pressure(20u << 20, 1);
    stack_clear();
}

static NOINLINE char *reveal(unsigned i)
{
    return (char *)~disguised[i];
}

static NOINLINE void read_them(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        CHECK(pattern_holds(reveal(i), kept_sizes[i], i));
}

static NOINLINE void write_them(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        reveal(i)[kept_sizes[i] - 1] ^= 1;
        reveal(i)[kept_sizes[i] - 1] ^= 1;
    }
    read_them();
}

static void kind_read(void)
{
    read_them();
}

static void kind_write(void)
{
    write_them();
}

static void kind_free(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        free(reveal(i));
}

static void kind_resize(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        char *block = realloc(reveal(i), 2 * kept_sizes[i]);
        CHECK(block != NULL && pattern_holds(block, kept_sizes[i], i));
        free(block);
    }
}

static void pass(int vector)
{
    int end[2];
    char byte;
    CHECK(pipe(end) == 0);
    for (unsigned i = 0; i < KEPT; i++) {
        struct iovec part = { reveal(i), 1 };
        CHECK((vector ? writev(end[1], &part, 1) : write(end[1], reveal(i), 1)) == 1);
        CHECK(read(end[0], &byte, 1) == 1 && (unsigned char)byte == pattern_byte(0, i));
    }
    read_them();
}

static void kind_call(void)
{
    pass(0);
}

static void kind_vector(void)
{
    pass(1);
}

static void kind_none(void)
{
}

/* ---- signals ---- */

static sigjmp_buf way_out;
static volatile int faults;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    CHECK(signal == SIGSEGV && info->si_addr != NULL);
    faults++;
    siglongjmp(way_out, 1);
}

static void install(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0);
    CHECK(old.sa_sigaction == on_fault && (old.sa_flags & SA_SIGINFO));
}

static void kind_handler(void)
{
    install();
    read_them();
    CHECK(faults == 0);
}

static void kind_faults(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    kind_handler();
    for (volatile int i = 0; i < 2; i++)
        if (sigsetjmp(way_out, 1) == 0)
            *(volatile char *)page = 1;
    CHECK(faults == 2);
}

static void *blocked_thread(void *unused)
{
    sigset_t all;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    write_them();
    return unused;
}

static void kind_blocked(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, blocked_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- who writes all the time ---- */

enum { WATCHED = 1600, RANGES = 8, LIVE = 400000 };

static uintptr_t watched[WATCHED]; /* complements, or addresses: ^ `disguise` */
static uintptr_t disguise;
static unsigned watched_count;
static size_t watched_size;
static int leaks_between;
static void **live;
static atomic_bool enough;

static NOINLINE void *make_watched(unsigned i)
{
    char *block = malloc(watched_size);
    CHECK(block != NULL);
    pattern_fill(block, watched_size, i);
    return OPAQUE(block);
}

static void fill_watched(void)
{
    for (unsigned i = 0; i < watched_count; i++) {
        watched[i] = (uintptr_t)make_watched(i) ^ disguise;
        if (leaks_between)
            make_watched(i);
    }
}

static NOINLINE void write_once(unsigned i, unsigned round)
{
    char *block = (char *)(watched[i] ^ disguise);
    CHECK(pattern_holds(block, watched_size, i + round));
    pattern_fill(block, watched_size, i + round + 1);
}

static void *write_on(void *unused)
{
    for (unsigned round = 0; !atomic_load(&enough); round++)
        for (unsigned i = 0; i < watched_count; i++)
            write_once(i, round);
    return unused;
}

/* What makes marks last. */
static void make_live(void)
{
    for (unsigned i = 0; i < LIVE; i++) {
        void **node = malloc(48);
        CHECK(node != NULL);
        *node = live;
        live = node;
    }
}

static void *lock_on(void *unused)
{
    while (!atomic_load(&enough) && mlockall(MCL_CURRENT) == 0) /* if it may */
        CHECK(munlockall() == 0);
    return unused;
}

static void load_beside(void *(*function)(void *))
{
    pthread_t thread;
    atomic_store(&enough, false);
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0);
    pressure(60u << 20, 1);
    atomic_store(&enough, true);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void watch(unsigned count, size_t size, uintptr_t mask)
{
    watched_count = count;
    watched_size = size;
    disguise = mask;
    make_live();
    run_and_forget(fill_watched);
    load_beside(write_on);
}

static void kind_pages(void)
{
    watch(WATCHED, 200, UINTPTR_MAX);
}

static void kind_ranges(void)
{
    watch(RANGES, 100000, UINTPTR_MAX);
}

static void kind_beside(void)
{
    leaks_between = 1;
    watch(WATCHED, 200, 0);
    watch(RANGES, 100000, 0);
}

static void kind_locked(void)
{
    make_live();
    load_beside(lock_on);
}

static const struct kind kinds[] = {
    KIND(read), KIND(write), KIND(free), KIND(resize), KIND(call), KIND(vector), KIND(none),
    KIND(handler), KIND(faults), KIND(blocked), KIND(pages), KIND(ranges), KIND(beside),
    KIND(locked),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_and_forget(hide);
    load();
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
