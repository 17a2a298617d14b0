/* gc_own_thread.c -- a thread that neither libc nor the program knows. */
#include "gc/own_thread.h"

#include "base/atomic.h"
#include "child.h"
#include "gc/world.h"
#include "heap/heap.h"
#include "mutator/entry.h"
#include "mutator/thread_cache.h"
#include "stopped.h"
#include "sys/lock.h"
#include "sys/print.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

static struct own_thread thread, other;
static _Atomic int state; /* 1: runs; 2: let go */

static struct {
    int32_t tid;
    uintptr_t tls, stack, entry;
    void *cache_thread;
    uint8_t in_hook;
    int error, fd;
    uint64_t blocked;
    char name[16];
    long visible; /* descriptors of the program that it can use */
} seen;

/* libc's errno of whatever thread this is, which no system call of ours may set. */
static void look(void)
{
    seen.tid = (int32_t)syscall0(__NR_gettid);
    seen.tls = (uintptr_t)&thread_cache;
    seen.stack = (uintptr_t)__builtin_frame_address(0);
    seen.entry = entry_stack;
    seen.cache_thread = thread_cache.thread;
    seen.in_hook = thread_cache.in_hook;
    seen.error = errno;
    syscall4(__NR_rt_sigprocmask, SIG_BLOCK, 0, (long)&seen.blocked, 8);
    syscall4(__NR_prctl, PR_GET_NAME, (long)seen.name, 0, 0);
    seen.visible = 0;
    for (int fd = 0; fd < 64; fd++)
        seen.visible += syscall3(__NR_fcntl, fd, F_GETFD, 0) >= 0;
    errno = 4711;
    thread_cache.in_hook = 77;
    entry_stack = 99;
}

static void look_and_wait(void *data)
{
    EXPECT(data == &seen);
    look();
    seen.fd = (int)syscall3(__NR_open, (long)"/dev/null", O_RDONLY, 0);
    release_store(&state, 1);
    while (acquire_load(&state) != 2)
        syscall0(__NR_sched_yield);
}

static void wait_for(int wanted)
{
    while (acquire_load(&state) != wanted)
        sched_yield();
}

static void begin(bool own_files)
{
    state = 0;
    EXPECT(own_thread_start(&thread, "gcm-test", own_files, look_and_wait, &seen));
    wait_for(1);
}

static void end(void)
{
    release_store(&state, 2);
    own_thread_join(&thread);
    EXPECT(acquire_load(&thread.tid) == 0);
}

static unsigned tasks(void)
{
    int32_t tids[64];
    return (unsigned)task_list(tids, GC_COUNT(tids));
}

static void runs(void)
{
    sigset_t before, after;
    EXPECT(heap_init(64 * MIB, false));
    errno = 12345;
    thread_cache.in_hook = 5;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    for (unsigned i = 0; i < 20; i++) {
        int high = fcntl(0, F_DUPFD, 50);
        begin(true);
        EXPECT(seen.tid == (int32_t)acquire_load(&thread.tid) && seen.tid != getpid());
        EXPECT(own_thread_has(seen.tid) && !own_thread_has(getpid()) && tasks() == 2);
        /* Storage of its own, all zeros, however often it was started. */
        EXPECT(seen.tls != (uintptr_t)&thread_cache && seen.cache_thread == NULL);
        EXPECT(seen.in_hook == 0 && seen.error == 0 && seen.entry == 0);
        EXPECT(errno == 12345 && thread_cache.in_hook == 5 && entry_stack == 0);
        /* All signals but the two that cannot be blocked. */
        EXPECT((seen.blocked | 1u << (SIGKILL - 1) | 1u << (SIGSTOP - 1)) == UINT64_MAX);
        EXPECT_TEXT(seen.name, "gcm-test");
        /* Its descriptors are not ours, nor ours its. */
        EXPECT(thread.own_files && seen.visible == 0 && seen.fd >= 0);
        EXPECT(fcntl(0, F_GETFD) >= 0 && fcntl(high, F_GETFD) >= 0);
        EXPECT(seen.fd < 3 || fcntl(seen.fd, F_GETFD) < 0);
        errno = 12345;
        close(high);
        end();
        EXPECT(!own_thread_has(seen.tid) && tasks() == 1); /* at once: see unshare(2) */
    }
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    EXPECT(memcmp(&before, &after, 8) == 0);
}

