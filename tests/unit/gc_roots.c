/* gc_roots.c -- one reference to a block, in every place where a program may keep one.
 *
 * Each test hides its blocks (hidden.h), puts one address into the place in question, and runs a
 * real root scan of this very process. A block that nothing refers to goes with each: if it is ever
 * found, the test's own stack or registers held it, and the rest proves nothing. */
#include "gc/roots.h"

#include "child.h"
#include "gc/armed.h"
#include "gc/own_stack.h"
#include "gc/world.h"
#include "heap/judge.h"
#include "hidden.h"
#include "mutator/thread.h"
#include "shrink.h"
#include "stopped.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/syscall.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

enum {
    OWN_STACK = 256 << 10,
    THREAD_STACK = 256 << 10,
    DEEP = 128 << 10,       /* below any signal frame */
    FILE_PAGES = 4,
};

static struct lock cycle_lock = LOCK_INIT(CYCLE);
static struct marker *marker; /* in metadata: its words are no roots */
static struct roots_stats stats;
static const char *reason;
static char *own_stack_top;
static hidden dropped;

static void start(void)
{
    EXPECT(hidden_heap(256 * MIB, true));
    world_set_signal(0);
    own_stack_top = (char *)meta_alloc(OWN_STACK) + OWN_STACK;
    marker = meta_alloc(sizeof *marker);
    worklist_init(&marker->work, arena.mark_stack, arena.mark_stack_size);
    dropped = hidden_new(48);
}

static void scan(void *argument, uintptr_t low)
{
    (void)argument;
    struct roots_files files;
    struct roots_request request = {.pass = ROOTS_ALL,
                                    .files = &files,
                                    .self = {(int32_t)syscall0(__NR_gettid), low}};
    reason = roots_prepare();
    if (reason == NULL)
        reason = roots_open(&files);
    if (reason != NULL)
        return;
    reason = "the world did not stop";
    if (stop_world(WORLD_RUNNING, (uint64_t)5000000000u) == WORLD_STOPPED) {
        relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
        marker_start(marker, &files.pagemap);
        reason = roots_scan(marker, &request, &stats);
        mark_drain(marker);
        resume_world();
    }
    roots_close(&files);
}

static GC_NOINLINE void collect_now(void)
{
    lock_acquire(&cycle_lock);
    call_on_stack(scan, NULL, own_stack_top);
    lock_release(&cycle_lock);
}

static bool reached(hidden h)
{
    return hidden_byte(h) == relaxed_load(&hot.epoch);
}

/* A macro, so that no frame lies between the wiped part of the stack and the test's own. */
#define COLLECT() \
    do { \
        wipe_stack(); \
        collect_now(); \
        EXPECT(reason == NULL); \
        EXPECT(!reached(dropped)); \
    } while (0)

static void *map(size_t size, int protection, int flags, int fd)
{
    void *p = mmap(NULL, size, protection, flags, fd, 0);
    EXPECT(p != MAP_FAILED);
    return p;
}

/* ---- static and private memory ---- */

static char *in_data = (char *)0x1111;
static char *in_bss;
static __thread char *in_tls;
static __thread char *in_tls_data = (char *)0x2222;

static void statics(void)
{
    start();
    hidden h[7];
    for (size_t i = 0; i < GC_COUNT(h); i++)
        h[i] = hidden_new(64);
    hidden chained = hidden_new(64);
    char **from_libc = calloc(100, sizeof *from_libc);
    hidden_store(&in_data, h[0], 0);
    hidden_store(&in_bss, h[1], 63);
    hidden_store(&in_tls, h[2], 64); /* one past the end */
    hidden_store(&in_tls_data, h[3], 1);
    hidden_store(&from_libc[99], h[4], 0);
    hidden_link(h[4], 56, chained, 0);
    COLLECT();
    for (size_t i = 0; i < 5; i++)
        EXPECT(reached(h[i]));
    EXPECT(reached(chained) && !reached(h[5]) && !reached(h[6]));
    EXPECT(stats.stack_bytes > 0 && stats.other_bytes > 0);
    in_data = in_bss = in_tls = NULL;
    from_libc[99] = NULL;
    COLLECT();
    EXPECT(!reached(h[0]) && !reached(h[1]) && !reached(h[2]) && reached(h[3]));
    EXPECT(!reached(h[4]) && !reached(chained));
}

