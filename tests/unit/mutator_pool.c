/* mutator_pool.c -- what is in a pool comes back; what is not used between two cycles is dropped. */
#include "mutator/pool.h"

#include "child.h"
#include "hidden.h"

enum { OBJECTS = 2000 };

static unsigned made, dropped;
static struct pool *from_drop;

static void *make(void *data)
{
    (void)data;
    return (void *)(uintptr_t)(16 + 16 * ++made);
}

static void drop(void *object, void *data)
{
    (void)data;
    EXPECT(object != NULL);
    dropped++;
    if (from_drop != NULL && dropped == 1)
        EXPECT(pool_get(from_drop) != NULL);
}

static void fill(struct pool *p)
{
    static void *objects[OBJECTS];
    for (unsigned i = 0; i < OBJECTS; i++)
        objects[i] = pool_get(p);
    for (unsigned i = 0; i < OBJECTS; i++)
        pool_put(p, objects[i]);
}

static void turns(void)
{
    EXPECT(hidden_heap((size_t)64 << 20, true));
    alloc_free(alloc_malloc(1)); /* the thread has a place */
    struct pool_calls calls = {make, drop, NULL};
    struct pool *p = pool_new(&calls);
    fill(p);
    EXPECT(made == OBJECTS);
    pool_turn();
    fill(p); /* from the victims */
    EXPECT(made == OBJECTS && dropped == 0);
    pool_turn();
    pool_turn();
    EXPECT(dropped == 0); /* not by who ends a cycle */
    from_drop = p;
    pool_put(p, pool_get(p));
    EXPECT(dropped == OBJECTS && made == OBJECTS + 2);
    from_drop = NULL;
    pool_free(p);
    EXPECT(dropped == OBJECTS + 1);
}

IN_CHILD(turns)

UNIT_MAIN(TEST(test_turns))
