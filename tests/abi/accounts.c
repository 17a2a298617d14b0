/* accounts.c -- do mallinfo, malloc_info, malloc_stats, malloc_trim and mallopt tell the truth?
 *                                                                               accounts KIND
 *
 * What malloc(3)'s relatives promise in numbers: sums that add up, figures that move by what was
 * allocated, a document that is XML. Passes on glibc itself. The threshold for mapped blocks is
 * set by hand first: glibc moves its own. */
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>

#include "abi.h"

enum { SMALL = 10000, SMALL_SIZE = 1000, LARGE_SIZE = 40 << 20, SLACK = 1 << 20 };

/* What an allocator may have written besides: half of what is allocated shows. */
enum { TABLES = LARGE_SIZE / 2 };

static char *small[SMALL];

static void small_make(void)
{
    for (size_t i = 0; i < SMALL; i++) {
        small[i] = malloc(SMALL_SIZE);
        CHECK(small[i] != NULL);
        memset(small[i], 1, SMALL_SIZE);
    }
}

static void small_drop(void)
{
    for (size_t i = 0; i < SMALL; i++)
        free(small[i]);
}

static char *large_make(void)
{
    char *block = malloc(LARGE_SIZE);
    CHECK(block != NULL);
    memset(block, 1, LARGE_SIZE);
    return block;
}

/* ---- mallinfo and mallinfo2 ---- */

static struct mallinfo2 sums_hold(void)
{
    struct mallinfo2 m = mallinfo2();
    CHECK(m.arena == m.uordblks + m.fordblks);
    CHECK(m.keepcost <= m.fordblks && m.fsmblks <= m.fordblks && m.usmblks == 0);
    CHECK((m.hblks == 0) == (m.hblkhd == 0));
    return m;
}

static size_t held(struct mallinfo2 m)
{
    return m.arena + m.hblkhd;
}

static void kind_sums(void)
{
    sums_hold();
    small_make();
    sums_hold();
    char *large = large_make();
    sums_hold();
    for (size_t i = 0; i < SMALL; i += 2)
        free(small[i]);
    sums_hold();
    for (size_t i = 1; i < SMALL; i += 2)
        free(small[i]);
    free(large);
    sums_hold();
    malloc_trim(0);
    sums_hold();
}

/* The older interface cuts the same figures to ints. */
static void kind_old_interface(void)
{
    char *large = large_make();
    struct mallinfo2 m = mallinfo2();
    struct mallinfo old = mallinfo();
    CHECK((size_t)old.arena == m.arena && (size_t)old.hblkhd == m.hblkhd);
    CHECK((size_t)old.uordblks == m.uordblks && (size_t)old.fordblks == m.fordblks);
    CHECK((size_t)old.hblks == m.hblks && (size_t)old.keepcost == m.keepcost);
    free(large);
}

static void moved_by(size_t before, size_t after, size_t size)
{
    CHECK(after >= before + size && after <= before + size + size / 4 + SLACK);
}

static void kind_moves(void)
{
    CHECK(mallopt(M_MMAP_THRESHOLD, 128 << 10) == 1);
    struct mallinfo2 before = sums_hold();
    small_make();
    struct mallinfo2 with_small = sums_hold();
    moved_by(before.uordblks, with_small.uordblks, (size_t)SMALL * SMALL_SIZE);
    CHECK(with_small.hblkhd == before.hblkhd && with_small.arena >= with_small.uordblks);
    char *large = large_make();
    struct mallinfo2 with_large = sums_hold();
    moved_by(with_small.hblkhd, with_large.hblkhd, LARGE_SIZE);
    CHECK(with_large.hblks == with_small.hblks + 1);
    CHECK(with_large.uordblks <= with_small.uordblks + SLACK);
    large = realloc(large, 2 * (size_t)LARGE_SIZE);
    CHECK(large != NULL);
    moved_by(with_large.hblkhd, sums_hold().hblkhd, LARGE_SIZE);
    free(large);
    small_drop();
    struct mallinfo2 after = sums_hold();
    CHECK(after.hblks == before.hblks && after.hblkhd == before.hblkhd);
    CHECK(after.uordblks <= before.uordblks + SLACK);
}

static size_t resident(void)
{
    size_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    CHECK(statm != NULL && fscanf(statm, "%*u %zu", &pages) == 1 && fclose(statm) == 0);
    return pages * 4096;
}

