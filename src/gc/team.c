/* team.c -- marking by several threads.
 *
 * Theory: every marker works on a stack of its own (mark.c) and offers a part of its work, up to
 * OFFER_MOST items under a small lock, from which idle markers take half. It offers when nothing is
 * on offer, and it has several items itself; looking costs a load each MARK_TICK words. A thief
 * takes the oldest candidates, or pieces of large blocks: what is likely to lead to much.
 *
 * Termination. `busy` counts the markers that may have work which nobody else can see.
 *
 *   .inv.busy     A marker whose lists are not empty is counted in `busy`. It stops counting itself
 *                 only after it found its own offer empty, and only the owner puts into an offer;
 *                 who takes from another's counts itself first. So when `busy` is 0, there is no
 *                 work in any list, in any offer, or in anybody's hands, and there cannot be any
 *                 until the leader feeds more: it alone decides that all is marked.
 *   .inv.stay     A marker that is told to stop stays counted, with its work: it, or for a guest
 *                 that has left whoever comes by, goes on in the next drain.
 *   .inv.news     Who waits counts itself in `sleepers`, reads `news`, looks for work, and sleeps
 *                 while `news` is unchanged. Who offers work, takes `busy` to 0 or starts a drain
 *                 does so first, and then looks at `sleepers`; if there are any it changes `news`.
 *                 All sequentially consistent: so either the offer is seen, or the sleeper is.
 *   .inv.awake    A worker or guest counts itself in `awake` or `guests` before it looks at `stop`
 *                 or the door. So who has set those and then sees the count at 0 is alone.
 *
 * Full lists. A block that found no room is marked, but will not be read; the marker's `overflowed`
 * tells. When `busy` is 0 and that happened to anybody, the leader reads all marked blocks once
 * more while the others help, and so again until nothing overflowed. Each round marks something new
 * or is the last.
 *
 * With one worker and no guest nothing is ever offered, and all of this is a load per tick. */
#include "gc/team.h"

#include "base/check.h"
#include "gc/own_thread.h"
#include "gc/protected.h"
#include "heap/meta.h"
#include "sys/clock.h"
#include "sys/lock.h"
#include "sys/syscall.h"

enum {
    MEMBERS = TEAM_MOST + TEAM_GUESTS,
    OFFER_MOST = 64,
    /* Words a marker must have to offer some. */
    PLENTY = 8,
    /* Looks around before a marker goes to sleep, each of a pause instruction or so: ~10 us, which
     * is what a sleep and a wake-up cost. */
    LOOKS = 100,
};

#define DOOR_CLOSED (1u << 31)

struct member {
    /* Anybody. */
    _Atomic uint32_t lock;
    _Atomic uint32_t offered;       /* items in offer[]; 1 if a guest left work. Set under `lock` */
    _Atomic uint32_t present;       /* a guest's place is taken */
    struct work offer[OFFER_MOST];  /* under `lock` */
    /* Its own: no line is shared with others' hot data. */
    bool counted __attribute__((aligned(CACHE_LINE))); /* in team.busy. A guest's: under `lock` */
    uint64_t until;                 /* a guest: when to leave */
    struct own_thread thread;       /* a worker. Set by the leader */
    struct marker m;                /* last: its words[] are touched only by those who work */
};

static struct {
    struct member *members;         /* the leader, workers, guests. In metadata: no root */
    bool ready;                     /* they are set up */
    /* The leader's. */
    uint64_t deadline;
    uint32_t recover_next;          /* slab to be read again; beyond arena.top: none */
    _Atomic uint32_t workers;       /* of this phase. Changed while nobody is awake */
    /* Anybody; see the invariants. */
    _Atomic uint32_t stop __attribute__((aligned(CACHE_LINE)));
    _Atomic uint32_t aborted;
    _Atomic uint32_t alone;         /* nobody to offer work to */
    _Atomic uint32_t door;          /* guests inside, and DOOR_CLOSED */
    _Atomic uint32_t overflowed;
    _Atomic uint32_t busy __attribute__((aligned(CACHE_LINE)));
    _Atomic uint32_t awake;         /* workers between sleeps */
    _Atomic uint32_t sleepers, news;
    _Atomic uint32_t dismissed;     /* workers: end */
} team = {.stop = 1, .alone = 1, .door = DOOR_CLOSED};

static struct member *leader(void)
{
    return &team.members[0];
}

