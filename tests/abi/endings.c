/* endings.c -- ways for a process to end, or to become another one, while its threads allocate.
 *
 *     endings KIND [GENERATION]
 *
 * Threads (`worker`) hold blocks in their frames only, change them about, leak, and check them, for
 * as long as the process lives. Meanwhile it exits, aborts, forks, becomes a daemon, or is replaced
 * by another program; whoever goes on after that checks what it holds. What comes last prints
 * "done".
 *
 * close_all, first_open: descriptors that the program did not open are not there for it, neither to
 * be closed by it nor to take the numbers that it counts on. */
#include "kept.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum {
    WORKERS = 4,
    PLACES = 8,
    LEAKING_ROUNDS = 100,    /* of a worker: 25 MB, for without a collector they stay */
    SOME_ROUNDS = 300,       /* of all workers together */
    GENERATIONS = 10,
    FORKS = 24,
    AT_A_TIME = 3,
    GOOD = 42,
};

static atomic_int rounds, stop;
static pthread_t workers[WORKERS];
static const char *generation;

static size_t place_size(unsigned seed)
{
    return 16 + seed * 397 % 5000;
}

/* One round: a block is replaced, two change places, something is leaked. */
static NOINLINE void work(void *volatile *place, unsigned *seeds, uint32_t *state, int leak)
{
    uint32_t r = random_next(state);
    unsigned i = r % PLACES, j = r / PLACES % PLACES, seed = seeds[i];
    void *block = place[i];
    CHECK(pattern_holds(block, place_size(seed), seed));
    place[i] = place[j];
    seeds[i] = seeds[j];
    place[j] = block;
    seeds[j] = seed;
    pressure(256 << 10, leak);
    CHECK(pattern_holds(block, place_size(seed), seed));
    free(block);
    seeds[j] = r % 1000;
    place[j] = block_make(place_size(seeds[j]), seeds[j]);
    atomic_fetch_add(&rounds, 1);
}

static void work_for(unsigned most)
{
    void *volatile place[PLACES];
    unsigned seeds[PLACES];
    uint32_t state = 3 + (uint32_t)gettid();
    for (unsigned i = 0; i < PLACES; i++)
        place[i] = block_make(place_size(i), seeds[i] = i);
    for (unsigned round = 0; round < most && !atomic_load(&stop); round++)
        work(place, seeds, &state, round < LEAKING_ROUNDS);
    for (unsigned i = 0; i < PLACES; i++) {
        CHECK(pattern_holds(place[i], place_size(seeds[i]), seeds[i]));
        free(place[i]);
    }
}

static void *worker(void *unused)
{
    work_for(UINT32_MAX);
    return unused;
}

static void workers_start(int count)
{
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&workers[i], NULL, worker, NULL) == 0);
}

static void workers_end(int count)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(workers[i], NULL) == 0);
    atomic_store(&stop, 0);
}

static void await_rounds(int more)
{
    int until = atomic_load(&rounds) + more;
    while (atomic_load(&rounds) < until)
        sched_yield();
}

static void say_done(void)
{
    CHECK(write(STDOUT_FILENO, "done\n", 5) == 5);
}

/* ---- exits ---- */

static void *handlers_block;

static void use_heap(void)
{
    pressure(2 << 20, 1);
    char *again = realloc(block_make(3000, 5), 9000);
    CHECK(again != NULL && pattern_holds(again, 3000, 5));
    free(again);
    kept_check_one(handlers_block, 3);
}

static NOINLINE void handlers_block_make(void)
{
    void *place[KEPT];
    kept_fill(place);
    handlers_block = place[3];
}

static void begin(void)
{
    run_and_forget(handlers_block_make);
    workers_start(WORKERS);
    await_rounds(SOME_ROUNDS);
}

static void kind_exit(void)
{
    CHECK(atexit(use_heap) == 0);
    begin();
}

static void *exiting_thread(void *unused)
{
    use_heap();
    say_done();
    exit(0);
    return unused;
}