/* malloc_trim says whether it gave something back, and what it gave is no longer counted. */
static void kind_trim(void)
{
    CHECK(mallopt(M_TRIM_THRESHOLD, 1 << 30) == 1);
    resident();
    malloc_trim(0);
    size_t before = held(sums_hold()), resident_before = resident();
    small_make();
    free(large_make());
    small_drop();
    CHECK(malloc_trim(0) == 1);
    CHECK(held(sums_hold()) <= before + SLACK);
    CHECK(resident() <= resident_before + TABLES);
    CHECK(malloc_trim(0) == 0);
    small_make();
    small_drop();
}

/* ---- malloc_info ---- */

static char document[1 << 20];

static void document_make(void)
{
    FILE *stream = fmemopen(document, sizeof document, "w");
    CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
}

/* The value of an attribute of the tag at `tag`. */
static size_t attribute(const char *tag, const char *name)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, " %s=\"", name);
    const char *end = strchr(tag, '>'), *at = strstr(tag, quoted);
    CHECK(end != NULL && at != NULL && at < end);
    char *last;
    size_t value = strtoull(at + strlen(quoted), &last, 10);
    CHECK(last != at + strlen(quoted) && *last == '"');
    return value;
}

/* One tag after '<'; returns what follows it. `open` holds the names of the open elements. */
static const char *tag_walk(const char *tag, char open[][32], size_t *depth)
{
    const char *end = strchr(tag, '>');
    size_t name = strcspn(tag + (*tag == '/'), " />");
    CHECK(end != NULL && name > 0 && name < 32 && *depth < 8);
    if (*tag == '/') {
        CHECK(*depth > 0 && strncmp(open[*depth - 1], tag + 1, name) == 0);
        CHECK(open[--*depth][name] == '\0');
    } else if (end[-1] != '/') {
        memcpy(open[*depth], tag, name);
        open[(*depth)++][name] = '\0';
    }
    int quotes = 0;
    for (const char *c = tag; c < end; c++)
        quotes += *c == '"';
    CHECK(quotes % 2 == 0 && memchr(tag, '<', (size_t)(end - tag)) == NULL);
    return end + 1;
}

static void document_is_xml(void)
{
    char open[8][32];
    size_t depth = 0, roots = 0;
    const char *at = document;
    while ((at = strchr(at, '<')) != NULL) {
        roots += depth == 0;
        at = tag_walk(at + 1, open, &depth);
    }
    CHECK(depth == 0 && roots == 1 && strncmp(document, "<malloc version=\"1\">", 20) == 0);
}

static const char *find_tag(const char *from, const char *tag)
{
    const char *at = strstr(from, tag);
    CHECK(at != NULL);
    return at;
}

/* What stands in the heaps, or in `sizes`, sums up to what stands after them. */
static size_t sum_of(const char *from, const char *end, const char *tag, const char *name)
{
    size_t sum = 0;
    for (const char *at = strstr(from, tag); at != NULL && at < end; at = strstr(at + 1, tag))
        sum += attribute(at, name);
    return sum;
}

/* Where the last heap ends. */
static const char *last_heap(void)
{
    const char *end = document;
    for (const char *next = end; (next = strstr(next, "</heap>")) != NULL; next++)
        end = next;
    return end;
}

static void totals_agree(const char *tag, const char *name)
{
    const char *end = last_heap();
    CHECK(sum_of(document, end, tag, name) == attribute(find_tag(end, tag), name));
}

static void heap_agrees(const char *heap, const char *end)
{
    size_t fast = attribute(find_tag(heap, "<total type=\"fast\""), "size");
    size_t rest = attribute(find_tag(heap, "<total type=\"rest\""), "size");
    size_t now = attribute(find_tag(heap, "<system type=\"current\""), "size");
    CHECK(sum_of(heap, end, "<size ", "total") <= fast + rest && fast + rest <= now);
    CHECK(attribute(find_tag(heap, "<system type=\"max\""), "size") >= now);
}

static void document_adds_up(void)
{
    static const char *const tags[][2] = {
        { "<total type=\"fast\"", "count" }, { "<total type=\"fast\"", "size" },
        { "<total type=\"rest\"", "count" }, { "<total type=\"rest\"", "size" },
        { "<system type=\"current\"", "size" }, { "<aspace type=\"total\"", "size" },
        { "<aspace type=\"mprotect\"", "size" },
    };
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++)
        totals_agree(tags[i][0], tags[i][1]);
    for (const char *heap = document; (heap = strstr(heap, "<heap nr=")) != NULL; heap++)
        heap_agrees(heap, find_tag(heap, "</heap>"));
    struct mallinfo2 m = mallinfo2();
    const char *mapped = find_tag(document, "<total type=\"mmap\"");
    CHECK(attribute(mapped, "count") == m.hblks && attribute(mapped, "size") == m.hblkhd);
}

