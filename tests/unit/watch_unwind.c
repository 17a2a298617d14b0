/* watch_unwind.c -- captured stacks against the C library's backtrace(), and stacks that are none.
 *
 * usage: watch_unwind PLUGIN-A PLUGIN-B (the two builds of watch_unwind_plugin.c) */
#include "watch/unwind.h"

#include "sys/syscall.h"
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

extern char __executable_start[], etext[];

static const char *plugin_path[2];
static uintptr_t got[UNWIND_MAX];
static void *want[UNWIND_MAX];
static unsigned got_count, want_count;

__attribute__((noinline)) static void capture_both(void)
{
    got_count = unwind_capture(got, UNWIND_MAX);
    want_count = (unsigned)backtrace(want, UNWIND_MAX);
}

/* The two lists differ in their first entry, two call sites of capture_both. */
static void expect_same(const char *what)
{
    bool same = got_count == want_count;
    for (unsigned i = 1; same && i < got_count; i++)
        same = got[i] == (uintptr_t)want[i] || got[i] == (uintptr_t)want[i] + 1;
    if (EXPECT(same))
        return;
    printf("%s: %u frames, wanted %u\n", what, got_count, want_count);
    for (unsigned i = 0; i < got_count || i < want_count; i++)
        printf("  %2u  %12lx  %p\n", i, i < got_count ? got[i] : 0, i < want_count ? want[i] : 0);
}

/* Cold, then from the cache. */
static void check_both(void)
{
    capture_both();
    expect_same("cold");
    capture_both();
    expect_same("warm");
}

/* ---- ordinary code --------------------------------------------------------------------------- */

static volatile int keep;

__attribute__((noinline)) static void recurse(int depth)
{
    if (depth == 0)
        check_both();
    else
        recurse(depth - 1);
    keep++;
}

static void test_plain(void)
{
    check_both();
    recurse(5);
    recurse(40);
    recurse(100); /* longer than UNWIND_MAX */
    EXPECT(got_count == UNWIND_MAX);
}

#ifdef __clang__
#define OMIT_FRAME_POINTER __attribute__((noinline))
#else
#define OMIT_FRAME_POINTER __attribute__((noinline, optimize("omit-frame-pointer")))
#endif

OMIT_FRAME_POINTER static void no_frame_pointer(int depth)
{
    if (depth == 0)
        check_both();
    else
        no_frame_pointer(depth - 1);
    keep++;
}

__attribute__((noinline)) static void realigned(void)
{
    volatile char place[200] __attribute__((aligned(128)));
    place[0] = 1;
    check_both();
    keep += place[0];
}

__attribute__((noinline)) static void variable(size_t n)
{
    volatile char *place = __builtin_alloca(n);
    place[0] = 1;
    check_both();
    keep += place[0];
}

__attribute__((noinline)) static void large(void)
{
    volatile char place[1 << 20];
    place[0] = 1;
    check_both();
    keep += place[0];
}

static int compare(const void *a, const void *b)
{
    (void)a;
    (void)b;
    if (keep++ % 3 == 0)
        check_both();
    return 0;
}

static void test_shapes(void)
{
    int numbers[4] = {1, 2, 3, 4};
    no_frame_pointer(7);
    realigned();
    variable(100);
    variable(10000);
    large();
    qsort(numbers, 4, sizeof numbers[0], compare); /* through libc */
}

static void *on_thread(void *arg)
{
    (void)arg;
    recurse(3);
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    /* One after the other: `got` is shared. */
    for (int i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, on_thread, NULL);
        pthread_join(threads[i], NULL);
    }
}

static void test_limits(void)
{
    uintptr_t pcs[UNWIND_MAX + 1] = {[3] = 7};
    EXPECT(unwind_capture(pcs, 3) == 3 && pcs[3] == 7);
    EXPECT(unwind_capture(pcs, 0) == 0);
    EXPECT(unwind_capture(pcs, 1) == 1);
    EXPECT(unwind_capture(pcs, 1000) <= UNWIND_MAX);
}

static void test_own_frames(void)
{
    capture_both();
    unsigned outer = 0;
    /* The range holds this file's functions that are on the stack, not libc's. */
    unwind_init((uintptr_t)__executable_start, (uintptr_t)etext);
    uintptr_t pcs[UNWIND_MAX];
    unsigned n = unwind_capture(pcs, UNWIND_MAX);
    unwind_init(0, 0);
    while (outer < got_count && got[outer] != pcs[0])
        outer++;
    EXPECT(n > 0 && outer > 0 && n == got_count - outer);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(int number)
{
    (void)number;
    check_both();
}

__attribute__((noinline)) static void raise_in_code(void)
{
    __asm__ volatile("ud2" ::: "memory");
    keep++;
}

static void on_illegal(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)number;
    (void)info;
    check_both();
    /* The interrupted instruction, as a return address would be reported. */
    bool there = false;
    for (unsigned i = 0; i < got_count; i++)
        there |= got[i] == (uintptr_t)uc->uc_mcontext.gregs[REG_RIP] + 1;
    EXPECT(there);
    uc->uc_mcontext.gregs[REG_RIP] += 2;
}

