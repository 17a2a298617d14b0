/* gc_barrier_mprotect.c -- no write goes unseen, and the program sees nothing.
 *
 * A driver plays the collector: a thread that is not caught, stops the world around begin() and
 * end(), and arms and takes on command. The tests are the program. What they write to goes through
 * the barrier; what they call goes through the traps. */
#include "gc/barrier.h"

#include "base/atomic.h"
#include "base/rng.h"
#include "child.h"
#include "gc/shield.h"
#include "gc/world.h"
#include "stopped.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/maps.h"
#include "sys/syscall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <ucontext.h>

#define PATIENT_NS ((uint64_t)10000000000u)
enum { AREA = 8 << 20, UNITS = AREA / SHIELD_UNIT, WRITERS = 4 };

/* Not mapped, and the compiler does not know it. */
static char *volatile nowhere = (char *)16;

/* ---- the driver ---- */

enum command { NOTHING, BEGIN, ARM, ARM_ALL, TAKE, DISARM, END, LOOP };

static struct {
    pthread_t thread;
    _Atomic uint32_t command;
    _Atomic bool looping, stop_looping;
    uintptr_t start, end;
    bool rearm, result;
    const char *why;
    uint32_t armed;
    bool armed_now;
    uint64_t took;      /* begin() or end(), ns */
} driver;

static struct lock cycle_lock = LOCK_INIT(CYCLE);
static char *area;
static bool written[UNITS];     /* reported by the last take */
static char *shadow;            /* of `area`, as visited; or NULL */

static void visit(uintptr_t start, uintptr_t end, void *data)
{
    (void)data;
    for (uintptr_t at = start; at < end; at += PAGE_SIZE)
        if (at - (uintptr_t)area < AREA)
            written[(at - (uintptr_t)area) >> SHIELD_UNIT_SHIFT] = true;
    if (shadow == NULL)
        return;
    for (uintptr_t at = start; at < end; at += WORD_SIZE)
        *(uint64_t *)(void *)(shadow + (at - (uintptr_t)area)) =
            relaxed_load((_Atomic uint64_t *)at);
}

/* Of this thread, for the machine may be busy with others. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    syscall2(__NR_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool stopped(void)
{
    lock_acquire(&cycle_lock);
    bool good = stop_world(WORLD_EVERYBODY, PATIENT_NS) == WORLD_STOPPED;
    if (!good)
        lock_release(&cycle_lock);
    return good;
}

static void started(void)
{
    resume_world();
    lock_release(&cycle_lock);
}

static const char *begin_stopped(void)
{
    if (!stopped())
        return "the world did not stop";
    uint64_t begun = cpu_ns();
    const char *why = barrier_mprotect.begin();
    driver.took = cpu_ns() - begun;
    driver.armed_now = why == NULL;
    started();
    return why;
}

static bool is_stack(const struct mapping *m)
{
    size_t count;
    const struct stopped_task *tasks = world_tasks(&count);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    bool is = strcmp(m->name, "[stack]") == 0 || here - m->start < m->end - m->start;
    for (size_t i = 0; i < count; i++)
        is |= tasks[i].stack_pointer - m->start < m->end - m->start;
    return is;
}

/* Every mapping that a collector would arm. */
static uint32_t arm_all(void)
{
    static char buffer[64 << 10];
    struct maps_reader reader;
    struct mapping m;
    static struct page_range ranges[1024];
    uint32_t armed = 0, count = 0;
    if (!maps_open(&reader, buffer, sizeof buffer))
        return 0;
    while (maps_next(&reader, &m))
        if (m.writable && !is_stack(&m) && count < GC_COUNT(ranges))
            ranges[count++] = (struct page_range){m.start, m.end};
    maps_close(&reader);
    for (uint32_t i = 0; i < count; i++)
        armed += barrier_mprotect.arm(ranges[i].start, ranges[i].end);
    return armed;
}

static const char *end_stopped(void)
{
    if (!driver.armed_now)
        return NULL; /* it was lost */
    driver.armed_now = false;
    if (!stopped())
        return "the world did not stop";
    uint64_t begun = cpu_ns();
    barrier_mprotect.end();
    driver.took = cpu_ns() - begun;
    started();
    return NULL;
}

/* Phase after phase, beside the program. */
static void loop(void)
{
    unsigned rounds = 0;
    while (!acquire_load(&driver.stop_looping)) {
        driver.why = begin_stopped();
        if (driver.why != NULL)
            break;
        driver.armed += arm_all();
        for (int i = 0; i < 5; i++)
            barrier_mprotect.take((uintptr_t)area, (uintptr_t)area + AREA, true, visit, NULL);
        if (rounds++ % 2 == 0)
            barrier_mprotect.disarm();
        driver.why = end_stopped();
        if (driver.why != NULL)
            break;
    }
}

static void obey(enum command command)
{
    uint64_t begun;
    switch (command) {
    case BEGIN: driver.why = begin_stopped(); break;
    case ARM:
        begun = cpu_ns();
        driver.result = barrier_mprotect.arm(driver.start, driver.end);
        driver.took = cpu_ns() - begun;
        break;
    case ARM_ALL: driver.armed = arm_all(); break;
    case TAKE:
        barrier_mprotect.take(driver.start, driver.end, driver.rearm, visit, NULL);
        break;
    case DISARM:
        begun = cpu_ns();
        barrier_mprotect.disarm();
        driver.took = cpu_ns() - begun;
        break;
    case END: driver.why = end_stopped(); break;
    case LOOP: loop(); break;
    case NOTHING: break;
    }
}