static void anonymous(void)
{
    start();
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    hidden readable = hidden_new(48), none = hidden_new(48), read_only = hidden_new(48);
    hidden sparse = hidden_new(48), given_back = hidden_new(48);
    char *a = map(PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1);
    char *b = map(3 * PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1);
    char *c = map(PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1);
    char *d = map(64 * GIB, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1);
    char *e = map(PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1);
    hidden_store(a + PAGE_SIZE - WORD_SIZE, readable, 0);
    hidden_store(b + PAGE_SIZE, none, 0);
    hidden_store(c, read_only, 0);
    hidden_store(d + 33 * GIB + 8, sparse, 0);
    hidden_store(e, given_back, 0);
    EXPECT(mprotect(b, 3 * PAGE_SIZE, PROT_NONE) == 0 && mprotect(c, PAGE_SIZE, PROT_READ) == 0);
    EXPECT(madvise(e, PAGE_SIZE, MADV_DONTNEED) == 0);
    COLLECT();
    EXPECT(reached(readable) && reached(none) && reached(read_only) && reached(sparse));
    EXPECT(!reached(given_back));
    EXPECT(stats.other_bytes < 64 * MIB);
}

/* ---- files ---- */

static int new_file(void)
{
    char path[] = "/tmp/gcm-roots-XXXXXX";
    int fd = mkstemp(path);
    EXPECT(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)FILE_PAGES * PAGE_SIZE) == 0);
    return fd;
}

static GC_NOINLINE void write_to_file(int fd, off_t at, hidden h)
{
    void *p = reveal(h);
    EXPECT(pwrite(fd, &p, sizeof p, at) == (ssize_t)sizeof p);
}

/* Of a private mapping only the pages that were copied on write can hold what the program wrote;
 * shared mappings of regular files are not scanned. */
