/* movers.h -- what the parts of the mover test share; movers.c says what it is for.
 *
 * A *slot* is a word of memory somewhere (a root, a word of a holder block, of a mapping, of a
 * stack) that may hold the only pointer to a block. The books say of each slot where it is and what
 * must stand there. They lie in mappings of their own, with every address complemented, so that no
 * conservative scan takes them for pointers:
 *
 *   .inv.only      A block's pointer stands in one slot, or is in one thread's hands: in a register
 *                  or on the stack between two stores. (Stale copies on stacks make the test weaker
 *                  now and then, never wrong.)
 *   .inv.book      What stands in a slot is what the books say. A page that came back from a stale
 *                  copy, or a holder that was reclaimed and given to somebody else, breaks this.
 *   .inv.stamp     A block begins with its tag and the tag's hash, and holds words made of the tag
 *                  over its whole length. Tags are serial numbers: no two blocks have the same one.
 *   .inv.apart     A new block overlaps no live one (shadow.h).
 *   .inv.depth     Holders of level n stand in slots of holders of a level below n, or in roots
 *                  (depth 0): nothing is held by itself.
 *   .inv.gone      A dropped block leaves the shadow map while it is still reachable; from the
 *                  moment that its last pointer is gone it may belong to somebody else. */
#ifndef MODEL_MOVERS_H
#define MODEL_MOVERS_H

#include "shadow.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    THREADS_MOST = 16,
    PER_PLACE = 8,          /* words of each kind of root: .data, .bss, thread-local, key */
    STACK_WORDS = 16,       /* in the frame of a thread's first function */
    BRK_WORDS = 16,
    REGIONS = 4,            /* mappings of a thread that come, go, move and are protected */
    REGION_SLOTS = 32,
    COROUTINES = 3,
    COROUTINE_SLOTS = 8,
    HOLDER_SLOTS = 32,
    HOLDER_LEVELS = 3,
    LEAF = 100,             /* level of a block that holds nothing */
    PAGE = 4096,
};

typedef void *volatile word;

/* What a slot holds. */
struct ref {
    uint64_t value;  /* ~pointer; ~0 when empty */
    uint64_t tag;    /* of the block: 1 << 63 | serial << 22 | size */
    uint32_t offset; /* of the pointer in the block, up to one past its end */
    uint8_t level;   /* LEAF, or a holder's */
    int16_t holder;  /* its number */
};

struct slot {
    uintptr_t at;    /* ~address; 0: pthread key number `key` */
    struct ref ref;
    uint8_t depth;   /* 0 in a root; n in a holder of level n */
    uint8_t key;
    uint8_t busy;    /* how many use it up the stack, or protect it; or it does not exist now */
};

struct holder {
    unsigned first;  /* its slots: HOLDER_SLOTS from there on */
    uint8_t level;
    bool exists;
    uint32_t words_at[HOLDER_SLOTS]; /* byte offsets */
};

/* One of REGIONS, in struct thread. */
struct region {
    uintptr_t hidden; /* ~address, or 0 */
    size_t size;
    unsigned first;
    bool shared, is_protected;
};

struct coroutine;

struct counts {
    uint64_t moves, births, freed, leaked, leaked_bytes, forks, threads;
};

struct settings {
    uint64_t seed, seconds, live, rate, leak, bursts;
    unsigned threads, forks;
    bool kernel, leakcheck;
};

/* Lies in a mapping; what it points to is never in the heap, but for `coroutines`. */
struct thread {
    pthread_t id;
    unsigned number, life;
    uint64_t serial;
    uint64_t rng;
    const struct settings *settings;
    bool is_child;           /* of fork: nobody else is there */
    unsigned nesting;        /* of games within games */
    struct slot *slots;
    unsigned slot_count, holder_count;
    struct holder *holders;
    struct region regions[REGIONS];
    struct coroutine *volatile coroutines[COROUTINES];
    unsigned coroutine_first;
    void *alternate;         /* hidden: the stack of signals, which the kernel alone knows */
    size_t alternate_size;
    bool alternate_is_block;
    struct linked *linked;   /* trees and rings, in a mapping */
    char *brk;
    size_t live_bytes;
    uint64_t live_leaves;    /* in slots */
    struct counts counts;
};

extern bool child_of_fork;

/* ---- movers_slot.c ---- */

/* Makes a leaf or holder, or drops, shrinks, grows what stands there: 1 of `rate` turns. */
void slot_live(struct thread *th, struct slot *s);
/* Exchanges what two slots hold, if .inv.depth allows: the move that everything is about. */
void slot_swap(struct thread *th, struct slot *a, struct slot *b);
bool slot_fits(const struct ref *r, const struct slot *s);
struct slot *slot_random(struct thread *th);
/* An empty one that may take `r`, or NULL. */
struct slot *slot_free_for(struct thread *th, const struct ref *r);
bool slot_is_empty(const struct slot *s);
void slot_place(struct slot *s, word *at, uint8_t depth);
void *slot_get(const struct slot *s);
void slot_set(const struct slot *s, void *p);
/* Reads the pointer and checks it, and the block's stamp: NULL when empty. */
void *slot_load(const struct slot *s);
/* The pointer in `r` must be `p`; checks the block's stamp; 1 of 64 times all of it. */
void ref_check(const struct ref *r, const void *p, bool whole);
void slot_drop(struct thread *th, struct slot *s, bool by_hand);
void slots_check(struct thread *th);
void slots_drop(struct thread *th);
void holders_make(struct thread *th);

/* A stamped and claimed block that no slot knows; `*tag` is its tag. */
void *block_new(struct thread *th, size_t size, uint64_t *tag);
void block_check(const void *p, uint64_t tag, bool whole);
/* Before the last pointer is cleared (.inv.gone). */
void block_leave(struct thread *th, void *p, uint64_t tag, bool by_hand);
size_t tag_size(uint64_t tag);
/* A stamp is in order, but which block it is the caller does not know. */
void stamp_check(const uint64_t *p);
size_t random_size(struct thread *th);

/* ---- movers_place.c: mappings, coroutines' and signals' stacks ---- */

void keep_from_child(void *start, size_t size);
void *region_copy(struct thread *th, struct region *r);
void region_take_copy(struct region *r, void *copy);
void regions_make(struct thread *th);
void region_turn(struct thread *th);
void regions_drop(struct thread *th);
void coroutines_make(struct thread *th);
void coroutine_turn(struct thread *th);
void coroutines_drop(struct thread *th);
void alternate_turn(struct thread *th);
void alternate_drop(struct thread *th);
void alternate_start(void);

/* ---- movers_hand.c: in registers, on the stack, in the kernel's and other threads' hands ---- */

void register_turn(struct thread *th);
void stack_turn(struct thread *th);
void kernel_turn(struct thread *th);
void post_turn(struct thread *th);
void stack_of_all_turn(struct thread *th);
void guest_turn(struct thread *th);
void rotate_turn(struct thread *th);
void post_start(void);

/* ---- movers_linked.c: trees and rings ---- */

void linked_make(struct thread *th);
void linked_turn(struct thread *th);
void linked_check(struct thread *th);
void linked_drop(struct thread *th);

/* ---- movers.c ---- */

/* A few hundred moves among the slots, and of everything else a little. */
void play(struct thread *th, unsigned moves);
/* Blocks that come and go: they take over what was reclaimed wrongly. */
void churn(struct thread *th, unsigned count);

#endif
