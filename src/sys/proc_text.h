/* proc_text.h -- numbers in the texts of /proc.
 *
 * Thread safety: no state. */
#ifndef GC_PROC_TEXT_H
#define GC_PROC_TEXT_H

#include "base/base.h"

/* 0 … 15; 16: that is no hexadecimal digit. */
GC_INLINE unsigned hex_value(char c)
{
    unsigned digit = (unsigned)c - '0';
    if (digit < 10)
        return digit;
    digit = ((unsigned)c | 0x20) - 'a';
    return digit < 6 ? digit + 10 : 16;
}

/* The hexadecimal number behind `key`, after blanks; 0 if there are no digits. Returns what follows
 * it; NULL: the key is not there. */
const char *proc_text_hex(const char *text, const char *key, uint64_t *value);

#endif
