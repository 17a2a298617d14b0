/* sys_proc_text.c -- lines as the kernel writes them, and others. */
#include "sys/proc_text.h"

#include "unit.h"

#include <string.h>

static void test_lines(void)
{
    uint64_t value = 7;
    static const char status[] = "Name:\tx\nSigPnd:\t00000000fFaA0010\nSigBlk:\t0\n";
    const char *rest = proc_text_hex(status, "\nSigPnd:", &value);
    EXPECT(rest != NULL && value == 0xffaa0010 && strncmp(rest, "\nSigBlk", 7) == 0);
    rest = proc_text_hex("tfd: 8 events: 19 data:     7f12ab  pos:0", " data:", &value);
    EXPECT(rest != NULL && value == 0x7f12ab && strcmp(rest, "  pos:0") == 0);
    EXPECT(proc_text_hex(status, "ShdPnd:", &value) == NULL && value == 0x7f12ab);
    rest = proc_text_hex("key:", "key:", &value);
    EXPECT(rest != NULL && *rest == '\0' && value == 0);
    EXPECT(proc_text_hex("a/ffffffffffffffff", "/", &value) != NULL && value == UINT64_MAX);
}

static void test_digits(void)
{
    static const char digits[] = "0123456789abcdef", upper[] = "ABCDEF";
    unsigned found = 0;
    for (unsigned i = 0; i < 16; i++)
        EXPECT(hex_value(digits[i]) == i);
    for (unsigned i = 0; i < 6; i++)
        EXPECT(hex_value(upper[i]) == 10 + i);
    for (int c = 0; c < 128; c++)
        found += hex_value((char)c) < 16;
    EXPECT(found == 22);
}

UNIT_MAIN(TEST(test_lines), TEST(test_digits))
