/* reachable.c -- blocks with one reference each, in one place each.   reachable KIND free|leak
 * PLUGIN
 *
 * For a KIND ("a word in .bss", "a register of another thread") seven blocks from 24 bytes to 3 MB
 * are made, whose only references lie there. Then a second thread allocates 120 MB, which it frees
 * or leaks, and under the library cycles run all the while. A block taken for garbage would be
 * handed out again and overwritten: at the end every byte is compared. The references stay until
 * after exit.
 *
 * The kind `hidden` is the control: its references are disguised, so the library must take the
 * blocks away. If that kind passes with the contents intact, the others prove nothing. */
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "abi.h"

enum { KEPT = 7, KEYS = 101, POOL = 1 << 20 };

static const size_t kept_sizes[KEPT] = { 24, 100, 1000, 5000, 40000, 300000, 3000000 };
static int leaking;
static void *plugin;

EXPORT NOINLINE void *kept_block(size_t size, unsigned seed)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    pattern_fill(block, size, seed);
    return OPAQUE(block);
}

static NOINLINE void place_fill(void **place, size_t offset_part)
{
    for (unsigned i = 0; i < KEPT; i++) {
        char *block = kept_block(kept_sizes[i], i);
        place[i] = offset_part ? block + kept_sizes[i] / offset_part : block;
    }
}

static NOINLINE void place_check(void **place, size_t offset_part)
{
    for (unsigned i = 0; i < KEPT; i++) {
        char *block = place[i];
        if (offset_part)
            block -= kept_sizes[i] / offset_part;
        CHECK(pattern_holds(block, kept_sizes[i], i));
    }
}

/* Ends the process from within the frames that hold the references. */
static _Noreturn void finish(void)
{
    puts("done");
    exit(0);
}

/* ---- the load ---------------------------------------------------------------------------- */

static void *load_thread(void *unused)
{
    (void)unused;
    pressure(120u << 20, leaking);
    stack_clear();
    return NULL;
}

