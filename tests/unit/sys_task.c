/* sys_task.c -- the list of threads, with threads that live, end, and have odd names. */
#include "sys/task.h"

#include "sys/syscall.h"

#include "unit.h"

#include <asm/unistd.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 400 };

static int32_t tids[MANY * 2];

static bool listed(int32_t tid, long count)
{
    size_t times = 0;
    for (long i = 0; i < count; i++)
        times += tids[i] == tid;
    return times == 1;
}

static void test_alone(void)
{
    memset(tids, 0, sizeof tids);
    long count = task_list(tids, GC_COUNT(tids));
    EXPECT(count >= 1 && listed(gettid(), count)); /* a sanitizer may add its own */
    EXPECT(task_list(NULL, 0) == count);
    EXPECT(task_state(gettid()) == 'R');
    EXPECT(task_state(0) == 0 && task_state(-1) == 0 && task_state(INT32_MAX) == 0);
    EXPECT(task_state(1) == 0 || getpid() == 1); /* of this process only */
}

/* ---- threads ---- */

struct worker {
    pthread_t thread;
    int32_t tid;
    const char *name;
    sem_t ready, leave;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    if (w->name != NULL)
        prctl(PR_SET_NAME, w->name);
    w->tid = gettid();
    sem_post(&w->ready);
    while (sem_wait(&w->leave) != 0)
        ;
    return NULL;
}

static bool worker_start(struct worker *w, const char *name)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    w->name = name;
    sem_init(&w->ready, 0, 0);
    sem_init(&w->leave, 0, 0);
    bool good = pthread_create(&w->thread, &attr, work, w) == 0;
    pthread_attr_destroy(&attr);
    if (good)
        sem_wait(&w->ready);
    return good;
}

static void worker_end(struct worker *w)
{
    sem_post(&w->leave);
    pthread_join(w->thread, NULL);
}

/* Sleeping shows as 'S' soon after the last thing the thread did. */
static char settled_state(int32_t tid)
{
    char state = task_state(tid);
    for (int i = 0; i < 2000 && state == 'R'; i++) {
        usleep(1000);
        state = task_state(tid);
    }
    return state;
}

static void test_names(void)
{
    static const char *const names[] = {"plain", "a b c", ") R (", "(((((", ")))))", ") Z 1 2 3",
                                        "\n) D"};
    struct worker w;
    for (size_t i = 0; i < GC_COUNT(names); i++) {
        if (!EXPECT(worker_start(&w, names[i])))
            return;
        EXPECT(settled_state(w.tid) == 'S');
        worker_end(&w);
        for (int k = 0; k < 2000 && task_state(w.tid) != 0; k++)
            usleep(1000); /* joined a little before the kernel lets go of it */
        EXPECT(task_state(w.tid) == 0);
    }
}

static void test_many(void)
{
    static struct worker workers[MANY];
    size_t started = 0;
    while (started < MANY && worker_start(&workers[started], NULL))
        started++;
    EXPECT(started == MANY);
    long count = task_list(tids, GC_COUNT(tids));
    EXPECT(count >= (long)started + 1 && count <= (long)started + 2);
    long in_short = task_count(); /* an earlier thread may have gone meanwhile */
    EXPECT(in_short >= (long)started + 1 && in_short <= count);
    EXPECT(listed(gettid(), count));
    for (size_t i = 0; i < started; i++)
        if (!EXPECT(listed(workers[i].tid, count)))
            break;
    memset(tids, 0, sizeof tids);
    EXPECT(task_list(tids, 5) == count && tids[4] != 0 && tids[5] == 0);
    for (size_t i = 0; i < started; i++)
        worker_end(&workers[i]);
}

/* ---- threads that come and go meanwhile ---- */

static _Atomic bool stop;

static void *nothing(void *arg)
{
    return arg;
}

static void *churn(void *arg)
{
    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return arg;
}

static void test_churn(void)
{
    pthread_t churner;
    struct worker w;
    size_t seen = 0;
    EXPECT(worker_start(&w, NULL) && pthread_create(&churner, NULL, churn, NULL) == 0);
    for (int i = 0; i < 2000; i++) {
        long count = task_list(tids, GC_COUNT(tids));
        if (!EXPECT(count >= 1 && count < (long)GC_COUNT(tids)))
            break;
        seen += listed(w.tid, count);
        for (long k = 0; k < count; k++) {
            char state = task_state(tids[k]);
            if (!EXPECT(state == 0 || strchr("RSDZXItT", state) != NULL))
                return;
        }
    }
    stop = true;
    pthread_join(churner, NULL);
    worker_end(&w);
    EXPECT(seen > 1000); /* a list may skip a thread while another ends; it must be rare */
    printf("      a steady thread was listed %zu times of 2000\n", seen);
}

