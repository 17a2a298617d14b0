/* utf8.c -- texts for formats that take UTF-8 only.
 *
 * A character is what RFC 3629 says: in the shortest form, no half of a surrogate pair, at most
 * U+10FFFF. Other readers (jansson, protobuf) refuse the whole text for the rest. */
#include "cli/utf8.h"

#include "cli/list.h"

#include <stdint.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

size_t utf8_character(const char *at)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)at[0];
    size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length < 2)
        return first != 0 ? length : 0;
    uint32_t value = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | ((unsigned char)at[i] & 0x3f);
    }
    bool good = first < 0xf8 && value >= least[length] && value <= 0x10ffff &&
                (value < 0xd800 || value > 0xdfff);
    return good ? length : 0;
}

bool utf8_valid(const char *text)
{
    size_t length = 1;
    while (*text != 0 && (length = utf8_character(text)) != 0)
        text += length;
    return *text == 0;
}

char *utf8_repaired(const char *text)
{
    char *copy = list_alloc(strlen(text) + 1, strlen(REPLACEMENT)), *out = copy;
    while (*text != 0) {
        size_t length = utf8_character(text);
        out = length != 0 ? mempcpy(out, text, length) : stpcpy(out, REPLACEMENT);
        text += length != 0 ? length : 1;
    }
    *out = 0;
    return copy;
}