static void *drive(void *data)
{
    struct timespec t = {0, 20000};
    (void)data;
    for (;;) {
        enum command command = (enum command)acquire_load(&driver.command);
        if (driver.armed_now && barrier_mprotect.lost())
            driver.why = end_stopped();
        obey(command);
        if (command != NOTHING)
            release_store(&driver.command, NOTHING);
        syscall2(__NR_nanosleep, (long)&t, 0);
    }
    return NULL;
}

static void tell(enum command command)
{
    release_store(&driver.command, command);
    if (command == LOOP)
        return;
    while (acquire_load(&driver.command) != NOTHING)
        sched_yield();
}

static void start_driver(void)
{
    sigset_t all, old;
    world_set_signal(0);
    EXPECT(barrier_mprotect.open() == NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    EXPECT(pthread_create(&driver.thread, NULL, drive, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (area == NULL)
        area = mmap((void *)0x200000000000, AREA, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    memset(area, 1, AREA);
}

static void begin(void)
{
    tell(BEGIN);
    EXPECT(driver.why == NULL);
}

static bool arm(void *start, size_t size)
{
    driver.start = (uintptr_t)start;
    driver.end = (uintptr_t)start + size;
    tell(ARM);
    return driver.result;
}

static void begin_armed(void)
{
    begin();
    EXPECT(arm(area, AREA));
}

static unsigned take(bool rearm)
{
    unsigned count = 0;
    memset(written, 0, sizeof written);
    driver.start = (uintptr_t)area;
    driver.end = (uintptr_t)area + AREA;
    driver.rearm = rearm;
    tell(TAKE);
    for (unsigned i = 0; i < UNITS; i++)
        count += written[i];
    return count;
}

static void end(void)
{
    tell(END);
    EXPECT(driver.why == NULL);
    EXPECT(shield_edges() == 0);
}

/* Each test in a process of its own: phases that were lost add up. */
static void (*body)(void);

static void run_body(void)
{
    start_driver();
    body();
}

static void in_child(void (*test)(void))
{
    body = test;
    EXPECT(child_passes(run_body));
}

static char *unit(unsigned i)
{
    return area + (size_t)i * SHIELD_UNIT;
}

/* ---- writes ---- */

static void check_writes(void)
{
    begin_armed();
    EXPECT(take(true) == 0);
    *unit(3) = 2;
    unit(7)[SHIELD_UNIT - 1] = 2;
    EXPECT(*unit(3) == 2 && take(false) == 2 && written[3] && written[7]);
    EXPECT(take(true) == 2);
    EXPECT(take(true) == 0);
    *unit(3) = 3;
    EXPECT(take(true) == 1 && written[3]);
    end();
    *unit(5) = 4;
    begin_armed();
    EXPECT(take(true) == 0);
    *unit(5) = 5;
    EXPECT(take(true) == 1);
    end();
    EXPECT(!shield_broken());
}

static _Atomic bool quit;
static _Atomic uint64_t writes;

static void *write_at_random(void *data)
{
    uint64_t rng = (uintptr_t)data, count = 0;
    while (!acquire_load(&quit)) {
        uint64_t r = rng_next(&rng);
        uint64_t *word = (uint64_t *)(void *)area + (r % (AREA / WORD_SIZE));
        *(volatile uint64_t *)word = r;
        count++;
    }
    relaxed_add(&writes, count);
    return NULL;
}

/* The shadow is what a collector would have read; after the last take it must be the truth. */
static void check_random(void)
{
    pthread_t threads[WRITERS];
    shadow = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < WRITERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, write_at_random, (void *)(uintptr_t)(i + 1)) == 0);
    for (int phase = 0; phase < 4; phase++) {
        begin_armed();
        visit((uintptr_t)area, (uintptr_t)area + AREA, NULL);
        for (int i = 0; i < 30; i++)
            take(true);
        if (phase == 3) {
            release_store(&quit, true);
            for (int i = 0; i < WRITERS; i++)
                pthread_join(threads[i], NULL);
            take(false);
            EXPECT(memcmp(shadow, area, AREA) == 0);
        }
        end();
    }
    EXPECT(relaxed_load(&writes) > 10000);
}

static size_t map_lines(void)
{
    size_t lines = 0;
    char text[4096];
    int fd = open("/proc/self/maps", O_RDONLY);
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    close(fd);
    return lines;
}

/* 4 GiB in 64 KiB units, every other one written: 65,536 mappings, if they could be had. */
static void check_budget(void)
{
    enum { STEP = 2 * SHIELD_UNIT };
    const size_t size = 6 * GIB;
    char *big = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t before = map_lines(), most = 0;
    begin();
    EXPECT(arm(big, size));
    for (size_t at = 0; at < size; at += STEP) {
        big[at] = 1;
        if (at % GIB == 0)
            most = map_lines() > most ? map_lines() : most;
    }
    EXPECT(most > before && most < before + 34000);
    printf("      %zu mappings at most\n", most);
    EXPECT(!shield_broken());
    end();
    EXPECT(map_lines() <= before + 8);
    munmap(big, size);
}

/* ---- system calls ---- */

static int pipe_ends[2], sockets[2];
static unsigned next_unit;

/* Memory that is armed, and clean. */
static void *fresh(void)
{
    if (next_unit == UNITS) {
        end();
        begin_armed();
        next_unit = 0;
    }
    return unit(next_unit++) + SHIELD_UNIT / 2;
}

#define CALL(good) EXPECT((errno = 0, (good)))

static void call_files(void)
{
    struct iovec vector[2] = {{fresh(), 3}, {fresh(), 3}};
    char *buffer = fresh();
    CALL(write(pipe_ends[1], "abc", 3) == 3 && read(pipe_ends[0], buffer, 3) == 3);
    EXPECT(memcmp(buffer, "abc", 3) == 0);
    CALL(write(pipe_ends[1], "abcdef", 6) == 6 && readv(pipe_ends[0], vector, 2) == 6);
    EXPECT(memcmp(vector[1].iov_base, "def", 3) == 0);
    int fd = open("/proc/self/status", O_RDONLY);
    CALL(pread(fd, fresh(), 100, 0) == 100);
    vector[0].iov_base = fresh();
    CALL(preadv(fd, vector, 2, 0) == 6);
    CALL(fstat(fd, fresh()) == 0 && stat("/", fresh()) == 0 && lstat("/", fresh()) == 0);
    CALL(statfs("/", fresh()) == 0 && fstatfs(fd, fresh()) == 0);
    CALL(statx(AT_FDCWD, "/", 0, STATX_ALL, fresh()) == 0);
    CALL(getcwd(fresh(), 4096) != NULL && readlink("/proc/self/exe", fresh(), 4096) > 0);
    CALL(getxattr("/", "user.none", fresh(), 16) == -1 && errno != EFAULT);
    struct flock *lock = fresh();
    *lock = (struct flock){.l_type = F_RDLCK};
    CALL(fcntl(fd, F_GETLK, lock) == 0);
    close(fd);
    int *ends = fresh();
    CALL(pipe(ends) == 0);
    CALL(ioctl(pipe_ends[0], FIONREAD, fresh()) == 0);
    close(ends[0]);
    close(ends[1]);
    fd = open("/", O_RDONLY | O_DIRECTORY);
    CALL(syscall(__NR_getdents64, fd, fresh(), 4096) > 0);
    close(fd);
    CALL(syscall(__NR_getrandom, fresh(), 16, 0) == 16);
}

static void call_sockets(void)
{
    char name[128], *text = fresh();
    struct msghdr *message = fresh();
    struct iovec *vector = fresh();
    *vector = (struct iovec){text, 3};
    *message = (struct msghdr){.msg_iov = vector, .msg_iovlen = 1, .msg_control = fresh(),
                               .msg_controllen = 64};
    CALL(send(sockets[0], "abc", 3, 0) == 3 && recvmsg(sockets[1], message, 0) == 3);
    EXPECT(memcmp(text, "abc", 3) == 0);
    struct mmsghdr *many = fresh();
    *many = (struct mmsghdr){.msg_hdr = {.msg_iov = vector, .msg_iovlen = 1}};
    vector->iov_base = fresh();
    CALL(send(sockets[0], "xyz", 3, 0) == 3 && recvmmsg(sockets[1], many, 1, 0, NULL) == 1);
    EXPECT(many->msg_len == 3 && memcmp(vector->iov_base, "xyz", 3) == 0);
    CALL(send(sockets[0], "abc", 3, 0) == 3 && recv(sockets[1], fresh(), 3, 0) == 3);
    socklen_t *length = fresh();
    *length = sizeof name;
    CALL(getsockname(sockets[0], fresh(), length) == 0);
    *length = sizeof(int);
    CALL(getsockopt(sockets[0], SOL_SOCKET, SO_TYPE, fresh(), length) == 0);
    CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, fresh()) == 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr *address = fresh();
    length = fresh();
    *length = 16;
    CALL(listen(listener, 1) == 0 && getsockname(listener, address, length) == 0);
    CALL(connect(other, address, *length) == 0);
    *length = 16;
    int accepted = accept(listener, fresh(), length);
    CALL(accepted >= 0);
    close(accepted);
    close(listener);
    close(other);
}

static void call_waits(void)
{
    struct pollfd *p = fresh();
    *p = (struct pollfd){pipe_ends[1], POLLOUT, 0};
    CALL(poll(p, 1, 0) == 1 && p->revents == POLLOUT);
    p = fresh();
    *p = (struct pollfd){pipe_ends[1], POLLOUT, 0};
    struct timespec zero = {0, 0};
    CALL(ppoll(p, 1, &zero, NULL) == 1 && p->revents == POLLOUT);
    fd_set *set = fresh();
    FD_ZERO(set);
    FD_SET(pipe_ends[0], set);
    struct timeval *none = fresh();
    *none = (struct timeval){0, 0};
    CALL(select(pipe_ends[0] + 1, set, NULL, NULL, none) == 0 && !FD_ISSET(pipe_ends[0], set));
    int e = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = 7}, *got = fresh();
    CALL(epoll_ctl(e, EPOLL_CTL_ADD, pipe_ends[1], &event) == 0);
    CALL(epoll_wait(e, got, 1, 0) == 1 && got->data.fd == 7);
    got = fresh();
    CALL(epoll_pwait(e, got, 1, 0, NULL) == 1 && got->data.fd == 7);
    close(e);
    CALL(syscall(__NR_clock_gettime, CLOCK_REALTIME, fresh()) == 0);
    CALL(syscall(__NR_gettimeofday, fresh(), NULL) == 0);
    CALL(clock_gettime(CLOCK_REALTIME, fresh()) == 0);
    CALL(times(fresh()) != -1 && getitimer(ITIMER_REAL, fresh()) == 0);
    timer_t *timer = fresh();
    struct sigevent silent = {.sigev_notify = SIGEV_NONE};
    CALL(timer_create(CLOCK_MONOTONIC, &silent, timer) == 0);
    CALL(timer_gettime(*timer, fresh()) == 0 && timer_delete(*timer) == 0);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    int *status = fresh();
    CALL(child > 0 && wait4(child, status, 0, fresh()) == child);
    EXPECT(WIFEXITED(*status) && WEXITSTATUS(*status) == 7);
}

