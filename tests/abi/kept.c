/* kept.c -- see kept.h. */
#include "kept.h"

enum { LOAD_STACK = 1 << 20 };

static const size_t kept_sizes[KEPT] = { 24, 100, 1000, 5000, 40000, 300000, 3000000 };
static void **filled_place;

atomic_bool loaded;

NOINLINE void *block_make(size_t size, unsigned seed)
{
    void *block = malloc(size);
    CHECK(block != NULL);
    pattern_fill(block, size, seed);
    return OPAQUE(block);
}

NOINLINE void *kept_make(unsigned number)
{
    return block_make(kept_sizes[number], number);
}

NOINLINE void kept_fill(void **place)
{
    for (unsigned i = 0; i < KEPT; i++)
        place[i] = kept_make(i);
}

NOINLINE void kept_check_one(const void *block, unsigned number)
{
    CHECK(pattern_holds(block, kept_sizes[number], number));
}

NOINLINE void kept_check(void *const *place)
{
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(place[i], i);
}

static void fill_place(void)
{
    kept_fill(filled_place);
}

void kept_fill_and_forget(void **place)
{
    filled_place = place;
    run_and_forget(fill_place);
    filled_place = NULL;
}

static size_t swapped_size(unsigned number)
{
    return 64 + 16 * number;
}

NOINLINE void *swapped_make(unsigned number)
{
    return block_make(swapped_size(number), number);
}

void swapped_check(const void *block, unsigned char *seen, unsigned count)
{
    unsigned k = 0;
    while (k < count && (seen[k] || !pattern_holds(block, swapped_size(k), k)))
        k++;
    CHECK(k < count);
    seen[k] = 1;
}

static void *load_thread(void *unused)
{
    pressure(LOAD, 1);
    stack_clear();
    atomic_store(&loaded, true);
    return unused;
}

/* The stack's size is its own: the limit that the default follows may be small. */
pthread_t load_begin(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    atomic_store(&loaded, false);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, LOAD_STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, load_thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    return thread;
}

void load_end(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0 && atomic_load(&loaded));
}

void load(void)
{
    stack_clear();
    load_end(load_begin());
}
