/* startup.c -- allocation before main: in a constructor, in another library's, in an IFUNC
 * resolver.
 *
 * A resolver runs while ld.so still relocates the program, before any constructor of any library.
 * */
#include <pthread.h>

#include "abi.h"

static char *from_constructor, *from_resolver;

static int answer(void)
{
    return 42;
}

__attribute__((used)) static int (*resolve(void))(void)
{
    from_resolver = malloc(1000);
    if (from_resolver != NULL)
        for (int i = 0; i < 1000; i++)
            from_resolver[i] = (char)i;
    return answer;
}

int resolved(void) __attribute__((ifunc("resolve")));

/* Priority 101 is the first that a program may have. */
__attribute__((constructor(101))) static void before_main(void)
{
    from_constructor = calloc(1, 5000);
    CHECK(from_constructor != NULL);
    pattern_fill(from_constructor, 5000, 1);
    pressure(1 << 20, 0);
}

static void *thread_main(void *unused)
{
    pressure(1 << 20, 0);
    return unused;
}

__attribute__((constructor(102))) static void thread_before_main(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, thread_main, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

__attribute__((destructor)) static void after_main(void)
{
    char *block = malloc(100);
    CHECK(block != NULL && pattern_holds(from_constructor, 5000, 1));
    free(block);
    free(from_constructor);
}

int main(void)
{
    CHECK(resolved() == 42 && from_resolver != NULL);
    for (int i = 0; i < 1000; i++)
        CHECK(from_resolver[i] == (char)i);
    pressure(40u << 20, 0);
    CHECK(pattern_holds(from_constructor, 5000, 1));
    from_resolver = realloc(from_resolver, 3000);
    CHECK(from_resolver != NULL && from_resolver[999] == (char)999);
    free(from_resolver);
    puts("done");
    return 0;
}
