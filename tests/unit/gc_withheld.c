/* gc_withheld.c -- who touches a judged block is told of, once, and finds it as it was. */
#include "gc/withheld.h"

#include "child.h"
#include "heap/heap.h"
#include "heap/judge.h"
#include "mutator/alloc.h"
#include "sys/signal.h"

#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>

enum { MANY = 16384 };

/* Written in a handler. */
static volatile struct {
    unsigned calls;
    uintptr_t block, address, pc;
    enum withheld_touch how;
} told;

static void on_touched(const struct block *block, const struct withheld_access *access)
{
    told.calls++;
    told.block = block->start;
    told.address = access->address;
    told.pc = access->pc;
    told.how = access->how;
}

static void start(void)
{
    static const struct alloc_settings settings = {.arena = true, .whole_pages = true};
    EXPECT(heap_init(1024 * MIB, true));
    alloc_start(&settings);
    withheld_start(on_touched);
    EXPECT(withheld_on());
}

/* Its mark is two cycles old. */
static void make_due(const struct block *b)
{
    relaxed_store(slot_of(b->start), epoch_before(epoch_before(relaxed_load(&hot.epoch))));
}

static char *make_judged(size_t size, struct block *b)
{
    char *p = alloc_malloc(size);
    EXPECT(p != NULL && (uintptr_t)p % PAGE_SIZE == 0 && block_find((uintptr_t)p, b));
    memset(p, 'x', size);
    make_due(b);
    return p;
}

static bool was_told(const struct block *b, enum withheld_touch how, uintptr_t address)
{
    bool right = told.calls == 1 && told.block == b->start && told.how == how &&
                 told.address == address;
    told.calls = 0;
    return right;
}

static char read_byte(const char *p)
{
    return *(const volatile char *)p;
}

static void touches(void)
{
    start();
    static const size_t sizes[] = {1, 4000, 5000, 100000, 3000000};
    struct block b;
    for (size_t i = 0; i < GC_COUNT(sizes); i++) {
        char *p = make_judged(sizes[i], &b), *last = p + sizes[i] - 1;
        withheld_add(&b);
        EXPECT(read_byte(last) == 'x' && was_told(&b, TOUCH_READ, (uintptr_t)last));
        EXPECT(told.pc != 0 && read_byte(p) == 'x' && told.calls == 0);
        make_due(&b); /* the touch has made it reached */
        withheld_add(&b);
        *(volatile char *)p = 'y';
        EXPECT(was_told(&b, TOUCH_WRITE, (uintptr_t)p) && read_byte(p) == 'y');
        make_due(&b);
        withheld_add(&b);
        withheld_argument((uintptr_t)p);
        EXPECT(was_told(&b, TOUCH_CALL, (uintptr_t)p));
        make_due(&b);
        withheld_add(&b);
        withheld_free(&b);
        EXPECT(was_told(&b, TOUCH_FREE, (uintptr_t)p) && read_byte(p) == 'y' && told.calls == 0);
    }
    EXPECT(withheld_counts().blocks == 4 * GC_COUNT(sizes));
    EXPECT(withheld_counts().touched == 4 * GC_COUNT(sizes));
    withheld_argument((uintptr_t)&b);
    EXPECT(told.calls == 0);
}

static bool is_accessible(const char *p)
{
    int end[2];
    EXPECT(pipe(end) == 0);
    bool good = write(end[1], p, 1) == 1;
    close(end[0]);
    close(end[1]);
    return good;
}

static sigjmp_buf way_out;
static int faults;

static void on_program_fault(int signal, siginfo_t *info, void *context)
{
    (void)context;
    EXPECT(signal == SIGSEGV && info != NULL);
    faults++;
    siglongjmp(way_out, 1);
}

/* A later mark has reached it: nothing is proven. */
static void reached_again(void)
{
    start();
    struct block b;
    char *p = make_judged(100, &b);
    withheld_add(&b);
    relaxed_store(slot_of(b.start), relaxed_load(&hot.epoch));
    EXPECT(read_byte(p) == 'x' && told.calls == 0 && withheld_counts().touched == 0);
    make_due(&b);
    withheld_add(&b);
    withheld_mark_ended();
    EXPECT(!is_accessible(p));
    relaxed_store(slot_of(b.start), relaxed_load(&hot.epoch));
    withheld_mark_ended();
    EXPECT(is_accessible(p));
}

/* What is executed there, and not for want of being given back. */
static void executed(void)
{
    start();
    struct block b;
    struct signal_action set = {.handler = on_program_fault, .flags = SA_SIGINFO};
    withheld_swap_action(&set, NULL);
    char *p = make_judged(100, &b);
    withheld_add(&b);
    if (sigsetjmp(way_out, 1) == 0) {
        void (*run)(void);
        memcpy(&run, &p, sizeof run);
        run();
    }
    EXPECT(faults == 1 && !withheld_on() && told.calls == 1);
}

static void oldest_goes(void)
{
    start();
    struct block b;
    char *first = make_judged(1, &b), *second;
    withheld_add(&b);
    second = make_judged(1, &b);
    withheld_add(&b);
    EXPECT(!is_accessible(first) && !is_accessible(second));
    for (unsigned i = 0; i < MANY - 1; i++) {
        make_judged(1, &b);
        withheld_add(&b);
    }
    EXPECT(is_accessible(first) && !is_accessible(second));
    withheld_end();
    EXPECT(is_accessible(second) && told.calls == 0 && !withheld_on());
}

/* What the program has set is put in place, and nothing is withheld any more. */
static void faults_of_its_own(void)
{
    start();
    struct block b;
    struct signal_action set = {.handler = on_program_fault, .flags = SA_SIGINFO}, old;
    withheld_swap_action(&set, &old);
    EXPECT((uintptr_t)old.handler == (uintptr_t)SIG_DFL);
    withheld_swap_action(NULL, &old);
    EXPECT(old.handler == on_program_fault && old.flags == SA_SIGINFO);
    char *p = make_judged(100, &b);
    withheld_add(&b);
    char *page = mmap(NULL, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sigsetjmp(way_out, 1) == 0)
        read_byte(page);
    EXPECT(faults == 1 && !withheld_on() && is_accessible(p));
    if (sigsetjmp(way_out, 1) == 0)
        raise(SIGSEGV);
    EXPECT(faults == 2);
}

/* Sent by somebody, while it is ours. */
static void sent(void)
{
    start();
    struct signal_action set = {.handler = on_program_fault, .flags = SA_SIGINFO};
    withheld_swap_action(&set, NULL);
    if (sigsetjmp(way_out, 1) == 0)
        raise(SIGSEGV);
    EXPECT(faults == 1 && !withheld_on());
}

static void in_child_of_fork(void)
{
    start();
    struct block b;
    char *p = make_judged(100, &b);
    withheld_add(&b);
    int status, pid = fork();
    if (pid == 0)
        _exit(read_byte(p) == 'x' && was_told(&b, TOUCH_READ, (uintptr_t)p) ? 0 : 1);
    EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
    EXPECT(told.calls == 0 && !is_accessible(p));
}

IN_CHILD(touches)
IN_CHILD(reached_again)
IN_CHILD(executed)
IN_CHILD(oldest_goes)
IN_CHILD(faults_of_its_own)
IN_CHILD(sent)
IN_CHILD(in_child_of_fork)

UNIT_MAIN(TEST(test_touches), TEST(test_reached_again), TEST(test_executed),
          TEST(test_oldest_goes),
          TEST(test_faults_of_its_own), TEST(test_sent), TEST(test_in_child_of_fork))
