/* gc_world.c -- everybody stands still, or nobody does.
 *
 * Threads of every kind that a program may have are stopped, over and over: they spin, sleep, block
 * the signal, end, are being made, have no thread-local storage, wait in vfork, or are the zombie
 * of a main thread. A stopped thread is known by its counter: it does not move.
 *
 * While the world stands still this test calls nothing of libc that takes a lock: what it sees goes
 * to static variables, and is judged afterwards. */
#include "gc/world.h"

#include "base/atomic.h"
#include "child.h"
#include "heap/heap.h"
#include "stopped.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
    STACK = 128 << 10,
    KINDS_MOST = 16,
    STOPS = 12,
    STILL_NS = 300000,      /* watched for so long */
};
#define PATIENT_NS ((uint64_t)5000000000u)
#define IMPATIENT_NS ((uint64_t)30000000u)

static struct lock cycle_lock = LOCK_INIT(CYCLE);
static _Atomic bool quit;
static _Atomic uint32_t ready;

struct actor {
    pthread_t thread;
    char *stack;             /* its own, STACK bytes above a guard page */
    _Atomic int32_t tid;
    _Atomic uint64_t beats;  /* its progress */
    _Atomic int errors;      /* unexpected errno values */
};

static struct actor actors[KINDS_MOST];
static unsigned actor_count;

/* ---- stopping, and looking ---- */

static struct {
    enum world_result result;
    size_t count;
    unsigned parked;
    bool moved, tids_known, stacks_right, frames_right, answered;
} seen;
static enum world_who who = WORLD_RUNNING;

static void pause_ns(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    syscall2(__NR_nanosleep, (long)&t, 0);
}

static const struct stopped_task *task_of(const struct actor *a)
{
    size_t count;
    const struct stopped_task *tasks = world_tasks(&count);
    for (size_t i = 0; i < count; i++)
        if (tasks[i].tid == relaxed_load(&((struct actor *)(uintptr_t)a)->tid))
            return &tasks[i];
    return NULL;
}

static bool on_stack(const struct actor *a, uintptr_t address)
{
    return address - (uintptr_t)a->stack < STACK;
}

static void look_at(const struct actor *a)
{
    const struct stopped_task *task = task_of(a);
    if (task == NULL) {
        seen.tids_known = false;
        return;
    }
    seen.answered &= relaxed_load(&((struct stopped_task *)(uintptr_t)task)->here) ==
                     task->generation;
    seen.stacks_right &= on_stack(a, task->stack_pointer);
    seen.parked += task->parked;
    if (task->parked)
        seen.frames_right &= task->frame == 0;
    else if (task->alternate == 0)
        seen.frames_right &= on_stack(a, task->frame) && task->frame < task->stack_pointer;
    else
        seen.frames_right &= !on_stack(a, task->frame);
}

/* Stops the world for a moment in which nothing may move. */
static void stop_and_look(uint64_t timeout)
{
    uint64_t beats[KINDS_MOST];
    lock_acquire(&cycle_lock);
    seen.tids_known = seen.stacks_right = seen.frames_right = seen.answered = true;
    seen.moved = false;
    seen.parked = 0;
    seen.result = stop_world(who, timeout);
    if (seen.result == WORLD_STOPPED) {
        world_tasks(&seen.count);
        for (unsigned i = 0; i < actor_count; i++) {
            look_at(&actors[i]);
            beats[i] = acquire_load(&actors[i].beats);
        }
        pause_ns(STILL_NS);
        for (unsigned i = 0; i < actor_count; i++)
            seen.moved |= acquire_load(&actors[i].beats) != beats[i];
        resume_world();
    }
    lock_release(&cycle_lock);
}

static void expect_still(void)
{
    if (!EXPECT(seen.result == WORLD_STOPPED))
        return;
    EXPECT(!seen.moved && seen.tids_known && seen.answered);
    EXPECT(seen.stacks_right && seen.frames_right);
}