static void call_process(void)
{
    sigset_t *mask = fresh();
    CALL(uname(fresh()) == 0 && sysinfo(fresh()) == 0);
    CALL(getrusage(RUSAGE_SELF, fresh()) == 0 && getrlimit(RLIMIT_NOFILE, fresh()) == 0);
    CALL(sched_getaffinity(0, sizeof(cpu_set_t), fresh()) == 0);
    CALL(pthread_sigmask(SIG_BLOCK, NULL, mask) == 0 && sigpending(fresh()) == 0);
    CALL(sigaction(SIGUSR1, NULL, fresh()) == 0 && sigaltstack(NULL, fresh()) == 0);
    CALL(getresuid(fresh(), fresh(), fresh()) == 0);
    CALL(getgroups(0, NULL) >= 0 && getgroups(1000, fresh()) >= 0);
    CALL(syscall(__NR_futex, fresh(), 0 /* FUTEX_WAIT, shared */, 77, NULL, NULL, 0) == -1 &&
         errno == EAGAIN);
    CALL(mincore(area, PAGE_SIZE, fresh()) == 0);
    CALL(prctl(PR_GET_NAME, fresh()) == 0);
    EXPECT(!shield_broken());
    CALL(read(pipe_ends[0], nowhere, 0) == 0);
    CALL(write(pipe_ends[1], "a", 1) == 1 && read(pipe_ends[0], nowhere, 1) == -1 &&
         errno == EFAULT);
}