static void kind_exit_thread(void)
{
    pthread_t thread;
    CHECK(atexit(use_heap) == 0);
    begin();
    CHECK(pthread_create(&thread, NULL, exiting_thread, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(!"joined");
}

static void *leaving_worker(void *unused)
{
    work_for(SOME_ROUNDS);
    return unused;
}

/* The process ends with its last thread, as if that had called exit(0). */
static void kind_main_leaves(void)
{
    pthread_t thread;
    run_and_forget(handlers_block_make);
    CHECK(atexit(say_done) == 0 && atexit(use_heap) == 0);
    for (int i = 0; i < WORKERS; i++)
        CHECK(pthread_create(&thread, NULL, leaving_worker, NULL) == 0 &&
              pthread_detach(thread) == 0);
    await_rounds(SOME_ROUNDS);
    pthread_exit(NULL);
}

static void kind_quick_exit(void)
{
    CHECK(at_quick_exit(say_done) == 0 && at_quick_exit(use_heap) == 0);
    begin();
    quick_exit(0);
}

static void kind_at_once(void)
{
    begin();
    say_done();
    _exit(0);
}

static void on_abort(int signal)
{
    CHECK(signal == SIGABRT);
    use_heap();
    say_done();
}

static void no_core(void)
{
    struct rlimit none = { 0, 0 };
    CHECK(setrlimit(RLIMIT_CORE, &none) == 0);
}

static void kind_abort(void)
{
    no_core();
    begin();
    say_done();
    abort();
}

/* The handler returns, and the process ends all the same. */
static void kind_abort_handled(void)
{
    no_core();
    CHECK(signal(SIGABRT, on_abort) == SIG_DFL);
    begin();
    abort();
}

/* ---- processes that go on as others ---- */

static void expect(pid_t child, int status_wanted)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != status_wanted) {
        fprintf(stderr, "a child ended with wait status %x\n", (unsigned)status);
        _exit(1);
    }
}

static _Noreturn void be_daemon(int result, void **place)
{
    if (daemon(0, 1) != 0)
        _exit(1);
    begin();
    load();
    kept_check(place);
    workers_end(WORKERS);
    kept_check(place);
    CHECK(write(result, "good", 4) == 4);
    exit(0);
}

/* daemon() forks, and the first process ends: by a child, so that somebody can hear of it. */
static void kind_daemon(void)
{
    static void *place[KEPT];
    char text[8];
    int ends[2];
    CHECK(pipe(ends) == 0);
    kept_fill_and_forget(place);
    load();
    workers_start(WORKERS);
    await_rounds(SOME_ROUNDS);
    pid_t child = fork();
    if (child == 0)
        be_daemon(ends[1], place);
    expect(child, 0);
    CHECK(close(ends[1]) == 0);
    CHECK(read(ends[0], text, sizeof text) == 4 && memcmp(text, "good", 4) == 0);
    CHECK(read(ends[0], text, sizeof text) == 0);
    kept_check(place);
}

static void *replacing_thread(void *unused)
{
    char next[16];
    snprintf(next, sizeof next, "%d", atoi(generation) + 1);
    await_rounds(SOME_ROUNDS / 3);
    execl("/proc/self/exe", "endings", "exec_thread", next, (char *)NULL);
    CHECK(!"replaced");
    return unused;
}

/* Each generation replaces itself while its threads run; the last one ends. */
static void kind_exec_thread(void)
{
    pthread_t thread;
    workers_start(WORKERS);
    if (atoi(generation) == GENERATIONS) {
        await_rounds(SOME_ROUNDS);
        return;
    }
    CHECK(pthread_create(&thread, NULL, replacing_thread, NULL) == 0);
    pthread_join(thread, NULL);
    CHECK(!"joined");
}

/* Each generation forks in the middle of its load, and ends with its number. What its frames hold
 * is checked by all that descend from it. */
