/* guard.c -- one error in the use of one block, or none.   guard KIND
 *
 * With guard=1 the block is a guarded one, which the program does not know: it prints the block's
 * address, and does what it should not. Without the library it may get away with it.
 *
 *   over_N        writes the byte behind a block of N bytes, N a multiple of 16
 *   under         reads the byte before a block
 *   read, write   after it was freed
 *   double, wild  frees it twice; frees an address within it
 *   realloc, usable
 *                 after it was freed
 *   handled       as `write`, with a handler of its own, which leaves by siglongjmp, twice
 *   alternate     the same, on an alternate stack that is small
 *   blocked       as `write`, in a thread that blocks all signals
 *   own           faults of its own, with and without handler: not a word is said of them
 *   sent          SIGSEGV is sent to it
 *   forked        as `write`, in the child of fork, of the parent's block; the parent's is as it was
 *
 * Right ones:
 *
 *   actions       what the program sets for SIGSEGV it finds again
 *   right         blocks of all kinds, in threads, with collections
 *   holder        the only pointers to ordinary blocks lie in guarded ones
 *   forks         children that allocate and free while other threads do */
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "abi.h"

enum { SIZE = 48, THREADS = 4, ROUNDS = 20000, HELD = 40, TRIES = 64 };

static NOINLINE char *allocation_site(size_t size)
{
    char *block = malloc(size);
    CHECK(block != NULL);
    return OPAQUE(block);
}

static NOINLINE void free_site(char *block)
{
    free(OPAQUE(block));
    OPAQUE(block); /* no jump: it stands in the stack */
}

static void announce(const void *bad, const void *block)
{
    printf("%p %p\n", bad, block);
    fflush(stdout);
}

static NOINLINE void write_site(volatile char *at)
{
    *at = 1;
    OPAQUE(at);
}

static NOINLINE int read_site(const volatile char *at)
{
    return *at;
}

/* A block at the end of its page, or at the beginning: a coin decides, but for the program. */
static char *block_at(size_t size, size_t end)
{
    for (int i = 0; i < TRIES; i++) {
        char *block = allocation_site(size);
        if (((uintptr_t)block + end) % 4096 == 0)
            return block;
    }
    puts("never there");
    _exit(1);
}

static void over(size_t size)
{
    char *block = block_at(size, size);
    announce(block + size, block);
    write_site(block + size);
}

static void kind_over_16(void)
{
    over(16);
}

static void kind_over_48(void)
{
    over(48);
}

static void kind_over_4096(void)
{
    over(4096);
}

static void kind_under(void)
{
    char *block = block_at(SIZE, 0);
    announce(block - 1, block);
    read_site(block - 1);
}

static char *freed(void)
{
    char *block = allocation_site(SIZE);
    free_site(block);
    announce(block, block);
    return OPAQUE(block);
}

static void kind_read(void)
{
    read_site(freed());
}

static void kind_write(void)
{
    write_site(freed());
}

static void kind_double(void)
{
    free_site(freed());
}

static void kind_wild(void)
{
    char *block = allocation_site(SIZE);
    announce(block + 16, block);
    free_site(block + 16);
}

static void kind_realloc(void)
{
    CHECK(realloc(freed(), 100) != NULL);
}

static void kind_usable(void)
{
    CHECK(malloc_usable_size(freed()) != 0);
}

/* ---- signals ---- */

static sigjmp_buf way_out;
static volatile int faults;
static void *volatile expected;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    char here;
    stack_t stack;
    (void)context;
    CHECK(signal == SIGSEGV && info->si_addr == expected && info->si_code == SEGV_ACCERR);
    CHECK(sigaltstack(NULL, &stack) == 0);
    if (stack.ss_flags & SS_ONSTACK)
        CHECK((uintptr_t)&here - (uintptr_t)stack.ss_sp < stack.ss_size);
    faults++;
    siglongjmp(way_out, 1);
}

static void handle(int flags)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | flags }, old;
    sigaddset(&action.sa_mask, SIGUSR1);
    CHECK(sigaction(SIGSEGV, &action, NULL) == 0 && sigaction(SIGSEGV, NULL, &old) == 0);
    CHECK(old.sa_sigaction == on_fault && (old.sa_flags & (SA_SIGINFO | flags)) ==
          (SA_SIGINFO | flags) && sigismember(&old.sa_mask, SIGUSR1) == 1);
}

static void fault_twice(char *at)
{
    expected = at;
    errno = 77;
    for (volatile int i = 0; i < 2; i++)
        if (sigsetjmp(way_out, 1) == 0)
            write_site(at);
    CHECK(faults == 2 && errno == 77);
}

static void kind_handled(void)
{
    handle(0);
    fault_twice(freed());
}

static void kind_alternate(void)
{
    static char small[4096 + 2048] __attribute__((aligned(16)));
    stack_t stack = { .ss_sp = small, .ss_size = sizeof small };
    memset(small, 0, sizeof small);
    if (sigaltstack(&stack, NULL) == 0)
        handle(SA_ONSTACK);
    else
        handle(0); /* the processor's registers alone are larger */
    fault_twice(freed());
}

static void *blocked_thread(void *block)
{
    sigset_t all;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    write_site(block);
    return NULL;
}

static void kind_blocked(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, blocked_thread, freed()) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void kind_own(void)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    handle(0);
    fault_twice(page);
    CHECK(signal(SIGSEGV, SIG_DFL) != SIG_DFL);
    announce(page, page);
    write_site(page);
}

