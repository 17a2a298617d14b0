/* list.c -- arrays that grow. */
#include "cli/list.h"

#include "cli/fault.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 16 };

static void *or_end(void *memory)
{
    if (memory == NULL)
        exit(fault(STATUS_OUTPUT, "there is not enough memory"));
    return memory;
}

void *list_alloc(size_t count, size_t size)
{
    return or_end(calloc(count ? count : 1, size));
}

char *list_text(const char *text)
{
    return or_end(strdup(text));
}

void *list_room(void *items, size_t count, size_t *room, size_t size)
{
    if (count == *room) {
        *room = *room ? 2 * *room : FIRST_ROOM;
        items = or_end(reallocarray(items, *room, size));
    }
    memset((char *)items + count * size, 0, size);
    return items;
}
