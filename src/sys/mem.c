/* mem.c -- address space from the kernel.
 *
 * Reservations are PROT_NONE with MAP_NORESERVE: under any vm.overcommit_memory, and under
 * RLIMIT_DATA, only what is committed counts. Commit is mprotect, so that neighbouring committed
 * ranges stay one mapping. */
#include "sys/mem.h"

#include "sys/file.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <linux/mman.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static bool is_error(long result)
{
    return (unsigned long)result > -4096ul;
}

static void *map_anonymous(size_t size, int protection, int flags)
{
    long result = syscall6(__NR_mmap, 0, (long)size, protection,
                           MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return is_error(result) ? NULL : (void *)result;
}

void *mem_reserve(size_t size)
{
    return map_anonymous(size, PROT_NONE, MAP_NORESERVE);
}

bool mem_commit(void *start, size_t size)
{
    if (sandbox_on()) /* what was never committed holds nothing */
        return !is_error(syscall6(__NR_mmap, (long)start, (long)size, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
    return syscall3(__NR_mprotect, (long)start, (long)size, PROT_READ | PROT_WRITE) == 0;
}

bool mem_discard(void *start, size_t size)
{
    return !sandbox_on() &&
           syscall3(__NR_madvise, (long)start, (long)size, MADV_DONTNEED) == 0;
}

bool mem_prefer_huge(void *start, size_t size)
{
    return !sandbox_on() &&
           syscall3(__NR_madvise, (long)start, (long)size, MADV_HUGEPAGE) == 0;
}

void mem_populate(void *start, size_t size)
{
    if (!sandbox_on())
        syscall3(__NR_madvise, (long)start, (long)size, MADV_POPULATE_WRITE);
}

void mem_release(void *start, size_t size)
{
    syscall2(__NR_munmap, (long)start, (long)size);
}

void *mem_map(size_t size)
{
    return map_anonymous(size, PROT_READ | PROT_WRITE, 0);
}

static const struct mem_watch *_Atomic move_watch;

void mem_watch_moves(const struct mem_watch *watch)
{
    atomic_store(&move_watch, watch);
}

static struct {
    _Atomic uint32_t begun, ended;
} moves;

void mem_move_begin(void)
{
    atomic_fetch_add(&moves.begun, 1);
}

void mem_move_end(void)
{
    atomic_fetch_add(&moves.ended, 1);
}

uint32_t mem_moves_begun(void)
{
    return atomic_load(&moves.begun);
}

uint32_t mem_moves_ended(void)
{
    return atomic_load(&moves.ended);
}

void mem_moves_after_fork(void)
{
    atomic_store(&moves.ended, atomic_load(&moves.begun));
}

/* In two steps: with MREMAP_FIXED the kernel unmaps the destination before it looks whether the
 * source is one mapping, so a refusal would leave a hole. The first step refuses without harm; in
 * the second the source is one fresh mapping. */
static bool move(void *from, void *to, size_t size)
{
    long flags = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
    long there = syscall6(__NR_mremap, (long)from, (long)size, (long)size, flags, 0, 0);
    if (is_error(there))
        return false;
    flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    if (syscall6(__NR_mremap, there, (long)size, (long)size, flags, (long)to, 0) == (long)to)
        return true;
    /* Out of memory for page tables or mappings: the data is at `there`, and `to` may be gone. */
    syscall6(__NR_mmap, (long)to, (long)size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memcpy(to, (void *)there, size);
    mem_release((void *)there, size);
    return true;
}

bool mem_move_pages(void *from, void *to, size_t size)
{
    mem_move_begin(); /* first: who begins to watch in the middle knows that it is late */
    const struct mem_watch *watch = atomic_load(&move_watch);
    uint64_t state = watch == NULL ? 0 : watch->begin((uintptr_t)from, (uintptr_t)to, size);
    bool moved = move(from, to, size);
    if (watch != NULL)
        watch->end(state);
    mem_move_end();
    return moved;
}

uint64_t mem_resident(void)
{
    char text[128] = "";
    uint64_t pages = 0;
    file_read("/proc/self/statm", text, sizeof(text) - 1);
    const char *at = strchr(text, ' '); /* the second number */
    for (at = at == NULL ? "" : at + 1; *at >= '0' && *at <= '9'; at++)
        pages = pages * 10 + (uint64_t)(*at - '0');
    return pages * PAGE_SIZE;
}

bool mem_is_full(void)
{
    void *page = map_anonymous(PAGE_SIZE, PROT_NONE, MAP_NORESERVE);
    if (page != NULL)
        mem_release(page, PAGE_SIZE);
    return page == NULL;
}

size_t mem_address_limit(void)
{
    struct rlimit limit;
    long result = syscall4(__NR_prlimit64, 0, RLIMIT_AS, 0, (long)&limit);
    if (result != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur;
}
