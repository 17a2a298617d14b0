/* met.h -- numbers for things as they are met: the first one is 1, the next new one 2. */
#ifndef GC_CLI_MET_H
#define GC_CLI_MET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeros make an empty one. */
struct met {
    struct met_entry {
        uint64_t hash, number; /* number 0: free */
    } *entries;
    size_t count, room;
};

/* The number of what has this hash, which is taken for the thing itself: of a million things two
 * have the same one with a probability of 1 in 30 million. *is_new says whether it is met for the
 * first time. */
uint64_t met_number(struct met *met, uint64_t hash, bool *is_new);
void met_free(struct met *met);
/* A hash of what has been hashed and one value more, or a text more. Begin with 1. */
uint64_t met_hash(uint64_t hash, uint64_t value);
uint64_t met_hash_text(uint64_t hash, const char *text);

#endif
