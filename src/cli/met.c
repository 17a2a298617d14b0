/* met.c -- numbers for things as they are met: a table of open addressing, at most half full. */
#include "cli/met.h"

#include "cli/list.h"

#include <stdlib.h>

enum { FIRST_ROOM = 1024 }; /* a power of two */

/* The last steps of splitmix64: every bit of the value changes every bit of the hash. */
uint64_t met_hash(uint64_t hash, uint64_t value)
{
    hash = (hash + 0x9e3779b97f4a7c15u) ^ value;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    return hash ^ (hash >> 31);
}

uint64_t met_hash_text(uint64_t hash, const char *text)
{
    for (; *text != 0; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return met_hash(hash, 0);
}

static struct met_entry *place_of(const struct met *met, uint64_t hash)
{
    size_t at = hash & (met->room - 1);
    while (met->entries[at].number != 0 && met->entries[at].hash != hash)
        at = (at + 1) & (met->room - 1);
    return &met->entries[at];
}

static void grow(struct met *met)
{
    struct met larger = {.room = met->room ? 2 * met->room : FIRST_ROOM, .count = met->count};
    larger.entries = list_alloc(larger.room, sizeof(*larger.entries));
    for (size_t i = 0; i < met->room; i++)
        if (met->entries[i].number != 0)
            *place_of(&larger, met->entries[i].hash) = met->entries[i];
    free(met->entries);
    *met = larger;
}

uint64_t met_number(struct met *met, uint64_t hash, bool *is_new)
{
    if (2 * met->count >= met->room)
        grow(met);
    struct met_entry *entry = place_of(met, hash);
    *is_new = entry->number == 0;
    if (*is_new)
        *entry = (struct met_entry){hash, ++met->count};
    return entry->number;
}

void met_free(struct met *met)
{
    free(met->entries);
    *met = (struct met){0};
}