/* Every actor moves again. */
static bool all_move(void)
{
    uint64_t end = clock_now_ns() + PATIENT_NS;
    for (unsigned i = 0; i < actor_count; i++) {
        uint64_t beats = acquire_load(&actors[i].beats);
        while (acquire_load(&actors[i].beats) == beats)
            if (clock_now_ns() > end)
                return false;
    }
    return true;
}

/* ---- actors ---- */

static void enter(struct actor *a)
{
    relaxed_store(&a->tid, (int32_t)syscall0(__NR_gettid));
    atomic_fetch_add(&ready, 1);
}

static void *spin(void *data)
{
    struct actor *a = data;
    enter(a);
    while (!acquire_load(&quit))
        relaxed_add(&a->beats, 1);
    return NULL;
}

/* Sleeps are cut short by the signal, and told so: these threads are not parked. They never fail
 * otherwise. */
static void *sleep_often(void *data)
{
    struct actor *a = data;
    struct timespec t = {0, 200000};
    enter(a);
    while (!acquire_load(&quit)) {
        long result = syscall2(__NR_nanosleep, (long)&t, 0);
        a->errors += result != 0 && result != -EINTR;
        relaxed_add(&a->beats, 1);
    }
    return NULL;
}

/* The library's threads do it like this; its sleeps are not cut short unless `who` says so. */
static void *park_often(void *data)
{
    struct actor *a = data;
    struct timespec t = {0, 200000};
    a->errors += !thread_attach((uintptr_t)__builtin_frame_address(0));
    enter(a);
    while (!acquire_load(&quit)) {
        park_begin((uintptr_t)__builtin_frame_address(0));
        long result = syscall2(__NR_nanosleep, (long)&t, 0);
        park_end();
        a->errors += result != 0 && (result != -EINTR || who == WORLD_RUNNING);
        relaxed_add(&a->beats, 1);
    }
    thread_detach();
    return NULL;
}

/* Its signal frame lies elsewhere: SA_ONSTACK. */
static void *with_alternate_stack(void *data)
{
    struct actor *a = data;
    static char memory[64 << 10];
    stack_t alternate = {.ss_sp = memory, .ss_size = sizeof memory};
    a->errors += sigaltstack(&alternate, NULL) != 0;
    return spin(data);
}

static void *block_signals_often(void *data)
{
    struct actor *a = data;
    sigset_t all, old;
    sigfillset(&all);
    enter(a);
    while (!acquire_load(&quit)) {
        a->errors += pthread_sigmask(SIG_SETMASK, &all, &old) != 0;
        for (int i = 0; i < 1000; i++)
            relaxed_add(&a->beats, 1);
        a->errors += pthread_sigmask(SIG_SETMASK, &old, NULL) != 0;
    }
    return NULL;
}

static char *new_stack(void)
{
    char *memory = mmap(NULL, STACK + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED &&
           mprotect(memory + PAGE_SIZE, STACK, PROT_READ | PROT_WRITE) == 0);
    return memory + PAGE_SIZE;
}

static struct actor *add_actor(void *(*run)(void *))
{
    struct actor *a = &actors[actor_count++];
    pthread_attr_t attributes;
    *a = (struct actor){.stack = new_stack()};
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstack(&attributes, a->stack, STACK) == 0);
    EXPECT(pthread_create(&a->thread, &attributes, run, a) == 0);
    pthread_attr_destroy(&attributes);
    while (acquire_load(&ready) < actor_count)
        sched_yield();
    return a;
}

static void dismiss_actors(void)
{
    release_store(&quit, true);
    for (unsigned i = 0; i < actor_count; i++) {
        pthread_join(actors[i].thread, NULL);
        EXPECT(actors[i].errors == 0);
        munmap(actors[i].stack - PAGE_SIZE, STACK + 2 * PAGE_SIZE);
    }
    actor_count = 0;
    release_store(&quit, false);
    release_store(&ready, 0);
}

/* ---- tests ---- */

static void test_alone(void)
{
    EXPECT(heap_init(64 * MIB, false)); /* threads that park have a place */
    world_set_signal(0);
    EXPECT(world_signal() == 62);
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        EXPECT(seen.result == WORLD_STOPPED && seen.count == 0);
    }
}

