/* stacks.c -- references on odd stacks, and in odd memory.   stacks KIND
 *
 * jump_*, context_*: coroutines on stacks that are heap blocks, mappings of their own, or were
 * entered as an alternate signal stack (as GNU Pth does it). Each sleeps, or runs and sleeps in
 * turns, with the only reference to a block in rbp. Of a sleeper that register is where the switch
 * saved it: in a ucontext_t, or in a jmp_buf, in which libc disguises it (PTR_MANGLE); its
 * _longjmp leaves rbp on the stack as well, and there it is found.
 *
 * deep: the main thread near the end of a stack of 256 KiB, a reference in each frame.
 *
 * remapped, twice*, sysv, none*, read_only_view, tagged*: memory that is unmapped and comes again,
 * has two addresses, or cannot be read for a time; and references with tags in their low bits, or
 * above them. */
#include "kept.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <ucontext.h>

enum { PAGE = 4096, COROUTINE_STACK = 512 << 10 };

/* ---- coroutines ---- */

/* Saves what runs in `from`, and goes on with what is saved in `to`. Not 0: an error. */
typedef int switch_fn(void *from, void *to);

/* _setjmp and _longjmp, without a use of rbp, and with nothing but `to` on the stack. */
switch_fn jump_switch;
__asm__(".text\n\t.globl jump_switch\n\t.type jump_switch, @function\njump_switch:\n\t"
        "push %rsi\n\t"
        "call _setjmp@PLT\n\t"
        "test %eax, %eax\n\t"
        "jnz 1f\n\t"
        "mov (%rsp), %rdi\n\t"
        "mov $1, %esi\n\t"
        "call _longjmp@PLT\n"
        "1:\tpop %rsi\n\t"
        "xor %eax, %eax\n\t"
        "ret\n\t"
        ".size jump_switch, . - jump_switch");

/* Switches with the slot's pointer in rbp, and nowhere else; puts back what rbp holds then. Below
 * its frame it clears what earlier calls may have left. */
int hold_in_rbp(void *volatile *slot, switch_fn *function, void *from, void *to);
__asm__(".text\n\t.globl hold_in_rbp\n\t.type hold_in_rbp, @function\n"
        "hold_in_rbp:\n\t"
        "push %rbp\n\t"
        "push %rdi\n\t"
        "push %rdi\n\t"
        "mov (%rdi), %rbp\n\t"
        "movq $0, (%rdi)\n\t"
        "mov %rsi, %r8\n\t"
        "mov %rcx, %rsi\n\t"
        "lea -4096(%rsp), %rdi\n\t"
        "mov $512, %ecx\n\t"
        "xor %eax, %eax\n\t"
        "rep stosq\n\t"
        "mov %rdx, %rdi\n\t"
        "xor %edx, %edx\n\t"
        "call *%r8\n\t"
        "pop %rdi\n\t"
        "pop %rdi\n\t"
        "mov %rbp, (%rdi)\n\t"
        "pop %rbp\n\t"
        "ret\n\t"
        ".size hold_in_rbp, . - hold_in_rbp");

/* The same by swapcontext. */
switch_fn context_switch;
__asm__(".text\n\t.globl context_switch\n\t.type context_switch, @function\n"
        "context_switch:\n\t"
        "jmp swapcontext@PLT\n\t"
        ".size context_switch, . - context_switch");

struct coroutine {
    void *stack;
    void *volatile slot;    /* its block, while it runs */
    jmp_buf jump;
    ucontext_t context;
    unsigned turns;
};

static struct coroutine coroutines[KEPT];
static jmp_buf main_jump;
static ucontext_t main_context;
static switch_fn *switching;

/* Until the coroutine is entered again. */
static void coroutine_sleep(struct coroutine *c)
{
    void *from = &c->jump, *to = &main_jump;
    if (switching == context_switch) {
        from = &c->context;
        to = &main_context;
    }
    CHECK(hold_in_rbp(&c->slot, switching, from, to) == 0);
}

/* Main's part: runs the coroutine until it sleeps. */
static void coroutine_resume(struct coroutine *c)
{
    if (switching == context_switch)
        CHECK(swapcontext(&main_context, &c->context) == 0);
    else
        CHECK(jump_switch(&main_jump, &c->jump) == 0);
}