static struct member *member_of(struct marker *m)
{
    return (struct member *)(void *)((char *)m - offsetof(struct member, m));
}

static bool is_guest(const struct member *s)
{
    return s >= team.members + TEAM_MOST;
}

/* Held for some tens of instructions. Yields to a holder that lost its processor. */
static void lock_member(struct member *s)
{
    while (atomic_exchange_explicit(&s->lock, 1, memory_order_acquire) != 0)
        syscall0(__NR_sched_yield);
}

static void unlock_member(struct member *s)
{
    release_store(&s->lock, 0);
}

/* .inv.news */
static void tell_news(void)
{
    if (atomic_load(&team.sleepers) == 0)
        return;
    atomic_fetch_add(&team.news, 1);
    futex_wake(&team.news, INT32_MAX);
}

static void count_in(struct member *s)
{
    GC_ASSERT(!s->counted);
    s->counted = true;
    atomic_fetch_add(&team.busy, 1);
}

static void count_out(struct member *s)
{
    GC_ASSERT(s->counted);
    s->counted = false;
    if (atomic_fetch_sub(&team.busy, 1) == 1)
        tell_news();
}

static bool has_work(const struct member *s)
{
    return s->m.work.count != 0 || s->m.count != 0 || s->m.fed != 0;
}

/* ---- offering ---- */

/* One block that several could read: its far half. */
static bool split(struct marker *m, struct work *far)
{
    struct work *near = &m->work.items[m->work.count - 1];
    size_t half = align_up(near->size / 2, PAGE_SIZE);
    if (near->size < 2 * MARK_PIECE)
        return false;
    *far = (struct work){near->start + half, near->size - half};
    near->size = half + mark_overlap();
    return true;
}

/* Moves up to OFFER_MOST items from the marker to items[]: half of what it has, the last of its
 * list, or the oldest of its words. Returns how many. */
static uint32_t part_with(struct marker *m, struct work *items)
{
    uint32_t count = 0;
    if (m->work.count >= 2) {
        uint32_t give = (uint32_t)size_min(m->work.count / 2, OFFER_MOST);
        while (count < give)
            items[count++] = m->work.items[--m->work.count];
    } else if (m->count >= PLENTY) {
        uint32_t give = (uint32_t)size_min(m->count / 2, OFFER_MOST);
        for (; count < give; count++)
            items[count] = (struct work){m->words[count], 0};
        m->count -= give;
        for (uint32_t i = 0; i < m->count; i++)
            m->words[i] = m->words[give + i];
    } else if (m->work.count == 1 && split(m, &items[0])) {
        count = 1;
    }
    return count;
}

static void offer(struct member *s)
{
    lock_member(s);
    uint32_t count = part_with(&s->m, s->offer);
    atomic_store(&s->offered, count);
    unlock_member(s);
    if (count != 0)
        tell_news();
}

/* marker.tick: is it time to stop? */
static bool tick(struct marker *m)
{
    struct member *s = member_of(m);
    if (GC_UNLIKELY(relaxed_load(&team.stop) != 0))
        return true;
    if (!relaxed_load(&team.alone) && relaxed_load(&s->offered) == 0)
        offer(s);
    if (is_guest(s))
        return (relaxed_load(&team.door) & DOOR_CLOSED) != 0 || clock_now_ns() > s->until;
    if (s != leader() || team.deadline == 0 || clock_now_ns() <= team.deadline)
        return false;
    atomic_store(&team.stop, 1);
    return true;
}

/* ---- taking ---- */

static void keep(struct member *s, const struct work *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        worklist_push(&s->m.work, items[i]);
}

/* Takes the newest `count` items of an offer. Its lock is held. */
static void take_offer(struct member *from, struct member *to, uint32_t count)
{
    uint32_t left = relaxed_load(&from->offered) - count;
    keep(to, from->offer + left, count);
    atomic_store(&from->offered, left);
}

static bool take_back(struct member *s)
{
    if (relaxed_load(&s->offered) == 0)
        return false;
    lock_member(s);
    uint32_t count = relaxed_load(&s->offered);
    take_offer(s, s, count);
    unlock_member(s);
    return count != 0;
}

/* What a full list dropped is looked for when all else is done. */
static void note_overflow(struct member *s)
{
    if (!s->m.work.overflowed)
        return;
    s->m.work.overflowed = false;
    atomic_store(&team.overflowed, 1);
}