static void test_busy_threads(void)
{
    for (int i = 0; i < 3; i++)
        add_actor(spin);
    for (int i = 0; i < 3; i++)
        add_actor(sleep_often);
    add_actor(with_alternate_stack);
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
        EXPECT(seen.count == 7);
    }
    EXPECT(all_move());
    dismiss_actors();
}

/* Stops beside threads that sleep, parked, for most of the time: returns how many it met so. */
static unsigned meet_parked(unsigned actors_in_all)
{
    unsigned parked = 0;
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
        EXPECT(seen.count == actors_in_all);
        parked += seen.parked;
        pause_ns(50000);
    }
    EXPECT(all_move());
    return parked;
}

static void test_parked(void)
{
    for (int i = 0; i < 3; i++)
        add_actor(park_often);
    EXPECT(meet_parked(3) > STOPS);
    add_actor(spin); /* a stranger */
    add_actor(sleep_often);
    EXPECT(meet_parked(5) > STOPS);
    dismiss_actors();
}

/* Who asks for everybody gets everybody into the handler. */
static void test_everybody(void)
{
    who = WORLD_EVERYBODY;
    for (int i = 0; i < 3; i++)
        add_actor(park_often);
    add_actor(spin);
    EXPECT(meet_parked(4) == 0);
    dismiss_actors();
    who = WORLD_RUNNING;
}

/* A handler that came past our wrappers might run in a parked thread. */
static void test_unknown_handler(void)
{
    struct sigaction action = {.sa_handler = (void (*)(int))(uintptr_t)sched_yield}, old;
    struct actor *a = add_actor(park_often);
    EXPECT(meet_parked(1) != 0);
    EXPECT(sigaction(SIGUSR2, &action, &old) == 0);
    EXPECT(meet_parked(1) == 0);
    EXPECT(sigaction(SIGUSR2, &old, NULL) == 0);
    EXPECT(meet_parked(1) != 0);
    a->errors = 0; /* in between it was told */
    dismiss_actors();
}

static void test_alternate_is_told(void)
{
    struct actor *a = add_actor(with_alternate_stack), *b = add_actor(spin);
    uintptr_t with = 0, without = 1, frame = 0;
    lock_acquire(&cycle_lock);
    if (stop_world(WORLD_RUNNING, PATIENT_NS) == WORLD_STOPPED) {
        with = task_of(a)->alternate;
        frame = task_of(a)->frame;
        without = task_of(b)->alternate;
        resume_world();
    }
    lock_release(&cycle_lock);
    EXPECT(with != 0 && without == 0 && frame - with < (64 << 10));
    dismiss_actors();
}

/* errno and the registers of the interrupted thread are its own. */
static void *compute(void *data)
{
    struct actor *a = data;
    enter(a);
    while (!acquire_load(&quit)) {
        double sum = 0, want = 0;
        errno = 12345;
        for (int i = 0; i < 5000; i++)
            sum += i;
        want = 4999.0 * 5000 / 2;
        a->errors += sum < want || sum > want || errno != 12345;
        relaxed_add(&a->beats, 1);
    }
    return NULL;
}

static void test_undisturbed(void)
{
    add_actor(compute);
    add_actor(compute);
    for (int i = 0; i < 2 * STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
    }
    dismiss_actors();
}

static void test_blocks_for_a_while(void)
{
    add_actor(block_signals_often);
    add_actor(block_signals_often);
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
    }
    dismiss_actors();
}

static _Atomic bool may_unblock;

static void *block_signals(void *data)
{
    struct actor *a = data;
    uint64_t all = ~(uint64_t)0, old; /* libc would leave its own two */
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&old, sizeof all);
    enter(a);
    while (!acquire_load(&quit) && !acquire_load(&may_unblock))
        relaxed_add(&a->beats, 1);
    syscall4(__NR_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, sizeof old);
    while (!acquire_load(&quit))
        relaxed_add(&a->beats, 1);
    return NULL;
}

