/* asks.c -- a program whose collector is asked from outside, as the gcmalloc command does.
 *
 *     asks KIND
 *
 * A child asks its parent, by the rules of watch/stats_page.h: only if the parent has a handler for
 * the signal, so that nothing is sent where there is no library. The parent does what programs do,
 * and must not notice: no call ends early, nothing is lost, no descriptor is in the way.
 *
 * What waits, waits for something that happens, in loops that are bounded. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "abi.h"
#include "watch/stats_page.h"

enum {
    GOOD = 7,
    PATIENCE = 60000, /* looks, a millisecond apart */
    STORM = 1000,
    SOME = 40,
};

/* Of both processes. */
static struct shared {
    atomic_bool at_it, done;
    sem_t semaphore;
} *shared;
static int to_parent[2];

static void nap(void)
{
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

/* ---- who asks ---- */

static bool has_handler(pid_t pid, int number)
{
    char path[64], line[256];
    unsigned long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "r");
    CHECK(status != NULL);
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "SigCgt: %lx", &caught) == 1)
            break;
    CHECK(fclose(status) == 0);
    return caught >> (number - 1) & 1;
}

static bool is_collector(pid_t pid, const char *tid)
{
    char path[320], name[16] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%s/comm", (int)pid, tid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return false;
    bool is = read(fd, name, sizeof name) == 9 && memcmp(name, "gcmalloc\n", 9) == 0;
    CHECK(close(fd) == 0);
    return is;
}

/* A file of that name among the thread's, opened; -1: it has none. */
static int open_of(pid_t pid, const char *tid, const char *name)
{
    char path[320], target[128];
    int fd = -1;
    for (int number = 0; number < 64 && fd < 0; number++) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/fd/%d", (int)pid, tid, number);
        ssize_t got = readlink(path, target, sizeof target - 1);
        target[got > 0 ? got : 0] = 0;
        if (strstr(target, name) != NULL)
            fd = open(path, O_RDWR | O_CLOEXEC);
    }
    return fd;
}

/* Among those of the thread called "gcmalloc". */
static int find_open(pid_t pid, const char *name, pid_t *thread)
{
    char path[64];
    int fd = -1;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return -1;
    for (struct dirent *entry; fd < 0 && (entry = readdir(tasks)) != NULL;)
        if (is_collector(pid, entry->d_name)) {
            *thread = (pid_t)atoi(entry->d_name);
            fd = open_of(pid, entry->d_name, name);
        }
    CHECK(closedir(tasks) == 0);
    return fd;
}

static void ask(pid_t pid, unsigned commands)
{
    siginfo_t info = {.si_signo = STATS_SIGNAL, .si_code = SI_QUEUE};
    pid_t thread = pid;
    int fd = find_open(pid, "gcmalloc-stats", &thread);
    if (fd >= 0)
        close(fd);
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = (int)(STATS_MAGIC_VALUE | commands);
    if (syscall(SYS_rt_tgsigqueueinfo, pid, thread, STATS_SIGNAL, &info) != 0)
        CHECK(thread != pid && errno == ESRCH);
}

/* To the main thread, whoever is there. */
static void ask_main(pid_t pid, unsigned commands)
{
    siginfo_t info = {.si_signo = STATS_SIGNAL, .si_code = SI_QUEUE};
    info.si_value.sival_int = (int)(STATS_MAGIC_VALUE | commands);
    CHECK(syscall(SYS_rt_tgsigqueueinfo, pid, pid, STATS_SIGNAL, &info) == 0);
}

static const struct stats_page *map_page(pid_t pid)
{
    pid_t thread;
    for (int i = 0; i < PATIENCE; i++, nap()) {
        int fd = find_open(pid, "gcmalloc-stats", &thread);
        if (fd < 0)
            continue;
        char magic[sizeof((struct stats_page *)0)->magic] = "";
        bool made = pread(fd, magic, sizeof magic, 0) == sizeof magic &&
                    memcmp(magic, STATS_MAGIC, sizeof magic) == 0;
        struct stats_page *p = made ? mmap(NULL, sizeof *p, PROT_READ, MAP_SHARED, fd, 0) : NULL;
        CHECK(p != MAP_FAILED && close(fd) == 0);
        if (p == NULL) /* it is being made */
            continue;
        CHECK(p->size == sizeof *p && p->version == STATS_VERSION);
        CHECK(p->pid == (int)pid && p->signal == STATS_SIGNAL);
        return p;
    }
    CHECK(!"a page");
    return NULL;
}

