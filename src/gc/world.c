/* world.c -- the stop.
 *
 * Theory: announce the stop; whoever is parked by then stays so (park.c), the other registered
 * threads are signalled, and wait in the handler. If the kernel counts more tasks than these, there
 * are strangers: list the tasks, signal those not yet signalled, and list again; when a listing
 * brings nothing new, the world stands still, for only a running task can create another. The
 * handler publishes where the task was interrupted and sleeps on a futex until the generation's
 * stop is over. A task is found in the table by its id, never through thread-local storage: tasks
 * made by raw clone() have none of their own.
 *
 *   .inv.stopped    WORLD_STOPPED: every task in /proc/self/task but the caller and the library's
 *                   own threads is parked, is in the handler with `here` == generation, or is a
 *                   zombie.
 *   .inv.counted    Each task that has answered exists, and so does each parked one. So if the
 *                   kernel counts as many tasks as these, the caller and our own, there are no
 *                   others. If one has vanished, or the numbers differ (a task is between its
 *                   registration's end and its own), the list decides.
 *   .inv.known      Frames mean something only while all handlers are known to be run through
 *                   thunks, and nobody shares thread-local storage (park_forbid). That is asked
 *                   when the world stands still, when nobody can change it any more; if it is not
 *                   so, everybody is stopped anew.
 *   .inv.table      The table changes only while no task is inside the handler past the look-up
 *                   (`inside` == 0), or by appending (`count` is published last).
 *   .inv.deaf       Helper threads of libc's (timers, aio, name look-up) block all signals for
 *                   good, but for the two of libc's own. Who is silent because of that is sent
 *                   libc's second one, with a value by which our handler, in front of libc's, knows
 *                   it.
 *   .inv.wiped      A signal frame holds all registers, and whole batches of blocks among them:
 *                   they were copied by way of vector registers. What lies below a stack pointer
 *                   is no root; but libc keeps the stacks of threads that ended, and those are any
 *                   memory of the program's. So a thread that may have been stopped wipes what is
 *                   below it as it ends, as far as libc does not give it back.
 *   .inv.late       A signal that arrives after its stop was given up finds no stop under way, or
 *                   answers the next one: both are harmless.
 *
 * The handler uses raw system calls only: errno is untouched. It is installed with SA_RESTART and
 * SA_ONSTACK, and blocks everything else while it waits. Its return is a system call in our own
 * text (sys/signal.h), for while it runs SIGSYS is blocked, and others may be caught. */
#include "gc/world.h"

#include "base/atomic.h"
#include "base/check.h"
#include "gc/own_thread.h"
#include "gc/tid_table.h"
#include "mutator/park.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/sandbox.h"
#include "sys/signal.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <asm/prctl.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

/* Of the library, or the program that it is linked into; from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

enum {
    KERNEL_RT_LAST = 64,
    /* The library's choice: programs count up from SIGRTMIN, libc uses 32 and 33, valgrind 64. */
    DEFAULT_SIGNAL = KERNEL_RT_LAST - 2,
    /* Of libc's: by which setuid() reaches all threads. */
    LIBC_CANCEL = 32,
    LIBC_SETXID = 33,
    DEAF_MOST = 64,
    /* First wait before asking the kernel what a silent task is doing. */
    PATIENCE_NS = 2000000,
    /* libc keeps PTHREAD_STACK_MIN, 16 KiB or two of the largest frames (11 KiB), and a page. */
    WIPED = 32 << 10,
    /* Of that, what the wiping function may use itself: its red zone. */
    UNWIPED = 256,
};

static struct {
    /* Written by the collector, under the CYCLE lock; read by handlers. */
    struct stopped_task tasks[WORLD_TASKS_MOST];
    struct tid_table index;      /* of tasks[] */
    _Atomic uint32_t count;
    _Atomic uint32_t generation; /* of the last stop; park_stopping, while it is under way */
    /* Written by handlers. */
    _Atomic uint32_t answered;   /* tasks that stopped in this generation; a futex */
    _Atomic uint32_t inside;     /* tasks in the handler past its look-up; a futex */
    _Atomic uint32_t asking;     /* tasks that are done with that, and answer in it; a futex */
    /* The collector's own. */
    int32_t listed[WORLD_TASKS_MOST];
    world_leave_fn *leave;
    uint32_t parked;             /* tasks that need not answer */
    uint32_t gone;               /* zombies among the tasks: never going to answer */
    bool vanished;               /* one could not be signalled */
    int signal;
    world_ask_fn *ask;
    int32_t deaf[DEAF_MOST];     /* .inv.deaf: the last that were seen to be */
    uint32_t deaf_next;
    struct signal_action libcs;  /* what libc does at LIBC_SETXID */
} world GC_LARGE;

