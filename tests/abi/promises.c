/* promises.c -- what glibc's own tests ask of malloc, where corner.c has not asked it yet.
 *                                                                               promises KIND
 *
 * Each kind is written from what the functions promise (malloc(3), POSIX, obstack's manual). What
 * glibc's tests of these names are about, and where it is asked here:
 *
 *   tst-malloc, tst-malloc-too-large    ENOMEM, and malloc works afterwards    too_large; corner
 *   tst-calloc                          zero after dirty blocks, products      calloc_borders; corner
 *   tst-realloc, tst-reallocarray       content, failure keeps the block,      realloc, no_bytes,
 *                                       size 0 frees                           too_large; corner
 *   tst-memalign, tst-aligned-alloc,    alignment, EINVAL and ENOMEM           alignments, too_large;
 *   tst-posix_memalign, tst-(p)valloc                                          corner
 *   tst-mallocalign1, tst-malloc-usable 16 bytes always; all of the usable     usable; corner
 *   tst-free-errno                      errno, even where munmap fails         free_errno; corner
 *   tst-obstack                         chunks from malloc                     obstack
 *   tst-interpose-*                     libc's own blocks are malloc's         from_libc; startup
 *   tst-tcfree*                         double frees are caught                bad_free
 *   tst-mallopt, tst-mxfast, tst-trim1  parameters are accepted                accounts: mallopt, trim
 *   tst-mallinfo2, tst-malloc_info      sums, XML                              accounts
 *   tst-malloc-stats-cancellation       malloc_stats is no cancellation point  accounts: stats
 *   tst-malloc-thread-exit, -fail       threads that end, or find no memory    crowds
 *   tst-malloc-tcache-leak              a thread's cache is given back         crowds: leave_nothing
 *   tst-mallocfork2, -3,                fork in handlers, beside stdio         crowds; forks
 *   tst-malloc-fork-deadlock
 *
 * What is glibc's inside is not asked: its tunables, safe linking, mallocstate, hooks, dynarray and
 * scratch buffers. Passes on glibc itself. */
#include <dirent.h>
#include <malloc.h>
#include <obstack.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "abi.h"

#define obstack_chunk_alloc malloc
#define obstack_chunk_free free

static NOINLINE void refused(void *block)
{
    CHECK(OPAQUE(block) == NULL && errno == ENOMEM);
    errno = 0;
}

/* ---- sizes that no machine has: the last 16 KiB of size_t, and what lies around PTRDIFF_MAX ---- */

static void too_large(size_t size, char *kept)
{
    refused(malloc(size));
    refused(realloc(NULL, size));
    refused(realloc(kept, size));
    refused(reallocarray(kept, size, 1));
    refused(reallocarray(kept, 1, size));
    refused(calloc(size, 1));
    refused(calloc(1, size));
    refused(memalign(sizeof(void *), size));
    refused(aligned_alloc(64, size));
    refused(valloc(size));
    refused(pvalloc(size));
    void *out = kept;
    CHECK(posix_memalign(&out, 64, size) == ENOMEM && out == kept);
    errno = 0;
    CHECK(pattern_holds(kept, 100, 1));
    char *small = malloc(16);
    CHECK(small != NULL);
    free(OPAQUE(small));
}

static void kind_too_large(void)
{
    char *kept = malloc(100);
    CHECK(kept != NULL);
    pattern_fill(kept, 100, 1);
    errno = 0;
    for (size_t below = 0; below <= 1 << 14; below += below < 64 ? 1 : 61)
        too_large(OPAQUE(SIZE_MAX - below), kept);
    for (size_t above = 0; above <= 1 << 14; above += above < 64 ? 1 : 61)
        too_large(OPAQUE((size_t)PTRDIFF_MAX + 1 + above), kept);
    for (size_t parts = 2; parts <= 1 << 20; parts *= 2) {
        refused(calloc(OPAQUE(parts), SIZE_MAX / parts));
        refused(calloc(OPAQUE(SIZE_MAX / parts), parts));
        refused(reallocarray(kept, OPAQUE(parts), SIZE_MAX / parts));
        refused(reallocarray(kept, OPAQUE(SIZE_MAX / parts + 1), parts));
    }
    CHECK(pattern_holds(kept, 100, 1));
    free(kept);
}

/* Alignments up to this bit can be had on any machine; and what all of them may touch. */
enum { ALIGN_BIT_HAD = 30, ALIGN_PEAK_KIB = 100 << 10 };

/* Alignments up to the largest power of two; none is granted that does not hold. An alignment of
 * 128 GiB once touched half a GiB of descriptors. */
