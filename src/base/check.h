/* check.h -- three levels of assertion, by what they cost.
 *
 *   GC_CHECK      always on: a condition whose failure would corrupt the program.
 *   GC_ASSERT     debug builds (-Dcheck=debug): cheap enough for every call.
 *   GC_EXPENSIVE  -Dcheck=full: walks structures.
 *
 * A failure prints one line and aborts. `check_failed` is the only thing that base asks of sys. */
#ifndef GC_CHECK_H
#define GC_CHECK_H

_Noreturn void check_failed(const char *expression, const char *file, int line);

#define GC_CHECK(x) \
    do { \
        if (__builtin_expect(!(x), 0)) \
            check_failed(#x, __FILE__, __LINE__); \
    } while (0)

#ifndef GC_CHECK_LEVEL
#define GC_CHECK_LEVEL 0
#endif

#if GC_CHECK_LEVEL >= 1
#define GC_ASSERT(x) GC_CHECK(x)
#else
#define GC_ASSERT(x) ((void)sizeof(!(x)))
#endif

#if GC_CHECK_LEVEL >= 2
#define GC_EXPENSIVE(x) GC_CHECK(x)
#else
#define GC_EXPENSIVE(x) ((void)sizeof(!(x)))
#endif

#endif
