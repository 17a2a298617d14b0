/* shadow.h -- what the model tests know about memory without asking the allocator.
 *
 * A map of the address space with one bit for each 8 bytes: set while a live block covers them. A
 * block is claimed after malloc has returned it and released before free is called, hence
 *
 *   .inv.inside   The set bits are at all times a subset of what the allocator considers allocated;
 *                 claiming a bit that is set proves that two live blocks overlap.
 *
 * It also holds in a child of fork, whatever the other threads were doing. The map holds bits, not
 * addresses: a conservative collector can find no pointer in it. Safe from any thread; takes no
 * lock; never allocates from the heap (regions are mmap'ed). Also here: the random numbers, the
 * pattern of a block's bytes, arguments, and the way a failure is told. */
#ifndef MODEL_SHADOW_H
#define MODEL_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the map --------------------------------------------------------------------------------- */

/* Marks [p, p + size) as live; false when some of it already was. Sizes round up to 8 bytes. */
bool shadow_claim(const void *p, size_t size);

/* Marks [p, p + size) as no longer live; false when some of it was not. */
bool shadow_release(const void *p, size_t size);

/* ---- patterns -------------------------------------------------------------------------------- */

/* What a block's bytes are made of: its address, size and number. Words that two patterns share
 * are a matter of chance (2^-64 each); no word is a plausible user-space address (.inv.opaque: bit
 * 63 is set and bit 62 clear, which no canonical address has). */
uint64_t pattern_key(const void *p, size_t size, uint64_t serial);

/* Fills [p, p + size), of which the first byte is at offset `from` of the pattern. */
void pattern_fill(void *p, size_t from, size_t size, uint64_t key);

/* The offset of the first byte of [p, p + size) that is not the pattern's; `size` when all are. */
size_t pattern_check(const void *p, size_t from, size_t size, uint64_t key);

/* ---- random numbers: SplitMix64 -------------------------------------------------------------- */

uint64_t rng_mix(uint64_t a, uint64_t b);
uint64_t rng_next(uint64_t *state);
size_t rng_below(uint64_t *state, size_t bound); /* bound: at most 2^32 */
size_t rng_between(uint64_t *state, size_t least, size_t most);
bool rng_chance(uint64_t *state, unsigned one_in);

/* ---- the run --------------------------------------------------------------------------------- */

struct options {
    uint64_t seed;    /* --seed=N; the clock when not given */
    uint64_t ops;     /* --ops=N: operations of each thread and round */
    uint64_t seconds; /* --seconds=N: rounds start until then; 0 = `rounds` decides */
    unsigned rounds;  /* --rounds=N */
    unsigned threads; /* --threads=N */
    unsigned forks;   /* --forks=N: of each thread and round */
    bool lenient;     /* --lenient=1: let pass what known allocators get wrong; see model.c */
};

/* Fills in `o` (defaults stand there already) from the arguments; exits with 2 on nonsense. Prints
 * the seed and what else it takes to run the same again. */
void options_parse(struct options *o, int argc, char **argv);

/* Is round number `round` to be run? */
bool options_more(const struct options *o, unsigned round);

/* For programs with arguments of their own: what fail() says in place of what was parsed. */
void run_name_set(const char *name, uint64_t seed);

/* Zeroed memory outside the heap. */
void *outside_map(size_t size);

/* Where a failure is told to have happened; set by each thread, read by fail(). */
struct where {
    unsigned thread, round;
    uint64_t op;
};
extern _Thread_local struct where where;

/* Says in one line what is wrong, where, and the seed, and aborts. Never allocates. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
