/* api.c -- gcmalloc.h: statistics and control, with the library and without.   api KIND
 *
 * Without it each function does what its comment says; with it the figures are exact, agree with
 * what malloc's own relatives say, and what is asked for is done. */
#include "abi.h"
#include "gcmalloc.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

/* Large: next to nothing of it is on a stack. */
static struct gcmalloc_stats before, after;

static void read_into(struct gcmalloc_stats *s)
{
    s->size = sizeof *s;
    CHECK(gcmalloc_read_stats(s) == 0 && s->size == sizeof *s);
}

static int is_absent(int status)
{
    return status == -1 && errno == ENOSYS;
}

/* ---- without the library ---- */

/* The test's runner preloads it: it goes. */
static void without_library(void)
{
    if (getenv("LD_PRELOAD") == NULL)
        return;
    CHECK(unsetenv("LD_PRELOAD") == 0);
    execl("/proc/self/exe", "api", "absent", NULL);
    CHECK(!"executed");
}

static void kind_absent(void)
{
    without_library();
    char text[16];
    struct gcmalloc_stats s = {.size = sizeof s};
    CHECK(!gcmalloc_active() && strcmp(gcmalloc_reason(), "libgcmalloc is not loaded") == 0);
    CHECK(is_absent(gcmalloc_read_stats(&s)) && s.mallocs == 0);
    CHECK(is_absent(gcmalloc_collect()) && is_absent(gcmalloc_collect_soon()));
    CHECK(is_absent(gcmalloc_give_back()));
    CHECK(gcmalloc_set_percent(50) == 100 && gcmalloc_set_limit(1 << 20) == 0);
    gcmalloc_disable();
    gcmalloc_enable();
    CHECK(is_absent((int)gcmalloc_get_option("percent", text, sizeof text)));
    CHECK(is_absent(gcmalloc_set_option("percent", "1")));
    CHECK(is_absent(gcmalloc_report("never")) && is_absent(gcmalloc_profile("never")));
    CHECK(access("never", F_OK) != 0);
}

/* ---- counting ---- */

enum { BLOCKS = 5000 };
static void *blocks[BLOCKS];

static unsigned row_of(const struct gcmalloc_stats *s, size_t size)
{
    unsigned row = 1;
    while (row < GCMALLOC_SIZES && s->by_size[row].size < size)
        row++;
    CHECK(row < GCMALLOC_SIZES);
    return row;
}

static void sums_hold(const struct gcmalloc_stats *s)
{
    uint64_t mallocs = 0, frees = 0, bytes = 0;
    for (unsigned i = 0; i < GCMALLOC_SIZES; i++) {
        mallocs += s->by_size[i].mallocs;
        frees += s->by_size[i].frees;
        bytes += s->by_size[i].size * (s->by_size[i].mallocs - s->by_size[i].frees);
        CHECK(s->by_size[i].mallocs >= s->by_size[i].frees);
    }
    CHECK(mallocs == s->mallocs && frees == s->frees);
    CHECK(s->heap_objects == s->mallocs - s->frees && s->alloc == s->heap_alloc);
    CHECK(s->alloc >= bytes && s->total_alloc >= s->alloc);
    CHECK(s->heap_sys == s->heap_idle + s->heap_inuse && s->heap_released <= s->heap_idle);
}

/* `made` and `freed` of one size since `before`, exactly, and nothing else. */
static void moved_by(size_t size, uint64_t made, uint64_t freed)
{
    read_into(&after);
    sums_hold(&after);
    unsigned row = size == 0 ? 0 : row_of(&after, size + 1);
    CHECK(after.by_size[row].mallocs - before.by_size[row].mallocs == made);
    CHECK(after.by_size[row].frees - before.by_size[row].frees == freed);
    CHECK(after.mallocs - before.mallocs == made && after.frees - before.frees == freed);
}

static void exactly(size_t size, size_t count)
{
    read_into(&before);
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = OPAQUE(malloc(size))) != NULL);
    moved_by(size <= 60000 ? size : 0, count, 0);
    for (size_t i = 0; i < count; i += 2)
        free(blocks[i]);
    moved_by(size <= 60000 ? size : 0, count, (count + 1) / 2);
    for (size_t i = 1; i < count; i += 2)
        free(blocks[i]);
    moved_by(size <= 60000 ? size : 0, count, count);
}