static struct stopped_task *find_task(int32_t tid)
{
    uint16_t index;
    return tid_table_get(&world.index, tid, &index) ? &world.tasks[index] : NULL;
}

static void wait_here(struct stopped_task *task, uint32_t generation)
{
    release_store(&task->here, generation);
    atomic_fetch_add(&world.answered, 1);
    futex_wake(&world.answered, 1);
    while (acquire_load(&park_stopping) == generation)
        futex_wait(&park_stopping, generation);
}

static uintptr_t thread_pointer(void)
{
    uintptr_t base = 0;
    syscall2(__NR_arch_prctl, ARCH_GET_FS, (long)&base);
    return base;
}

/* Has the program sent a signal meanwhile whose handler ends a call? */
static bool program_interrupts(const ucontext_t *uc)
{
    uint64_t pending = 0, mask;
    struct signal_action action;
    memcpy(&mask, &uc->uc_sigmask, sizeof mask);
    syscall2(__NR_rt_sigpending, (long)&pending, sizeof pending);
    for (pending &= ~mask; pending != 0; pending &= pending - 1) {
        int signal = __builtin_ctzl(pending) + 1;
        if (signal_action(signal, NULL, &action) == 0 && !(action.flags & SA_RESTART) &&
            (uintptr_t)action.handler > (uintptr_t)SIG_IGN)
            return true;
    }
    return false;
}

static const unsigned char syscall_instruction[] = {0x0f, 0x05};

/* Was the task in a call, and has the kernel set it back to in front of it? A call leaves the
 * address behind it in rcx. */
static bool is_restarted(const ucontext_t *uc)
{
    greg_t pc = uc->uc_mcontext.gregs[REG_RIP];
    return uc->uc_mcontext.gregs[REG_RCX] == pc + (greg_t)sizeof syscall_instruction &&
           memcmp((const void *)pc, syscall_instruction, sizeof syscall_instruction) == 0;
}

/* Our signal has SA_RESTART, so that calls are set back; a signal of the program's that came later,
 * while all were blocked, would find no call to end. A parked task's call may end with EINTR. */
static void end_call(struct park *place, ucontext_t *uc)
{
    if (place == NULL || relaxed_load(&place->frame) == 0 || !program_interrupts(uc))
        return;
    place->handled = 0; /* unless that handler runs here */
    uc->uc_mcontext.gregs[REG_RIP] += (greg_t)sizeof syscall_instruction;
    uc->uc_mcontext.gregs[REG_RAX] = -EINTR;
}

/* The thread may be parked, and belong to no stop. */
void world_excuse(void *context)
{
    relaxed_store(&park_interrupts, 1); /* or each such signal gives a wait its whole time again */
    if (park_self == NULL)
        return;
    relaxed_store(&park_self->woken, 1);
    if (is_restarted(context))
        end_call(park_self, context);
}

static void count_down(_Atomic uint32_t *count)
{
    if (atomic_fetch_sub(count, 1) == 1)
        futex_wake(count, 1);
}

static void await_none(_Atomic uint32_t *count)
{
    for (uint32_t there; (there = atomic_load(count)) != 0;)
        futex_wait(count, there);
}

/* Who is asked may stop the world, for which nobody is to be inside. */
static void answer(uint32_t commands, void *context)
{
    atomic_fetch_add(&world.asking, 1);
    count_down(&world.inside);
    world_excuse(context);
    if (world.ask != NULL)
        world.ask(commands);
    count_down(&world.asking);
}