static void *allocating_thread(void *unused)
{
    pressure(1 << 20, 0);
    return unused;
}

static void kind_document(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, allocating_thread, NULL) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    small_make();
    char *large = large_make();
    for (size_t i = 0; i < SMALL; i += 2) {
        free(small[i]);
        small[i] = NULL;
    }
    document_make();
    document_is_xml();
    document_adds_up();
    size_t now = attribute(find_tag(document, "<system type=\"current\""), "size");
    CHECK(now >= (size_t)SMALL / 2 * SMALL_SIZE);
    small_drop();
    free(large);
    malloc_trim(0);
    document_make();
    document_is_xml();
    document_adds_up();
    CHECK(attribute(find_tag(last_heap(), "<system type=\"max\""), "size") >= now);
}

static void kind_document_flags(void)
{
    FILE *stream = fmemopen(document, sizeof document, "w");
    CHECK(stream != NULL);
    CHECK(malloc_info(1, stream) == EINVAL && malloc_info(-1, stream) == EINVAL);
    CHECK(ftell(stream) == 0 && fclose(stream) == 0);
}

/* ---- malloc_stats: all of it, on standard error, and no point of cancellation ---- */

static void *stats_thread(void *reached)
{
    CHECK(pthread_cancel(pthread_self()) == 0);
    malloc_stats();
    *(int *)reached = 1;
    pthread_testcancel();
    return NULL;
}

static void kind_stats(void)
{
    int reached = 0, file = memfd_create("stats", 0), kept = dup(2);
    pthread_t thread;
    void *result;
    CHECK(file >= 0 && kept >= 0 && dup2(file, 2) == 2);
    CHECK(pthread_create(&thread, NULL, stats_thread, &reached) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(dup2(kept, 2) == 2 && lseek(file, 0, SEEK_SET) == 0);
    CHECK(reached && result == PTHREAD_CANCELED);
    ssize_t bytes = read(file, document, sizeof document - 1);
    CHECK(bytes > 0);
    document[bytes] = '\0';
    CHECK(strncmp(document, "Arena 0:\n", 9) == 0 && document[bytes - 1] == '\n');
    CHECK(strstr(document, "Total (incl. mmap):\n") != NULL);
    const char *used = strstr(strstr(document, "Total"), "in use bytes");
    CHECK(used != NULL);
    malloc_stats();
}

/* ---- mallopt ---- */

static void still_allocates(unsigned seed)
{
    for (size_t size = 1; size < 3000000; size = size * 2 + 1) {
        char *block = malloc(size), *zero = calloc(1, size);
        CHECK(block != NULL && zero != NULL);
        pattern_fill(block, size, seed);
        for (size_t i = 0; i < size; i++)
            CHECK(zero[i] == 0);
        CHECK(pattern_holds(block, size, seed));
        free(zero);
        free(block);
    }
}

static void kind_mallopt(void)
{
    static const int accepted[][2] = {
        { M_MXFAST, 0 }, { M_MXFAST, 64 }, { M_MXFAST, 160 }, { M_TRIM_THRESHOLD, 0 },
        { M_TRIM_THRESHOLD, 100000 }, { M_TOP_PAD, 0 }, { M_TOP_PAD, 1 << 20 },
        { M_MMAP_THRESHOLD, 4096 }, { M_MMAP_THRESHOLD, 1 << 20 }, { M_MMAP_MAX, 0 },
        { M_MMAP_MAX, 65536 }, { M_CHECK_ACTION, 3 }, { M_PERTURB, 0x5A }, { M_PERTURB, 0 },
        { M_ARENA_TEST, 4 }, { M_ARENA_MAX, 1 }, { M_NLBLKS, 1 }, { M_GRAIN, 1 }, { M_KEEP, 1 },
    };
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        errno = 77;
        CHECK(mallopt(accepted[i][0], accepted[i][1]) == 1);
        CHECK(errno == 77);
        still_allocates((unsigned)i);
    }
    CHECK(mallopt(M_MXFAST, 161) == 0 && mallopt(M_MXFAST, -1) == 0);
    still_allocates(99);
}

static const struct kind kinds[] = {
    KIND(sums), KIND(old_interface), KIND(moves), KIND(trim), KIND(document),
    KIND(document_flags), KIND(stats), KIND(mallopt),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
