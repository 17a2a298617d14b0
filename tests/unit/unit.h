/* unit.h -- the macros of the unit tests.
 *
 *     static void test_thing(void) { EXPECT(1 + 1 == 2); }
 *     UNIT_MAIN(TEST(test_thing))
 *
 * A failed EXPECT prints where and goes on; its test fails, and the program exits with 1. */
#ifndef UNIT_H
#define UNIT_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit_test {
    const char *name;
    void (*run)(void);
};

static unsigned unit_checks, unit_failures;

static inline bool unit_expect(bool good, const char *what, const char *file, int line)
{
    unit_checks++;
    if (!good) {
        unit_failures++;
        printf("%s:%d: expected %s\n", file, line, what);
        fflush(stdout);
    }
    return good;
}

static inline bool unit_expect_text(const char *got, const char *want, const char *file, int line)
{
    bool good = unit_expect(strcmp(got, want) == 0, "the same text", file, line);
    if (!good) {
        printf("    got:  \"%s\"\n    want: \"%s\"\n", got, want);
        fflush(stdout);
    }
    return good;
}

/* Both are true when the expectation held: `if (!EXPECT(p)) return;` */
#define EXPECT(condition) unit_expect((condition), #condition, __FILE__, __LINE__)
#define EXPECT_TEXT(got, want) unit_expect_text((got), (want), __FILE__, __LINE__)

static inline int unit_run(const struct unit_test *tests, size_t count)
{
    unsigned failed = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned checks = unit_checks, failures = unit_failures;
        tests[i].run();
        bool good = unit_failures == failures;
        failed += !good;
        printf("%-5s %s (%u checks)\n", good ? "ok" : "FAIL", tests[i].name, unit_checks - checks);
        fflush(stdout);
    }
    printf("%zu tests, %u failed, %u checks\n", count, failed, unit_checks);
    return failed != 0;
}

#define TEST(function) {#function, function}
#define UNIT_MAIN(...) \
    int main(void) \
    { \
        static const struct unit_test tests[] = {__VA_ARGS__}; \
        return unit_run(tests, sizeof tests / sizeof tests[0]); \
    }

#endif