static void on_stop(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    if (sandbox_on()) /* nobody stops, and whoever asks would have us end the process */
        return;
    atomic_fetch_add(&world.inside, 1);
    uint32_t generation = atomic_load(&park_stopping);
    struct stopped_task *task = find_task((int32_t)syscall0(__NR_gettid));
    /* Set by the stopper, too; but the task may have cleared that, on its way out of the stop
     * before, in front of the very call that this signal ends. */
    if (task != NULL && task->place != NULL)
        relaxed_store(&task->place->woken, 1);
    if (generation != 0 && task != NULL && relaxed_load(&task->here) != generation) {
        ucontext_t *uc = context;
        uc->uc_mcontext.gregs[REG_CR2] = 0; /* of the last fault, perhaps long ago: no register */
        task->stack_pointer = (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
        task->frame = (uintptr_t)__builtin_frame_address(0);
        task->alternate = (uintptr_t)uc->uc_stack.ss_sp;
        task->alternate_size = uc->uc_stack.ss_size;
        task->thread_pointer = thread_pointer();
        bool restarted = is_restarted(uc);
        wait_here(task, generation);
        if (world.leave != NULL) /* the call may stand elsewhere after that */
            world.leave(context);
        if (restarted)
            end_call(task->place, context);
    }
    uint32_t value = (uint32_t)info->si_value.sival_int;
    if (info->si_code == SI_QUEUE && (value & ~0xffu) == WORLD_ASK_VALUE)
        answer(value & 0xff, context);
    else
        count_down(&world.inside);
}

void world_on_leave(world_leave_fn *leave)
{
    world.leave = leave;
}

/* At each stop, too: libc's signal() and its kin reach the kernel past our wrapper of sigaction.
 * Blocks libc's own signals too: a cancellation must not unwind us. */
static void install(void)
{
    GC_CHECK(signal_install(world.signal, SA_RESTART, SIGNAL_ALL, on_stop) == 0);
}

void world_set_signal(int signal)
{
    world.signal = signal >= 34 && signal <= KERNEL_RT_LAST ? signal : DEFAULT_SIGNAL;
}

void world_on_ask(world_ask_fn *ask)
{
    world.ask = ask;
    install();
}

int world_signal(void)
{
    return world.signal;
}

uint64_t world_signals(void)
{
    return SIGNAL_BIT(world.signal) | SIGNAL_BIT(LIBC_SETXID);
}

/* .inv.deaf */
static void on_libcs(int signal, siginfo_t *info, void *context)
{
    if (info->si_code == SI_QUEUE && info->si_value.sival_ptr == &world)
        on_stop(signal, info, context);
    else if ((uintptr_t)world.libcs.handler > (uintptr_t)SIG_IGN)
        world.libcs.handler(signal, info, context);
}

/* libc installs its handler when the first thread is made. It makes system calls, which may be
 * caught. */
static bool stand_before_libc(void)
{
    struct signal_action action;
    if (signal_action(LIBC_SETXID, NULL, &action) != 0)
        return false;
    if (action.handler == on_libcs)
        return true;
    world.libcs = action;
    return signal_install(LIBC_SETXID, SA_RESTART,
                          SIGNAL_ALL & ~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGSYS)), on_libcs) == 0;
}

static bool is_deaf(int32_t tid)
{
    for (uint32_t i = 0; i < DEAF_MOST; i++)
        if (world.deaf[i] == tid)
            return true;
    return false;
}

static long signal_deaf(int32_t tid)
{
    long pid = syscall0(__NR_getpid);
    siginfo_t info = {.si_signo = LIBC_SETXID, .si_code = SI_QUEUE};
    info.si_pid = (pid_t)pid;
    info.si_value.sival_ptr = &world;
    return syscall4(__NR_rt_tgsigqueueinfo, pid, tid, LIBC_SETXID, (long)&info);
}

/* The task does not answer: because it has our signal blocked, and was not known to? */
static void try_deaf(int32_t tid)
{
    struct task_signals signals;
    if (is_deaf(tid) || task_signals(tid, &signals) != TASK_KNOWN || !stand_before_libc() ||
        !(signals.blocked & SIGNAL_BIT(world.signal)) ||
        (signals.blocked & SIGNAL_BIT(LIBC_SETXID)))
        return;
    world.deaf[world.deaf_next++ % DEAF_MOST] = tid;
    signal_deaf(tid);
}

static long send_stop(int32_t tid)
{
    if (is_deaf(tid) && stand_before_libc())
        return signal_deaf(tid);
    return syscall3(__NR_tgkill, syscall0(__NR_getpid), tid, world.signal);
}

void world_await_left(void)
{
    await_none(&world.inside);
    await_none(&world.asking);
}