static void kind_alignments(void)
{
    for (int bit = 0; bit < 64; bit++) {
        size_t align = OPAQUE((size_t)1 << bit);
        void *out = &out, *block;
        errno = 0;
        int error = posix_memalign(&out, align, 100);
        CHECK((error == 0) == (out != (void *)&out) && (errno == 0 || error == ENOMEM));
        CHECK(error == (align < sizeof(void *) ? EINVAL : out == (void *)&out ? ENOMEM : 0));
        CHECK(bit < 3 || bit > ALIGN_BIT_HAD || error == 0);
        if (error == 0) {
            CHECK((uintptr_t)out % align == 0);
            pattern_fill(out, 100, 1);
            free(out);
        }
        errno = 0;
        block = OPAQUE(bit % 2 ? memalign(align, 100) : aligned_alloc(align, 100));
        CHECK((uintptr_t)block % align == 0 && errno == (block == NULL ? ENOMEM : 0));
        CHECK(bit > ALIGN_BIT_HAD || block != NULL);
        free(block);
    }
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0 && usage.ru_maxrss < ALIGN_PEAK_KIB);
    for (size_t past = 1; past < 100; past++) {
        errno = 0;
        void *none = memalign(OPAQUE(SIZE_MAX / 2 + 1 + past), 8);
        CHECK(OPAQUE(none) == NULL && errno == EINVAL);
    }
}

/* ---- nothing at all ---- */

static void kind_no_bytes(void)
{
    size_t before = mallinfo2().uordblks, none = OPAQUE((size_t)0);
    for (int i = 0; i < 200000; i++) {
        char *block = malloc(100 + none);
        CHECK(block != NULL);
        errno = 77;
        CHECK(realloc(block, none) == NULL && errno == 77);
        block = reallocarray(NULL, none, 8);
        CHECK(block != NULL && reallocarray(block, 8, none) == NULL);
    }
    CHECK(mallinfo2().uordblks <= before + (1 << 20));
    void *blocks[] = { malloc(0), calloc(0, 0), realloc(NULL, 0), memalign(64, 0), valloc(0),
                       pvalloc(0), aligned_alloc(4096, 0) };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        CHECK(blocks[i] != NULL);
        for (size_t k = 0; k < i; k++)
            CHECK(blocks[i] != blocks[k]);
    }
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        free(blocks[i]);
    CHECK(malloc_usable_size(NULL) == 0);
}

/* ---- usable size: all of it is the program's, and none of it is anybody else's ---- */

enum { NEIGHBOURS = 8 };

static void neighbours_keep(size_t size)
{
    char *blocks[NEIGHBOURS];
    size_t usable[NEIGHBOURS];
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        blocks[i] = i % 3 == 2 ? memalign(64, size) : malloc(size);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        usable[i] = malloc_usable_size(blocks[i]);
        CHECK(usable[i] >= size && usable[i] == malloc_usable_size(blocks[i]));
    }
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        pattern_fill(blocks[i], usable[i], i);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        CHECK(pattern_holds(blocks[i], usable[i], i));
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        blocks[i] = realloc(blocks[i], usable[i]);
        CHECK(blocks[i] != NULL && pattern_holds(blocks[i], usable[i], i));
        free(blocks[i]);
    }
}

static void kind_usable(void)
{
    for (size_t size = 0; size < 3000; size++)
        neighbours_keep(size);
    for (size_t size = 3000; size < 3000000; size += size / 9)
        neighbours_keep(size);
}

/* ---- calloc: zero, whatever was there before; around every border between two sizes ---- */

static void dirty_then_zero(size_t size)
{
    char *blocks[6];
    for (size_t i = 0; i < 6; i++) {
        blocks[i] = malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 0xEE, malloc_usable_size(blocks[i]));
        blocks[i] = OPAQUE(blocks[i]);
    }
    for (size_t i = 0; i < 6; i++)
        free(blocks[i]);
    for (size_t i = 0; i < 6; i++) {
        blocks[i] = i % 2 ? calloc(1, size) : calloc(size, 1);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        for (size_t k = 0; k < size; k++)
            CHECK(blocks[i][k] == 0);
    }
    for (size_t i = 0; i < 6; i++)
        free(blocks[i]);
}

static size_t usable_of(size_t size)
{
    char *block = malloc(size);
    CHECK(block != NULL);
    size_t usable = malloc_usable_size(block);
    free(block);
    return usable;
}

static void kind_calloc_borders(void)
{
    for (size_t size = 1; size < 40000;) {
        size_t border = usable_of(size);
        for (size_t at = border > 3 ? border - 3 : 1; at <= border + 2; at++)
            dirty_then_zero(at);
        size = border + 1;
    }
    for (size_t size = 32 << 10; size <= 4 << 20; size *= 2)
        for (size_t at = size - 17; at <= size + 17; at += 17)
            dirty_then_zero(at);
}

/* ---- realloc ---- */

static void kind_realloc(void)
{
    for (size_t old = 1; old < 4000000; old = old * 3 + 5) {
        for (size_t new = 1; new < 4000000; new = new * 3 + 7) {
            char *block = malloc(old);
            CHECK(block != NULL);
            pattern_fill(block, old, 5);
            errno = 77;
            block = realloc(block, new);
            CHECK(block != NULL && errno == 77 && malloc_usable_size(block) >= new);
            CHECK(pattern_holds(block, old < new ? old : new, 5));
            pattern_fill(block, new, 6);
            CHECK(pattern_holds(block, new, 6));
            free(block);
        }
    }
}