static void files(void)
{
    start();
    int fd = new_file();
    hidden written = hidden_new(48), in_file = hidden_new(48), shared = hidden_new(48);
    char *p = map(FILE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    char *s = map(FILE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    hidden_store(p + 2 * PAGE_SIZE, written, 0);
    write_to_file(fd, PAGE_SIZE, in_file);
    hidden_store(s + 3 * PAGE_SIZE, shared, 0);
    EXPECT(*(volatile char *)(p + PAGE_SIZE) != 1); /* resident, but the file's */
    COLLECT();
    EXPECT(reached(written) && !reached(in_file) && !reached(shared));
    EXPECT(mprotect(p, FILE_PAGES * PAGE_SIZE, PROT_NONE) == 0);
    COLLECT();
    EXPECT(reached(written));
}

/* Pages behind the end of a file cannot be read: they are passed over, and the rest is found. */
static void truncated(void)
{
    start();
    const size_t size = FILE_PAGES * PAGE_SIZE;
    int fd = new_file(), memory = memfd_create("truncated", 0);
    EXPECT(ftruncate(memory, (off_t)size) == 0);
    hidden first = hidden_new(48), last = hidden_new(48), other = hidden_new(48);
    char *p = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    char *s = map(size, PROT_READ | PROT_WRITE, MAP_SHARED, memory);
    char *a = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    hidden_store(p, first, 0);
    hidden_store(p + 3 * PAGE_SIZE, last, 0);
    hidden_store(s + 3 * PAGE_SIZE, last, 0);
    hidden_store(a, other, 0);
    COLLECT();
    EXPECT(reached(first) && reached(last) && reached(other));
    EXPECT(ftruncate(fd, PAGE_SIZE) == 0 && ftruncate(memory, PAGE_SIZE) == 0);
    COLLECT();
    EXPECT(reached(first) && !reached(last) && reached(other));
    EXPECT(ftruncate(fd, 0) == 0 && ftruncate(memory, 0) == 0);
    COLLECT();
    EXPECT(!reached(first) && reached(other));
}

/* ---- shared memory ---- */

static void shared(void)
{
    start();
    const size_t size = 8 * PAGE_SIZE;
    int fd = memfd_create("roots", 0);
    EXPECT(ftruncate(fd, (off_t)size) == 0);
    hidden h[4];
    for (size_t i = 0; i < GC_COUNT(h); i++)
        h[i] = hidden_new(48);
    char *a = map(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    char *m = map(size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
    char *private = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
    hidden_store(a + PAGE_SIZE, h[0], 0);
    hidden_store(m + size - WORD_SIZE, h[1], 0);
    hidden_store(a + 5 * PAGE_SIZE, h[2], 0);
    hidden_store(private + 4 * PAGE_SIZE, h[3], 0);
    COLLECT();
    EXPECT(reached(h[0]) && reached(h[1]) && reached(h[2]) && reached(h[3]));
    /* Without an entry in the page table the data lives on, in the page cache. */
    EXPECT(madvise(a, size, MADV_DONTNEED) == 0 && madvise(m, size, MADV_DONTNEED) == 0);
    COLLECT();
    EXPECT(reached(h[0]) && reached(h[1]) && reached(h[2]));
    EXPECT(madvise(a, size, MADV_REMOVE) == 0);
    COLLECT();
    EXPECT(!reached(h[0]) && reached(h[1]) && !reached(h[2]));
}

/* ---- stacks and registers ---- */

struct actor {
    pthread_t thread;
    char *stack;
    bool registered;
    hidden on_stack, below, in_general, in_vector, alternate;
    _Atomic uint32_t ready, quit;
};

/* Writes the address far below the caller's frame, where it stays when this returns, and nowhere
 * else: a stopped thread's registers are roots. */
static GC_NOINLINE void leave_below(hidden h)
{
    char *dead[DEEP / WORD_SIZE];
    __asm__ volatile("" : : "r"(dead) : "memory"); /* all of it exists */
    dead[0] = dead[1] = reveal(h);
    __asm__ volatile("" : : "r"(dead) : "memory");
    __asm__ volatile("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\t"
                     "xor %%esi, %%esi\n\txor %%edi, %%edi\n\txor %%r8d, %%r8d\n\t"
                     "xor %%r9d, %%r9d\n\txor %%r10d, %%r10d\n\txor %%r11d, %%r11d\n\t"
                     "pxor %%xmm0, %%xmm0"
                     :
                     :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "cc");
}

/* Spins with the one address in r12 and the other in the upper half of xmm7. */
static GC_NOINLINE void spin_with_registers(struct actor *a)
{
    __asm__ volatile("mov %[vector], %%r12\n\t"
                     "not %%r12\n\t"
                     "movq %%r12, %%xmm7\n\t"
                     "pslldq $8, %%xmm7\n\t"
                     "mov %[general], %%r12\n\t"
                     "not %%r12\n\t"
                     "movl $1, (%[ready])\n"
                     "1:\tpause\n\t"
                     "cmpl $0, (%[quit])\n\t"
                     "je 1b\n\t"
                     "xor %%r12d, %%r12d\n\t"
                     "pxor %%xmm7, %%xmm7"
                     :
                     : [vector] "r"(a->in_vector), [general] "r"(a->in_general),
                       [ready] "r"(&a->ready), [quit] "r"(&a->quit)
                     : "r12", "xmm7", "memory", "cc");
}

static void *act(void *data)
{
    struct actor *a = data;
    char *volatile kept = NULL;
    stack_t none = {.ss_flags = SS_DISABLE};
    if (a->registered)
        EXPECT(thread_attach((uintptr_t)__builtin_frame_address(0)));
    leave_below(a->below);
    hidden_store((void *)(uintptr_t)&kept, a->on_stack, 0);
    if (a->alternate != 0) {
        stack_t alternate = {.ss_sp = reveal(a->alternate), .ss_size = 32768};
        EXPECT(sigaltstack(&alternate, NULL) == 0);
        explicit_bzero(&alternate, sizeof alternate);
    }
    spin_with_registers(a);
    kept = NULL;
    sigaltstack(&none, NULL);
    thread_detach();
    return NULL;
}

static void begin_actor(struct actor *a)
{
    pthread_attr_t attributes;
    char *memory = map(THREAD_STACK + 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    a->stack = memory + PAGE_SIZE;
    EXPECT(mprotect(a->stack, THREAD_STACK, PROT_READ | PROT_WRITE) == 0);
    pthread_attr_init(&attributes);
    EXPECT(pthread_attr_setstack(&attributes, a->stack, THREAD_STACK) == 0);
    EXPECT(pthread_create(&a->thread, &attributes, act, a) == 0);
    while (acquire_load(&a->ready) == 0)
        sched_yield();
}

static void end_actor(struct actor *a)
{
    release_store(&a->quit, 1);
    pthread_join(a->thread, NULL);
    memset(a->stack, 0, THREAD_STACK);
}

static struct actor actors[2];

static void threads_of_kind(bool registered)
{
    start();
    struct actor *a = &actors[0];
    *a = (struct actor){.registered = registered, .on_stack = hidden_new(48),
                        .below = hidden_new(48), .in_general = hidden_new(48),
                        .in_vector = hidden_new(48)};
    begin_actor(a);
    COLLECT();
    EXPECT(reached(a->on_stack) && reached(a->in_general) && reached(a->in_vector));
    EXPECT(reached(a->below) == !registered); /* .inv.stack: only who is known is narrowed */
    EXPECT(stats.stack_bytes < DEEP);
    end_actor(a);
    COLLECT();
    EXPECT(!reached(a->on_stack) && !reached(a->in_general) && !reached(a->in_vector));
}

static void registered_thread(void)
{
    threads_of_kind(true);
}

static void stranger(void)
{
    threads_of_kind(false);
}

/* Own frames count from the caller of the collector upward. */
static void own_stack(void)
{
    start();
    char *volatile kept = NULL;
    hidden above = hidden_new(48), below = hidden_new(48);
    hidden_store((void *)(uintptr_t)&kept, above, 0);
    leave_below(below);
    COLLECT();
    EXPECT(reached(above) && !reached(below));
    kept = NULL;
    COLLECT();
    EXPECT(!reached(above));
}

static GC_NOINLINE void set_alternate(hidden h)
{
    stack_t alternate = {.ss_sp = reveal(h), .ss_size = 32768};
    EXPECT(sigaltstack(&alternate, NULL) == 0);
}

/* Of an alternate signal stack in the heap only the kernel may hold the address. */
static void alternate_stacks(void)
{
    extern char __bss_start[], _end[];
    start();
    roots_exclude((uintptr_t)__bss_start, (uintptr_t)_end); /* the scanner's own table of stacks */
    hidden mine = hidden_new(32768), in_mine = hidden_new(48);
    hidden_link(mine, 30000, in_mine, 0);
    set_alternate(mine);
    COLLECT();
    EXPECT(reached(mine) && reached(in_mine));
    struct actor *a = &actors[0];
    *a = (struct actor){.registered = true, .on_stack = hidden_new(48), .below = hidden_new(48),
                        .in_general = hidden_new(48), .in_vector = hidden_new(48),
                        .alternate = hidden_new(32768)};
    begin_actor(a);
    COLLECT();
    EXPECT(reached(a->alternate) && reached(mine));
    /* Its signal frame lies on that stack: registers there, and its own stack above its pointer. */
    EXPECT(reached(a->on_stack) && reached(a->in_general) && reached(a->in_vector));
    end_actor(a);
    stack_t none = {.ss_flags = SS_DISABLE};
    EXPECT(sigaltstack(&none, NULL) == 0);
    COLLECT();
    EXPECT(!reached(mine));
    EXPECT(!reached(in_mine));
}

/* ---- a stack in the heap: a coroutine ---- */

enum { COROUTINE_STACK = 128 << 10 };

static GC_NOINLINE void on_coroutine(void *argument, uintptr_t low)
{
    char *volatile kept = NULL;
    (void)low;
    hidden_store((void *)(uintptr_t)&kept, *(hidden *)argument, 0);
    COLLECT();
    kept = NULL;
}

static GC_NOINLINE void switch_to(hidden stack, hidden *argument)
{
    call_on_stack(on_coroutine, argument, (char *)reveal(stack) + COROUTINE_STACK);
}

static void stack_in_heap(void)
{
    start();
    char *volatile kept = NULL;
    hidden stack = hidden_new(COROUTINE_STACK), on_it = hidden_new(48), on_main = hidden_new(48);
    hidden_store((void *)(uintptr_t)&kept, on_main, 0);
    switch_to(stack, &on_it);
    EXPECT(reached(stack) && reached(on_it) && reached(on_main));
    COLLECT();
    EXPECT(!reached(stack) && !reached(on_it) && reached(on_main));
    kept = NULL;
}

/* ---- what is left out ---- */

enum { WORDS = 2048 };
static char *area[WORDS] __attribute__((aligned(PAGE_SIZE)));

/* Pages of data cut at words, across pages, and in the middle of a word: such words are scanned. */
static void excluded(void)
{
    start();
    hidden h[WORDS / 16];
    for (size_t i = 0; i < GC_COUNT(h); i++) {
        h[i] = hidden_new(32);
        hidden_store(&area[i * 16], h[i], 0);
    }
    roots_exclude((uintptr_t)&area[16 * 3], (uintptr_t)&area[16 * 5]);
    roots_exclude((uintptr_t)&area[16 * 10] + 4, (uintptr_t)&area[16 * 12] + 4);
    roots_exclude((uintptr_t)&area[16 * 20], (uintptr_t)&area[16 * 20 + 1]);
    roots_exclude((uintptr_t)&area[16 * 30], (uintptr_t)&area[16 * 100]); /* over three pages */
    COLLECT();
    for (size_t i = 0; i < GC_COUNT(h); i++) {
        bool out = i == 3 || i == 4 || i == 11 || i == 20 || (i >= 30 && i < 100);
        if (!EXPECT(reached(h[i]) == !out))
            printf("    word %zu\n", i * 16);
    }
}

/* The reservation itself is never a root: tables and metadata refer to blocks all the time. */
static void metadata(void)
{
    start();
    hidden h = hidden_new(48);
    hidden_store(meta_alloc(64), h, 0);
    COLLECT();
    EXPECT(!reached(h));
}

/* Next to the reservation the kernel makes one mapping of the program's and ours. */
static void next_to_the_reservation(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE;
    start();
    hidden holder = hidden_new(48), held = hidden_new(48), below = hidden_new(48);
    hidden above = hidden_new(48);
    hidden_link(holder, 0, held, 0);
    char *low = (char *)arena.own[0].start - PAGE_SIZE;
    char *high = (char *)arena.own[ARENA_META].end;
    munmap(low, PAGE_SIZE);
    if (mmap(low, PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) == low)
        hidden_store(low + 8, below, 0);
    else
        below = 0;
    if (mmap(high, PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) == high)
        hidden_store(high + 8, above, 0);
    else
        above = 0;
    COLLECT();
    EXPECT(!reached(holder) && !reached(held));
    EXPECT(below != 0 && reached(below));
    EXPECT(above == 0 || reached(above));
    EXPECT(stats.other_bytes < 16 * MIB);
}

/* At both ends of each hole, where the kernel makes it one with a guard, there is a page of the
 * program's. */
static void in_the_holes(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE;
    start();
    EXPECT(shrink(64 * MIB));
    worklist_init(&marker->work, arena.mark_stack, arena.mark_stack_size);
    hidden held[2 * ARENA_PARTS];
    unsigned count = 0;
    for (unsigned i = 0; i + 1 < ARENA_PARTS; i++) {
        uintptr_t ends[] = {arena.own[i].end, arena.own[i + 1].start - PAGE_SIZE};
        for (unsigned j = 0; j < 2 && arena.own[i].end < arena.own[i + 1].start; j++) {
            char *page = mmap((void *)ends[j], PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0);
            EXPECT(page == (char *)ends[j]);
            held[count] = hidden_new(48);
            hidden_store(page + 8, held[count++], 0);
        }
    }
    COLLECT();
    EXPECT(count >= 4);
    for (unsigned i = 0; i < count; i++)
        EXPECT(reached(held[i]));
    EXPECT(stats.other_bytes < 16 * MIB);
}

/* A block that a thread is just being given is noted, if its start is in a root. */
static void newborn(void)
{
    start();
    hidden h = hidden_new(48);
    hidden_set_byte(h, SLOT_CACHED);
    hidden_store(&in_bss, h, 0);
    COLLECT();
    EXPECT(hidden_byte(h) == SLOT_CACHED);
    judge_end_newborn();
    EXPECT(judge_is_newborn(~h));
    EXPECT(!marker->note_newborn);
}

/* ---- passes beside the program ---- */

/* Nothing was written, says this one, unless it is in [told_start, told_end). */
static uintptr_t told_start, told_end;
static unsigned taken;

static bool quiet_arm(uintptr_t from, uintptr_t to)
{
    return from < to;
}

static void quiet_take(uintptr_t from, uintptr_t to, bool rearm, pagemap_visit_fn *visit,
                       void *data)
{
    (void)rearm;
    taken++;
    uintptr_t low = size_max(from, told_start), high = size_min(to, told_end);
    if (low < high)
        visit(low, high, data);
}

static const struct barrier quiet = {.name = "quiet", .arm = quiet_arm, .take = quiet_take};
static const struct barrier *barrier;
static struct roots_files pass_files;
static struct roots_stats first_pass, second_pass, last_pass;
static void (*meanwhile)(void);

static void pass(enum roots_pass which, uintptr_t low, struct roots_stats *out)
{
    struct roots_request request = {which, &pass_files, barrier,
                                    {(int32_t)syscall0(__NR_gettid), low}, NULL};
    reason = reason == NULL ? roots_scan(marker, &request, out) : reason;
    mark_drain(marker);
}

/* Two passes, what the program does meanwhile, and the last one. */
static void in_passes(void *argument, uintptr_t low)
{
    (void)argument;
    armed_clear();
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    marker_start(marker, &pass_files.pagemap);
    reason = NULL;
    pass(ROOTS_CONCURRENT, low, &first_pass);
    pass(ROOTS_CONCURRENT, low, &second_pass);
    if (meanwhile != NULL)
        meanwhile();
    wipe_stack();
    EXPECT(stop_world(WORLD_RUNNING, (uint64_t)5000000000u) == WORLD_STOPPED);
    pass(ROOTS_FINAL, low, &last_pass);
    resume_world();
}

static GC_NOINLINE void collect_in_passes(void)
{
    lock_acquire(&cycle_lock);
    call_on_stack(in_passes, NULL, own_stack_top);
    lock_release(&cycle_lock);
}

#define IN_PASSES() \
    do { \
        wipe_stack(); \
        collect_in_passes(); \
        EXPECT(reason == NULL); \
        EXPECT(!reached(dropped)); \
    } while (0)

static void start_passes(const struct barrier *b)
{
    start();
    barrier = b;
    EXPECT(roots_prepare() == NULL && roots_open(&pass_files) == NULL);
    EXPECT(b->open == NULL || b->open() == NULL);
}

enum { IN_DATA, OLD_MAP, NEW_MAP, REMAPPED, SMALL_SHARED, LARGE_SHARED, FILE_PAGE, PLACES };
enum { LARGE = 4 << 20, QUIET = 8 << 20 };

static hidden in_place[PLACES];
static char *data_word = (char *)0x1111;
static char *old_map, *remapped, *small_shared, *large_shared, *private_file;

static void make_places(void)
{
    const int private = MAP_PRIVATE | MAP_ANONYMOUS, shared_memory = MAP_SHARED | MAP_ANONYMOUS;
    for (size_t i = 0; i < PLACES; i++)
        in_place[i] = hidden_new(64);
    old_map = map(QUIET, PROT_READ | PROT_WRITE, private, -1);
    memset(old_map, 1, QUIET);
    remapped = map(16 * PAGE_SIZE, PROT_READ | PROT_WRITE, private, -1);
    small_shared = map(16 * PAGE_SIZE, PROT_READ | PROT_WRITE, shared_memory, -1);
    large_shared = map(LARGE, PROT_READ | PROT_WRITE, shared_memory, -1);
    private_file = map(FILE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, new_file());
    memset(remapped, 1, 16 * PAGE_SIZE);
    memset(large_shared, 1, LARGE);
}

static void fill_places(void)
{
    hidden_store(&data_word, in_place[IN_DATA], 0);
    hidden_store(old_map + QUIET / 2 + 8, in_place[OLD_MAP], 0);
    char *new_map = map(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    hidden_store(new_map + 8, in_place[NEW_MAP], 0);
    hidden_store(remapped + 8, in_place[REMAPPED], 0);
    remapped = mremap(remapped, 16 * PAGE_SIZE, 32 * PAGE_SIZE, MREMAP_MAYMOVE);
    EXPECT(remapped != MAP_FAILED);
    hidden_store(small_shared + 8, in_place[SMALL_SHARED], 0);
    hidden_store(large_shared + LARGE - 16, in_place[LARGE_SHARED], 0);
    hidden_store(private_file + PAGE_SIZE, in_place[FILE_PAGE], 0);
}

/* What is stored anywhere after the passes beside the program is found by the last. */
static void stored_meanwhile(void)
{
    start_passes(&barrier_uffd);
    make_places();
    IN_PASSES();
    for (size_t i = 0; i < PLACES; i++)
        EXPECT(!reached(in_place[i]));
    meanwhile = fill_places;
    IN_PASSES();
    for (size_t i = 0; i < PLACES; i++)
        if (!EXPECT(reached(in_place[i])))
            printf("    place %zu\n", i);
    /* And in the next cycle by the first, which arms anew. */
    meanwhile = NULL;
    IN_PASSES();
    for (size_t i = 0; i < PLACES; i++)
        EXPECT(reached(in_place[i]));
}

/* What was not written is not read again. */
static void read_once(void)
{
    start_passes(&barrier_uffd);
    make_places();
    IN_PASSES();
    EXPECT(first_pass.other_bytes >= QUIET + LARGE && first_pass.stack_bytes == 0);
    EXPECT(second_pass.other_bytes < QUIET / 2 && second_pass.written_pages < QUIET / 2 / PAGE_SIZE);
    EXPECT(last_pass.other_bytes < QUIET / 2 && last_pass.stack_bytes > 0);
    meanwhile = fill_places;
    IN_PASSES();
    EXPECT(last_pass.other_bytes < QUIET / 2 && last_pass.written_pages >= 3);
}

/* The barrier's word counts: what it does not report is not read, what it does is. */
static void as_reported(void)
{
    start_passes(&quiet);
    make_places();
    meanwhile = fill_places;
    IN_PASSES();
    EXPECT(taken > 5 && second_pass.written_pages == 0 && last_pass.written_pages == 0);
    EXPECT(!reached(in_place[OLD_MAP]) && !reached(in_place[LARGE_SHARED]));
    EXPECT(reached(in_place[NEW_MAP]));       /* it was not armed */
    EXPECT(reached(in_place[SMALL_SHARED]));  /* read whole each time: other processes write there */
    meanwhile = NULL;
    hidden_store(old_map + QUIET / 2 + 8, dropped, 0);
    dropped = hidden_new(48);
    IN_PASSES();
    EXPECT(reached(in_place[LARGE_SHARED])); /* armed anew by this cycle, and read */
    told_start = (uintptr_t)old_map + QUIET / 2;
    told_end = told_start + 2 * PAGE_SIZE;
    IN_PASSES();
    EXPECT(second_pass.written_pages == 2 && last_pass.written_pages == 2);
}

/* Stacks are the last pass's alone: those of stopped threads, registered or not. */
static void stacks_in_passes(void)
{
    start_passes(&barrier_uffd);
    for (unsigned registered = 0; registered < 2; registered++) {
        struct actor *a = &actors[registered];
        *a = (struct actor){.registered = registered, .on_stack = hidden_new(48),
                            .below = hidden_new(48), .in_general = hidden_new(48),
                            .in_vector = hidden_new(48)};
        begin_actor(a);
    }
    IN_PASSES();
    for (unsigned i = 0; i < 2; i++) {
        EXPECT(reached(actors[i].on_stack) && reached(actors[i].in_general));
        EXPECT(reached(actors[i].in_vector));
    }
    EXPECT(!reached(actors[1].below)); /* it was not read on the way, either */
    for (unsigned i = 0; i < 2; i++)
        end_actor(&actors[i]);
}

IN_CHILD(statics)
IN_CHILD(anonymous)
IN_CHILD(files)
IN_CHILD(truncated)
IN_CHILD(shared)
IN_CHILD(registered_thread)
IN_CHILD(stranger)
IN_CHILD(own_stack)
IN_CHILD(alternate_stacks)
IN_CHILD(stack_in_heap)
IN_CHILD(excluded)
IN_CHILD(metadata)
IN_CHILD(newborn)
IN_CHILD(next_to_the_reservation)
IN_CHILD(in_the_holes)
IN_CHILD(stored_meanwhile)
IN_CHILD(read_once)
IN_CHILD(as_reported)
IN_CHILD(stacks_in_passes)

UNIT_MAIN(TEST(test_statics), TEST(test_anonymous), TEST(test_files), TEST(test_truncated),
          TEST(test_shared), TEST(test_registered_thread), TEST(test_stranger),
          TEST(test_own_stack), TEST(test_alternate_stacks), TEST(test_stack_in_heap),
          TEST(test_excluded), TEST(test_metadata), TEST(test_newborn),
          TEST(test_next_to_the_reservation), TEST(test_in_the_holes),
          TEST(test_stored_meanwhile), TEST(test_read_once), TEST(test_as_reported),
          TEST(test_stacks_in_passes))