/* A copy of one moment. */
static struct stats_page read_page(const struct stats_page *p)
{
    static struct stats_page copy;
    for (int i = 0; i < PATIENCE; i++, nap()) {
        uint32_t sequence = atomic_load(&((struct stats_page *)(uintptr_t)p)->sequence);
        memcpy(&copy, p, sizeof copy);
        atomic_thread_fence(memory_order_acquire);
        if (sequence % 2 == 0 &&
            atomic_load(&((struct stats_page *)(uintptr_t)p)->sequence) == sequence)
            return copy;
    }
    CHECK(!"a quiet moment");
    return copy;
}

/* All three commands, again and again, each to the main thread. */
static void pester(pid_t pid, int times)
{
    static const unsigned commands[] = {STATS_ATTEND, STATS_COLLECT, STATS_ATTEND, STATS_SNAPSHOT};
    if (!has_handler(pid, STATS_SIGNAL))
        return;
    for (int i = 0; i < times; i++) {
        ask_main(pid, commands[i % 4]);
        if (i % 4 == 0)
            nap();
    }
}

static void pester_some(void)
{
    pester(getppid(), SOME);
    CHECK(write(to_parent[1], "data", 4) == 4);
    CHECK(sem_post(&shared->semaphore) == 0);
}

static pid_t start_asker(void (*asks)(void))
{
    CHECK(pipe(to_parent) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0)
        return child;
    for (int i = 0; i < PATIENCE && !atomic_load(&shared->at_it); i++)
        nap();
    asks();
    _exit(GOOD);
}

static void end_asker(pid_t asker)
{
    int status;
    CHECK(waitpid(asker, &status, 0) == asker && WIFEXITED(status) &&
          WEXITSTATUS(status) == GOOD);
}

/* ---- who is asked, asleep ---- */

static void take_data(void)
{
    char data[8];
    CHECK(read(to_parent[0], data, sizeof data) == 4 && memcmp(data, "data", 4) == 0);
}

static void kind_poll(void)
{
    pid_t asker = start_asker(pester_some);
    struct pollfd p = {.fd = to_parent[0], .events = POLLIN};
    atomic_store(&shared->at_it, true);
    CHECK(poll(&p, 1, -1) == 1 && p.revents == POLLIN);
    take_data();
    end_asker(asker);
}

static void kind_epoll(void)
{
    pid_t asker = start_asker(pester_some);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42};
    int epoll = epoll_create1(0);
    CHECK(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, to_parent[0], &event) == 0);
    atomic_store(&shared->at_it, true);
    CHECK(epoll_wait(epoll, &event, 1, -1) == 1 && event.data.u64 == 42);
    take_data();
    end_asker(asker);
}

static void kind_read(void)
{
    pid_t asker = start_asker(pester_some);
    atomic_store(&shared->at_it, true);
    take_data();
    end_asker(asker);
}

static void kind_sem_wait(void)
{
    pid_t asker = start_asker(pester_some);
    atomic_store(&shared->at_it, true);
    CHECK(sem_wait(&shared->semaphore) == 0);
    end_asker(asker);
}

static void kind_nanosleep(void)
{
    pid_t asker = start_asker(pester_some);
    struct timespec time = {0, 300000000}, begun, ended;
    atomic_store(&shared->at_it, true);
    for (int i = 0; i < 3; i++) {
        CHECK(clock_gettime(CLOCK_MONOTONIC, &begun) == 0);
        CHECK(nanosleep(&time, NULL) == 0);
        CHECK(clock_gettime(CLOCK_MONOTONIC, &ended) == 0);
        CHECK((ended.tv_sec - begun.tv_sec) * 1000000000 + ended.tv_nsec - begun.tv_nsec >=
              300000000);
    }
    end_asker(asker);
}

/* ---- awake ---- */

static double compute(unsigned rounds)
{
    double sum = 1;
    uint32_t state = 1;
    for (unsigned i = 0; i < rounds; i++)
        sum = sum * 0.999 + (double)random_next(&state) / 3;
    return sum;
}