/* Who never answers makes the stop late, and everybody goes on; later it may work. */
static void test_blocks_for_good(void)
{
    add_actor(spin);
    add_actor(block_signals);
    for (int i = 0; i < 3; i++) {
        uint64_t begun = clock_now_ns();
        stop_and_look(IMPATIENT_NS);
        EXPECT(seen.result == WORLD_LATE && clock_now_ns() - begun >= IMPATIENT_NS);
        EXPECT(all_move());
    }
    release_store(&may_unblock, true);
    stop_and_look(PATIENT_NS); /* .inv.late: the old signal answers this stop, or finds none */
    expect_still();
    EXPECT(all_move());
    dismiss_actors();
}

static void *block_all_but_libcs(void *data)
{
    struct actor *a = data;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    enter(a);
    while (!acquire_load(&quit))
        relaxed_add(&a->beats, 1);
    return NULL;
}

/* As libc's helpers do (.inv.deaf): only the first stop takes a while. setuid() still reaches all,
 * before and after. */
static void test_deaf(void)
{
    add_actor(spin);
    add_actor(block_all_but_libcs);
    add_actor(block_all_but_libcs);
    EXPECT(setuid(getuid()) == 0);
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
        EXPECT(setuid(getuid()) == 0 && all_move());
    }
    dismiss_actors();
}

/* ---- threads that come and go ---- */

static void *nothing(void *data)
{
    relaxed_add((_Atomic uint64_t *)data, 1);
    return NULL;
}

static _Atomic uint64_t born;

static void *make_threads(void *data)
{
    struct actor *a = data;
    enter(a);
    while (!acquire_load(&quit)) {
        pthread_t child[4];
        for (int i = 0; i < 4; i++)
            a->errors += pthread_create(&child[i], NULL, nothing, &born) != 0;
        for (int i = 0; i < 4; i++)
            pthread_join(child[i], NULL);
        relaxed_add(&a->beats, 1);
    }
    return NULL;
}

static void test_births_and_deaths(void)
{
    add_actor(make_threads);
    add_actor(make_threads);
    uint64_t before = acquire_load(&born);
    bool more = false;
    for (int i = 0; i < 2 * STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
        EXPECT(seen.count >= 2);
        more |= seen.count > 2;
    }
    EXPECT(acquire_load(&born) > before);
    if (!more)
        printf("      no stop met a newborn thread\n");
    dismiss_actors();
}

/* No thread is born while the world stands still. */
static void test_no_births_while_stopped(void)
{
    add_actor(make_threads);
    bool moved = false;
    for (int i = 0; i < STOPS; i++) {
        lock_acquire(&cycle_lock);
        if (stop_world(WORLD_RUNNING, PATIENT_NS) == WORLD_STOPPED) {
            uint64_t before = acquire_load(&born);
            pause_ns(STILL_NS);
            moved |= acquire_load(&born) != before;
            resume_world();
        }
        lock_release(&cycle_lock);
    }
    EXPECT(!moved);
    dismiss_actors();
}

/* ---- vfork ---- */

static _Atomic uint32_t child_may_go;

static void *wait_in_vfork(void *data)
{
    struct actor *a = data;
    enter(a);
    pid_t child = vfork();
    if (child == 0) {
        atomic_fetch_add(&a->beats, 1); /* same memory */
        while (acquire_load(&child_may_go) == 0)
            syscall4(__NR_futex, (long)&child_may_go, FUTEX_WAIT_PRIVATE, 0, 0);
        syscall1(__NR_exit_group, 0);
    }
    a->errors += child < 0 || waitpid(child, NULL, 0) != child;
    return spin(data);
}

static void test_vfork(void)
{
    struct actor *a = add_actor(wait_in_vfork);
    while (acquire_load(&a->beats) == 0)
        sched_yield();
    actors[1].beats = 0;
    add_actor(spin);
    stop_and_look(IMPATIENT_NS);
    EXPECT(seen.result == WORLD_LATE);
    uint64_t beats = acquire_load(&actors[1].beats);
    while (acquire_load(&actors[1].beats) == beats) /* released: or the test hangs here */
        sched_yield();
    release_store(&child_may_go, 1);
    syscall3(__NR_futex, (long)&child_may_go, FUTEX_WAKE_PRIVATE, 1);
    stop_and_look(PATIENT_NS);
    expect_still();
    EXPECT(all_move());
    dismiss_actors();
}