static void kind_sent(void)
{
    CHECK(kill(getpid(), SIGSEGV) == 0);
    _exit(1);
}

static void kind_forked(void)
{
    int status;
    char *block = allocation_site(SIZE);
    memset(block, 'x', SIZE);
    announce(block, block);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        free_site(block);
        write_site(block);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    for (int i = 0; i < SIZE; i++)
        CHECK(block[i] == 'x');
    free_site(block);
    if (WIFSIGNALED(status))
        raise(WTERMSIG(status));
}

/* ---- right ones ---- */

static bool is_default(void)
{
    struct sigaction old;
    CHECK(sigaction(SIGSEGV, NULL, &old) == 0);
    return old.sa_handler == SIG_DFL && (old.sa_flags & SA_SIGINFO) == 0 &&
           sigismember(&old.sa_mask, SIGUSR1) == 0;
}

static void handler(int signal)
{
    (void)signal;
    faults++;
}

static void kind_actions(void)
{
    struct sigaction action = { .sa_handler = handler }, old;
    CHECK(is_default());
    CHECK(signal(SIGSEGV, handler) == SIG_DFL && signal(SIGSEGV, SIG_DFL) == handler);
    CHECK(is_default() && signal(SIGSEGV, SIG_IGN) == SIG_DFL);
    CHECK(signal(SIGSEGV, SIG_DFL) == SIG_IGN && is_default());
    action.sa_flags = SA_RESETHAND;
    CHECK(sigaction(SIGSEGV, &action, &old) == 0 && old.sa_handler == SIG_DFL);
    CHECK(raise(SIGSEGV) == 0 && faults == 1 && is_default());
    action.sa_handler = SIG_DFL;
    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGSEGV, OPAQUE(&action), &action) == 0 && action.sa_handler == SIG_DFL);
    CHECK(is_default() && sigaction(SIGSEGV, NULL, &old) == 0);
    CHECK(sigismember(&old.sa_mask, SIGUSR2) == 1 && (old.sa_flags & SA_RESETHAND));
    CHECK(signal(SIGSEGV, handler) == SIG_DFL && sigset(SIGSEGV, SIG_DFL) == handler);
}

static char *allocate_somehow(uint32_t *random, size_t size)
{
    uint32_t how = random_next(random) % 4;
    size_t alignment = (size_t)16 << random_next(random) % 9;
    char *block = how == 0 ? calloc(1, size) : how == 1 ? aligned_alloc(alignment, size)
                  : how == 2 ? realloc(NULL, size) : malloc(size);
    CHECK(block != NULL && (uintptr_t)block % (how == 1 ? alignment : 16) == 0);
    CHECK(malloc_usable_size(block) >= size);
    if (how == 0)
        for (size_t i = 0; i < size; i++)
            CHECK(block[i] == 0);
    return block;
}

static void *work(void *seed)
{
    enum { KEPT = 64 };
    char *kept[KEPT] = { NULL };
    size_t sizes[KEPT] = { 0 };
    uint32_t random = (uint32_t)(uintptr_t)seed;
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned at = random_next(&random) % KEPT;
        size_t size = random_next(&random) % 4200;
        CHECK(kept[at] == NULL || pattern_holds(kept[at], sizes[at], at));
        if (kept[at] != NULL && i % 3 == 0) {
            kept[at] = realloc(kept[at], size + 1);
            CHECK(kept[at] != NULL);
            CHECK(pattern_holds(kept[at], size < sizes[at] ? size : sizes[at], at));
        } else {
            free(kept[at]);
            kept[at] = allocate_somehow(&random, size);
        }
        pattern_fill(kept[at], size, at);
        sizes[at] = size;
    }
    for (unsigned i = 0; i < KEPT; i++)
        free(kept[i]);
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void kind_right(void)
{
    errno = 77;
    free(realloc(malloc(10), 100));
    CHECK(errno == 77);
    run_threads();
}

static uintptr_t *holders[HELD];

static NOINLINE void hold(void)
{
    for (unsigned i = 0; i < HELD; i++) {
        holders[i] = malloc(sizeof(uintptr_t));
        char *held = malloc(5000 + i); /* more than a page: an ordinary block */
        CHECK(holders[i] != NULL && held != NULL);
        pattern_fill(held, 5000 + i, i);
        *holders[i] = (uintptr_t)held;
    }
}

static void kind_holder(void)
{
    run_and_forget(hold);
    stack_clear();
    pressure(20u << 20, 1);
    for (unsigned i = 0; i < HELD; i++)
        CHECK(pattern_holds((char *)*holders[i], 5000 + i, i));
}

static void kind_forks(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, work, (void *)7) == 0);
    for (unsigned i = 0; i < 100; i++) {
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            for (unsigned k = 0; k < 300; k++)
                free(allocation_site(k));
            _exit(0);
        }
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

static const struct kind kinds[] = {
    KIND(over_16), KIND(over_48), KIND(over_4096), KIND(under), KIND(read), KIND(write),
    KIND(double), KIND(wild), KIND(realloc), KIND(usable), KIND(handled), KIND(alternate),
    KIND(blocked), KIND(own), KIND(sent), KIND(forked), KIND(actions), KIND(right), KIND(holder),
    KIND(forks),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