/* By a program of one thread; every path of malloc and free: hits, misses, large blocks. */
static void kind_exact(void)
{
    static const size_t sizes[] = {1, 24, 100, 512, 1000, 5000, 40000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t count = 1; count <= BLOCKS; count = count * 7 + 3)
            exactly(sizes[i], count);
    exactly(1 << 20, 20);
    read_into(&before);
    for (int i = 0; i < 100000; i++)
        free(OPAQUE(malloc(48)));
    moved_by(48, 100000, 100000);
    void *zeros = OPAQUE(calloc(10, 10)), *aligned = NULL;
    CHECK(posix_memalign(&aligned, 64, 100) == 0);
    read_into(&after);
    CHECK(after.mallocs - before.mallocs == 100002);
    free(zeros);
    free(aligned);
}

/* realloc: in place nothing, moved one of each. */
static void kind_resized(void)
{
    char *block = OPAQUE(malloc(100));
    read_into(&before);
    block = OPAQUE(realloc(block, 101));
    read_into(&after);
    CHECK(after.mallocs == before.mallocs && after.frees == before.frees);
    block = OPAQUE(realloc(block, 10000));
    read_into(&after);
    CHECK(after.mallocs == before.mallocs + 1 && after.frees == before.frees + 1);
    free(block);
}

static void *allocate_and_end(void *unused)
{
    for (int i = 0; i < 1000; i++)
        free(OPAQUE(malloc(200)));
    return unused;
}

static _Atomic int stage;

static void *allocate_and_stay(void *unused)
{
    allocate_and_end(NULL);
    stage = 1;
    while (stage != 2)
        sched_yield();
    return unused;
}