/* ---- a task of raw clone(), without thread-local storage ---- */

static struct actor raw;
static _Atomic uint32_t raw_gone;

static int run_raw(void *data)
{
    struct actor *a = data;
    syscall2(__NR_arch_prctl, ARCH_SET_FS, 0);
    release_store(&a->tid, (int32_t)syscall0(__NR_gettid));
    while (!acquire_load(&quit))
        relaxed_add(&a->beats, 1);
    syscall1(__NR_exit, 0);
    __builtin_unreachable();
}

static void test_raw_clone(void)
{
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                      CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
    raw = (struct actor){.stack = new_stack()};
    release_store(&raw_gone, 1);
    int tid = clone(run_raw, raw.stack + STACK, flags, &raw, NULL, NULL, &raw_gone);
    EXPECT(tid > 0);
    while (acquire_load(&raw.tid) == 0)
        sched_yield();
    bool moved = false, right = true;
    for (int i = 0; i < STOPS; i++) {
        lock_acquire(&cycle_lock);
        enum world_result result = stop_world(WORLD_RUNNING, PATIENT_NS);
        if (result == WORLD_STOPPED) {
            const struct stopped_task *task = task_of(&raw);
            uint64_t beats = acquire_load(&raw.beats);
            pause_ns(STILL_NS);
            moved |= acquire_load(&raw.beats) != beats;
            right &= task != NULL && on_stack(&raw, task->stack_pointer);
            resume_world();
        }
        lock_release(&cycle_lock);
        EXPECT(result == WORLD_STOPPED);
    }
    EXPECT(!moved && right);
    release_store(&quit, true);
    while (acquire_load(&raw_gone) != 0)
        sched_yield();
    release_store(&quit, false);
    munmap(raw.stack - PAGE_SIZE, STACK + 2 * PAGE_SIZE);
}

/* ---- a main thread that has ended stays listed, as a zombie ---- */

static void *stop_without_main(void *data)
{
    (void)data;
    int32_t main_tid = (int32_t)syscall0(__NR_getpid);
    while (task_state(main_tid) != 'Z')
        sched_yield();
    add_actor(spin);
    for (int i = 0; i < STOPS; i++) {
        stop_and_look(PATIENT_NS);
        expect_still();
    }
    dismiss_actors();
    fflush(stdout);
    _exit(unit_failures != 0);
}

static void end_main(void)
{
    pthread_t thread;
    unit_failures = 0;
    EXPECT(pthread_create(&thread, NULL, stop_without_main, NULL) == 0);
    pthread_exit(NULL);
}

static void test_zombie_main(void)
{
    EXPECT(child_passes(end_main));
}

static void after_fork(void)
{
    world_after_fork();
    add_actor(spin);
    stop_and_look(PATIENT_NS);
    expect_still();
    dismiss_actors();
}

/* ---- what a stop leaves behind ---- */

static const uint64_t mark = 0x6c65667462656869; /* nothing else is like it */

/* From `low` up to here, which is all that is free of the calling thread's stack. */
static GC_NOINLINE unsigned marks_below(const char *low)
{
    const char *here = __builtin_frame_address(0);
    unsigned found = 0;
    for (const char *at = low; at < here; at += WORD_SIZE)
        found += *(const uint64_t *)(const void *)at == mark;
    return found;
}

/* In a register, for as long as it spins. */
static GC_NOINLINE void spin_marked(struct actor *a)
{
    register uint64_t kept __asm__("r12") = mark;
    enter(a);
    while (!acquire_load(&quit)) {
        __asm__ volatile("" : "+r"(kept));
        relaxed_add(&a->beats, 1);
    }
}

static unsigned marks_before, marks_after;

static void *leave_marks(void *data)
{
    struct actor *a = data;
    spin_marked(a);
    marks_before = marks_below(a->stack);
    world_wipe_stack((uintptr_t)a->stack);
    marks_after = marks_below(a->stack);
    return NULL;
}

