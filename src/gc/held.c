/* held.c -- what is in message queues, and in signals that are pending.
 *
 * Theory: the kernel shows neither to anybody but the receiver. So the wrappers of the functions
 * that send look for addresses of the heap in what they send, and note them here, and those that
 * receive strike them out. What was noted is a root.
 *
 *   .inv.noted    The address in a message is noted before the call that sends it, and struck out
 *                 after the call that received it, or when it could not be sent: before and after
 *                 that it lies in memory. If it were noted later, who receives might come first,
 *                 and it would stay for ever.
 *   .inv.once     Each time it is sent it takes a slot of its own: two messages with the same
 *                 address are struck out one by one.
 *   .inv.signal   Of a signal nobody strikes out what it brought: a handler, signalfd and others
 *                 take it. So it is noted once, after the call that sent it, and it stays until the
 *                 signal was seen not pending, twice, since it was noted last.
 *   .inv.slot     A slot's word stands in the low 48 bits of `entry`, and above it how often the
 *                 slot was used. It is claimed by a compare-and-swap from 0 to CLAIMED, filled, and
 *                 then the word is stored. It is struck out by a compare-and-swap of the whole
 *                 entry, whose place was compared before: so it is still that one.
 *
 * Who receives may be another process, and a queue may be removed with what is in it: then the
 * reference stays. If a window of slots is full, references are lost: from then on nothing is
 * reclaimed. */
#include "gc/held.h"

#include "base/atomic.h"
#include "base/rng.h"
#include "gc/scan.h"
#include "heap/meta.h"
#include "sys/directory.h"
#include "sys/task.h"

#include <string.h>

enum {
    SLOTS = 4096,               /* a power of two */
    WINDOW = 64,                /* slots that an address may be in */
    CLAIMED = 1,
    WORD_BITS = 48,
};

struct slot {
    _Atomic uint64_t entry;     /* .inv.slot */
    _Atomic uint32_t kind;
    _Atomic uint64_t number, stamp;
};

static struct {
    _Atomic uint64_t stamp;
    _Atomic uint32_t count;
    _Atomic bool lost;
    struct slot slots[SLOTS];
    /* The collector's. */
    uint64_t pending, looked; /* of the last time */
} held GC_LARGE;

static uintptr_t word_at(const void *bytes, size_t at)
{
    uintptr_t word;
    memcpy(&word, (const char *)bytes + at, sizeof word);
    return scan_untag(word);
}

static struct slot *slot_at(uintptr_t word, uint32_t i)
{
    return &held.slots[(mix64(word) + i) % SLOTS];
}

bool held_has_reference(const void *bytes, size_t size)
{
    for (size_t at = 0; at + WORD_SIZE <= size; at++)
        if (arena_contains(word_at(bytes, at)))
            return true;
    return false;
}

static uintptr_t word_of(uint64_t entry)
{
    return entry & (((uint64_t)1 << WORD_BITS) - 1);
}

static uint64_t with_word(uint64_t entry, uintptr_t word)
{
    return (entry >> WORD_BITS << WORD_BITS) | word;
}

/* Only what was loaded from `entry` before belongs to it (.inv.slot). */
static bool is_of(struct slot *s, struct held_place place)
{
    return relaxed_load(&s->kind) == (uint32_t)place.kind &&
           relaxed_load(&s->number) == place.number;
}

/* .inv.signal. The entry changes, so that nobody strikes it out who saw the old stamp. */
static bool note_again(struct held_place place, uintptr_t word)
{
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct slot *s = slot_at(word, i);
        uint64_t entry = acquire_load(&s->entry);
        if (word_of(entry) != word || !is_of(s, place))
            continue;
        relaxed_store(&s->stamp, relaxed_add(&held.stamp, 1));
        return atomic_compare_exchange_strong(&s->entry, &entry,
                                              entry + ((uint64_t)1 << WORD_BITS));
    }
    return false;
}