static void await_asker(pid_t asker, void (*work)(void))
{
    int status = -1;
    atomic_store(&shared->at_it, true);
    while (waitpid(asker, &status, WNOHANG) == 0)
        work();
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == GOOD);
}

static double expected;

static void compute_again(void)
{
    CHECK(compute(100000) == expected);
}

static void kind_computes(void)
{
    expected = compute(100000);
    await_asker(start_asker(pester_some), compute_again);
}

static void allocate_again(void)
{
    static char *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        free(blocks[i]);
        CHECK((blocks[i] = malloc((size_t)(16 + i % 50 * 100))) != NULL);
        memset(blocks[i], i, 16);
    }
    for (int i = 0; i < 1000; i++)
        CHECK(blocks[i][0] == (char)i && blocks[i][15] == (char)i);
}

static void pester_long(void)
{
    pester(getppid(), STORM);
}

static void kind_allocates(void)
{
    await_asker(start_asker(pester_long), allocate_again);
}

static atomic_bool stop;

static void *allocate_on(void *unused)
{
    while (!atomic_load(&stop))
        pressure(1 << 18, 0);
    return unused;
}

static void *sleep_on(void *unused)
{
    struct pollfd p = {.fd = to_parent[0], .events = POLLIN};
    while (!atomic_load(&stop))
        CHECK(poll(&p, 1, 20) == 0);
    return unused;
}

static void kind_threads(void)
{
    pthread_t threads[4];
    pid_t asker = start_asker(pester_long);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, i % 2 ? sleep_on : allocate_on, NULL) == 0);
    await_asker(asker, nap);
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static void *short_life(void *unused)
{
    free(malloc(100));
    return unused;
}

/* The child has what the parent had, and ends as it should. */
static void fork_and_thread(void)
{
    pthread_t thread;
    int status;
    CHECK(pthread_create(&thread, NULL, short_life, NULL) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        pressure(1 << 16, 0);
        _exit(GOOD);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
          WEXITSTATUS(status) == GOOD);
}

static void kind_storm(void)
{
    await_asker(start_asker(pester_long), fork_and_thread);
}

/* ---- answers ---- */

static NOINLINE void lose(void)
{
    for (int i = 0; i < 1000; i++)
        memset(OPAQUE(malloc(100)), 1, 100);
}

static void answered(const struct stats_page *p, unsigned commands, bool snapshot)
{
    struct stats_page before = read_page(p);
    pid_t parent = getppid();
    ask(parent, commands);
    for (int i = 0; i < PATIENCE; i++, nap()) {
        struct stats_page now = read_page(p);
        if (snapshot ? now.snapshots_done != before.snapshots_done
                     : now.collects_done != before.collects_done)
            return;
    }
    CHECK(!"an answer");
}

static void check_snapshot(pid_t pid)
{
    static char text[1 << 20];
    pid_t thread;
    unsigned long lines = 0, said = 0;
    int fd = find_open(pid, "gcmalloc-snapshot", &thread);
    CHECK(fd >= 0);
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    CHECK(got > 0 && strncmp(text, "gcmalloc-profile 2\n", 19) == 0);
    for (char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    char *end = strstr(text, "\nend ");
    CHECK(end != NULL && sscanf(end, "\nend %lu\n", &said) == 1 && said == lines - 1);
    CHECK(close(fd) == 0);
}

static void attend_and_snapshot(void)
{
    pid_t parent = getppid();
    if (!has_handler(parent, STATS_SIGNAL))
        return;
    ask_main(parent, STATS_ATTEND);
    const struct stats_page *p = map_page(parent);
    for (int i = 0; i < 3; i++) {
        answered(p, STATS_SNAPSHOT, true);
        check_snapshot(parent);
    }
}

static void kind_snapshot(void)
{
    await_asker(start_asker(attend_and_snapshot), nap);
}

static void collect(void)
{
    pid_t parent = getppid();
    if (!has_handler(parent, STATS_SIGNAL))
        return;
    ask_main(parent, STATS_ATTEND);
    const struct stats_page *p = map_page(parent);
    answered(p, STATS_COLLECT, false);
    struct stats_page now = read_page(p);
    CHECK(now.totals.cycles >= 1 && now.totals.cycles_forced == now.totals.cycles);
    CHECK(now.totals.reclaimed_blocks >= 990 && now.totals.reclaimed_blocks <= 1000 + SOME);
}

/* With confirm=1 and no probation what is lost is reclaimed. */
static void kind_collect(void)
{
    run_and_forget(lose);
    await_asker(start_asker(collect), nap);
}

static void first_is_free(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd == to_parent[1] + 1 && close(fd) == 0);
}