/* .inv.wiped */
static void test_wiped(void)
{
    uint32_t stops = world_stops();
    add_actor(leave_marks);
    stop_and_look(PATIENT_NS);
    expect_still();
    dismiss_actors();
    EXPECT(world_stops() == stops + 1 && marks_before != 0 && marks_after == 0);
}

static char *volatile fault_at;

static void past_fault(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)signal;
    EXPECT(info->si_addr == fault_at);
    uc->uc_mcontext.gregs[REG_RIP] += 3; /* see below */
}

static void *fault_and_spin(void *data)
{
    __asm__ volatile("movb $0, (%%rax)" : : "a"(fault_at) : "memory"); /* of three bytes */
    __asm__ volatile("xor %%eax, %%eax" : : : "rax", "cc");
    return spin(data);
}

static unsigned fault_seen;

/* Of a task whose last fault was there, the frame does not say so. */
static void test_fault_is_forgotten(void)
{
    struct sigaction action = {.sa_sigaction = past_fault, .sa_flags = SA_SIGINFO}, old;
    fault_at = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(sigaction(SIGSEGV, &action, &old) == 0);
    struct actor *a = add_actor(fault_and_spin);
    lock_acquire(&cycle_lock);
    if (EXPECT(stop_world(who, PATIENT_NS) == WORLD_STOPPED)) {
        const struct stopped_task *task = task_of(a);
        for (uintptr_t at = task->frame; at < task->stack_pointer; at += WORD_SIZE)
            fault_seen += *(char **)at == fault_at;
        resume_world();
    }
    lock_release(&cycle_lock);
    EXPECT(fault_seen == 0);
    dismiss_actors();
    sigaction(SIGSEGV, &old, NULL);
}

static void test_child_of_fork(void)
{
    EXPECT(child_passes(after_fork));
}

/* ---- asking ---- */

static _Atomic uint32_t asked_for, asked_times;

static void note_asked(uint32_t commands)
{
    asked_for |= commands;
    asked_times++;
}

static void queue_to(pid_t tid, int code, uint32_t value)
{
    siginfo_t info = {.si_signo = world_signal(), .si_code = code};
    info.si_value.sival_int = (int)value;
    EXPECT(syscall4(__NR_rt_tgsigqueueinfo, getpid(), tid, world_signal(), (long)&info) == 0);
}

/* Told of what carries the value, and of nothing else. */
static void asked(void)
{
    world_set_signal(0);
    world_on_ask(note_asked);
    queue_to(gettid(), SI_QUEUE, WORLD_ASK_VALUE | 5);
    EXPECT(asked_for == 5 && asked_times == 1);
    queue_to(gettid(), SI_QUEUE, WORLD_ASK_VALUE + 0x100);
    queue_to(gettid(), SI_TIMER, WORLD_ASK_VALUE | 1);
    queue_to(gettid(), SI_QUEUE, 7);
    EXPECT(syscall3(__NR_tgkill, getpid(), gettid(), world_signal()) == 0);
    EXPECT(asked_for == 5 && asked_times == 1);
    sandbox_set(true); /* where it would be one system call too many */
    queue_to(gettid(), SI_QUEUE, WORLD_ASK_VALUE | 2);
    EXPECT(asked_times == 1);
    sandbox_set(false);
    queue_to(gettid(), SI_QUEUE, WORLD_ASK_VALUE | 0x80);
    EXPECT(asked_for == 0x85 && asked_times == 2);
}
IN_CHILD(asked)

UNIT_MAIN(TEST(test_asked), TEST(test_alone), TEST(test_parked), TEST(test_everybody), TEST(test_unknown_handler),
          TEST(test_busy_threads), TEST(test_alternate_is_told),
          TEST(test_undisturbed), TEST(test_blocks_for_a_while), TEST(test_blocks_for_good), TEST(test_deaf),
          TEST(test_births_and_deaths), TEST(test_no_births_while_stopped), TEST(test_vfork),
          TEST(test_raw_clone), TEST(test_zombie_main), TEST(test_wiped),
          TEST(test_fault_is_forgotten), TEST(test_child_of_fork))
