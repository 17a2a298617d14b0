/* watch_notice.c -- texts are made on a stack of their own, one at a time, and begin where the fault
 * was. */
#include "watch/notice.h"

#include "said.h"
#include "sys/print.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { THREADS = 4, TEXTS = 200, SMALL = 16384 };

static char text[65536];
static uintptr_t first, second;
static volatile const char *made_at;

static void say(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data)
{
    char here;
    made_at = &here;
    first = depth > 0 ? pcs[0] : 0;
    second = depth > 1 ? pcs[1] : 0;
    printer_printf(out, "%s\n", (const char *)data);
}

static __attribute__((noinline)) void give(uintptr_t pc)
{
    struct said s = said_begin();
    notice_give(pc, say, "words");
    said_end(s, text, sizeof text);
}

static void test_where(void)
{
    char here;
    give(0);
    EXPECT_TEXT(text, "words\n");
    EXPECT(made_at < &here && &here - made_at < 65536); /* without a stack of its own: on this */
    EXPECT(first - (uintptr_t)give < 4096);
    notice_start();
    errno = 77;
    give(0);
    EXPECT_TEXT(text, "words\n");
    EXPECT(made_at > &here || &here - made_at > SMALL);
    EXPECT(first - (uintptr_t)give < 4096 && errno == 77);
}

static void test_pc(void)
{
    give(0x1000);
    EXPECT(first == 0x1001 && second - (uintptr_t)give < 4096);
}

static void say_again(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data)
{
    notice_give(0, say, "no word of this");
    say(out, pcs, depth, data);
}

/* A fault within the text. */
static void test_again(void)
{
    struct said s = said_begin();
    notice_give(0, say_again, "words");
    said_end(s, text, sizeof text);
    EXPECT_TEXT(text, "words\n");
}

static void say_long(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data)
{
    for (int i = 0; i < 20; i++)
        printer_printf(out, "%s", (const char *)data);
    say(out, pcs, depth, "");
    printer_flush(out);
}

static void *speak(void *word)
{
    for (int i = 0; i < 20; i++)
        notice_give(0, say_long, word);
    return NULL;
}

static void test_threads(void)
{
    static char words[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t thread[THREADS];
    struct said s = said_begin();
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_create(&thread[i], NULL, speak, words[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(thread[i], NULL) == 0);
    said_end(s, text, sizeof text);
    unsigned lines = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')) != NULL; at = end + 1, lines++) {
        EXPECT(end - at == 20);
        for (char *c = at; c < end; c++)
            EXPECT(*c == *at);
    }
    EXPECT(lines == THREADS * 20);
}

UNIT_MAIN(TEST(test_where), TEST(test_pc), TEST(test_again), TEST(test_threads))