/* The row of what only these threads allocate, for another thread at rest and for one that ended. */
static void kind_threads(void)
{
    pthread_t thread;
    read_into(&before);
    unsigned row = row_of(&before, 201);
    uint64_t made = before.by_size[row].mallocs, freed = before.by_size[row].frees;
    CHECK(pthread_create(&thread, NULL, allocate_and_stay, NULL) == 0);
    while (stage != 1)
        sched_yield();
    read_into(&after);
    CHECK(after.by_size[row].mallocs == made + 1000 && after.by_size[row].frees == freed + 1000);
    CHECK(after.threads == 2);
    stage = 2;
    CHECK(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        CHECK(pthread_create(&thread, NULL, allocate_and_end, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    read_into(&after);
    CHECK(after.by_size[row].mallocs == made + 21000 && after.by_size[row].frees == freed + 21000);
    CHECK(after.threads == 1);
}

/* Counters never fall beside threads that allocate as fast as they can. */
static void *allocate_until_told(void *unused)
{
    void *kept[64] = {NULL};
    uint32_t state = 77;
    while (stage != 2) {
        uint32_t r = random_next(&state);
        free(kept[r % 64]);
        kept[r % 64] = malloc(8 + r / 64 % 3000);
    }
    for (int i = 0; i < 64; i++)
        free(kept[i]);
    return unused;
}

static void kind_rises(void)
{
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate_until_told, NULL) == 0);
    for (int i = 0; i < 2000; i++) {
        read_into(&before);
        read_into(&after);
        CHECK(after.mallocs >= before.mallocs && after.frees >= before.frees);
        for (unsigned row = 0; row < GCMALLOC_SIZES; row++)
            CHECK(after.by_size[row].mallocs >= before.by_size[row].mallocs &&
                  after.by_size[row].frees >= before.by_size[row].frees);
    }
    stage = 2;
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    read_into(&after);
    sums_hold(&after);
}

/* In fork's child too. */
static void kind_forked(void)
{
    int status;
    read_into(&before);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        exactly(100, 1000);
        exactly(1 << 20, 3);
        CHECK(gcmalloc_active() && gcmalloc_collect() == 0);
        read_into(&after);
        CHECK(after.num_gc == before.num_gc + 1 && after.num_forced_gc == before.num_forced_gc + 1);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* ---- the same figures by other names ---- */

static unsigned long number_behind(const char *text, const char *words, int nth)
{
    const char *at = text;
    for (int i = 0; i <= nth; i++) {
        at = strstr(i == 0 ? at : at + 1, words);
        CHECK(at != NULL);
    }
    return strtoul(at + strlen(words), NULL, 10);
}

/* What malloc_stats writes. */
static void malloc_stats_text(char *text, size_t room)
{
    int pipes[2], saved = dup(2);
    CHECK(pipe(pipes) == 0 && dup2(pipes[1], 2) == 2);
    malloc_stats();
    fflush(stderr);
    CHECK(dup2(saved, 2) == 2);
    ssize_t got = read(pipes[0], text, room - 1);
    CHECK(got > 0);
    text[got] = 0;
    close(pipes[0]);
    close(pipes[1]);
    close(saved);
}

static void kind_agree(void)
{
    static char text[8192], document[8192];
    char *large = OPAQUE(malloc(3 << 20));
    exactly(300, 1000);
    FILE *stream = fmemopen(document, sizeof document, "w");
    CHECK(malloc_info(0, stream) == 0 && fclose(stream) == 0);
    malloc_stats_text(text, sizeof text);
    struct mallinfo2 m = mallinfo2();
    read_into(&after);
    CHECK(after.alloc + after.cached == m.uordblks + m.hblkhd);
    CHECK(m.hblks == after.by_size[0].mallocs - after.by_size[0].frees && m.hblks >= 1);
    CHECK(after.heap_idle - after.heap_released == m.keepcost * (m.keepcost > 0) || m.keepcost == 0);
    CHECK(number_behind(text, "in use bytes     = ", 1) == m.uordblks + m.hblkhd);
    CHECK(number_behind(text, "large blocks     = ", 0) == m.hblks);
    CHECK(number_behind(text, "cycles           = ", 0) == after.num_gc);
    CHECK(number_behind(text, "reclaimed blocks = ", 0) == after.reclaimed_blocks);
    CHECK(number_behind(document, "type=\"mmap\" count=\"", 0) == m.hblks);
    free(large);
}

/* An older caller's struct, and bad ones. */
static void kind_sizes(void)
{
    struct {
        size_t size;
        uint64_t alloc, total_alloc, behind;
    } old = {24, 0, 0, 77};
    read_into(&before);
    CHECK(gcmalloc_read_stats((struct gcmalloc_stats *)(void *)&old) == 0);
    CHECK(old.size == 24 && old.alloc == before.alloc && old.behind == 77);
    CHECK(gcmalloc_read_stats(NULL) == -1 && errno == EINVAL);
    old.size = 7;
    CHECK(gcmalloc_read_stats((struct gcmalloc_stats *)(void *)&old) == -1 && errno == EINVAL);
    before.size = 1 << 20;
    CHECK(gcmalloc_read_stats(&before) == 0 && before.size == sizeof before);
}

/* ---- cycles ---- */

static NOINLINE void lose(void)
{
    for (int i = 0; i < 100; i++)
        *(volatile char *)OPAQUE((char *)malloc(777)) = 1;
}

static void kind_collect(void)
{
    unsigned row = (read_into(&before), row_of(&before, 778));
    CHECK(gcmalloc_active());
    run_and_forget(lose);
    errno = 77;
    for (int i = 1; i <= 3; i++) {
        CHECK(gcmalloc_collect() == 0 && errno == 77);
        read_into(&after);
        CHECK(after.num_gc >= before.num_gc + (unsigned)i);
        CHECK(after.num_forced_gc == before.num_forced_gc + (unsigned)i);
        unsigned place = (after.num_gc + GCMALLOC_PAUSES - 1) % GCMALLOC_PAUSES;
        CHECK(after.pause_ns[place] != 0 && after.pause_end[place] == after.last_gc);
    }
    CHECK(after.by_size[row].frees - before.by_size[row].frees >= 95);
    CHECK(after.reclaimed_blocks - before.reclaimed_blocks >= 95);
    CHECK(after.pause_total_ns > before.pause_total_ns && after.gc_cpu_fraction > 0);
    CHECK(after.enable_gc == 1 && after.reclaiming == 1 && gcmalloc_reason() == NULL);
    CHECK(gcmalloc_give_back() == 0);
}

static void kind_soon(void)
{
    read_into(&before);
    CHECK(gcmalloc_collect_soon() == 0);
    do {
        sched_yield();
        read_into(&after);
    } while (after.num_gc == before.num_gc);
}

static void kind_disabled(void)
{
    gcmalloc_enable(); /* too many: nothing */
    read_into(&before);
    gcmalloc_disable();
    gcmalloc_disable();
    gcmalloc_enable();
    CHECK(gcmalloc_collect() == -1 && errno == EAGAIN);
    CHECK(gcmalloc_collect_soon() == -1 && errno == EAGAIN);
    CHECK(gcmalloc_reason() != NULL && gcmalloc_active());
    pressure(64 << 20, 1);
    read_into(&after);
    CHECK(after.num_gc == before.num_gc && after.enable_gc == 0);
    gcmalloc_enable();
    CHECK(gcmalloc_collect() == 0);
    read_into(&after);
    CHECK(after.num_gc == before.num_gc + 1 && after.enable_gc == 1);
}

/* A percentage that is set later counts from then on. */
static void kind_percent(void)
{
    CHECK(gcmalloc_set_percent(-5) == 100 && gcmalloc_set_percent(-1) == -1);
    pressure(64 << 20, 1);
    read_into(&before);
    CHECK(before.num_gc == 0);
    CHECK(gcmalloc_set_percent(50) == -1 && gcmalloc_set_percent(1 << 30) == 50);
    CHECK(gcmalloc_set_percent(50) == 1000000);
    pressure(64 << 20, 1);
    read_into(&after);
    CHECK(after.num_gc > 0 && after.num_forced_gc == 0);
    CHECK(gcmalloc_set_limit(1 << 30) == 0 && gcmalloc_set_limit(~(uint64_t)0) == 1 << 30);
    CHECK(gcmalloc_set_limit(0) == (uint64_t)1 << 40);
}

/* ---- options, reports ---- */

static void has_value(const char *name, const char *value)
{
    char text[300];
    CHECK(gcmalloc_get_option(name, text, sizeof text) == (long)strlen(value));
    CHECK(strcmp(text, value) == 0);
}

static void kind_options(void)
{
    static const char *const fixed[] = {"mode", "stacks", "workers", "arena", "barrier", "align"};
    char two[2] = "x";
    has_value("percent", "100");
    has_value("suppressions", "off");
    CHECK(gcmalloc_get_option("percent", two, 2) == 3 && strcmp(two, "1") == 0);
    CHECK(gcmalloc_get_option("percent", NULL, 0) == 3);
    CHECK(gcmalloc_get_option("percent", NULL, 1) == -1 && errno == EINVAL);
    CHECK(gcmalloc_get_option("percents", two, 2) == -1 && errno == EINVAL);
    CHECK(gcmalloc_get_option(NULL, two, 2) == -1 && errno == EINVAL);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        CHECK(gcmalloc_set_option(fixed[i], "1") == -1 && errno == EPERM);
    CHECK(gcmalloc_set_option("nonsense", "1") == -1 && errno == EINVAL);
    CHECK(gcmalloc_set_option("percent", "often") == -1 && errno == EINVAL);
    CHECK(gcmalloc_set_option("percent", "-2") == -1 && errno == EINVAL);
    CHECK(gcmalloc_set_option(NULL, "1") == -1 && errno == EINVAL);
    CHECK(gcmalloc_set_option("percent", NULL) == -1 && errno == EINVAL);
    CHECK(gcmalloc_set_option("percent", " 30 ") == 0 && gcmalloc_set_percent(40) == 30);
    CHECK(gcmalloc_set_option("limit", "2G") == 0 && gcmalloc_set_limit(0) == (uint64_t)2 << 30);
    CHECK(gcmalloc_set_option("confirm", "3") == 0);
    has_value("confirm", "3");
    CHECK(gcmalloc_set_option("max_leaks", "7") == 0 && gcmalloc_set_option("gctrace", "0") == 0);
    has_value("max_leaks", "7");
}

/* report=off and the like at the start: nothing is recorded that could be told. */
static void kind_unrecorded(void)
{
    CHECK(gcmalloc_set_option("report", "stderr") == -1 && errno == EPERM);
    CHECK(gcmalloc_set_option("profile", "x") == -1 && errno == EPERM);
    CHECK(gcmalloc_set_option("exitcode", "1") == -1 && errno == EPERM);
}

static int holds(const char *path, const char *words)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return strstr(text, words) != NULL;
}

static void kind_report(void)
{
    run_and_forget(lose);
    CHECK(gcmalloc_report("now") == 0 && holds("now", "leak of") && holds("now", "in lose"));
    CHECK(gcmalloc_profile("profile") == 0 && holds("profile", "gcmalloc-profile 2"));
    CHECK(holds("profile", "\nend ") && holds("profile", "\ntotal mallocs "));
    CHECK(gcmalloc_report(NULL) == -1 && errno == EINVAL);
    CHECK(gcmalloc_report("") == -1 && errno == EINVAL);
    FILE *file = fopen("known", "w");
    CHECK(file != NULL && fputs("leak:lose\n", file) >= 0 && fclose(file) == 0);
    CHECK(gcmalloc_set_option("suppressions", "known") == 0);
    CHECK(gcmalloc_report("later") == 0 && !holds("later", "in lose"));
    CHECK(holds("later", "Suppressions used"));
    CHECK(gcmalloc_set_option("suppressions", "off") == 0);
    CHECK(gcmalloc_report("again") == 0 && holds("again", "in lose"));
    CHECK(gcmalloc_set_option("report", "at_exit") == 0);
}

static void kind_report_nowhere(void)
{
    CHECK(gcmalloc_report("no/such/directory/file") == -1 && errno == EIO);
}

/* ---- in handlers ---- */

static volatile sig_atomic_t read_well, refused;

static void read_in_handler(int number)
{
    static struct gcmalloc_stats s;
    (void)number;
    int saved = errno;
    s.size = sizeof s;
    gcmalloc_disable();
    gcmalloc_enable();
    if (gcmalloc_active() && gcmalloc_read_stats(&s) == 0)
        read_well = read_well + 1;
    else if (errno == EAGAIN)
        refused = refused + 1;
    else
        _exit(3);
    gcmalloc_collect_soon();
    errno = saved;
}

/* Signals that come in the middle of malloc and free, fast and slow paths. */
static void kind_handler(void)
{
    static char stack[16384];
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = read_in_handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    struct itimerspec often = {{0, 200000}, {0, 200000}};
    timer_t timer;
    CHECK(sigaltstack(&alternate, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
    CHECK(timer_settime(timer, 0, &often, NULL) == 0);
    for (int i = 0; i < 200 && read_well < 50; i++)
        pressure(4 << 20, 0);
    CHECK(timer_delete(timer) == 0 && read_well > 0);
    read_into(&after);
    sums_hold(&after);
}

/* ---- mode=off ---- */

static void kind_off(void)
{
    CHECK(!gcmalloc_active() && strcmp(gcmalloc_reason(), "mode is off") == 0);
    exactly(100, 1000);
    exactly(1 << 20, 3);
    read_into(&after);
    CHECK(after.num_gc == 0 && after.enable_gc == 0);
    CHECK(is_absent(gcmalloc_collect()) && is_absent(gcmalloc_collect_soon()));
    CHECK(is_absent(gcmalloc_give_back()) && is_absent(gcmalloc_set_option("percent", "1")));
    CHECK(is_absent(gcmalloc_report("never")));
    CHECK(gcmalloc_set_percent(7) == 100 && gcmalloc_set_percent(100) == 7);
    has_value("mode", "off");
}

static const struct kind kinds[] = {
    KIND(absent), KIND(exact), KIND(resized), KIND(threads), KIND(rises), KIND(forked), KIND(agree),
    KIND(sizes), KIND(collect), KIND(soon), KIND(disabled), KIND(percent), KIND(options),
    KIND(unrecorded), KIND(report), KIND(report_nowhere), KIND(handler), KIND(off),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    setvbuf(stdout, NULL, _IONBF, 0);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