static void test_signals(void)
{
    struct sigaction plain = {.sa_handler = on_signal};
    struct sigaction illegal = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
    static char stack[64 << 10];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack}, none = {.ss_flags = SS_DISABLE};
    sigaction(SIGUSR1, &plain, NULL);
    raise(SIGUSR1);
    sigaction(SIGILL, &illegal, NULL);
    raise_in_code();
    sigaltstack(&alternate, NULL);
    illegal.sa_flags |= SA_ONSTACK;
    sigaction(SIGILL, &illegal, NULL);
    raise_in_code();
    sigaltstack(&none, NULL);
    signal(SIGILL, SIG_DFL);
}

/* ---- stacks of other makes ------------------------------------------------------------------- */

static ucontext_t main_context, side_context;

static void on_side(void)
{
    recurse(4);
}

static char *stack_with_hole_above(size_t size)
{
    char *at = mmap(NULL, size + 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                    0);
    munmap(at, 4096);
    munmap(at + 4096 + size, 4096);
    return at + 4096;
}

static void test_makecontext(void)
{
    enum { SIZE = 256 << 10 };
    char *stack = stack_with_hole_above(SIZE);
    getcontext(&side_context);
    side_context.uc_stack.ss_sp = stack;
    side_context.uc_stack.ss_size = SIZE;
    side_context.uc_link = &main_context;
    makecontext(&side_context, on_side, 0);
    swapcontext(&main_context, &side_context);
    munmap(stack, SIZE);
}

/* void run_on(void *stack_top, void (*f)(void), uintptr_t rbp): calls f with nothing known. */
void run_on(void *stack_top, void (*f)(void), uintptr_t rbp);
/* The same without unwind information: the frames above are hidden unless rbp leads there. */
void run_on_blind(void *stack_top, void (*f)(void), uintptr_t rbp);
__asm__(".text\n"
        ".type run_on, @function\n"
        "run_on:\n"
        ".cfi_startproc\n"
        "push %rbp\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".cfi_rel_offset rbp, 0\n"
        "push %rbx\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".cfi_rel_offset rbx, 0\n"
        "mov %rsp, %rbx\n"
        ".cfi_def_cfa_register rbx\n"
        "mov %rdi, %rsp\n"
        "mov %rdx, %rbp\n"
        "call *%rsi\n"
        "mov %rbx, %rsp\n"
        ".cfi_def_cfa_register rsp\n"
        "pop %rbx\n"
        "pop %rbp\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size run_on, . - run_on\n"
        ".type run_on_blind, @function\n"
        "run_on_blind:\n"
        "push %rbp\n"
        "push %rbx\n"
        "mov %rsp, %rbx\n"
        "mov %rdi, %rsp\n"
        "mov %rdx, %rbp\n"
        "call *%rsi\n"
        "mov %rbx, %rsp\n"
        "pop %rbx\n"
        "pop %rbp\n"
        "ret\n"
        ".size run_on_blind, . - run_on_blind\n");

static void capture_only(void)
{
    got_count = unwind_capture(got, UNWIND_MAX);
}

/* The CFA in rbx: the kind of frame that only libunwind follows. */
static void test_other_register(void)
{
    enum { SIZE = 256 << 10 };
    char *stack = stack_with_hole_above(SIZE);
    run_on(stack + SIZE, capture_both, 0);
    expect_same("CFA in rbx");
    EXPECT(got_count > 3);
    munmap(stack, SIZE);
}

static void test_garbage(void)
{
    enum { SIZE = 256 << 10 };
    char *stack = stack_with_hole_above(SIZE);
    char *readable = stack_with_hole_above(4096);
    uintptr_t garbage[] = {0, 1, 8, 4096, ~(uintptr_t)0, ~(uintptr_t)7, (uintptr_t)1 << 47,
                           (uintptr_t)1 << 62, ((uintptr_t)0x4001 << 48) + 8, (uintptr_t)stack - 8,
                           (uintptr_t)stack + SIZE - 8, (uintptr_t)stack + SIZE - 16,
                           (uintptr_t)stack + SIZE, (uintptr_t)test_garbage,
                           (uintptr_t)readable + 4088, (uintptr_t)readable, (uintptr_t)stderr};
    memset(stack, 0x41, SIZE);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        for (size_t below = 0; below <= 4096; below += 256) {
            run_on_blind(stack + SIZE - below, capture_only, garbage[i]);
            EXPECT(got_count >= 1 && got_count < 8);
        }
    munmap(stack, SIZE);
    munmap(readable, 4096);
}