static NOINLINE void load(void)
{
    pthread_t thread;
    stack_clear();
    CHECK(pthread_create(&thread, NULL, load_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void fill_load_check(void **place, size_t offset_part)
{
    place_fill(place, offset_part);
    load();
    place_check(place, offset_part);
}

/* ---- places in memory of the program and of libraries -------------------------------------- */

static void *data_place[KEPT] = { data_place };
static void *bss_place[KEPT];
static __thread void *tls_place[KEPT];
static __thread void *tls_data_place[KEPT] = { data_place };

static void kind_data(void)
{
    fill_load_check(data_place, 0);
}

static void kind_bss(void)
{
    fill_load_check(bss_place, 0);
}

static void kind_tls(void)
{
    fill_load_check(tls_place, 0);
}

static void kind_tls_data(void)
{
    fill_load_check(tls_data_place, 0);
}

static void **plugin_place(const char *function)
{
    void **(*get)(void);
    *(void **)&get = dlsym(plugin, function);
    CHECK(get != NULL);
    return get();
}

static void kind_plugin_data(void)
{
    fill_load_check(plugin_place("plugin_data_place"), 0);
}

static void kind_plugin_bss(void)
{
    fill_load_check(plugin_place("plugin_bss_place"), 0);
}

static void kind_plugin_tls(void)
{
    fill_load_check(plugin_place("plugin_tls_place"), 0);
}

static void kind_interior(void)
{
    fill_load_check(bss_place, 2);
}

static void kind_last_byte(void)
{
    place_fill(bss_place, 0);
    for (unsigned i = 0; i < KEPT; i++)
        bss_place[i] = (char *)bss_place[i] + kept_sizes[i] - 1;
    load();
    for (unsigned i = 0; i < KEPT; i++)
        bss_place[i] = (char *)bss_place[i] - (kept_sizes[i] - 1);
    place_check(bss_place, 0);
}

/* C lets a program hold the address behind the last byte, and php does: it keeps arrays whose first
 * element it counts as number -1, by the address of number 0, which is the end if there is one
 * element. */
static void kind_past_end(void)
{
    static const size_t sizes[] = { 16, 32, 48, 64, 256, 1024, 4096, 65536, 1 << 20 };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    static char *ends[SIZES];
    for (unsigned i = 0; i < SIZES; i++)
        ends[i] = (char *)kept_block(sizes[i], i) + sizes[i];
    load();
    for (unsigned i = 0; i < SIZES; i++)
        CHECK(pattern_holds(ends[i] - sizes[i], sizes[i], i));
}

static void kind_large_interior(void)
{
    size_t size = 30u << 20, offset = 20u << 20;
    bss_place[0] = (char *)kept_block(size, 9) + offset;
    load();
    CHECK(pattern_holds((char *)bss_place[0] - offset, size, 9));
}

/* ---- places in mappings ------------------------------------------------------------------- */

static void **pool;

static void pool_map(int flags, int fd)
{
    pool = mmap(NULL, POOL, PROT_READ | PROT_WRITE, flags, fd, 0);
    CHECK(pool != MAP_FAILED);
    pool = (void **)((char *)pool + POOL / 2);
}

static int file_of_zeros(int fd)
{
    CHECK(fd >= 0 && ftruncate(fd, POOL) == 0);
    return fd;
}

static void kind_pool_private(void)
{
    pool_map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill_load_check(pool, 0);
}

static void kind_pool_shared(void)
{
    pool_map(MAP_SHARED | MAP_ANONYMOUS, -1);
    fill_load_check(pool, 0);
}

static void kind_pool_memfd(void)
{
    pool_map(MAP_SHARED, file_of_zeros(memfd_create("pool", MFD_CLOEXEC)));
    fill_load_check(pool, 0);
}

static void kind_pool_shm(void)
{
    char path[] = "/dev/shm/reachable-XXXXXX";
    pool_map(MAP_SHARED, file_of_zeros(mkstemp(path)));
    CHECK(unlink(path) == 0);
    fill_load_check(pool, 0);
}

static void kind_pool_file(void)
{
    char path[] = "/tmp/reachable-XXXXXX";
    pool_map(MAP_PRIVATE, file_of_zeros(mkstemp(path)));
    CHECK(unlink(path) == 0);
    fill_load_check(pool, 0);
}

/* The reference is in memory that has since been made read-only. */
static void kind_pool_read_only(void)
{
    pool_map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place_fill(pool, 0);
    CHECK(mprotect((char *)pool - POOL / 2, POOL, PROT_READ) == 0);
    load();
    place_check(pool, 0);
}

/* ---- through other blocks ----------------------------------------------------------------- */

struct link {
    void *next;
    void *words[KEPT];
};

static NOINLINE void chain_build(void)
{
    struct link *cleared = calloc(3, sizeof *cleared);
    struct link *grown = malloc(16);
    void *aligned = NULL;
    CHECK(cleared != NULL && grown != NULL);
    grown = realloc(grown, 100000);
    CHECK(grown != NULL && posix_memalign(&aligned, 8192, sizeof *grown) == 0);
    struct link *odd = memalign(64, sizeof *odd), *last = aligned_alloc(65536, 70000);
    CHECK(odd != NULL && last != NULL);
    bss_place[0] = cleared;
    cleared[2].next = (char *)grown + 99000;
    *(void **)((char *)grown + 5000) = aligned;
    ((struct link *)aligned)->next = odd;
    odd->next = last;
    place_fill(last->words, 0);
}

static void kind_chain(void)
{
    chain_build();
    load();
    struct link *cleared = bss_place[0];
    char *grown = (char *)cleared[2].next - 99000;
    struct link *aligned = *(void **)(grown + 5000), *odd = aligned->next, *last = odd->next;
    place_check(last->words, 0);
}

/* ---- thread-specific keys ------------------------------------------------------------------ */

static pthread_key_t keys[KEYS];

static NOINLINE void keys_fill(void)
{
    for (unsigned i = 0; i < KEYS; i++) {
        CHECK(pthread_key_create(&keys[i], NULL) == 0);
        CHECK(pthread_setspecific(keys[i], kept_block(50 + i * 10, i)) == 0);
    }
}

static void keys_check(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        CHECK(pattern_holds(pthread_getspecific(keys[i]), 50 + i * 10, i));
}

static void kind_keys(void)
{
    keys_fill();
    load();
    keys_check();
}

/* ---- a second thread that sleeps; it stays until the process has ended ----------------------- */

static sem_t filled, check_now, checked;

static void fill_wait_check(void **place)
{
    place_fill(place, 0);
    stack_clear();
    sem_post(&filled);
    while (sem_wait(&check_now) != 0)
        CHECK(errno == EINTR);
    place_check(place, 0);
    sem_post(&checked);
    for (;;)
        pause();
}

static void *tls_thread(void *unused)
{
    fill_wait_check(tls_place);
    return unused;
}

static void *plugin_tls_thread(void *unused)
{
    fill_wait_check(plugin_place("plugin_tls_place"));
    return unused;
}

static void *stack_thread(void *unused)
{
    void *place[KEPT];
    fill_wait_check(OPAQUE(&place[0]));
    return unused;
}

static void *keys_thread(void *unused)
{
    keys_fill();
    stack_clear();
    sem_post(&filled);
    while (sem_wait(&check_now) != 0)
        CHECK(errno == EINTR);
    keys_check();
    sem_post(&checked);
    for (;;)
        pause();
    return unused;
}

static void with_thread(void *(*function)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0);
    CHECK(sem_wait(&filled) == 0);
    load();
    sem_post(&check_now);
    while (sem_wait(&checked) != 0)
        CHECK(errno == EINTR);
}

static void kind_thread_tls(void)
{
    with_thread(tls_thread);
}

static void kind_thread_plugin_tls(void)
{
    with_thread(plugin_tls_thread);
}

static void kind_thread_stack(void)
{
    with_thread(stack_thread);
}

static void kind_thread_keys(void)
{
    with_thread(keys_thread);
}

static void kind_main_stack(void)
{
    void *place[KEPT];
    fill_load_check(OPAQUE(&place[0]), 0);
    finish();
}

/* ---- registers of a running thread ----------------------------------------------------------- */

static void **register_in, **register_out;
static volatile int register_held, register_release;

static NOINLINE void register_fill(void)
{
    void **place = malloc(KEPT * sizeof *place);
    CHECK(place != NULL);
    place_fill(place, 0);
    register_in = place;
}

#define HOLD_IN(move, name, held) \
    static void *name(void *unused) \
    { \
        __asm__ volatile(move " (%0), %%" held "; movq $0, (%0); movl $1, (%1)\n" \
                         "1: pause; cmpl $0, (%2); je 1b\n" move " %%" held ", (%3)" \
                         : \
                         : "r"(&register_in), "r"(&register_held), "r"(&register_release), \
                           "r"(&register_out) \
                         : held, "memory"); \
        return unused; \
    }

HOLD_IN("movq", hold_in_r12, "r12")
HOLD_IN("movq", hold_in_rdi, "rdi")
HOLD_IN("movq", hold_in_xmm9, "xmm9")

static void with_register(void *(*function)(void *))
{
    pthread_t thread;
    register_fill();
    stack_clear();
    CHECK(pthread_create(&thread, NULL, function, NULL) == 0);
    while (!register_held)
        sched_yield();
    CHECK(register_in == NULL && register_out == NULL);
    load();
    register_release = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    place_check(register_out, 0);
}

static void kind_register(void)
{
    with_register(hold_in_r12);
}

static void kind_register_scratch(void)
{
    with_register(hold_in_rdi);
}

static void kind_register_vector(void)
{
    with_register(hold_in_xmm9);
}

/* ---- other stacks ------------------------------------------------------------------------------
 * */

enum { COROUTINE_STACK = 512 * 1024 };

static ucontext_t main_context, coroutine_context;

static void coroutine(void)
{
    void *place[KEPT];
    place_fill(OPAQUE(&place[0]), 0);
    stack_clear();
    swapcontext(&coroutine_context, &main_context);
    place_check(OPAQUE(&place[0]), 0);
    swapcontext(&coroutine_context, &main_context);
}

static void coroutine_on(void *stack)
{
    CHECK(stack != NULL && stack != MAP_FAILED);
    CHECK(getcontext(&coroutine_context) == 0);
    coroutine_context.uc_stack.ss_sp = stack;
    coroutine_context.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&coroutine_context, coroutine, 0);
    CHECK(swapcontext(&main_context, &coroutine_context) == 0);
    load();
    CHECK(swapcontext(&main_context, &coroutine_context) == 0);
}

static void kind_coroutine_mapped(void)
{
    coroutine_on(mmap(NULL, COROUTINE_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0));
}

static void kind_coroutine_heap(void)
{
    coroutine_on(malloc(COROUTINE_STACK));
}

static void **outer_place;

static void coroutine_loaded(void)
{
    void *place[KEPT];
    place_fill(outer_place, 0);
    fill_load_check(OPAQUE(&place[0]), 0);
    place_check(outer_place, 0);
    finish();
}

/* The load runs while the main thread is on a stack that is a heap block, and its own stack sleeps
 * with references of its own. */
static void kind_coroutine_running(void)
{
    void *place[KEPT];
    outer_place = OPAQUE(&place[0]);
    CHECK(getcontext(&coroutine_context) == 0);
    coroutine_context.uc_stack.ss_sp = malloc(COROUTINE_STACK);
    coroutine_context.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&coroutine_context, coroutine_loaded, 0);
    swapcontext(&main_context, &coroutine_context);
    CHECK(!"back from the coroutine");
}

