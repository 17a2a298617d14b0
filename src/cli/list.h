/* list.h -- arrays that grow. A command that has no memory ends with one line: there is nothing
 * else it could do. */
#ifndef GC_CLI_LIST_H
#define GC_CLI_LIST_H

#include <stddef.h>

/* An array of `type`: zeros (`= {0}`) make an empty one. */
#define LIST(type)          \
    struct {                \
        type *items;        \
        size_t count, room; \
    }

/* A new item at the end, all zeros; valid until the next one is added. */
#define LIST_ADD(list)                                                                        \
    ((list)->items = list_room((list)->items, (list)->count, &(list)->room,                   \
                               sizeof(*(list)->items)),                                       \
     &(list)->items[(list)->count++])

/* Room for one item more, zeroed, behind `count` ones of `size` bytes. */
void *list_room(void *items, size_t count, size_t *room, size_t size);
/* malloc, calloc and strdup that do not fail. */
void *list_alloc(size_t count, size_t size);
char *list_text(const char *text);

#endif
