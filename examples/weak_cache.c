/* weak_cache.c -- a cache that keeps nothing alive, and notices when what it had given out is gone.
 *
 *     cc -o weak_cache weak_cache.c $(pkg-config --cflags gcmalloc)
 *     GCMALLOC=probation=0 LD_PRELOAD=libgcmalloc.so ./weak_cache
 *
 * Pages are made on demand. Who asks for one that somebody still uses gets the same; the collector
 * takes those that nobody uses any more. Without the library each is made once, and stays. */
#include <gcmalloc.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGES = 100, ROUNDS = 200 };

struct page {
    int number;
    char text[500];
};

static gcmalloc_weak *cache[PAGES];
static volatile int made, gone;

/* On a thread of the library's. The page lives for this call, and might be put somewhere. */
static void on_gone(void *block, void *data)
{
    struct page *page = block;
    *(volatile int *)data += page->number >= 0;
}

static struct page *page_of(int number)
{
    struct page *page = cache[number] == NULL ? NULL : gcmalloc_weak_get(cache[number]);
    if (page != NULL)
        return page;
    gcmalloc_weak_drop(cache[number]);
    page = calloc(1, sizeof *page);
    if (page == NULL)
        exit(1);
    page->number = number;
    snprintf(page->text, sizeof page->text, "page %d", number);
    gcmalloc_set_finalizer(page, on_gone, (void *)&gone);
    cache[number] = gcmalloc_weak_new(page);
    made++;
    return page;
}

static size_t read_all(void)
{
    size_t length = 0;
    for (int i = 0; i < PAGES; i++)
        length += strlen(page_of(i)->text);
    return length;
}

int main(void)
{
    size_t length = read_all(), again = read_all();
    printf("%d pages made for %d readings\n", made, 2 * PAGES);
    for (int i = 0; i < ROUNDS && gone < PAGES / 2 && gcmalloc_collect() == 0; i++)
        usleep(1000);
    printf("%s\n", gone != 0 ? "most are gone now, and will be made anew" : "they stay");
    return length == again && read_all() == length ? 0 : 1;
}