static _Noreturn void coroutine_run(struct coroutine *c)
{
    for (;;) {
        kept_check_one(c->slot, (unsigned)(c - coroutines));
        pressure(2000, 0);
        stack_clear();
        c->turns++;
        coroutine_sleep(c);
    }
}

/* The first entry: for jumps it comes back with the jmp_buf set, and the frame is left as it is. */
static void coroutine_main(int index)
{
    struct coroutine *volatile c = &coroutines[index];
    if (switching != context_switch && _setjmp(c->jump) == 0)
        CHECK(swapcontext(&c->context, &main_context) == 0);
    coroutine_run(c);
}

static void start_by_context(struct coroutine *c)
{
    CHECK(getcontext(&c->context) == 0);
    c->context.uc_stack.ss_sp = c->stack;
    c->context.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&c->context, (void (*)(void))coroutine_main, 1, (int)(c - coroutines));
    if (switching != context_switch)
        CHECK(swapcontext(&main_context, &c->context) == 0);
}

static void *mapped(size_t size, int flags, int fd)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

static void *mapped_stack(void)
{
    return mapped(COROUTINE_STACK, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void *heap_stack(void)
{
    void *stack = malloc(COROUTINE_STACK);
    CHECK(stack != NULL);
    return stack;
}

static struct coroutine *volatile starting, *volatile resumed;

/* Where it is returned to, nothing is read from its frame: as in GNU Pth. */
static void on_start(int signal)
{
    struct coroutine *c = starting;
    CHECK(signal == SIGUSR1);
    if (switching != context_switch) {
        if (_setjmp(c->jump) == 0)
            return;
    } else {
        CHECK(getcontext(&c->context) == 0);
        if (resumed == NULL)
            return;
    }
    coroutine_run(resumed);
}

/* The handler returns, and is returned to. The kernel has forgotten the stack by then. */
static void start_by_signal(struct coroutine *c)
{
    struct sigaction action = { .sa_flags = SA_ONSTACK }, action_before;
    stack_t stack = { .ss_sp = c->stack, .ss_size = COROUTINE_STACK }, before;
    action.sa_handler = on_start;
    starting = c;
    CHECK(sigaltstack(&stack, &before) == 0);
    CHECK(sigaction(SIGUSR1, &action, &action_before) == 0);
    CHECK(raise(SIGUSR1) == 0);
    CHECK(sigaction(SIGUSR1, &action_before, NULL) == 0 && sigaltstack(&before, NULL) == 0);
}

static void coroutines_start(void *(*stack)(void), void (*start)(struct coroutine *))
{
    static void *place[KEPT];
    for (unsigned i = 0; i < KEPT; i++) {
        coroutines[i].stack = stack();
        start(&coroutines[i]);
    }
    kept_fill_and_forget(place);
    for (unsigned i = 0; i < KEPT; i++) {
        struct coroutine *c = &coroutines[i];
        c->slot = place[i];
        place[i] = NULL;
        resumed = c;
        coroutine_resume(c);
        CHECK(c->slot == NULL && c->turns > 0);
    }
}

static void coroutines_sleep(switch_fn *by, void *(*stack)(void), void (*start)(struct coroutine *))
{
    switching = by;
    coroutines_start(stack, start);
    stack_clear();
    load();
    for (unsigned i = 0; i < KEPT; i++)
        coroutine_resume(&coroutines[i]);
}

static void coroutines_work(switch_fn *by, void *(*stack)(void), void (*start)(struct coroutine *))
{
    switching = by;
    coroutines_start(stack, start);
    stack_clear();
    pthread_t thread = load_begin();
    for (unsigned i = 0; !atomic_load(&loaded); i = (i + 1) % KEPT)
        coroutine_resume(&coroutines[i]);
    load_end(thread);
    for (unsigned i = 0; i < KEPT; i++)
        coroutine_resume(&coroutines[i]);
}

static void kind_jump_heap(void)
{
    coroutines_sleep(jump_switch, heap_stack, start_by_context);
}

static void kind_jump_mapped(void)
{
    coroutines_sleep(jump_switch, mapped_stack, start_by_context);
}

static void kind_jump_signal(void)
{
    coroutines_sleep(jump_switch, heap_stack, start_by_signal);
}

static void kind_jump_running(void)
{
    coroutines_work(jump_switch, mapped_stack, start_by_context);
}

static void kind_context_heap(void)
{
    coroutines_sleep(context_switch, heap_stack, start_by_context);
}

static void kind_context_mapped(void)
{
    coroutines_sleep(context_switch, mapped_stack, start_by_context);
}

static void kind_context_signal(void)
{
    coroutines_sleep(context_switch, mapped_stack, start_by_signal);
}

static void kind_context_running(void)
{
    coroutines_work(context_switch, heap_stack, start_by_context);
}

/* ---- a jmp_buf alone ---- */

/* Calls _setjmp with the slot's pointer in rbp, and nowhere else. */
void save_in_rbp(void *volatile *slot, jmp_buf to);
__asm__(".text\n\t.globl save_in_rbp\n\t.type save_in_rbp, @function\n"
        "save_in_rbp:\n\t"
        "push %rbp\n\t"
        "mov (%rdi), %rbp\n\t"
        "movq $0, (%rdi)\n\t"
        "mov %rsi, %rdi\n\t"
        "call _setjmp@PLT\n\t"
        "pop %rbp\n\t"
        "ret\n\t"
        ".size save_in_rbp, . - save_in_rbp");

static jmp_buf kept_jumps[KEPT];

static NOINLINE void jumps_fill(void)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    for (unsigned i = 0; i < KEPT; i++)
        save_in_rbp(&place[i], kept_jumps[i]);
}

/* What libc has made of rbp, undone. */
static void *saved_rbp(const jmp_buf jump)
{
    uint64_t guard, word;
    __asm__ volatile("mov %%fs:0x30, %0" : "=r"(guard));
    memcpy(&word, (const char *)jump + sizeof word, sizeof word);
    return (void *)((word >> 17 | word << 47) ^ guard);
}

static void kind_in_jmp_buf(void)
{
    run_and_forget(jumps_fill);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(saved_rbp(kept_jumps[i]), i);
}

/* ---- the end of the main thread's stack ---- */

enum { SMALL_STACK = 256 << 10, LEFT = 24 << 10, FRAME = 512, FRAMES_MOST = SMALL_STACK / FRAME };

/* Of the strings of argv and the environment, with which the stack begins. */
static uintptr_t stack_top(void)
{
    char *const *last = environ;
    CHECK(*last != NULL);
    while (last[1] != NULL)
        last++;
    return ((uintptr_t)*last + strlen(*last) + PAGE) & ~(uintptr_t)(PAGE - 1);
}

static NOINLINE void descend(unsigned depth)
{
    volatile char frame[FRAME];
    void *volatile block = block_make(48, depth);
    frame[0] = (char)depth;
    if (stack_top() - (uintptr_t)frame > SMALL_STACK - LEFT) {
        CHECK(depth > 100);
        for (int round = 0; round < 3; round++) {
            pthread_t thread = load_begin();
            pressure(1 << 20, 0);
            load_end(thread);
        }
    } else {
        CHECK(depth < FRAMES_MOST);
        descend(depth + 1);
    }
    CHECK(frame[0] == (char)depth && pattern_holds(block, 48, depth));
    free(block);
}

static void kind_deep(void)
{
    static char self[PAGE];
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
    if (limit.rlim_cur == SMALL_STACK) {
        descend(0);
        return;
    }
    limit.rlim_cur = SMALL_STACK;
    CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    execl(self, self, "deep", (char *)NULL);
    CHECK(!"replaced");
}

/* ---- memory that goes and comes ---- */

enum { REGION = 1 << 20, ROUNDS = 3 };

static void **region;

static void *region_thread(void *unused)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    load();
    kept_check((void **)place);
    for (int i = 0; i < KEPT; i++)
        free(place[i]);
    return unused;
}

