/* page.c -- the page that a process shows of itself, read from outside. */
#include "cli/page.h"

#include "cli/instant.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
    MOST_TOTALS = 1 << 16,
    COPY_TRIES = 500,       /* of 2 ms: the writer holds the lock for microseconds, but may be */
    COPY_WAIT_MS = 2,       /* off its processor for a while, or stopped by SIGSTOP */
};

static bool read_at(int fd, void *to, size_t size, size_t offset)
{
    return pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

static bool read_sequence(int fd, uint32_t *sequence)
{
    return read_at(fd, sequence, sizeof(*sequence), offsetof(struct stats_page, sequence));
}

/* The page is laid out before its magic is written, so a page without is one that begins. */
static enum page_state check_head(struct page *page, uint32_t *version)
{
    static const char magic[8] = STATS_MAGIC;
    struct stats_page head;
    *version = 0;
    if (!read_at(page->fd, &head, offsetof(struct stats_page, totals), 0) || head.version == 0)
        return PAGE_MISSING;
    *version = head.version;
    if (memcmp(head.magic, magic, sizeof(magic)) != 0 || head.version != STATS_VERSION)
        return PAGE_FOREIGN;
    page->totals_size = head.totals_size;
    bool sane = head.totals_size % sizeof(uint64_t) == 0 && head.totals_size <= MOST_TOTALS &&
                head.totals_size >= sizeof(uint64_t);
    return sane ? PAGE_GOOD : PAGE_FOREIGN;
}

enum page_state page_open(struct page *page, int fd, uint32_t *version)
{
    page->fd = fd;
    enum page_state state = check_head(page, version);
    if (state != PAGE_GOOD)
        page_close(page);
    return state;
}

void page_close(struct page *page)
{
    if (page->fd >= 0)
        close(page->fd);
    page->fd = -1;
}

/* What lies behind the totals lies further on where the process's table is longer (.inv.layout). */
static bool copy_parts(const struct page *page, struct stats_page *copy)
{
    size_t totals = offsetof(struct stats_page, totals);
    size_t behind = offsetof(struct stats_page, not_collected);
    size_t end = offsetof(struct stats_page, events);
    size_t common = page->totals_size < sizeof(copy->totals) ? page->totals_size
                                                             : sizeof(copy->totals);
    memset(&copy->totals, 0, sizeof(copy->totals));
    return read_at(page->fd, copy, totals, 0) && read_at(page->fd, &copy->totals, common, totals) &&
           read_at(page->fd, (char *)copy + behind, end - behind, totals + page->totals_size);
}

/* Figures that index arrays, and texts, are bounded here: the process may be anybody's. */
static void restrain(struct stats_page *copy)
{
    copy->not_collected[STATS_TEXT - 1] = copy->interlock[STATS_TEXT - 1] = '\0';
    copy->cycles_next %= STATS_CYCLES;
    if (copy->sites_count > STATS_SITES)
        copy->sites_count = STATS_SITES;
    if (copy->history_count > STATS_HISTORY)
        copy->history_count = STATS_HISTORY;
    for (uint32_t i = 0; i < copy->sites_count; i++)
        if (copy->sites[i].depth > STATS_FRAMES)
            copy->sites[i].depth = STATS_FRAMES;
}

enum page_state page_copy(const struct page *page, struct stats_page *copy)
{
    for (int tries = 0; tries < COPY_TRIES; tries++) {
        uint32_t before, after;
        if (!read_sequence(page->fd, &before))
            return PAGE_MISSING;
        if (before % 2 == 0) {
            if (!copy_parts(page, copy) || !read_sequence(page->fd, &after))
                return PAGE_MISSING;
            if (before == after) {
                restrain(copy);
                return PAGE_GOOD;
            }
        }
        poll(NULL, 0, COPY_WAIT_MS);
    }
    return PAGE_BUSY;
}

bool page_watch(const struct page *page, uint64_t ns)
{
    uint64_t until = instant_unix() + ns;
    return pwrite(page->fd, &until, sizeof(until),
                  offsetof(struct stats_page, watched_until_unix_ns)) == sizeof(until);
}