static void check_calls(void)
{
    EXPECT(pipe(pipe_ends) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) == 0);
    begin_armed();
    call_files();
    call_sockets();
    unsigned used = next_unit;
    EXPECT(take(true) >= used);
    for (unsigned i = 0; i < used; i++)
        EXPECT(written[i]);
    EXPECT(take(true) + 8 >= used); /* kept open: the kernel may still write there */
    end();
    begin_armed();
    next_unit = 0;
    call_waits();
    call_process();
    EXPECT(!shield_broken());
    end();
}

/* ---- libc, with everything armed ---- */

static void begin_all(void)
{
    begin();
    tell(ARM_ALL);
    EXPECT(driver.armed > 0);
}

static void use_stdio(void)
{
    char *line = NULL, text[64] = "";
    size_t size = 0, lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (getline(&line, &size, file) > 0)
        lines++;
    fclose(file);
    free(line);
    EXPECT(lines > 10);
    file = tmpfile();
    EXPECT(fputs("hello", file) >= 0 && fseek(file, 0, SEEK_SET) == 0);
    EXPECT(fread(text, 1, 5, file) == 5 && strcmp(text, "hello") == 0);
    fclose(file);
    size = 0;
    DIR *dir = opendir("/");
    while (readdir(dir) != NULL)
        size++;
    closedir(dir);
    EXPECT(size > 5);
}

static char *partly;            /* the child lacks a page in the middle */

static void use_processes(void)
{
    char text[32] = "";
    FILE *pipe = popen("echo out", "r");
    EXPECT(fgets(text, sizeof text, pipe) != NULL && strcmp(text, "out\n") == 0);
    EXPECT(pclose(pipe) == 0 && system("exit 3") >> 8 == 3);
    pid_t child = fork();
    if (child == 0) {
        memset(area, 9, AREA);
        partly[0] = partly[AREA - 1] = partly[AREA / 2 + PAGE_SIZE] = 1;
        use_stdio();
        struct sigaction action;
        sigaction(SIGSEGV, NULL, &action);
        _exit(action.sa_handler != SIG_DFL || area[77] != 9);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    child = _Fork();
    if (child == 0) {
        memset(area, 9, AREA);
        _exit(syscall(__NR_getrandom, area, 16, 0) != 16);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

static void *return_sum(void *data)
{
    char *text = malloc(100000);
    memset(text, 1, 100000);
    use_stdio();
    free(text);
    return data;
}

static void use_threads(void)
{
    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++)
        EXPECT(pthread_create(&threads[i], NULL, return_sum, (void *)i) == 0);
    for (uintptr_t i = 0; i < 8; i++) {
        void *result = NULL;
        EXPECT(pthread_join(threads[i], &result) == 0 && result == (void *)i);
    }
}

static void check_libc(void)
{
    struct addrinfo *found = NULL;
    use_threads(); /* stacks that will be used again, armed */
    partly = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(madvise(partly + AREA / 2, PAGE_SIZE, MADV_DONTFORK) == 0);
    begin_all();
    use_stdio();
    EXPECT(getaddrinfo("127.0.0.1", "80", NULL, &found) == 0);
    freeaddrinfo(found);
    EXPECT(getaddrinfo("localhost", NULL, NULL, &found) == 0);
    freeaddrinfo(found);
    EXPECT(!shield_broken());
    use_threads();
    EXPECT(!shield_broken());
    use_processes();
    EXPECT(!shield_broken());
    end();
    munmap(partly, AREA);
}

static void check_vfork(void)
{
    begin_all();
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(9);
    }
    int status = -1;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    EXPECT(shield_broken());
    end();
}

/* ---- signals and masks ---- */

static _Atomic int handled;
static sigjmp_buf jump;

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
    *unit(9) = 3;
}