static NOINLINE void descend(int number)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    workers_start(2);
    await_rounds(SOME_ROUNDS / 3);
    if (number < GENERATIONS) {
        pid_t child = fork();
        if (child == 0) {
            descend(number + 1);
            kept_check((void **)place);
            exit(number + 1);
        }
        await_rounds(SOME_ROUNDS / 3);
        workers_end(2);
        expect(child, number + 1);
    } else {
        workers_end(2);
    }
    kept_check((void **)place);
}

static void kind_chain(void)
{
    descend(0);
}

static void *held_in_bss[KEPT];
static __thread void *held_in_tls[KEPT];

static _Noreturn void child_works(void *const *place)
{
    kept_check(held_in_bss);
    pressure(4 << 20, 1);
    workers_start(1);
    await_rounds(20);
    workers_end(1);
    kept_check(held_in_bss);
    kept_check(held_in_tls);
    kept_check(place);
    exit(GOOD);
}

static void kind_forks(void)
{
    void *volatile place[KEPT];
    pid_t children[FORKS];
    kept_fill_and_forget(held_in_bss);
    kept_fill(held_in_tls);
    kept_fill((void **)place);
    workers_start(WORKERS);
    for (int i = 0; i < FORKS; i++) {
        await_rounds(10);
        children[i] = fork();
        if (children[i] == 0)
            child_works((void **)place);
        if (i >= AT_A_TIME)
            expect(children[i - AT_A_TIME], GOOD);
        kept_check(held_in_tls);
    }
    for (int i = FORKS - AT_A_TIME; i < FORKS; i++)
        expect(children[i], GOOD);
    workers_end(WORKERS);
    kept_check(held_in_bss);
    kept_check(held_in_tls);
    kept_check((void **)place);
}

/* ---- descriptors ---- */

static void close_one_by_one(void)
{
    for (int fd = 3; fd < 2000; fd++)
        close(fd);
}

static void kind_close_all(void)
{
    static void *place[KEPT];
    kept_fill_and_forget(place);
    for (int round = 0; round < 6; round++) {
        pthread_t thread = load_begin();
        while (!atomic_load(&loaded))
            CHECK(close_range(3, ~0u, 0) == 0);
        load_end(thread);
        kept_check(place);
        if (round % 2)
            closefrom(3);
        else
            close_one_by_one();
        load();
        kept_check(place);
    }
}

/* Of what this process has open, the standard ones and the directory itself are all. */
static void only_standard(void)
{
    DIR *all = opendir("/proc/self/fd");
    CHECK(all != NULL && dirfd(all) == 3);
    for (struct dirent *entry; (entry = readdir(all)) != NULL;)
        CHECK(entry->d_name[0] == '.' || atoi(entry->d_name) <= 3 || atoi(entry->d_name) > 20);
    CHECK(closedir(all) == 0);
}

static void first_is_3(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd == 3);
    CHECK(close(fd) == 0);
}

static void kind_first_open(void)
{
    static void *place[KEPT];
    only_standard();
    kept_fill_and_forget(place);
    pthread_t thread = load_begin();
    while (!atomic_load(&loaded)) {
        first_is_3();
        only_standard();
    }
    load_end(thread);
    only_standard();
    pid_t child = fork();
    if (child == 0) {
        only_standard();
        load();
        only_standard();
        kept_check(place);
        exit(GOOD);
    }
    expect(child, GOOD);
    first_is_3();
    kept_check(place);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(exit), KIND(exit_thread), KIND(main_leaves), KIND(quick_exit), KIND(at_once), KIND(abort),
    KIND(abort_handled), KIND(daemon), KIND(exec_thread), KIND(chain), KIND(forks),
    KIND(close_all), KIND(first_open),
};

/* Before anything else: who opens a file first gets the number 3. */
__attribute__((constructor)) static void at_start(void)
{
    first_is_3();
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 || argc == 3);
    generation = argc == 3 ? argv[2] : "0";
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