/* False: there is no place. `given` is complete but for its number. */
static bool add_task(int32_t tid, struct stopped_task given)
{
    uint32_t count = relaxed_load(&world.count);
    if (count == WORLD_TASKS_MOST)
        return false;
    given.tid = tid;
    world.tasks[count] = given;
    tid_table_put(&world.index, tid, (uint16_t)count); /* from here on a late signal finds it */
    release_store(&world.count, count + 1);
    return true;
}

/* A task that is gone by now counts as such. Its call, if it is in one, may return EINTR: the
 * wrapper is told before. */
static bool signal_task(int32_t tid, struct park *place, uint32_t generation)
{
    if (!add_task(tid, (struct stopped_task){.generation = generation, .place = place}))
        return false;
    if (place != NULL)
        relaxed_store(&place->woken, 1);
    if (send_stop(tid) == -ESRCH) {
        world.gone++;
        world.vanished = true;
    }
    return true;
}

static bool keep_parked(struct park *p, int32_t tid, uintptr_t frame, uint32_t generation)
{
    struct stopped_task task = {
        .generation = generation,
        .parked = true,
        .here = generation,
        .stack_pointer = frame,
        .alternate = relaxed_load(&p->alternate),
        .alternate_size = relaxed_load(&p->alternate_size),
    };
    world.parked++;
    return add_task(tid, task);
}

/* All registered threads: those who are parked stay so, the others are signalled. */
static enum world_result stop_registered(uint32_t generation, int32_t self, bool parking)
{
    uint32_t count;
    struct park *places = park_places(&count);
    for (uint32_t i = 0; i < count; i++) /* before anybody is signalled */
        if (relaxed_load(&places[i].tid) != 0 && acquire_load(&places[i].away) != 0)
            return WORLD_LATE;
    for (uint32_t i = 0; i < count; i++) {
        struct park *p = &places[i];
        int32_t tid = relaxed_load(&p->tid);
        if (tid == 0 || tid == self || find_task(tid) != NULL)
            continue;
        uintptr_t frame = parking ? acquire_load(&p->frame) : 0;
        if (!(frame != 0 ? keep_parked(p, tid, frame, generation)
                         : signal_task(tid, p, generation)))
            return WORLD_NO_TASKS;
    }
    return WORLD_STOPPED;
}

/* .inv.counted */
static bool all_known(int32_t self)
{
    long tasks = task_count(); /* first: if one of our own ends now, it is missed below */
    uint32_t known = relaxed_load(&world.count) + own_thread_count() + !own_thread_has(self);
    return !world.vanished && tasks == (long)known;
}

/* Lists the tasks and signals the new ones. Returns how many were new; -1: cannot be listed. */
static int signal_new(uint32_t generation, int32_t self)
{
    long listed = task_list(world.listed, WORLD_TASKS_MOST);
    if (listed < 0 || listed > WORLD_TASKS_MOST)
        return -1;
    int fresh = 0;
    for (long i = 0; i < listed; i++) {
        int32_t tid = world.listed[i];
        if (tid == self || own_thread_has(tid) || find_task(tid) != NULL)
            continue;
        if (!signal_task(tid, NULL, generation))
            return -1;
        fresh++;
    }
    return fresh;
}

static bool all_answered(void)
{
    return atomic_load(&world.answered) + world.parked + world.gone >= relaxed_load(&world.count);
}

/* Tasks that have ended since they were listed will not answer; some must be asked otherwise. */
static void look_at_silent(uint32_t generation)
{
    world.gone = 0;
    for (uint32_t i = 0; i < relaxed_load(&world.count); i++) {
        struct stopped_task *task = &world.tasks[i];
        if (acquire_load(&task->here) == generation)
            continue;
        if (task_lives(task->tid)) {
            try_deaf(task->tid);
            continue;
        }
        world.gone++;
        world.vanished = true; /* .inv.counted */
    }
}

static bool await_answers(uint32_t generation, uint64_t deadline)
{
    for (;;) {
        uint32_t answered = atomic_load(&world.answered); /* before it is looked at */
        if (all_answered())
            return true;
        if (!futex_wait_for(&world.answered, answered, PATIENCE_NS))
            look_at_silent(generation);
        if (!all_answered() && clock_now_ns() > deadline)
            return false;
    }
}

