/* movers_hand.c -- blocks that no memory of the program's holds for a while: in a register, below
 * the stack pointer, in frames deep down, copied by the kernel, under way to another thread.
 *
 * The functions hold_*(from, to, turns) take the word at `from` into the register they are named
 * for, clear it, count `turns` down, store it at `to`: nothing else has the pointer meanwhile. */
#include "movers.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

typedef void hold_fn(word *from, word *to, uint64_t turns);

#define SPIN "1: dec %rdx\n\t jnz 1b\n\t"
#define ASM_FUNCTION(name, body) \
    __asm__(".text\n\t.globl " #name "\n\t.hidden " #name "\n\t.type " #name ", @function\n" \
            #name ":\n\t" body "ret\n\t.size " #name ", . - " #name)

#define HOLD_GENERAL(r) \
    hold_fn hold_##r; \
    ASM_FUNCTION(hold_##r, "push %" #r "\n\t xor %eax, %eax\n\t mov (%rdi), %" #r "\n\t" \
                 "movq $0, (%rdi)\n\t" SPIN "mov %" #r ", (%rsi)\n\t pop %" #r "\n\t")
#define HOLD_VECTOR(r, load, store) \
    hold_fn hold_##r; \
    ASM_FUNCTION(hold_##r, load "\n\t movq $0, (%rdi)\n\t" SPIN store "\n\t")

HOLD_GENERAL(rbx);
HOLD_GENERAL(rbp);
HOLD_GENERAL(rcx);
HOLD_GENERAL(r8);
HOLD_GENERAL(r11);
HOLD_GENERAL(r12);
HOLD_GENERAL(r15);
HOLD_VECTOR(xmm0, "movq (%rdi), %xmm0", "movq %xmm0, (%rsi)\n\t pxor %xmm0, %xmm0");
HOLD_VECTOR(xmm9, "movq (%rdi), %xmm9\n\t pslldq $8, %xmm9",
            "psrldq $8, %xmm9\n\t movq %xmm9, (%rsi)\n\t pxor %xmm9, %xmm9");
HOLD_VECTOR(mm7, "movq (%rdi), %mm7", "movq %mm7, (%rsi)\n\t pxor %mm7, %mm7\n\t emms");
/* The upper half of a register: not in the part of the frame that every processor has. */
HOLD_VECTOR(ymm5, "vmovq (%rdi), %xmm4\n\t vperm2f128 $0x08, %ymm4, %ymm4, %ymm5\n\t"
            "vpxor %xmm4, %xmm4, %xmm4",
            "vextractf128 $1, %ymm5, %xmm4\n\t vmovq %xmm4, (%rsi)\n\t vzeroall");
/* Below the stack pointer, at both ends of what is a leaf function's own. */
HOLD_VECTOR(red_low, "mov (%rdi), %rax\n\t mov %rax, -128(%rsp)\n\t xor %eax, %eax",
            "mov -128(%rsp), %rax\n\t mov %rax, (%rsi)\n\t movq $0, -128(%rsp)\n\t"
            "xor %eax, %eax");
HOLD_VECTOR(red_high, "mov (%rdi), %rax\n\t mov %rax, -8(%rsp)\n\t xor %eax, %eax",
            "mov -8(%rsp), %rax\n\t mov %rax, (%rsi)\n\t movq $0, -8(%rsp)\n\t xor %eax, %eax");

/* In rbx, while function(th, count) runs, which saves it where its compiler likes. */
void hold_over_call(word *from, word *to, void (*function)(struct thread *, unsigned),
                    struct thread *th, unsigned count);
ASM_FUNCTION(hold_over_call,
             "push %rbx\n\t push %r12\n\t sub $8, %rsp\n\t mov (%rdi), %rbx\n\t"
             "movq $0, (%rdi)\n\t mov %rsi, %r12\n\t mov %rdx, %rax\n\t mov %rcx, %rdi\n\t"
             "mov %r8, %rsi\n\t call *%rax\n\t mov %rbx, (%r12)\n\t add $8, %rsp\n\t"
             "pop %r12\n\t pop %rbx\n\t");

enum {
    SPIN_BITS = 15,     /* 32,768 turns: 10 us; a cycle beside us takes longer ... */
    LONG_BITS = 22,     /* ... so now and then 1 ms */
    LONG_IN = 256,
    FRAMES_MOST = 60,
    CELLS = 48,
    BODY = 64,          /* from there on a block's first page may be read over */
};

/* A filled slot that nobody uses, in memory; NULL when chance finds none. */
static struct slot *slot_filled(struct thread *th)
{
    for (int i = 0; i < 8; i++) {
        struct slot *s = slot_random(th);
        if (s->at && !s->busy && !slot_is_empty(s))
            return s;
    }
    return NULL;
}

static word *word_of(const struct slot *s)
{
    return (word *)~s->at;
}

/* The pointer has gone from `from` to `to` past the books. */
static void book_move(struct thread *th, struct slot *from, struct slot *to)
{
    if (from != to) {
        struct ref r = to->ref;
        to->ref = from->ref;
        from->ref = r;
    }
    th->counts.moves++;
    ref_check(&to->ref, slot_get(to), false);
    ref_check(&from->ref, slot_get(from), false);
}

void register_turn(struct thread *th)
{
    static hold_fn *const fns[] = {hold_rbx, hold_rbp, hold_rcx, hold_r8, hold_r11, hold_r12,
                                   hold_r15, hold_xmm0, hold_xmm9, hold_mm7, hold_red_low,
                                   hold_red_high, hold_ymm5};
    size_t count = sizeof fns / sizeof fns[0] - !__builtin_cpu_supports("avx");
    struct slot *from = slot_filled(th);
    struct slot *to = from ? slot_free_for(th, &from->ref) : NULL;
    if (!to || !to->at)
        return;
    size_t bits = rng_below(&th->rng, rng_chance(&th->rng, LONG_IN) ? LONG_BITS : SPIN_BITS);
    hold_fn *hold = fns[rng_below(&th->rng, count)];
    ref_check(&from->ref, slot_get(from), true);
    if (rng_chance(&th->rng, 4))
        hold_over_call(word_of(from), word_of(to), churn, th, 3);
    else
        hold(word_of(from), word_of(to), (uint64_t)1 << bits);
    book_move(th, from, to);
}

/* ---- frames deep down ------------------------------------------------------------------------ */

static __attribute__((noinline)) void deep(struct thread *th, unsigned frames)
{
    struct slot *s = slot_filled(th);
    word held[3] = {0}, *at = &held[frames % 3];
    if (s) {
        *at = slot_load(s);
        s->busy++;
        slot_set(s, NULL);
    }
    if (frames)
        deep(th, frames - 1);
    else
        play(th, 64);
    if (s) {
        ref_check(&s->ref, *at, true);
        slot_set(s, *at);
        s->busy--;
        th->counts.moves += 2;
    }
}

void stack_turn(struct thread *th)
{
    deep(th, (unsigned)rng_below(&th->rng, FRAMES_MOST));
}

/* ---- the kernel as the writer ---------------------------------------------------------------- */

/* Opened before there are threads: a page of words that are no addresses. */
static int body_file = -1;
static uint64_t body_words[PAGE / 8];

static void body_start(void)
{
    for (size_t i = 0; i < PAGE / 8; i++)
        body_words[i] = ~(uint64_t)i;
    body_file = memfd_create("movers", MFD_CLOEXEC);
    if (body_file < 0 || write(body_file, body_words, PAGE) != PAGE)
        fail("memfd_create: %s", strerror(errno));
}

/* read() into a block, of whose page the kernel alone knows that it is written. */
static void kernel_reads(struct thread *th)
{
    struct slot *s = slot_filled(th);
    if (!s || s->ref.level != LEAF || tag_size(s->ref.tag) < 2 * PAGE)
        return;
    char *p = (char *)slot_load(s) - s->ref.offset;
    size_t want = 8 * rng_between(&th->rng, 1, (PAGE - BODY) / 8);
    ssize_t got = pread(body_file, p + BODY, want, 0);
    if (got != (ssize_t)want)
        fail("pread into block %p gave %zd of %zu: %s", (void *)p, got, want, strerror(errno));
    if (memcmp(p + BODY, body_words, want) != 0)
        fail("pread has not written block %p", (void *)p);
    block_check(p, s->ref.tag, true);
}

void kernel_turn(struct thread *th)
{
    struct slot *from = slot_filled(th);
    struct slot *to = from ? slot_free_for(th, &from->ref) : NULL;
    kernel_reads(th);
    if (!to || !to->at || !slot_is_empty(to) || slot_is_empty(from))
        return;
    struct iovec here = {(void *)word_of(to), 8}, there = {(void *)word_of(from), 8};
    long tid = syscall(SYS_gettid);
    ssize_t got = process_vm_readv((pid_t)tid, &here, 1, &there, 1, 0);
    if (got < 0 && (errno == ENOSYS || errno == EPERM))
        return;
    if (got != 8)
        fail("process_vm_readv gave %zd: %s", got, strerror(errno));
    slot_set(from, NULL);
    book_move(th, from, to);
}

/* ---- other threads: a table of cells -------------------------------------------------------- */

struct cell {
    atomic_bool taken;
    struct slot slot;
};

static struct cell *cells;              /* books, outside the heap */
static word cell_words[CELLS / 3];
static word *volatile cell_block;       /* a block that holds a third of them */

void post_start(void)
{
    word *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cells = outside_map(CELLS * sizeof *cells);
    cell_block = calloc(CELLS / 3, sizeof *cell_block);
    if (shared == MAP_FAILED || !cell_block)
        fail("no memory for the cells");
    keep_from_child((void *)shared, PAGE);
    word *const parts[] = {cell_words, cell_block, shared};
    for (int i = 0; i < CELLS; i++)
        slot_place(&cells[i].slot, &parts[i % 3][i / 3], 0);
    body_start();
}

static void account(struct thread *th, const struct ref *r, int sign)
{
    if (!~r->value)
        return;
    th->live_bytes += (size_t)((long)tag_size(r->tag) * sign);
    th->live_leaves += (uint64_t)(int64_t)sign;
}

/* Leaves only: a holder's words are in its thread's books. */
void post_turn(struct thread *th)
{
    struct cell *c = &cells[rng_below(&th->rng, CELLS)];
    struct slot *s = slot_random(th);
    if (th->is_child || s->busy || s->ref.level != LEAF || atomic_exchange(&c->taken, true))
        return;
    account(th, &s->ref, -1);
    account(th, &c->slot.ref, 1);
    slot_swap(th, s, &c->slot);
    atomic_store(&c->taken, false);
}

/* ---- a stack without locks, and without free ------------------------------------------------- */

/* Nodes are dropped when popped: another thread may still hold one in a register, and with a
 * collector none comes back while it does. */
enum { SHARED_MOST = 1000 };

struct shared_node {
    uint64_t tag, hash;
    struct shared_node *volatile next;
    word held;
    struct ref ref;
};

static _Atomic(struct shared_node *) top;
static atomic_uint shared_count;        /* bounded, or what lives would grow with the time it runs */

static void shared_push(struct thread *th, struct slot *s)
{
    uint64_t tag;
    struct shared_node *n = block_new(th, sizeof *n, &tag);
    n->ref = s->ref;
    n->held = slot_load(s);
    struct ref before = s->ref;
    account(th, &before, -1);
    n->next = atomic_load(&top);
    for (struct shared_node *next = n->next; !atomic_compare_exchange_weak(&top, &next, n);)
        n->next = next;
    /* From here on it is others' too: only the slot is ours to clear. */
    slot_set(s, NULL);
    s->ref = (struct ref){.value = ~(uint64_t)0, .level = LEAF, .holder = -1};
    atomic_fetch_add(&shared_count, 1);
}

static void shared_pop(struct thread *th, struct slot *s)
{
    struct shared_node *n = atomic_load(&top);
    while (n) {
        stamp_check(&n->tag);
        struct shared_node *next = n->next;
        if (atomic_compare_exchange_weak(&top, &n, next))
            break;
    }
    if (!n)
        return;
    ref_check(&n->ref, n->held, true);
    slot_set(s, n->held);
    s->ref = n->ref;
    account(th, &s->ref, 1);
    block_leave(th, n, n->tag, false);
    atomic_fetch_sub(&shared_count, 1);
    th->counts.moves++;
}

void stack_of_all_turn(struct thread *th)
{
    struct slot *s = slot_random(th);
    if (s->busy || s->ref.level != LEAF || !th->settings->leak)
        return;
    if (slot_is_empty(s))
        shared_pop(th, s);
    else if (th->live_leaves > th->settings->live / 2 && atomic_load(&shared_count) < SHARED_MOST)
        shared_push(th, s);
}

/* ---- a guest: a thread that is given a block and returns it ---------------------------------- */

/* Its argument and its result stand in its struct pthread, where nothing of ours points. */
static void *guest_main(void *p)
{
    void *filler = malloc(100);
    __asm__ volatile("" : "+r"(p), "+r"(filler));
    free(filler);
    sched_yield();
    return p;
}

void guest_turn(struct thread *th)
{
    struct slot *s = slot_filled(th);
    pthread_t guest;
    void *p = NULL;
    if (!s || s->ref.level != LEAF)
        return;
    s->busy++;
    if (pthread_create(&guest, NULL, guest_main, slot_load(s)))
        fail("pthread_create failed");
    slot_set(s, NULL);
    play(th, 32);
    pthread_join(guest, &p);
    ref_check(&s->ref, p, true);
    slot_set(s, p);
    s->busy--;
    th->counts.threads++;
}

/* ---- words that move side by side ------------------------------------------------------------ */

/* One step around, by memmove: the pointers are in its vector registers. */
void rotate_turn(struct thread *th)
{
    static const unsigned firsts[] = {0, PER_PLACE, 2 * PER_PLACE, 4 * PER_PLACE,
                                      4 * PER_PLACE + STACK_WORDS};
    static const unsigned counts[] = {PER_PLACE, PER_PLACE, PER_PLACE, STACK_WORDS, BRK_WORDS};
    unsigned which = (unsigned)rng_below(&th->rng, 5), n = counts[which];
    struct slot *s = &th->slots[firsts[which]];
    for (unsigned k = 0; k < n; k++)
        if (s[k].busy)
            return;
    char *words = (char *)word_of(s);
    struct ref last = s[n - 1].ref;
    void *p = slot_load(&s[n - 1]);
    memmove(words + 8, words, 8 * (n - 1));
    *word_of(s) = p;
    for (unsigned k = n - 1; k; k--)
        s[k].ref = s[k - 1].ref;
    s[0].ref = last;
    for (unsigned k = 0; k < n; k++)
        ref_check(&s[k].ref, slot_get(&s[k]), false);
    th->counts.moves += n;
}