static void shares_files(void)
{
    EXPECT(heap_init(64 * MIB, false));
    begin(false);
    EXPECT(seen.visible >= 3 && !thread.own_files && fcntl(seen.fd, F_GETFD) >= 0);
    end();
}

static void two(void)
{
    EXPECT(heap_init(64 * MIB, false));
    begin(true);
    int32_t first = seen.tid;
    state = 0;
    EXPECT(own_thread_start(&other, "gcm-other", true, look_and_wait, &seen));
    wait_for(1);
    EXPECT(seen.tid != first && own_thread_has(first) && own_thread_has(seen.tid) && tasks() == 3);
    release_store(&state, 2);
    own_thread_join(&thread);
    own_thread_join(&other);
    EXPECT(tasks() == 1);
}

/* The world's stop passes it over. */
static void is_not_stopped(void)
{
    size_t count;
    EXPECT(heap_init(64 * MIB, false));
    world_set_signal(0);
    begin(true);
    static struct lock cycle = LOCK_INIT(CYCLE);
    lock_acquire(&cycle);
    EXPECT(stop_world(WORLD_RUNNING, (uint64_t)2000000000u) == WORLD_STOPPED);
    world_tasks(&count);
    EXPECT(count == 0);
    resume_world();
    lock_release(&cycle);
    end();
}

static void child_of_fork(void)
{
    own_thread_after_fork();
    EXPECT(acquire_load(&thread.tid) == 0 && !own_thread_has(seen.tid));
    own_thread_join(&thread); /* returns */
    begin(true);
    EXPECT(own_thread_has(seen.tid) && tasks() == 2 && seen.in_hook == 0);
    end();
}

static void forked(void)
{
    EXPECT(heap_init(64 * MIB, false));
    begin(true);
    int32_t tid = seen.tid;
    EXPECT(child_passes(child_of_fork));
    EXPECT(own_thread_has(tid));
    end();
    EXPECT(child_passes(child_of_fork));
}

static void say(void *data)
{
    (void)data;
    if (thread.own_files)
        print_borrow_stderr();
    print_error("from a thread with %d descriptors", 0);
    print_fd(2, "and another line\n");
    seen.visible = 0;
    for (int fd = 0; fd < 64; fd++)
        seen.visible += syscall3(__NR_fcntl, fd, F_GETFD, 0) >= 0;
}

static bool own_files_when_saying;

/* Messages reach the program's standard error, and leave no descriptor behind. */
static void says(void)
{
    char text[200] = "";
    int fds[2], kept = dup(2);
    EXPECT(heap_init(64 * MIB, false) && pipe(fds) == 0);
    dup2(fds[1], 2);
    EXPECT(own_thread_start(&thread, "gcm-says", own_files_when_saying, say, NULL));
    own_thread_join(&thread);
    dup2(kept, 2);
    EXPECT(read(fds[0], text, sizeof(text) - 1) > 0);
    EXPECT_TEXT(text, "libgcmalloc: from a thread with 0 descriptors\nand another line\n");
    EXPECT(!own_files_when_saying || seen.visible == 0);
}

static void says_borrowing(void)
{
    own_files_when_saying = true;
    says();
}

/* ---- it keeps no process alive ---- */

static void sleep_for_ever(void *data)
{
    (void)data;
    release_store(&state, 1);
    for (;;)
        syscall0(__NR_pause);
}

static void *last_to_end(void *data)
{
    (void)data;
    usleep(20000);
    return NULL;
}

/* Its last threads end: the process does, with status 0, though ours still sleeps. */
static int status_of_exit(bool with_other)
{
    int status = -1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t last;
        if (!heap_init(64 * MIB, false) ||
            !own_thread_start(&thread, "gcm-sleeps", true, sleep_for_ever, NULL))
            _exit(7);
        wait_for(1);
        alarm(10);
        if (with_other)
            pthread_create(&last, NULL, last_to_end, NULL);
        pthread_exit(NULL);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void test_keeps_nothing_alive(void)
{
    EXPECT(status_of_exit(false) == 0);
    EXPECT(status_of_exit(true) == 0);
}

IN_CHILD(runs)
IN_CHILD(shares_files)
IN_CHILD(two)
IN_CHILD(is_not_stopped)
IN_CHILD(forked)
IN_CHILD(says)
IN_CHILD(says_borrowing)

UNIT_MAIN(TEST(test_runs), TEST(test_shares_files), TEST(test_two), TEST(test_is_not_stopped),
          TEST(test_forked), TEST(test_says), TEST(test_says_borrowing),
          TEST(test_keeps_nothing_alive))