/* The same where the kernel refuses process_vm_readv, as some sandboxes have it. */
static void test_garbage_in_sandbox(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_process_vm_readv, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof *code, code};
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
            _exit(0); /* no seccomp here */
        unsigned before = unit_failures;
        test_garbage();
        check_both();
        _exit(unit_failures != before);
    }
    waitpid(child, &status, 0);
    EXPECT(status == 0);
}

/* A frame without unwind information is passed over by its frame pointer. */
void with_frame_pointer(void (*f)(void));
__asm__(".type with_frame_pointer, @function\n"
        "with_frame_pointer:\n"
        "push %rbp\n"
        "mov %rsp, %rbp\n"
        "sub $48, %rsp\n"
        "call *%rdi\n"
        "leave\n"
        "ret\n"
        ".size with_frame_pointer, . - with_frame_pointer\n");

static void test_guess(void)
{
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0xc9, 0xc3};
    uintptr_t outer[UNWIND_MAX];
    unsigned n = unwind_capture(outer, UNWIND_MAX);
    with_frame_pointer(capture_only);
    EXPECT(got_count == n + 2 && n > 1 && got[got_count - 1] == outer[n - 1]);
    /* Generated code: in no module. */
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    memcpy(page, code, sizeof code);
    void (*generated)(void (*)(void));
    *(void **)&generated = page;
    generated(capture_only);
    EXPECT(got_count == n + 2 && got[got_count - 1] == outer[n - 1]);
    munmap(page, 4096);
}

/* A copy of a live stack, run_on_blind into it with rbp on a frame, words replaced at random. */
static void test_corrupted(void)
{
    enum { SIZE = 16 << 10, ROUNDS = 20000 };
    char *stack = stack_with_hole_above(SIZE);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)15;
    uint64_t rng = 1;
    size_t most = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t live = 512;
        uintptr_t base = (uintptr_t)stack + SIZE - live;
        memcpy((void *)base, (void *)here, live);
        uintptr_t shift = base - here;
        for (size_t j = 0; j < live / 8; j++) {
            uintptr_t *word = (uintptr_t *)base + j;
            if (*word >= here && *word < here + live)
                *word += shift;
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            switch (rng >> 60) {
            case 0:
                *word = rng;
                break;
            case 1:
                *word = base + (rng >> 40) % (live + 16);
                break;
            case 2:
                *word = (uintptr_t)__executable_start + (rng >> 40) % 65536;
                break;
            case 3:
                *word = (uintptr_t)&printf + (rng >> 40) % 65536;
                break;
            }
        }
        run_on_blind((void *)base, capture_only, base + (rng >> 33) % 4 * 16);
        most = got_count > most ? got_count : most;
    }
    EXPECT(most >= 1 && most <= UNWIND_MAX);
    munmap(stack, SIZE);
}

/* ---- the loader, descriptors, fork ----------------------------------------------------------- */

static void test_stale_plugin(void)
{
    void (*call[2])(void (*)(void));
    for (int i = 0; i < 2; i++) {
        void *plugin = dlopen(plugin_path[i], RTLD_NOW);
        if (!EXPECT(plugin))
            return;
        *(void **)&call[i] = dlsym(plugin, "plugin_call");
        if (i == 1) {
            EXPECT(call[0] == call[1]);
            call[i](capture_only); /* rules of the other plugin: anything but a fault */
            unwind_flush();
        }
        call[i](check_both);
        EXPECT(got_count > 3);
        dlclose(plugin);
    }
}

static void test_lazy_binding(void)
{
    void *plugin = dlopen(plugin_path[0], RTLD_LAZY);
    if (!EXPECT(plugin))
        return;
    void (**hook)(void) = dlsym(plugin, "plugin_hook");
    int (*call)(void);
    *(void **)&call = dlsym(plugin, "plugin_call_lazy");
    got_count = 0;
    *hook = check_both;
    EXPECT(call() == 43);
    EXPECT(got_count > 4);
    dlclose(plugin);
    unwind_flush();
}

static void *capture_on_thread(void *arg)
{
    capture_only();
    return arg;
}

static int in_callback(struct dl_phdr_info *info, size_t size, void *arg)
{
    pthread_t thread;
    (void)info;
    (void)size;
    unwind_flush();
    pthread_create(&thread, NULL, capture_on_thread, arg);
    pthread_join(thread, NULL);
    return 1;
}

static void test_loader_lock(void)
{
    /* This thread holds the loader's lock while it waits for the capture. */
    got_count = 0;
    alarm(20);
    dl_iterate_phdr(in_callback, NULL);
    alarm(0);
    EXPECT(got_count > 2);
}