static void *write_blocked(void *data)
{
    sigset_t all, now, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    sigdelset(&all, 62);
    syscall(__NR_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
    relaxed_store((_Atomic bool *)data, true);
    while (!acquire_load(&quit)) {
        for (int i = 0; i < UNITS; i++)
            *unit((unsigned)i) = 5;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        EXPECT(sigismember(&now, SIGSEGV) == 1 && sigismember(&now, SIGSYS) == 1);
    }
    /* Unblocked while armed, and asked for after. */
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    EXPECT(sigismember(&now, SIGSEGV) == 0);
    return NULL;
}

static void check_masks(void)
{
    _Atomic bool ready = false;
    pthread_t thread;
    EXPECT(pthread_create(&thread, NULL, write_blocked, &ready) == 0);
    while (!acquire_load(&ready))
        sched_yield();
    sigset_t set, now;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    for (int i = 0; i < 20; i++) {
        begin_armed();
        take(true);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        take(true);
        *unit(1) = 2;
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        EXPECT(sigismember(&now, SIGSYS) == 1 && sigismember(&now, SIGSEGV) == 0);
        end();
        pthread_sigmask(SIG_BLOCK, NULL, &now);
        EXPECT(sigismember(&now, SIGSYS) == 1 && sigismember(&now, SIGSEGV) == 0);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    begin_armed();
    release_store(&quit, true);
    pthread_join(thread, NULL);
    EXPECT(!shield_broken());
    end();
}

/* A handler that blocks everything writes to armed memory; what it blocks is read back. */
static void check_handlers(void)
{
    struct sigaction action = {.sa_handler = count_signal}, old;
    sigfillset(&action.sa_mask);
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    begin_armed();
    raise(SIGUSR1);
    EXPECT(handled == 1 && take(true) >= 1 && written[9]);
    EXPECT(sigaction(SIGUSR1, NULL, &old) == 0 && sigismember(&old.sa_mask, SIGSEGV) == 1);
    action.sa_flags = SA_RESTART;
    EXPECT(sigaction(SIGUSR2, &action, NULL) == 0);
    raise(SIGUSR2);
    EXPECT(handled == 2 && take(true) >= 1 && written[9]);
    /* Its own SIGSEGV action. */
    EXPECT(signal(SIGSEGV, count_signal) == SIG_DFL && signal(SIGSEGV, SIG_IGN) == count_signal);
    *unit(2) = 1;
    EXPECT(!shield_broken());
    end();
    EXPECT(signal(SIGSEGV, SIG_DFL) == SIG_IGN);
    EXPECT(sigaction(SIGUSR1, NULL, &old) == 0 && sigismember(&old.sa_mask, SIGSEGV) == 1);
    EXPECT(sigaction(SIGUSR2, NULL, &old) == 0 && sigismember(&old.sa_mask, SIGSYS) == 1 &&
           (old.sa_flags & SA_RESTART) != 0);
}

/* Calls that are put off until the phase has ended. */
static void check_put_off(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    struct timespec t = {5, 0};
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    sigaction(SIGALRM, &action, NULL);
    begin_armed();
    ualarm(100000, 0);
    EXPECT(sigsuspend(&all) == -1 && errno == EINTR && handled == 1);
    end();
    begin_armed();
    ualarm(100000, 0);
    EXPECT(ppoll(NULL, 0, &t, &all) == -1 && errno == EINTR && handled == 2);
    end();
    begin_armed();
    sigemptyset(&old);
    EXPECT(ppoll(NULL, 0, &(struct timespec){0, 1000}, &old) == 0 && !shield_broken());
    end();
    /* What the task has blocked is inherited by what it executes. */
    sigaddset(&old, SIGSYS);
    sigaddset(&old, SIGUSR2);
    sigprocmask(SIG_SETMASK, &old, NULL);
    begin_armed();
    execl("/bin/grep", "grep", "-q", "^SigBlk:.*40000800$", "/proc/self/status", (char *)NULL);
    EXPECT(!"executed");
}

static char *no_access;
static uintptr_t handler_stack;

static void on_own_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    handled += (char *)info->si_addr == no_access && info->si_code == SEGV_ACCERR;
    handler_stack = (uintptr_t)__builtin_frame_address(0);
    *unit(4) = 1;
    siglongjmp(jump, 1);
}

static void repair(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    handled += (char *)info->si_addr == no_access;
    mprotect(no_access, PAGE_SIZE, PROT_READ | PROT_WRITE);
}

static void check_own_faults(void)
{
    stack_t alternate = {.ss_sp = unit(20), .ss_size = SHIELD_UNIT};
    stack_t none = {.ss_flags = SS_DISABLE};
    struct sigaction action = {.sa_sigaction = on_own_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK},
                     old;
    no_access = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    begin_armed();
    *unit(1) = 1;
    if (sigsetjmp(jump, 1) == 0)
        *no_access = 1;
    EXPECT(handled == 1 && handler_stack - (uintptr_t)unit(20) < SHIELD_UNIT);
    EXPECT(shield_broken() && take(true) == UNITS);
    if (sigsetjmp(jump, 1) == 0)
        *no_access = 1;
    EXPECT(handled == 2);
    end();
    /* Repaired and tried again; once only. */
    EXPECT(sigaltstack(&none, NULL) == 0);
    action.sa_sigaction = repair;
    action.sa_flags = SA_SIGINFO | (int)SA_RESETHAND | SA_NODEFER;
    begin_armed();
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
    *unit(1) = 1;
    *no_access = 1;
    EXPECT(handled == 3 && *no_access == 1);
    EXPECT(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
    end();
    EXPECT(sigaction(SIGSEGV, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
}

static void check_sent(void)
{
    struct sigaction action = {.sa_handler = count_signal};
    EXPECT(sigaction(SIGSEGV, &action, NULL) == 0);
    begin_armed();
    kill(getpid(), SIGSEGV);
    EXPECT(handled == 1);
    end();
    begin_armed();
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_kill(pthread_self(), SIGSEGV);
    EXPECT(handled == 1);
    sigpending(&pending);
    EXPECT(sigismember(&pending, SIGSEGV) == 1);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    EXPECT(handled == 2);
    end();
}

static void die_of_fault(void)
{
    start_driver();
    begin_armed();
    *nowhere = 1;
}

/* A fault without a handler kills by SIGSEGV. */
static void check_death(void)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        die_of_fault();
        _exit(0);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGSEGV);
}

/* ---- calls that are interrupted, restarted, cancelled ---- */

static void *signal_main(void *data)
{
    struct timespec t = {0, 30000000};
    nanosleep(&t, NULL);
    pthread_kill(*(pthread_t *)data, SIGUSR1);
    nanosleep(&t, NULL);
    return (void *)(uintptr_t)write(pipe_ends[1], "x", 1);
}

static void read_interrupted(int flags, bool restarts)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    pthread_t self = pthread_self(), thread;
    int before = handled;
    char *buffer = fresh();
    EXPECT(sigaction(SIGUSR1, &action, NULL) == 0);
    EXPECT(pthread_create(&thread, NULL, signal_main, &self) == 0);
    errno = 0;
    ssize_t got = read(pipe_ends[0], buffer, 1);
    EXPECT(handled == before + 1);
    EXPECT(restarts ? got == 1 && *buffer == 'x' : got == -1 && errno == EINTR);
    pthread_join(thread, NULL);
    if (!restarts)
        EXPECT(read(pipe_ends[0], buffer, 1) == 1);
}

static _Atomic bool cleaned, reading;

static void clean(void *data)
{
    (void)data;
    cleaned = true;
}

static void *read_for_ever(void *data)
{
    pthread_cleanup_push(clean, NULL);
    reading = true;
    while (read(pipe_ends[0], data, 1) >= 0) {
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void check_interrupted(void)
{
    struct timespec t = {0, 30000000}, *rest = NULL;
    pthread_t thread;
    void *result = NULL;
    EXPECT(pipe(pipe_ends) == 0);
    begin_armed();
    read_interrupted(0, false);
    read_interrupted(SA_RESTART, true);
    reading = false;
    EXPECT(pthread_create(&thread, NULL, read_for_ever, fresh()) == 0);
    while (!reading)
        sched_yield();
    nanosleep(&t, NULL);
    EXPECT(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
    EXPECT(result == PTHREAD_CANCELED && cleaned);
    rest = fresh();
    ualarm(20000, 0);
    signal(SIGALRM, count_signal);
    t = (struct timespec){5, 0};
    EXPECT(nanosleep(&t, rest) == -1 && errno == EINTR && rest->tv_sec == 4);
    EXPECT(!shield_broken());
    end();
}

static void *read_once(void *data)
{
    reading = true;
    return (void *)(uintptr_t)(read(pipe_ends[0], data, 1) == 1);
}

/* .inv.anew: it sleeps in read() from one phase to the next, in which its buffer is armed anew. */
static void check_sleeper(void)
{
    struct timespec t = {0, 20000000};
    pthread_t thread;
    void *result = NULL;
    EXPECT(pipe(pipe_ends) == 0);
    begin_armed();
    EXPECT(pthread_create(&thread, NULL, read_once, unit(30)) == 0);
    while (!reading)
        sched_yield();
    nanosleep(&t, NULL);
    EXPECT(take(true) >= 1 && written[30]);
    end();
    for (int i = 0; i < 3; i++) {
        begin_armed();
        nanosleep(&t, NULL);
        EXPECT(take(true) >= 1 && written[30]);
        if (i < 2)
            end();
    }
    EXPECT(write(pipe_ends[1], "y", 1) == 1 && pthread_join(thread, &result) == 0);
    EXPECT(result != NULL && *unit(30) == 'y');
    end();
}

/* ---- stacks ---- */

static ucontext_t main_context, routine_context;
static volatile int steps;

static void routine(void)
{
    char large[20000];
    for (int i = 0; i < 100; i++) {
        memset(large, i, sizeof large);
        steps += large[i] == i;
        raise(SIGUSR1);
        swapcontext(&routine_context, &main_context);
    }
}

/* A coroutine's stack in armed memory: no frame can be pushed there at first. */
static void check_coroutine(void)
{
    signal(SIGUSR1, count_signal);
    getcontext(&routine_context);
    routine_context.uc_stack.ss_sp = unit(40);
    routine_context.uc_stack.ss_size = 2 * SHIELD_UNIT;
    routine_context.uc_link = &main_context;
    makecontext(&routine_context, routine, 0);
    for (int i = 0; i < 20; i++) {
        begin_armed();
        for (int j = 0; j < 3; j++) {
            swapcontext(&main_context, &routine_context);
            take(true);
        }
        EXPECT(!shield_broken());
        end();
    }
    EXPECT(steps == 60 && handled == 60);
    stack_t now;
    EXPECT(sigaltstack(NULL, &now) == 0 && now.ss_flags == SS_DISABLE);
}

static char small_stack[8192];

static void *have_small_stack(void *data)
{
    stack_t small = {.ss_sp = small_stack, .ss_size = sizeof small_stack}, now;
    (void)data;
    EXPECT(sigaltstack(&small, NULL) == 0);
    reading = true;
    while (!acquire_load(&quit)) {
        *unit(4) = 1;
        EXPECT(sigaltstack(NULL, &now) == 0 && now.ss_sp == small_stack && now.ss_flags == 0 &&
               now.ss_size == sizeof small_stack);
    }
    return NULL;
}

/* It is too small for our frames; the program does not notice that it is not used. */
static void check_small_stack(void)
{
    pthread_t thread;
    bool used = false;
    EXPECT(pthread_create(&thread, NULL, have_small_stack, NULL) == 0);
    while (!reading)
        sched_yield();
    for (int i = 0; i < 20; i++) {
        begin_armed();
        take(true);
        take(true);
        memset(small_stack, 0, 1024);
        take(true);
        for (size_t j = 0; j < 1024; j++)
            used |= small_stack[j] != 0;
        end();
    }
    release_store(&quit, true);
    pthread_join(thread, NULL);
    EXPECT(!used);
}

static const uint64_t mark = 0x6c65667462656869; /* nothing else is like it */

/* In memory of nobody's own: alternate stacks are there, the program's stack is not. */
static unsigned marks_left(void)
{
    static char buffer[64 << 10];
    struct maps_reader reader;
    struct mapping m;
    unsigned found = 0;
    EXPECT(maps_open(&reader, buffer, sizeof buffer));
    while (maps_next(&reader, &m))
        for (uintptr_t at = m.start;
             m.writable && m.kind == MAP_KIND_ANONYMOUS && m.name[0] == 0 && at < m.end;
             at += WORD_SIZE)
            found += *(const uint64_t *)at == mark;
    maps_close(&reader);
    return found;
}

/* .inv.worn */
static void check_worn(void)
{
    begin_armed();
    __asm__ volatile("mov %0, %%r12\n\t"
                     "movb $1, (%1)"
                     : : "r"(mark), "r"(unit(3)) : "r12", "memory");
    EXPECT(take(true) == 1 && !shield_broken());
    end();
    EXPECT(marks_left() != 0);
    __asm__ volatile("xor %%r12d, %%r12d" : : : "r12"); /* or the next frame would have it, too */
    begin();
    EXPECT(marks_left() == 0);
    end();
}

/* ---- mappings ---- */

static bool has_protection(void *at, const char *want)
{
    static char buffer[64 << 10];
    struct maps_reader reader;
    struct mapping m;
    bool right = false;
    maps_open(&reader, buffer, sizeof buffer);
    while (maps_next(&reader, &m))
        if ((uintptr_t)at - m.start < m.end - m.start)
            right = m.readable == (want[0] == 'r') && m.writable == (want[1] == 'w');
    maps_close(&reader);
    return right;
}

static void check_mappings(void)
{
    begin_armed();
    EXPECT(munmap(unit(10), PAGE_SIZE) == 0 && munmap(unit(11), 2 * SHIELD_UNIT) == 0);
    EXPECT(mmap(unit(11), SHIELD_UNIT, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
           unit(11));
    EXPECT(mprotect(unit(14) + PAGE_SIZE, PAGE_SIZE, PROT_NONE) == 0);
    EXPECT(madvise(unit(16), SHIELD_UNIT, MADV_DONTNEED) == 0 && *unit(16) == 0);
    *unit(16) = 1;
    char *to = unit(20);
    *unit(18) = 'm';
    take(true);
    EXPECT(mremap(unit(18), SHIELD_UNIT, SHIELD_UNIT, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
    EXPECT(*to == 'm');
    *to = 'n';
    *unit(14) = 1;
    EXPECT(take(true) > 0 && written[10] && written[11] && written[12] && written[14] &&
           written[16] && written[18] && written[20]);
    EXPECT(has_protection(unit(30), "r-"));
    end();
    EXPECT(has_protection(unit(11), "r-") && has_protection(unit(14) + PAGE_SIZE, "--"));
    EXPECT(has_protection(unit(14), "rw") && has_protection(unit(20), "rw"));
    EXPECT(has_protection(unit(10) + PAGE_SIZE, "rw") && has_protection(unit(30), "rw"));
    EXPECT(!has_protection(unit(12), "r-") && !has_protection(unit(12), "rw"));
}

static void check_refused(void)
{
    char *shared = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *code = mmap(NULL, MIB, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    char *fixed = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    begin();
    EXPECT(!arm(shared, MIB) && !arm(code, MIB) && !arm(fixed, MIB));
    EXPECT(!arm(area, SHIELD_UNIT / 2));
    munmap(unit(5), SHIELD_UNIT);
    EXPECT(!arm(area, AREA) && arm(unit(6), SHIELD_UNIT));
    EXPECT(has_protection(unit(0), "rw"));
    end();
    struct rlimit limit;
    EXPECT(getrlimit(RLIMIT_DATA, &limit) == 0);
    limit.rlim_cur = GIB;
    EXPECT(setrlimit(RLIMIT_DATA, &limit) == 0);
    tell(BEGIN);
    EXPECT(driver.why != NULL);
}

/* ---- all of it at once ---- */

static void *live(void *data)
{
    for (uint64_t until = clock_now_ns() + 3000000000u; clock_now_ns() < until;) {
        use_stdio();
        char *text = malloc(300000);
        memset(text, 1, 300000);
        free(text);
        pthread_t child;
        EXPECT(pthread_create(&child, NULL, return_sum, NULL) == 0);
        pthread_join(child, NULL);
        if (data != NULL) {
            pid_t pid = fork();
            if (pid == 0)
                _exit(5);
            int status = 0;
            EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
            if (WEXITSTATUS(status) != 5) printf("%x\n", status);
            EXPECT(system("exit 3") >> 8 == 3);
        }
        raise(SIGUSR1);
    }
    return NULL;
}

static void check_life(void)
{
    pthread_t threads[WRITERS];
    signal(SIGUSR1, count_signal);
    tell(LOOP);
    for (uintptr_t i = 0; i < WRITERS; i++)
        EXPECT(pthread_create(&threads[i], NULL, live, (void *)i) == 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    release_store(&driver.stop_looping, true);
    while (acquire_load(&driver.command) != NOTHING)
        sched_yield();
    EXPECT(driver.why == NULL && driver.armed > 10);
    printf("      %u ranges armed, %d signals\n", driver.armed, handled);
}

/* ---- what it costs ---- */

enum { CALLS = 20000, TOUCHED = 2000 };

static uint64_t time_calls(void)
{
    uint64_t begun = cpu_ns();
    for (int i = 0; i < CALLS; i++)
        syscall(__NR_getppid);
    return (cpu_ns() - begun) / CALLS;
}

static uint64_t time_command(enum command command)
{
    tell(command);
    return driver.took;
}

static void measure(char *memory, bool disarm)
{
    uint64_t idle = time_calls(), armed, fault, disarmed = 0;
    begin();
    uint64_t begun = driver.took;
    driver.start = (uintptr_t)memory;
    driver.end = driver.start + GIB;
    armed = time_command(ARM);
    fault = cpu_ns();
    for (size_t i = 0; i < TOUCHED; i++)
        memory[i * 2 * SHIELD_UNIT] = 1;
    fault = (cpu_ns() - fault) / TOUCHED;
    uint64_t call = time_calls();
    if (disarm)
        disarmed = time_command(DISARM);
    end();
    printf("      begin %lu us, arm %lu us/GiB, fault %lu ns, disarm %lu us, end %lu us; "
           "a call %lu ns idle, %lu armed\n",
           begun / 1000, armed / 1000, fault, disarmed / 1000, driver.took / 1000, idle, call);
}

static void check_cost(void)
{
    char *memory = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, GIB, MADV_NOHUGEPAGE);
    memset(memory, 1, GIB);
    for (int i = 0; i < 4; i++)
        measure(memory, i % 2 == 1);
    madvise(memory, GIB, MADV_HUGEPAGE);
    madvise(memory, GIB, MADV_DONTNEED);
    memset(memory, 1, GIB);
    measure(memory, true);
    munmap(memory, GIB);
}

#define CHECK(name) \
    static void test_##name(void) \
    { \
        in_child(check_##name); \
    }
CHECK(writes) CHECK(random) CHECK(budget) CHECK(calls) CHECK(libc) CHECK(vfork) CHECK(masks)
CHECK(put_off) CHECK(handlers) CHECK(own_faults) CHECK(sent) CHECK(interrupted) CHECK(sleeper)
CHECK(coroutine) CHECK(small_stack) CHECK(worn) CHECK(mappings) CHECK(refused) CHECK(life) CHECK(cost)

UNIT_MAIN(TEST(test_writes), TEST(test_random), TEST(test_budget), TEST(test_calls),
          TEST(test_libc), TEST(test_vfork), TEST(test_masks), TEST(test_handlers),
          TEST(test_own_faults), TEST(test_sent), TEST(test_put_off), TEST(check_death),
          TEST(test_interrupted), TEST(test_sleeper), TEST(test_coroutine), TEST(test_small_stack),
          TEST(test_worn), TEST(test_mappings), TEST(test_refused), TEST(test_life),
          TEST(test_cost))