/* ---- the main thread has gone ---- */

static void *check_leaderless(void *arg)
{
    char state = settled_state(getpid());
    for (int i = 0; i < 2000 && state != 'Z'; i++) {
        usleep(1000);
        state = task_state(getpid());
    }
    long count = task_list(tids, GC_COUNT(tids));
    _exit(state == 'Z' && count >= 2 && listed(getpid(), count) && listed(gettid(), count) ? 0 : 1);
    return arg;
}

static void test_leader_gone(void)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, check_leaderless, NULL);
        pthread_exit(NULL);
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT(status == 0);
}

/* What the thread may run on, not what the machine has. */
static void test_processors(void)
{
    cpu_set_t all, one;
    EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
    EXPECT(task_processors() == (unsigned)CPU_COUNT(&all));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    EXPECT(sched_setaffinity(0, sizeof one, &one) == 0 && task_processors() == 1);
    EXPECT(sched_setaffinity(0, sizeof all, &all) == 0);
    EXPECT(task_processors() == (unsigned)CPU_COUNT(&all));
}

/* ---- slices ---- */

/* size, policy; flags; nice, priority; runtime, deadline, period */
static bool scheduling(uint64_t words[6])
{
    memset(words, 0, 6 * sizeof(uint64_t));
    return syscall(__NR_sched_getattr, 0, words, 48, 0) == 0;
}

/* A kernel that knows of slices tells ours; nothing else has changed, and no other thread's. */
static void *with_short_slices(void *arg)
{
    uint64_t before[6], after[6];
    EXPECT(scheduling(before));
    task_set_slice(200000);
    EXPECT(scheduling(after));
    bool known = after[3] != before[3];
    printf("      slices: %s\n", known ? "yes" : "not known here");
    EXPECT(!known || after[3] == 200000);
    after[3] = before[3];
    EXPECT(memcmp(before, after, sizeof before) == 0);
    return arg;
}

static void test_slice(void)
{
    uint64_t before[6], after[6];
    pthread_t thread;
    EXPECT(scheduling(before) && setpriority(PRIO_PROCESS, 0, 3) == 0);
    EXPECT(scheduling(before));
    EXPECT(pthread_create(&thread, NULL, with_short_slices, NULL) == 0);
    pthread_join(thread, NULL);
    EXPECT(scheduling(after) && memcmp(before, after, sizeof before) == 0);
}

static void test_signals(void)
{
    struct task_signals before, after;
    int32_t self = (int32_t)syscall0(__NR_gettid);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMAX);
    EXPECT(task_signals(self, &before) == TASK_KNOWN && before.pending == 0 && before.pending_for_all == 0);
    EXPECT(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    EXPECT(kill(getpid(), SIGUSR1) == 0 && pthread_kill(pthread_self(), SIGRTMAX) == 0);
    EXPECT(task_signals(self, &after) == TASK_KNOWN);
    EXPECT(after.blocked == (before.blocked | 1 << (SIGUSR1 - 1) | (uint64_t)1 << 63));
    EXPECT(after.pending_for_all == 1 << (SIGUSR1 - 1) && after.pending == (uint64_t)1 << 63);
    EXPECT(task_signals(INT32_MAX, &after) == TASK_GONE);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGRTMAX, SIG_IGN);
    EXPECT(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
}

static void test_paths(void)
{
    EXPECT(task_lives((int32_t)syscall0(__NR_gettid)) && !task_lives(0) && !task_lives(INT32_MAX));
    EXPECT(strcmp(task_path(0, "fd", "7").text, "/proc/thread-self/fd/7") == 0);
    EXPECT(strcmp(task_path(12, "status", NULL).text, "/proc/self/task/12/status") == 0);
    EXPECT(task_of_name("123") == 123 && task_of_name("..") == 0 && task_of_name("1x") == 0);
}

UNIT_MAIN(TEST(test_signals), TEST(test_paths), TEST(test_alone), TEST(test_names), TEST(test_many), TEST(test_churn),
          TEST(test_leader_gone), TEST(test_processors), TEST(test_slice))