/* The block under this stack is known to the kernel, and to nobody else but the stack pointer. */
static void on_alternate_stack(int signal)
{
    void *place[KEPT];
    CHECK(signal == SIGUSR1);
    fill_load_check(OPAQUE(&place[0]), 0);
    place_check(outer_place, 0);
    finish();
}

static NOINLINE void alternate_stack_install(void)
{
    stack_t stack = { .ss_size = COROUTINE_STACK };
    struct sigaction action = { .sa_flags = SA_ONSTACK };
    stack.ss_sp = malloc(COROUTINE_STACK);
    action.sa_handler = on_alternate_stack;
    CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

static void kind_alternate_stack(void)
{
    void *place[KEPT];
    alternate_stack_install();
    outer_place = OPAQUE(&place[0]);
    place_fill(outer_place, 0);
    CHECK(raise(SIGUSR1) == 0);
    CHECK(!"back from the handler");
}

/* ---- places that libc keeps
 * ---------------------------------------------------------------------- */

static void *argument_thread(void *argument)
{
    CHECK(pattern_holds(argument, 200, 3));
    free(argument);
    return NULL;
}

static void kind_thread_argument(void)
{
    pthread_t load_id, threads[8];
    CHECK(pthread_create(&load_id, NULL, load_thread, NULL) == 0);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 8; i++)
            CHECK(pthread_create(&threads[i], NULL, argument_thread, kept_block(200, 3)) == 0);
        for (int i = 0; i < 8; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(pthread_join(load_id, NULL) == 0);
}

static void *result_thread(void *unused)
{
    (void)unused;
    void *result = kept_block(1000, 4);
    stack_clear();
    return result;
}

/* The result of an ended thread that nobody has joined yet is only in its struct pthread. */
static void kind_thread_result(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        CHECK(pthread_create(&threads[i], NULL, result_thread, NULL) == 0);
    load();
    for (int i = 0; i < 8; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0);
        CHECK(pattern_holds(result, 1000, 4));
        free(result);
    }
}