/* A guest left this behind: up to OFFER_MOST items of it. Its lock is held. */
static uint32_t take_abandoned(struct member *from, struct member *to)
{
    struct marker *m = &from->m;
    struct work items[OFFER_MOST];
    uint32_t count = 0;
    mark_flush(m);
    while (count < OFFER_MOST && m->work.count != 0)
        items[count++] = m->work.items[--m->work.count];
    while (count < OFFER_MOST && m->count != 0)
        items[count++] = (struct work){m->words[--m->count], 0};
    keep(to, items, count);
    note_overflow(from);
    if (!has_work(from)) {
        atomic_store(&from->offered, 0);
        count_out(from);
    }
    return count;
}

static bool take_from(struct member *from, struct member *to)
{
    uint32_t count = 0;
    if (relaxed_load(&from->offered) == 0)
        return false;
    lock_member(from);
    uint32_t offered = relaxed_load(&from->offered);
    if (is_guest(from) && !relaxed_load(&from->present) && offered != 0)
        count = take_abandoned(from, to);
    else if ((count = (offered + 1) / 2) != 0)
        take_offer(from, to, count);
    unlock_member(from);
    return count != 0;
}

/* Takes work from somebody; the thief is counted. Each begins with its neighbour. */
static bool steal(struct member *s)
{
    unsigned self = (unsigned)(s - team.members);
    GC_ASSERT(s->counted);
    for (unsigned i = 1; i < MEMBERS; i++)
        if (take_from(&team.members[(self + i) % MEMBERS], s))
            return true;
    return false;
}

static bool anything_offered(void)
{
    for (unsigned i = 0; i < MEMBERS; i++)
        if (atomic_load(&team.members[i].offered) != 0)
            return true;
    return false;
}

/* Works until there is nothing to be had, or it is told to stop (false, and it stays counted). */
static bool work(struct member *s)
{
    do {
        if (!mark_run(&s->m))
            return false;
    } while (take_back(s) || steal(s));
    note_overflow(s);
    return true;
}

/* ---- waiting ---- */

/* Sleeps until there are news, unless `ready` says that there is no need. */
static void wait_for_news(bool (*ready)(struct member *s), struct member *s, uint64_t nanoseconds)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        if (ready(s))
            return;
        __builtin_ia32_pause();
    }
    atomic_fetch_add(&team.sleepers, 1); /* .inv.news */
    uint32_t news = atomic_load(&team.news);
    if (!ready(s)) {
        if (nanoseconds == 0)
            futex_wait(&team.news, news);
        else
            futex_wait_for(&team.news, news, nanoseconds);
    }
    atomic_fetch_sub(&team.sleepers, 1);
}

/* ---- workers ---- */

static bool worker_ready(struct member *s)
{
    bool member = s - team.members < (ptrdiff_t)relaxed_load(&team.workers);
    if (atomic_load(&team.dismissed))
        return true;
    return member && !atomic_load(&team.stop) && (s->counted || anything_offered());
}

static void worker_turn(struct member *s)
{
    atomic_fetch_add(&team.awake, 1); /* .inv.awake */
    if (worker_ready(s)) {
        if (!s->counted)
            count_in(s);
        if (work(s))
            count_out(s);
    }
    if (atomic_fetch_sub(&team.awake, 1) == 1)
        tell_news();
}

static void worker_main(void *data)
{
    struct member *s = data;
    for (;;) {
        while (!worker_ready(s))
            wait_for_news(worker_ready, s, 0);
        if (atomic_load(&team.dismissed))
            return;
        worker_turn(s);
    }
}

/* ---- the leader ---- */

static bool nobody_awake(struct member *s)
{
    (void)s;
    return atomic_load(&team.awake) == 0;
}

/* Returns when no worker marks. */
static void stop_workers(void)
{
    atomic_store(&team.stop, 1);
    while (!nobody_awake(NULL))
        wait_for_news(nobody_awake, NULL, 0);
}

static bool leader_ready(struct member *s)
{
    (void)s;
    return atomic_load(&team.busy) == 0 || atomic_load(&team.stop) || anything_offered();
}

/* The next span with marked blocks that may have been dropped. False: there is no more. */
static bool recover_some(void)
{
    if (team.recover_next >= relaxed_load(&arena.top))
        return false;
    mark_recover_span(&leader()->m, team.recover_next++);
    return true;
}

/* Nobody has any work. True: all is marked. */
static bool is_finished(void)
{
    if (atomic_exchange(&team.overflowed, 0) == 0)
        return true;
    team.recover_next = 0;
    return false;
}