static bool add_word(struct held_place place, uintptr_t word)
{
    if (place.kind >= HELD_NOTIFICATION && note_again(place, word))
        return true;
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct slot *s = slot_at(word, i);
        uint64_t empty = relaxed_load(&s->entry);
        uint64_t claimed = with_word(empty + ((uint64_t)1 << WORD_BITS), CLAIMED);
        if (word_of(empty) != 0 || !atomic_compare_exchange_strong(&s->entry, &empty, claimed))
            continue;
        relaxed_store(&s->kind, (uint32_t)place.kind);
        relaxed_store(&s->number, place.number);
        relaxed_store(&s->stamp, relaxed_add(&held.stamp, 1));
        relaxed_add(&held.count, 1); /* never less than there are */
        release_store(&s->entry, with_word(claimed, word));
        return true;
    }
    return false;
}

void held_add(struct held_place place, const void *bytes, size_t size)
{
    for (size_t at = 0; at + WORD_SIZE <= size; at++) {
        uintptr_t word = word_at(bytes, at);
        if (arena_contains(word) && !add_word(place, word))
            atomic_store(&held.lost, true);
    }
}

static bool strike_out(struct slot *s, uint64_t entry)
{
    if (!atomic_compare_exchange_strong(&s->entry, &entry, with_word(entry, 0)))
        return false;
    relaxed_add(&held.count, (uint32_t)-1);
    return true;
}

static void remove_word(struct held_place place, uintptr_t word)
{
    for (uint32_t i = 0; i < WINDOW; i++) {
        struct slot *s = slot_at(word, i);
        uint64_t entry = acquire_load(&s->entry);
        if (word_of(entry) == word && is_of(s, place) && strike_out(s, entry))
            return;
    }
}

void held_remove(struct held_place place, const void *bytes, size_t size)
{
    if (held_count() == 0)
        return;
    for (size_t at = 0; at + WORD_SIZE <= size; at++) {
        uintptr_t word = word_at(bytes, at);
        if (arena_contains(word))
            remove_word(place, word);
    }
}

uint32_t held_count(void)
{
    return relaxed_load(&held.count);
}

void held_lose(void)
{
    atomic_store(&held.lost, true);
}

/* ---- signals ---- */

static bool note_task(const char *name, void *data)
{
    struct task_signals signals;
    int32_t task = task_of_name(name);
    (void)data;
    enum task_known known = task == 0 ? TASK_GONE : task_signals(task, &signals);
    if (known == TASK_KNOWN)
        held.pending |= signals.pending | signals.pending_for_all;
    return known != TASK_UNKNOWN;
}

static bool is_signal(struct slot *s, uint64_t entry)
{
    return word_of(entry) > CLAIMED && relaxed_load(&s->kind) == HELD_SIGNAL;
}

static bool has_signals(void)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        if (is_signal(&held.slots[i], acquire_load(&held.slots[i].entry)))
            return true;
    return false;
}

/* A task may be missed when another one ends. So what was pending neither now nor the last time,
 * and was noted before that, is forgotten. */
void held_forget_signals(void)
{
    if (held_count() == 0 || !has_signals())
        return;
    uint64_t now = atomic_load(&held.stamp), pending = held.pending;
    held.pending = 0;
    if (!directory_each("/proc/self/task", note_task, NULL))
        held.pending = UINT64_MAX;
    pending |= held.pending;
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct slot *s = &held.slots[i];
        uint64_t entry = acquire_load(&s->entry);
        if (is_signal(s, entry) && !(pending >> (relaxed_load(&s->number) - 1) & 1) &&
            relaxed_load(&s->stamp) < held.looked)
            strike_out(s, entry);
    }
    held.looked = now;
}

/* ---- */

const char *held_mark(struct marker *m)
{
    for (uint32_t i = 0; held_count() != 0 && i < SLOTS; i++)
        mark_word(m, word_of(acquire_load(&held.slots[i].entry)));
    static const char lost[] = "more is in message queues, or in signals, than can be followed";
    return atomic_load(&held.lost) ? lost : NULL;
}
