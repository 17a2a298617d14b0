/* exhaust.c -- memory runs out, and nothing is lost.   exhaust as|data|outside MEGABYTES
 *
 * Under a limit on address space or data, set here or by whoever started it, the program allocates
 * until malloc fails, in large and then small steps; each failure must be NULL with ENOMEM. Then
 * everything allocated is still intact, and after freeing it the same can be had again.
 *
 * A limit that comes from outside must hold. One that the program sets itself may come too late for
 * an allocator that has reserved its address space: then the round ends after enough blocks of a
 * size. */
#include <sys/resource.h>

#include "abi.h"

enum { MOST = 1 << 20, MOST_OF_A_SIZE = 2000 };

struct block {
    char *bytes;
    size_t size;
};

static struct block blocks[MOST];
static size_t count;
static int must_fail;

static size_t allocate_until_failure(size_t size)
{
    size_t made = 0;
    while (count < MOST && (must_fail || made < MOST_OF_A_SIZE)) {
        errno = 0;
        char *bytes = malloc(size);
        if (bytes == NULL) {
            CHECK(errno == ENOMEM);
            return made;
        }
        pattern_fill(bytes, 64, (unsigned)count);
        pattern_fill(bytes + size - 64, 64, (unsigned)count);
        blocks[count++] = (struct block){ bytes, size };
        made++;
    }
    CHECK(!must_fail);
    return made;
}

static void verify_all(void)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(pattern_holds(blocks[i].bytes, 64, (unsigned)i));
        CHECK(pattern_holds(blocks[i].bytes + blocks[i].size - 64, 64, (unsigned)i));
    }
}

static void failures_change_nothing(void)
{
    for (size_t i = 0; i < count; i += count / 50 + 1) {
        errno = 0;
        CHECK(realloc(blocks[i].bytes, (size_t)1 << 40) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(calloc(1 << 20, 1 << 20) == NULL && errno == ENOMEM);
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < count; i++)
        free(blocks[i].bytes);
    count = 0;
}

static size_t round_of(void)
{
    size_t large = 0;
    for (size_t size = 16u << 20; size >= 1024; size /= 4)
        large += allocate_until_failure(size) * (size / 1024);
    allocate_until_failure(128);
    verify_all();
    failures_change_nothing();
    verify_all();
    free_all();
    return large / 1024;
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    rlim_t bytes = (rlim_t)strtoul(argv[2], NULL, 10) << 20;
    struct rlimit limit = { bytes, bytes };
    must_fail = strcmp(argv[1], "outside") == 0;
    if (!must_fail)
        CHECK(setrlimit(strcmp(argv[1], "as") == 0 ? RLIMIT_AS : RLIMIT_DATA, &limit) == 0);
    size_t first = round_of(), second = round_of();
    /* Megabytes had in each round; the second must not be much poorer. */
    fprintf(stderr, "exhaust: %zu MB, then %zu MB\n", first, second);
    CHECK(second >= first / 2);
    puts("nothing lost");
    return 0;
}