/* What is left of the time: false if nothing. */
static bool time_left(uint64_t *nanoseconds)
{
    uint64_t now = team.deadline != 0 ? clock_now_ns() : 0;
    *nanoseconds = team.deadline - now;
    return team.deadline == 0 || now < team.deadline;
}

/* The leader has nothing to do. True: it has again, or all is done (*finished); false: it is time
 * to stop. It is counted again unless all is done. */
static bool wait_for_others(struct member *s, bool *finished)
{
    for (;;) {
        uint64_t left;
        if (atomic_load(&team.stop) || !time_left(&left))
            return false;
        *finished = atomic_load(&team.busy) == 0;
        if (*finished || anything_offered())
            break;
        wait_for_news(leader_ready, s, left);
    }
    if (*finished && is_finished())
        return true;
    *finished = false;
    count_in(s);
    return true;
}

static bool lead(struct member *s)
{
    bool finished = false;
    if (!s->counted)
        count_in(s);
    while (!finished) {
        do {
            if (!work(s))
                return false;
        } while (recover_some());
        count_out(s);
        if (!wait_for_others(s, &finished))
            return false;
    }
    return true;
}

bool team_drain(uint64_t deadline)
{
    for (unsigned i = 1; i < MEMBERS; i++)
        relaxed_store(&team.members[i].m.read_carefully, leader()->m.read_carefully);
    team.deadline = deadline;
    atomic_store(&team.stop, 0);
    if (atomic_load(&team.aborted)) /* before, or by now: see team_abort */
        atomic_store(&team.stop, 1);
    tell_news();
    bool done = lead(leader());
    note_overflow(leader());
    atomic_store(&team.stop, 1);
    return done;
}

bool team_dropped(void)
{
    bool dropped = false;
    for (unsigned i = 0; i < MEMBERS; i++)
        dropped |= team.members[i].m.work.dropped;
    return dropped;
}

void team_abort(void)
{
    atomic_store(&team.aborted, 1);
    atomic_store(&team.stop, 1);
    tell_news();
}

/* ---- a phase ---- */

/* The leader has half: it is fed the roots, and mostly alone. */
void team_divide(void)
{
    size_t half = arena.mark_stack_size / 2, part = align_down(half / (MEMBERS - 1), PAGE_SIZE);
    char *memory = arena.mark_stack;
    for (unsigned i = 0; i < MEMBERS && team.ready; i++) {
        size_t size = i == 0 ? align_down(half, PAGE_SIZE) : part;
        GC_ASSERT(team.members[i].m.work.count == 0);
        worklist_init(&team.members[i].m.work, memory, size);
        memory += size;
    }
}

bool team_init(void)
{
    if (team.members == NULL)
        team.members = meta_alloc(MEMBERS * sizeof(struct member));
    return team.members != NULL;
}

/* Not in team_init: most processes end before their first mark, and each member is a page to touch.
 * Until then all of them are zero, which is nobody. */
static void make_ready(void)
{
    if (team.ready)
        return;
    team.ready = true;
    team_divide();
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *s = &team.members[i];
        s->m.tick = tick;
        s->m.guest = is_guest(s);
        protected_add_reader(&s->m.reading);
    }
}

/* Forgets all work. No worker and no guest is there. */
static void clear(void)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *s = &team.members[i];
        s->m.work.count = 0;
        s->m.count = s->m.fed = 0;
        s->m.work.overflowed = s->counted = false;
        atomic_store(&s->offered, 0);
    }
    atomic_store(&team.busy, 0);
    atomic_store(&team.overflowed, 0);
    team.recover_next = UINT32_MAX;
}

static void update_alone(void)
{
    bool open = (atomic_load(&team.door) & DOOR_CLOSED) == 0;
    atomic_store(&team.alone, relaxed_load(&team.workers) <= 1 && !open);
}

static unsigned hired(void)
{
    unsigned count = 1;
    while (count < TEAM_MOST && acquire_load(&team.members[count].thread.tid) != 0)
        count++;
    return count;
}

unsigned team_hire(unsigned workers)
{
    make_ready();
    unsigned have = hired();
    for (; have < size_min(workers, TEAM_MOST); have++) {
        struct member *s = &team.members[have];
        if (!own_thread_start(&s->thread, "gc mark", false, worker_main, s))
            break;
    }
    return have;
}

