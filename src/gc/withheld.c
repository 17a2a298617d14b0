/* withheld.c -- a trap in the place of each block that was judged.
 *
 * Theory: mode=shakedown gives every block pages of its own. A judged one keeps its contents, and
 * loses its access rights. If no pointer to it is left, nobody notices; else the fault says who
 * has one. The judge makes its slot byte SLOT_KEPT after that: it is never reclaimed.
 *
 *   .inv.entry     An entry's `state` goes FREE -> FILLING -> WITHHELD -> LIFTING -> FREE or
 *                  TOUCHED, each by a compare-and-swap; who makes it LIFTING gives the access
 *                  rights back. A TOUCHED one stays as long as there is room, so that a fault which
 *                  happened just before is known for what it was.
 *   .inv.wrong     A touch proves something only if the block is still judged. One that a later
 *                  mark has reached is given back when that mark has ended, by the collector; so
 *                  is, by who frees it, one that is freed. After a touch it counts as reached.
 *   .inv.oldest    There are ENTRIES at most; for one more the oldest is given back.
 *
 * SIGSEGV is ours; what the program sets for it is kept by the wrappers. If a fault comes that is
 * not ours, or that comes again though its block was given back, the program's own action is put in
 * place, all is given back, and the fault repeats itself: such a program is not watched any longer.
 * A system call does not fault, but fails with EFAULT: the wrappers of blocking calls tell of their
 * arguments before (withheld_argument); other calls fail, and libc's own, behind its streams.
 *
 * The handler runs where the fault was: on the program's alternate stack there may be no room. */
#include "gc/withheld.h"

#include "base/atomic.h"
#include "gc/protected.h"
#include "gc/world.h"
#include "heap/judge.h"
#include "mutator/park.h"
#include "sys/print.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <sys/mman.h>
#include <ucontext.h>

/* Each splits the heap's mapping; the kernel allows 65,530 of them. */
enum { ENTRIES = 16384 };

enum entry_state { ENTRY_FREE, ENTRY_FILLING, ENTRY_WITHHELD, ENTRY_LIFTING, ENTRY_TOUCHED };

struct entry {
    _Atomic uint32_t state;
    struct block block;
};

static struct {
    _Atomic bool on;
    _Atomic uint32_t next;
    _Atomic uint64_t blocks, touched_blocks;
    withheld_touched_fn *touched;
    struct signal_action program; /* what SIGSEGV would do without us */
    struct entry entries[ENTRIES];
} withheld GC_LARGE;

static bool turn(struct entry *e, enum entry_state from, enum entry_state to)
{
    uint32_t expected = from;
    return atomic_compare_exchange_strong(&e->state, &expected, to);
}

/* The marker must not read what is about to become inaccessible (protected.h). */
static bool set_rights(const struct block *b, int rights)
{
    protected_change_begin();
    long result = syscall3(__NR_mprotect, (long)b->start, (long)align_up(b->size, PAGE_SIZE),
                           rights);
    protected_change_end();
    return result == 0;
}

static bool has_own_pages(const struct block *b)
{
    return b->start % PAGE_SIZE == 0 && !protected_overlaps(b->start, b->size) &&
           (b->size % PAGE_SIZE == 0 || slab_kind(b->head) == SLAB_LARGE);
}

/* .inv.entry: the caller has made it LIFTING. */
static void lift(struct entry *e, enum entry_state after)
{
    set_rights(&e->block, PROT_READ | PROT_WRITE);
    release_store(&e->state, after);
}

/* .inv.oldest */
static struct entry *take_entry(void)
{
    struct entry *e = &withheld.entries[relaxed_add(&withheld.next, 1) % ENTRIES];
    if (turn(e, ENTRY_WITHHELD, ENTRY_LIFTING))
        lift(e, ENTRY_FREE);
    return turn(e, ENTRY_FREE, ENTRY_FILLING) || turn(e, ENTRY_TOUCHED, ENTRY_FILLING) ? e : NULL;
}

/* .inv.wrong */
static bool is_judged(const struct block *b)
{
    return standing_is_unreached(standing_of(b));
}

void withheld_add(const struct block *block)
{
    if (!withheld_on() || !has_own_pages(block))
        return;
    struct entry *e = take_entry();
    if (e == NULL) /* somebody is busy with it */
        return;
    e->block = *block;
    bool done = set_rights(block, PROT_NONE);
    release_store(&e->state, done ? ENTRY_WITHHELD : ENTRY_FREE);
    relaxed_add(&withheld.blocks, done);
    if (done && !is_judged(block) && turn(e, ENTRY_WITHHELD, ENTRY_LIFTING))
        lift(e, ENTRY_TOUCHED); /* freed, or touched, while that was done */
}

/* Of several, one that is withheld now, or being given back: others are of earlier times. */
static struct entry *find(uintptr_t address)
{
    struct entry *found = NULL;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &withheld.entries[i];
        uint32_t state = acquire_load(&e->state);
        if (state == ENTRY_FREE ||
            address - e->block.start >= align_up(e->block.size, PAGE_SIZE))
            continue;
        found = e;
        if (state == ENTRY_WITHHELD || state == ENTRY_LIFTING)
            break;
    }
    return found;
}