static void kind_descriptors(void)
{
    await_asker(start_asker(attend_and_snapshot), first_is_free);
    first_is_free();
    CHECK(to_parent[0] == 3 && close_range(3, ~0u, 0) == 0);
    atomic_store(&shared->at_it, false);
    await_asker(start_asker(attend_and_snapshot), first_is_free);
    CHECK(to_parent[0] == 3);
}

/* ---- sandbox: any call but four is death ---- */

static void kind_sandbox(void)
{
    char data[4];
    pid_t asker = start_asker(pester_some);
    (void)asker;
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) == 0);
    atomic_store(&shared->at_it, true);
    if (read(to_parent[0], data, sizeof data) == 4 && write(1, "done\n", 5) == 5)
        syscall(SYS_exit, 0);
    syscall(SYS_exit, 1);
}

/* ---- signals that write a report ---- */

static void send_usr1(void)
{
    pid_t parent = getppid();
    for (int i = 0; i < 1000 && !atomic_load(&shared->done); i++) {
        CHECK(kill(parent, SIGUSR1) == 0);
        for (int j = 0; j < 20; j++)
            nap();
    }
    CHECK(atomic_load(&shared->done));
}

/* However often it is asked, a wait ends. */
static void kind_timeout(void)
{
    struct pollfd none = {.fd = -1};
    pid_t asker = start_asker(send_usr1);
    atomic_store(&shared->at_it, true);
    for (int i = 0; i < 10; i++)
        CHECK(poll(&none, 1, 100) == 0);
    atomic_store(&shared->done, true);
    end_asker(asker);
}

/* Its default action is death. */
static void kind_signal_survived(void)
{
    CHECK(raise(SIGUSR1) == 0);
    pressure(1 << 20, 0);
    CHECK(raise(SIGUSR1) == 0);
}

static void report_appears(const char *format, int pid)
{
    char path[64], text[1 << 16];
    snprintf(path, sizeof path, format, pid);
    for (int i = 0; i < PATIENCE; i++, nap()) {
        int fd = open(path, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        text[got > 0 ? got : 0] = 0;
        if (fd >= 0)
            close(fd);
        if (strstr(text, "SUMMARY: LeakSanitizer:") != NULL)
            return;
    }
    CHECK(!"a report");
}

static void kind_report_signal(void)
{
    run_and_forget(lose);
    CHECK(raise(SIGUSR1) == 0);
    report_appears("report.%d.1", (int)getpid());
    CHECK(raise(SIGUSR1) == 0);
    report_appears("report.%d.2", (int)getpid());
}

static void kind_report_every(void)
{
    run_and_forget(lose);
    report_appears("report.%d.1", (int)getpid());
    report_appears("report.%d.2", (int)getpid());
}

/* A daemon is a child. */
static void kind_daemon(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run_and_forget(lose);
        report_appears("report.%d.1", (int)getpid());
        _exit(GOOD);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
          WEXITSTATUS(status) == GOOD);
}

/* The collector's thread leaves for calls that it must not be there for, and comes back. */
static void kind_retired(void)
{
    run_and_forget(lose);
    report_appears("report.%d.1", (int)getpid());
    CHECK(setgid(getgid()) == 0);
    pressure(1 << 20, 0);
    report_appears("report.%d.2", (int)getpid());
}

/* ---- figures in a file ---- */

/* Whose the file is, when it is whole; 0: it is not there. */
static int metrics_of(const char *format, int pid)
{
    static char text[1 << 16];
    char path[64];
    snprintf(path, sizeof path, format, pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    CHECK(got > 6 && close(fd) == 0);
    text[got] = 0;
    CHECK(strcmp(text + got - 6, "# EOF\n") == 0);
    char *info = strstr(text, "\ngcmalloc_info{pid=\"");
    CHECK(info != NULL);
    return atoi(info + strlen("\ngcmalloc_info{pid=\""));
}

static void metrics_appear(const char *format, int pid)
{
    for (int i = 0; i < PATIENCE && metrics_of(format, pid) == 0; i++)
        nap();
    CHECK(metrics_of(format, pid) == (int)getpid());
}

/* Another file each time, and never half of one. */
static void metrics_appear_again(const char *format, int pid)
{
    char path[64];
    struct stat before, now;
    metrics_appear(format, pid);
    snprintf(path, sizeof path, format, pid);
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &before) == 0);
    for (int i = 0; i < PATIENCE && stat(path, &now) == 0 && now.st_ino == before.st_ino; i++)
        nap();
    CHECK(now.st_ino != before.st_ino && metrics_of(format, pid) == (int)getpid());
    CHECK(close(fd) == 0);
}