void team_dismiss(void)
{
    atomic_store(&team.dismissed, 1);
    tell_news();
    for (unsigned i = 1; i < TEAM_MOST; i++)
        own_thread_join(&team.members[i].thread);
    atomic_store(&team.dismissed, 0);
}

void team_start(unsigned workers, struct pagemap *pagemap)
{
    make_ready();
    team_close_guests();
    stop_workers();
    clear();
    for (unsigned i = 0; i < MEMBERS; i++)
        marker_start(&team.members[i].m, pagemap);
    atomic_store(&team.aborted, 0);
    relaxed_store(&team.workers, (uint32_t)size_clamp(workers, 1, hired()));
    update_alone();
}

struct marker *team_leader(void)
{
    make_ready();
    return &leader()->m;
}

void team_end(void)
{
    team_close_guests();
    stop_workers();
    clear();
    for (unsigned i = 0; i < MEMBERS; i++)
        worklist_shrink(&team.members[i].m.work);
}

struct team_totals team_totals(void)
{
    struct team_totals sum = {0, 0, 0};
    for (unsigned i = 0; i < MEMBERS; i++) {
        const struct marker *m = &team.members[i].m;
        sum.marked_blocks += m->marked_blocks;
        sum.marked_bytes += m->marked_bytes;
        sum.scanned_bytes += m->scanned_bytes;
    }
    return sum;
}

void team_set_totals(struct team_totals totals)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct marker *m = &team.members[i].m;
        m->marked_blocks = i == 0 ? totals.marked_blocks : 0;
        m->marked_bytes = i == 0 ? totals.marked_bytes : 0;
        m->scanned_bytes = i == 0 ? totals.scanned_bytes : 0;
    }
}

/* ---- guests ---- */

static bool enter(void)
{
    uint32_t door = atomic_load(&team.door);
    do {
        if (door & DOOR_CLOSED)
            return false;
    } while (!atomic_compare_exchange_weak(&team.door, &door, door + 1));
    return true;
}

static void leave(void)
{
    if (atomic_fetch_sub(&team.door, 1) == (DOOR_CLOSED | 1))
        futex_wake(&team.door, INT32_MAX);
}

/* A free place, now taken, or NULL. What an earlier guest left in it comes along. */
static struct member *take_place(void)
{
    for (unsigned i = TEAM_MOST; i < MEMBERS; i++) {
        struct member *s = &team.members[i];
        lock_member(s);
        bool free = !relaxed_load(&s->present);
        if (free) {
            relaxed_store(&s->present, 1);
            atomic_store(&s->offered, 0);
        }
        unlock_member(s);
        if (free)
            return s;
    }
    return NULL;
}

/* Whatever the guest still has may be taken by anybody, from now on. */
static void leave_place(struct member *s)
{
    take_back(s);
    note_overflow(s);
    lock_member(s);
    bool left = has_work(s);
    GC_ASSERT(!left || s->counted);
    atomic_store(&s->offered, left);
    relaxed_store(&s->present, 0);
    if (s->counted && !left)
        count_out(s);
    unlock_member(s);
    if (left)
        tell_news();
}

void team_assist(uint64_t budget_ns)
{
    if (!enter())
        return;
    struct member *s = atomic_load(&team.stop) ? NULL : take_place();
    if (s != NULL) {
        s->until = clock_now_ns() + budget_ns;
        if (!s->counted)
            count_in(s);
        if (has_work(s) || steal(s))
            work(s);
        leave_place(s);
    }
    leave();
}

void team_open_guests(void)
{
    atomic_fetch_and(&team.door, ~DOOR_CLOSED);
    update_alone();
}

void team_close_guests(void)
{
    uint32_t door = atomic_fetch_or(&team.door, DOOR_CLOSED) | DOOR_CLOSED;
    for (; door != DOOR_CLOSED; door = atomic_load(&team.door))
        futex_wait(&team.door, door);
    update_alone();
}

/* ---- fork ---- */

void team_after_fork(void)
{
    if (!team.ready)
        return;
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *s = &team.members[i];
        release_store(&s->thread.tid, 0);
        release_store(&s->lock, 0);
        relaxed_store(&s->present, 0);
        relaxed_store(&s->m.reading, 0);
    }
    atomic_store(&team.stop, 1);
    atomic_store(&team.door, DOOR_CLOSED);
    atomic_store(&team.awake, 0);
    atomic_store(&team.sleepers, 0);
    relaxed_store(&team.workers, 1);
    update_alone();
    clear();
}