/* True: it was withheld, or is being given back. */
static bool give_back(struct withheld_access access)
{
    struct entry *e = find(access.address);
    if (e == NULL)
        return false;
    if (!turn(e, ENTRY_WITHHELD, ENTRY_LIFTING))
        return true;
    struct block block = e->block;
    struct standing standing = standing_of(&block);
    lift(e, ENTRY_TOUCHED);
    if (standing_is_unreached(standing)) {
        standing_renew(&block, standing);
        relaxed_add(&withheld.touched_blocks, 1);
        withheld.touched(&block, &access);
    }
    return true;
}

void withheld_free(const struct block *block)
{
    if (withheld_on())
        give_back((struct withheld_access){TOUCH_FREE, block->start, 0});
}

void withheld_argument(uintptr_t address)
{
    if (withheld_on() && arena_contains(address))
        give_back((struct withheld_access){TOUCH_CALL, address, 0});
}

/* Those that the mark has reached (.inv.wrong). World stopped or not: before anybody may free them
 * as blocks like others, which takes a fast path. */
void withheld_mark_ended(void)
{
    if (!withheld_on())
        return;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &withheld.entries[i];
        if (acquire_load(&e->state) == ENTRY_WITHHELD && !is_judged(&e->block) &&
            turn(e, ENTRY_WITHHELD, ENTRY_LIFTING))
            lift(e, ENTRY_TOUCHED);
    }
}

/* Whoever was busy with an entry is not in the child. */
void withheld_after_fork(void)
{
    if (!withheld_on())
        return;
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &withheld.entries[i];
        uint32_t state = relaxed_load(&e->state);
        if (state == ENTRY_FILLING || state == ENTRY_LIFTING)
            lift(e, ENTRY_TOUCHED);
    }
}

void withheld_end(void)
{
    if (!atomic_exchange(&withheld.on, false))
        return;
    for (uint32_t i = 0; i < ENTRIES; i++)
        if (turn(&withheld.entries[i], ENTRY_WITHHELD, ENTRY_LIFTING))
            lift(&withheld.entries[i], ENTRY_TOUCHED);
}

/* A signal that somebody has sent does not come again by itself. */
static void pass_on(int signal, siginfo_t *info)
{
    if (withheld_on())
        print_error("the program has a fault of its own: from here on mode=shakedown does not see "
                    "who uses blocks that were judged");
    withheld_end();
    signal_put(signal, withheld.program);
    if (info->si_code <= 0)
        syscall4(__NR_rt_tgsigqueueinfo, syscall0(__NR_getpid), syscall0(__NR_gettid), signal,
                 (long)info);
}

/* The thread's last fault. One that comes again and again is not mended by giving back: the
 * instruction executes what it may not, or the program has changed the mapping. While another
 * thread gives the block back, it does come again. */
static __thread struct last_fault {
    uintptr_t pc, address;
    unsigned times;
} last;

enum { AGAIN = 100000 };

static void on_fault(int signal, siginfo_t *info, void *context)
{
    enum { WRITES = 2 }; /* of the page fault's error code */
    const ucontext_t *uc = context;
    bool writes = (uc->uc_mcontext.gregs[REG_ERR] & WRITES) != 0;
    struct withheld_access access = {writes ? TOUCH_WRITE : TOUCH_READ, (uintptr_t)info->si_addr,
                                     (uintptr_t)uc->uc_mcontext.gregs[REG_RIP]};
    bool again = access.pc == last.pc && access.address == last.address && ++last.times > AGAIN;
    if (access.pc != last.pc || access.address != last.address)
        last = (struct last_fault){access.pc, access.address, 0};
    if (info->si_code <= 0 || again || !give_back(access))
        pass_on(signal, info);
}

void withheld_start(withheld_touched_fn *touched)
{
    withheld.touched = touched;
    signal_action(SIGSEGV, NULL, &withheld.program);
    relaxed_store(&park_interrupts, 1); /* calls tell of their arguments */
    struct signal_action ours = {.handler = on_fault,
                                 .flags = SA_SIGINFO | SA_RESTART,
                                 .mask = SIGNAL_ALL & ~world_signals()};
    atomic_store(&withheld.on, signal_put(SIGSEGV, ours) == 0);
    signal_unblock(SIGNAL_BIT(SIGSEGV)); /* as some parents leave it */
}

void withheld_swap_action(const struct signal_action *set, struct signal_action *old)
{
    struct signal_action before = withheld.program;
    if (set != NULL)
        withheld.program = *set;
    if (old != NULL)
        *old = before;
}

bool withheld_on(void)
{
    return relaxed_load(&withheld.on);
}

struct withheld_counts withheld_counts(void)
{
    return (struct withheld_counts){relaxed_load(&withheld.blocks),
                                    relaxed_load(&withheld.touched_blocks)};
}