static void run_in_region(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, region, REGION) == 0);
    CHECK(pthread_create(&thread, &attributes, region_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0 && pthread_attr_destroy(&attributes) == 0);
}

static void region_map_again(void)
{
    CHECK(munmap(region, REGION) == 0);
    void *again = mmap(region, REGION, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(again == region);
}

/* By turns a thread's stack and memory with references, in its middle and at the end where the
 * thread's descriptor was. */
static void kind_remapped(void)
{
    region = mapped(REGION, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    for (int round = 0; round < ROUNDS; round++) {
        void **middle = region + REGION / 2 / sizeof *region;
        void **end = region + REGION / sizeof *region - KEPT;
        run_in_region();
        region_map_again();
        kept_fill_and_forget(middle);
        kept_fill_and_forget(end);
        load();
        kept_check(middle);
        kept_check(end);
        region_map_again();
    }
}

/* ---- memory with two addresses ---- */

enum { TWICE_SMALL = 64 << 10, TWICE_LARGE = 8 << 20, MOVERS = 64 };

static int memory_file(size_t size)
{
    int fd = memfd_create("twice", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* What one mapping was written with is read by the other, which was there all the time, and no page
 * of which was touched. */
static void twice(size_t size)
{
    int fd = memory_file(size);
    char *written = mapped(size, MAP_SHARED, fd), *read = mapped(size, MAP_SHARED, fd);
    size_t offsets[] = { 0, size / 2, size - KEPT * sizeof(void *) };
    CHECK(close(fd) == 0);
    for (int i = 0; i < 3; i++)
        kept_fill_and_forget((void **)(void *)(written + offsets[i]));
    CHECK(munmap(written, size) == 0);
    load();
    for (int i = 0; i < 3; i++)
        kept_check((void **)(void *)(read + offsets[i]));
}

static void kind_twice(void)
{
    twice(TWICE_SMALL);
}

static void kind_twice_large(void)
{
    twice(TWICE_LARGE);
}

static size_t mover_word(unsigned i)
{
    return i * (TWICE_LARGE / MOVERS / sizeof(void *)) + i;
}

static NOINLINE void *mover_make(unsigned i)
{
    return block_make(64 + 16 * i, i);
}

/* The blocks i and j change places; the memory is written at an address that it has for so long. */
static NOINLINE void mover_swap(int fd, void *volatile *read, unsigned i, unsigned j)
{
    void *volatile *written = mapped(TWICE_LARGE, MAP_SHARED, fd);
    void *block = read[mover_word(i)], *other = read[mover_word(j)];
    written[mover_word(i)] = NULL;
    written[mover_word(j)] = block;
    written[mover_word(i)] = other;
    CHECK(munmap((void *)written, TWICE_LARGE) == 0);
}

static void movers_check(void *volatile *words)
{
    unsigned seen[MOVERS] = { 0 };
    for (unsigned i = 0; i < MOVERS; i++) {
        unsigned k = 0;
        while (k < MOVERS && (seen[k] || !pattern_holds(words[mover_word(i)], 64 + 16 * k, k)))
            k++;
        CHECK(k < MOVERS);
        seen[k] = 1;
    }
}

static void **movers;

static void movers_fill(void)
{
    for (unsigned i = 0; i < MOVERS; i++)
        movers[mover_word(i)] = mover_make(i);
}

static void kind_twice_moving(void)
{
    uint32_t state = 5;
    int fd = memory_file(TWICE_LARGE);
    movers = mapped(TWICE_LARGE, MAP_SHARED, fd);
    run_and_forget(movers_fill);
    pthread_t thread = load_begin();
    while (!atomic_load(&loaded))
        mover_swap(fd, movers, random_next(&state) % MOVERS, random_next(&state) % MOVERS);
    load_end(thread);
    movers_check(movers);
}

/* The segment is marked for removal at once: it lives as long as it is attached. */
static void kind_sysv(void)
{
    int id = shmget(IPC_PRIVATE, TWICE_LARGE, IPC_CREAT | 0600);
    CHECK(id >= 0);
    void **first = shmat(id, NULL, 0), **second = shmat(id, NULL, 0);
    CHECK(shmctl(id, IPC_RMID, NULL) == 0);
    CHECK(first != (void *)-1 && second != (void *)-1);
    kept_fill_and_forget(first + 1000);
    kept_fill_and_forget(second + TWICE_LARGE / sizeof(void *) / 2);
    load();
    kept_check(second + 1000);
    CHECK(shmdt(first) == 0);
    load();
    kept_check(second + 1000);
    kept_check(second + TWICE_LARGE / sizeof(void *) / 2);
}

/* ---- memory that cannot be read or written for a time ---- */

static void kind_none(void)
{
    region = mapped(REGION, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    void **end = region + REGION / sizeof *region - KEPT;
    kept_fill_and_forget(region);
    kept_fill_and_forget(end);
    CHECK(mprotect(region, REGION, PROT_NONE) == 0);
    load();
    CHECK(mprotect(region, REGION, PROT_READ) == 0);
    kept_check(region);
    kept_check(end);
}

/* Shared memory that is PROT_NONE has no other address. */
static void kind_none_shared(void)
{
    int fd = memory_file(REGION);
    region = mapped(REGION, MAP_SHARED, fd);
    kept_fill_and_forget(region);
    CHECK(mprotect(region, REGION, PROT_NONE) == 0);
    load();
    CHECK(mprotect(region, REGION, PROT_READ) == 0 && close(fd) == 0);
    kept_check(region);
}

/* The references go to and fro between two parts, of which one at most can be reached. */
static void kind_none_moving(void)
{
    enum { PART = REGION / 2 };
    region = mapped(REGION, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    void **parts[2] = { region, region + PART / sizeof *region };
    unsigned from = 0;
    kept_fill_and_forget(parts[0]);
    CHECK(mprotect(region, REGION, PROT_NONE) == 0);
    pthread_t thread = load_begin();
    for (; !atomic_load(&loaded); from = 1 - from) {
        void *volatile *source = parts[from], *volatile *target = parts[1 - from];
        void *carried[KEPT];
        CHECK(mprotect((void *)source, PART, PROT_READ | PROT_WRITE) == 0);
        for (int i = 0; i < KEPT; i++) {
            carried[i] = source[i];
            source[i] = NULL;
        }
        CHECK(mprotect((void *)source, PART, PROT_NONE) == 0);
        CHECK(mprotect((void *)target, PART, PROT_READ | PROT_WRITE) == 0);
        for (int i = 0; i < KEPT; i++)
            target[i] = carried[i];
        memset(carried, 0, sizeof carried);
        (void)OPAQUE(&carried[0]);
        CHECK(mprotect((void *)target, PART, PROT_NONE) == 0);
    }
    load_end(thread);
    CHECK(mprotect(region, REGION, PROT_READ) == 0);
    kept_check(parts[from]);
}

static void kind_read_only_view(void)
{
    int fd = memory_file(REGION);
    void **written = mapped(REGION, MAP_SHARED, fd);
    void **view = mmap(NULL, REGION, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(view != MAP_FAILED && close(fd) == 0);
    kept_fill_and_forget(written + PAGE);
    CHECK(munmap(written, REGION) == 0);
    load();
    kept_check(view + PAGE);
}

/* ---- tags ---- */

static char *tagged[KEPT];

static NOINLINE void tags_add(void)
{
    kept_fill((void **)tagged);
    for (unsigned i = 0; i < KEPT; i++)
        tagged[i] += i + 1;
}

/* The library must be told of these: tag_bits=16. */
static void tags_add_above(void)
{
    kept_fill((void **)tagged);
    for (unsigned i = 0; i < KEPT; i++)
        tagged[i] = (char *)((uintptr_t)tagged[i] | (uintptr_t)(0xfff1 + i) << 48);
}

static void kind_tagged_above(void)
{
    run_and_forget(tags_add_above);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one((char *)((uintptr_t)tagged[i] << 16 >> 16), i);
}

static void kind_tagged(void)
{
    run_and_forget(tags_add);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(tagged[i] - (i + 1), i);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(jump_heap), KIND(jump_mapped), KIND(jump_signal), KIND(jump_running),
    KIND(context_heap), KIND(context_mapped),
    KIND(context_signal), KIND(context_running), KIND(deep), KIND(remapped), KIND(twice),
    KIND(twice_large), KIND(twice_moving), KIND(sysv), KIND(none), KIND(none_shared),
    KIND(none_moving), KIND(read_only_view), KIND(tagged), KIND(tagged_above), KIND(in_jmp_buf),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
