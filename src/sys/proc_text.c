/* proc_text.c -- a key, and a number. */
#include "sys/proc_text.h"

#include <string.h>

const char *proc_text_hex(const char *text, const char *key, uint64_t *value)
{
    const char *at = strstr(text, key);
    if (at == NULL)
        return NULL;
    for (at += strlen(key); *at == ' ' || *at == '\t'; at++)
        continue;
    *value = 0;
    for (unsigned digit; (digit = hex_value(*at)) < 16; at++)
        *value = *value << 4 | digit;
    return at;
}