static enum world_result stop_all(uint32_t generation, bool parking, uint64_t deadline)
{
    int32_t self = (int32_t)syscall0(__NR_gettid);
    enum world_result result = stop_registered(generation, self, parking);
    if (result != WORLD_STOPPED)
        return result;
    if (!await_answers(generation, deadline))
        return WORLD_LATE;
    while (!all_known(self)) {
        int fresh = signal_new(generation, self);
        if (fresh < 0)
            return WORLD_NO_TASKS;
        if (fresh == 0)
            return WORLD_STOPPED;
        if (!await_answers(generation, deadline))
            return WORLD_LATE;
    }
    return WORLD_STOPPED;
}

/* What runs on a signal in this library (thunks are there, too) or in libc is no code of the
 * program's. */
static bool is_known(int signal, uintptr_t handler)
{
    return handler == (uintptr_t)SIG_DFL || handler == (uintptr_t)SIG_IGN ||
           (handler >= (uintptr_t)__ehdr_start && handler < (uintptr_t)etext) ||
           signal == LIBC_CANCEL || signal == LIBC_SETXID;
}

/* .inv.known */
static bool all_handlers_known(void)
{
    struct signal_action action;
    for (int signal = 1; signal <= KERNEL_RT_LAST; signal++)
        if (signal_action(signal, NULL, &action) == 0 &&
            !is_known(signal, (uintptr_t)action.handler))
            return false;
    return true;
}

static enum world_result try_stop(bool everybody, uint64_t deadline)
{
    install();
    await_none(&world.inside);
    uint32_t generation = relaxed_load(&world.generation) + 1;
    generation += generation == 0;
    relaxed_store(&world.generation, generation);
    relaxed_store(&world.count, 0);
    tid_table_clear(&world.index);
    relaxed_store(&world.answered, 0);
    world.gone = world.parked = 0;
    world.vanished = false;
    bool parking = park_stop(generation) && !everybody;
    if (!parking)
        relaxed_store(&park_interrupts, 1);
    enum world_result result = stop_all(generation, parking, deadline);
    if (result != WORLD_STOPPED)
        world_start();
    return result;
}

enum world_result world_stop(enum world_who who, uint64_t timeout_ns)
{
    GC_ASSERT(lock_held(LOCK_CYCLE) && lock_held(LOCK_REGISTRY));
    uint64_t deadline = clock_now_ns() + timeout_ns;
    enum world_result result = try_stop(who == WORLD_EVERYBODY, deadline);
    if (result != WORLD_STOPPED || world.parked == 0 ||
        (!park_forbidden() && all_handlers_known()))
        return result;
    world_start();
    return try_stop(true, deadline);
}

uint32_t world_stops(void)
{
    return relaxed_load(&world.generation);
}

/* The lowest address from which on all pages up to `high` exist. */
static uintptr_t lowest_touched(uintptr_t low, uintptr_t high)
{
    unsigned char there[WIPED / PAGE_SIZE + 2];
    uintptr_t first = align_down(low, PAGE_SIZE), page = align_down(high, PAGE_SIZE);
    if (syscall3(__NR_mincore, (long)first, (long)(page + PAGE_SIZE - first), (long)there) != 0)
        return high;
    while (page > first && (there[(page - first) / PAGE_SIZE - 1] & 1))
        page -= PAGE_SIZE;
    return size_max(page, low);
}

/* .inv.wiped. Upward, in one instruction: a handler that comes in between has its frame where it
 * is wiped, and is done with it when that goes on. */
GC_NOINLINE void world_wipe_stack(uintptr_t low)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t from = lowest_touched(size_max(low, here - WIPED), here);
    __asm__ volatile("lea %c1(%%rsp), %%rcx\n\t"
                     "xor %%eax, %%eax\n\t"
                     "sub %0, %%rcx\n\t"
                     "jbe 1f\n\t"
                     "rep stosb\n"
                     "1:"
                     : "+D"(from)
                     : "i"(-UNWIPED)
                     : "rax", "rcx", "cc", "memory");
}

void world_start(void)
{
    park_start();
}

const struct stopped_task *world_tasks(size_t *count)
{
    *count = relaxed_load(&world.count);
    return world.tasks;
}

void world_after_fork(void)
{
    memset(world.deaf, 0, sizeof world.deaf);
    relaxed_store(&world.inside, 0);
    relaxed_store(&world.asking, 0);
    relaxed_store(&world.count, 0);
    tid_table_clear(&world.index);
    atomic_store(&park_stopping, 0);
}