static void kind_metrics(void)
{
    metrics_appear_again("metrics.%d", (int)getpid());
}

static void in_child(void (*body)(void))
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body();
        _exit(GOOD);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
          WEXITSTATUS(status) == GOOD);
}

static void have_own_metrics(void)
{
    pressure(1 << 20, 0);
    metrics_appear_again("metrics.%d", (int)getpid());
}

static void kind_metrics_forked(void)
{
    metrics_appear("metrics.%d", (int)getpid());
    in_child(have_own_metrics);
    CHECK(metrics_of("metrics.%d", (int)getpid()) == (int)getpid());
}

/* For two seconds, twice as long as until the next. */
static void leave_metrics_alone(void)
{
    for (int i = 0; i < 200; i++) {
        struct timespec ten_ms = {0, 10000000};
        pressure(1 << 16, 0);
        CHECK(metrics_of("metrics", 0) == (int)getppid());
        nanosleep(&ten_ms, NULL);
    }
}

static void kind_metrics_one(void)
{
    metrics_appear("metrics", 0);
    in_child(leave_metrics_alone);
}

/* Long enough for it to be tried three times. */
static void kind_metrics_nowhere(void)
{
    struct timespec time = {2, 500000000};
    CHECK(nanosleep(&time, NULL) == 0);
}

static sigjmp_buf back;

static void jump(int number)
{
    (void)number;
    siglongjmp(back, 1);
}

static void set_timer(long ns)
{
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec when = {.it_value = {0, ns}};
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    CHECK(timer_settime(timer, 0, &when, NULL) == 0);
}

/* It asks for a report, and is interrupted so many nanoseconds later; 0: never. */
static int end_of_interrupted(long ns)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (sigsetjmp(back, 1) == 0) {
            if (ns != 0)
                set_timer(ns);
            raise(SIGUSR1);
            if (ns != 0)
                pause();
        }
        run_and_forget(lose);
        exit(GOOD);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A handler on top of ours leaves by a jump, and the process ends as one that was not interrupted:
 * with exitcode=N by that, which it does not if a lock was left behind. */
static void kind_jump(void)
{
    struct sigaction action = {.sa_handler = jump};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    int status = end_of_interrupted(0);
    for (int i = 1; i <= 60; i++)
        CHECK(end_of_interrupted(i * 10000) == status);
}

/* ---- the end ---- */

static void kind_loses(void)
{
    run_and_forget(lose);
    printf("said before the ");
}

static void *read_input(void *unused)
{
    atomic_store(&shared->at_it, true);
    CHECK(getchar() == EOF);
    return unused;
}

/* exit() does not wait for who holds a stream. */
static void kind_reader(void)
{
    pthread_t thread;
    int input[2];
    CHECK(pipe(input) == 0 && dup2(input[0], 0) == 0);
    run_and_forget(lose);
    CHECK(pthread_create(&thread, NULL, read_input, NULL) == 0);
    while (!atomic_load(&shared->at_it))
        nap();
    for (int i = 0; i < 50; i++)
        nap();
    printf("said before the ");
}

/* ---- */

static const struct kind kinds[] = {
    KIND(poll), KIND(epoll), KIND(read), KIND(sem_wait), KIND(nanosleep), KIND(computes),
    KIND(allocates), KIND(threads), KIND(storm), KIND(snapshot), KIND(collect), KIND(descriptors),
    KIND(sandbox), KIND(timeout), KIND(report_signal), KIND(report_every), KIND(daemon), KIND(retired),
    KIND(jump), KIND(loses), KIND(reader), KIND(metrics), KIND(metrics_forked), KIND(metrics_one),
    KIND(metrics_nowhere), KIND(signal_survived),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED && sem_init(&shared->semaphore, 1, 0) == 0);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