static void at_exit(int status, void *argument)
{
    CHECK(status == 0 && pattern_holds(argument, 500, 6));
    free(argument);
}

static NOINLINE void exit_register(void)
{
    for (int i = 0; i < 100; i++)
        CHECK(on_exit(at_exit, kept_block(500, 6)) == 0);
}

static void kind_exit_argument(void)
{
    exit_register();
    load();
}

static NOINLINE void environment_fill(void)
{
    for (int i = 0; i < 50; i++) {
        char *text = malloc(64);
        CHECK(text != NULL);
        snprintf(text, 64, "KEPT_%d=value %d", i, i);
        CHECK(putenv(text) == 0);
    }
}

static void kind_environment(void)
{
    environment_fill();
    load();
    for (int i = 0; i < 50; i++) {
        char name[32], value[32];
        snprintf(name, sizeof name, "KEPT_%d", i);
        snprintf(value, sizeof value, "value %d", i);
        CHECK(getenv(name) != NULL && strcmp(getenv(name), value) == 0);
    }
}

static NOINLINE void stream_open(void)
{
    FILE *stream = fdopen(dup(1), "w");
    CHECK(stream != NULL);
    CHECK(fputs("written by exit\n", stream) >= 0);
}

/* Nobody but libc knows the stream; exit writes what it holds. */
static void kind_stream(void)
{
    stream_open();
    load();
}

/* ---- the control
 * ----------------------------------------------------------------------------------- */

static uintptr_t disguised[KEPT];

static NOINLINE void disguised_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        disguised[i] = ~(uintptr_t)kept_block(kept_sizes[i], i);
}

static void kind_hidden(void)
{
    run_and_forget(disguised_fill);
    load();
}

/* ---- */

static const struct kind kinds[] = {
    KIND(data), KIND(bss), KIND(tls), KIND(tls_data), KIND(plugin_data), KIND(plugin_bss),
    KIND(plugin_tls), KIND(interior), KIND(last_byte), KIND(past_end), KIND(large_interior),
    KIND(pool_private),
    KIND(pool_shared), KIND(pool_memfd), KIND(pool_shm), KIND(pool_file), KIND(pool_read_only),
    KIND(chain), KIND(keys), KIND(thread_tls), KIND(thread_plugin_tls), KIND(thread_stack),
    KIND(thread_keys), KIND(main_stack), KIND(register), KIND(register_scratch),
    KIND(register_vector), KIND(coroutine_mapped), KIND(coroutine_heap), KIND(coroutine_running),
    KIND(alternate_stack), KIND(thread_argument), KIND(thread_result), KIND(exit_argument),
    KIND(environment), KIND(stream), KIND(hidden),
};

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    leaking = strcmp(argv[2], "leak") == 0;
    CHECK(sem_init(&filled, 0, 0) == 0 && sem_init(&check_now, 0, 0) == 0);
    CHECK(sem_init(&checked, 0, 0) == 0);
    CHECK((plugin = dlopen(argv[3], RTLD_NOW | RTLD_LOCAL)) != NULL);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