static void test_invisible(void)
{
    int before = dup(0);
    close(before);
    unwind_flush();
    errno = 1234;
    capture_only();
    EXPECT(errno == 1234);
    int after = dup(0);
    close(after);
    EXPECT(before == after);
}

static atomic_bool stop_churning;

static void *churn(void *arg)
{
    uintptr_t pcs[UNWIND_MAX];
    while (!atomic_load(&stop_churning)) {
        unwind_flush();
        if (unwind_capture(pcs, UNWIND_MAX) < 2)
            return (void *)1;
    }
    return arg;
}

static void test_fork(void)
{
    enum { FORKS = 300 };
    pthread_t threads[2];
    void *failed = NULL;
    int bad = 0;
    atomic_store(&stop_churning, false);
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < FORKS; i++) {
        int status = 1;
        unwind_fork_prepare();
        pid_t child = fork();
        if (child == 0) {
            unwind_fork_child();
            alarm(10);
            unwind_flush();
            capture_only();
            _exit(got_count < 2);
        }
        unwind_fork_parent();
        waitpid(child, &status, 0);
        bad += status != 0;
    }
    atomic_store(&stop_churning, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        EXPECT(failed == NULL);
    }
    EXPECT(bad == 0);
}

static void on_timer(int number)
{
    uintptr_t pcs[UNWIND_MAX];
    (void)number;
    keep += (int)unwind_capture(pcs, UNWIND_MAX);
}

/* Captures in a handler that interrupts captures, everywhere. */
static void test_interrupted(void)
{
    struct sigaction action = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
    struct itimerspec often = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    timer_t timer;
    sigaction(SIGUSR2, &action, NULL);
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &often, NULL);
    for (int i = 0; i < 3000; i++) {
        if (i % 4 == 0)
            unwind_flush();
        capture_only();
    }
    timer_settime(timer, 0, &never, NULL);
    timer_delete(timer);
    EXPECT(got_count > 2);
}

/* ---- cost ------------------------------------------------------------------------------------ */

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t cost[3];

static void measure(void)
{
    enum { BATCHES = 101, BATCH = 100 };
    static uint64_t times[BATCHES];
    for (int b = 0; b < BATCHES; b++) {
        uint64_t start = now();
        for (int i = 0; i < BATCH; i++)
            got_count = unwind_capture(got, UNWIND_MAX);
        times[b] = (now() - start) / BATCH;
    }
    qsort(times, BATCHES, sizeof *times, by_value);
    cost[0] = times[BATCHES / 2];
    for (int b = 0; b < BATCHES; b++) {
        unwind_flush();
        uint64_t start = now();
        got_count = unwind_capture(got, UNWIND_MAX);
        times[b] = now() - start;
    }
    qsort(times, BATCHES, sizeof *times, by_value);
    cost[1] = times[BATCHES / 2];
    for (int b = 0; b < BATCHES; b++) {
        uint64_t start = now();
        want_count = (unsigned)backtrace(want, UNWIND_MAX);
        times[b] = now() - start;
    }
    qsort(times, BATCHES, sizeof *times, by_value);
    cost[2] = times[BATCHES / 2];
}

__attribute__((noinline)) static void measure_at(int depth)
{
    if (depth == 0)
        measure();
    else
        measure_at(depth - 1);
    keep++;
}

static void *measure_all(void *known)
{
    for (int depth = 10; depth <= 30; depth += 20) {
        measure_at(depth - 5);
        printf("      depth %u, stack %s: %lu ns warm, %lu ns cold; backtrace() %lu ns\n",
               got_count, known ? "known" : "unknown", cost[0], cost[1], cost[2]);
        EXPECT(cost[0] < 100000);
    }
    return NULL;
}

static void *measure_known(void *arg)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    (void)arg;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    unwind_set_stack((uintptr_t)low, (uintptr_t)low + size);
    check_both();
    return measure_all((void *)1);
}

static void test_cost(void)
{
    pthread_t thread;
    measure_all(NULL);
    pthread_create(&thread, NULL, measure_known, NULL);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    static const struct unit_test tests[] = {
        TEST(test_plain),        TEST(test_shapes),         TEST(test_threads),
        TEST(test_limits),       TEST(test_own_frames),     TEST(test_signals),
        TEST(test_makecontext),  TEST(test_other_register), TEST(test_garbage),
        TEST(test_guess),        TEST(test_corrupted),      TEST(test_stale_plugin),
        TEST(test_lazy_binding), TEST(test_loader_lock),    TEST(test_invisible),
        TEST(test_fork),         TEST(test_interrupted),    TEST(test_garbage_in_sandbox),
        TEST(test_cost),
    };
    if (argc != 3)
        return 2;
    plugin_path[0] = argv[1];
    plugin_path[1] = argv[2];
    return unit_run(tests, sizeof tests / sizeof *tests);
}