/* ---- free keeps errno, though the process may have no mapping more ---- */

enum { PAGE = 4096, MAPPINGS_MOST = 140000 };

static void kind_free_errno(void)
{
    char *blocks[64];
    for (size_t i = 0; i < 64; i++) {
        blocks[i] = malloc((size_t)(i + 1) << 17);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, (size_t)(i + 1) << 17);
    }
    /* Every other page of a mapping protected differently, until the kernel refuses. */
    size_t bytes = (size_t)MAPPINGS_MOST * PAGE;
    char *area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(area != MAP_FAILED);
    for (size_t i = 1; i < MAPPINGS_MOST; i += 2)
        if (mprotect(area + i * PAGE, PAGE, PROT_READ) != 0)
            break;
    for (size_t i = 0; i < 64; i++) {
        errno = 77;
        free(OPAQUE(blocks[i * 37 % 64]));
        CHECK(errno == 77);
    }
    CHECK(munmap(area, bytes) == 0);
}

/* ---- obstacks live on malloc ---- */

static void grow_objects(struct obstack *stack, unsigned count)
{
    static char bytes[5000];
    static char *objects[2000];
    for (unsigned i = 0; i < count; i++) {
        int size = (int)(i * 7919 % sizeof bytes);
        pattern_fill(bytes, (size_t)size, i);
        for (int at = 0; at < size; at += 100)
            obstack_grow(stack, bytes + at, size - at < 100 ? size - at : 100);
        CHECK((int)obstack_object_size(stack) == size);
        objects[i] = obstack_finish(stack);
        CHECK(((uintptr_t)objects[i] & (size_t)obstack_alignment_mask(stack)) == 0);
    }
    for (unsigned i = 0; i < count; i++)
        CHECK(pattern_holds(objects[i], i * 7919 % sizeof bytes, i));
    size_t used = (size_t)obstack_memory_used(stack);
    obstack_free(stack, objects[count / 2]);
    CHECK((size_t)obstack_memory_used(stack) < used);
    for (unsigned i = 0; i < count / 2; i++)
        CHECK(pattern_holds(objects[i], i * 7919 % sizeof bytes, i));
    obstack_free(stack, objects[0]);
}

static void kind_obstack(void)
{
    struct obstack stack, wide;
    obstack_init(&stack);
    obstack_begin(&wide, 100000);
    obstack_alignment_mask(&wide) = 255;
    obstack_finish(&wide); /* from here on it counts */
    for (int round = 0; round < 5; round++) {
        grow_objects(&stack, 2000);
        grow_objects(&wide, 2000);
    }
    obstack_free(&stack, NULL);
    obstack_free(&wide, NULL);
}

/* ---- what libc gives away is malloc's: it can be measured, resized and freed ---- */

static void is_a_block(void *block)
{
    CHECK(block != NULL && malloc_usable_size(block) >= 1);
    block = realloc(block, 100000);
    CHECK(block != NULL);
    memset(block, 1, 100000);
    free(block);
}

static void kind_from_libc(void)
{
    char *text = NULL, *line = NULL;
    size_t size = 0;
    is_a_block(strdup("text"));
    is_a_block(strndup("text", 2));
    CHECK(asprintf(&text, "%300d", 1) == 300);
    is_a_block(text);
    is_a_block(getcwd(NULL, 0));
    is_a_block(realpath("/", NULL));
    FILE *stream = open_memstream(&text, &size);
    CHECK(stream != NULL);
    for (int i = 0; i < 20000; i++)
        CHECK(fprintf(stream, "line %d\n", i) > 0);
    CHECK(fclose(stream) == 0);
    stream = fmemopen(text, size, "r");
    size = 0;
    CHECK(stream != NULL && getline(&line, &size, stream) == 7 && fclose(stream) == 0);
    is_a_block(line);
    is_a_block(text);
    struct dirent **names;
    int count = scandir("/", &names, NULL, alphasort);
    CHECK(count > 0);
    while (count-- > 0)
        is_a_block(names[count]);
    is_a_block(names);
}

/* ---- programs older than glibc 2.26 free through cfree, which new ones cannot link with ---- */

extern void old_cfree(void *block);
__asm__(".symver old_cfree, cfree@GLIBC_2.2.5");

static void kind_cfree(void)
{
    for (size_t size = 1; size < 5000000; size = size * 3 + 1) {
        char *block = malloc(size);
        CHECK(block != NULL);
        old_cfree(OPAQUE(block));
    }
}

static const struct kind kinds[] = {
    KIND(too_large), KIND(alignments), KIND(no_bytes), KIND(usable), KIND(calloc_borders),
    KIND(realloc), KIND(free_errno), KIND(obstack), KIND(from_libc), KIND(cfree),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
