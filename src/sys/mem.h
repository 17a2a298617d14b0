/* mem.h -- address space from the kernel: reserve, commit, give back, move.
 *
 * All sizes and addresses are page aligned. Reserved memory is PROT_NONE and costs neither memory
 * nor commit charge; committing makes it readable, writable and zero. */
#ifndef GC_MEM_H
#define GC_MEM_H

#include "base/base.h"

/* Reserves `size` bytes, whole pages. NULL if there is no such range. */
void *mem_reserve(size_t size);
/* Makes [start, start+size) of a reservation usable, which holds nothing yet. False if the kernel
 * refuses. */
bool mem_commit(void *start, size_t size);
/* Gives the pages back; the range stays usable and reads as zeros. False if the kernel kept any of
 * them (locked memory). */
bool mem_discard(void *start, size_t size);
/* The range is about to be written: its pages come in one call, which costs half of what a fault
 * for each does. Where that is not possible (before Linux 5.14; in a sandbox) faults will do. */
void mem_populate(void *start, size_t size);
/* Pages of the range come as huge ones, where the kernel has them (transparent huge pages, other
 * than `never`). False if it refuses. */
bool mem_prefer_huge(void *start, size_t size);
/* Ends a reservation or a mapping. */
void mem_release(void *start, size_t size);
/* A mapping of its own, zeroed, anywhere. NULL if refused. */
void *mem_map(size_t size);
/* Moves the pages of [from, from+size) to [to, to+size); `from` stays mapped and reads as zeros.
 * Both ranges are private anonymous memory. False (and nothing moved) if the kernel cannot
 * (MREMAP_DONTUNMAP needs Linux 5.7). */
bool mem_move_pages(void *from, void *to, size_t size);
/* Who is told before pages move, and after that; meanwhile they may be in a third place, in a
 * mapping that comes and goes. What `begin` returns goes to `end`. NULL: nobody. Of a move that has
 * begun already (mem_moves_begun) nobody is told any more. */
struct mem_watch {
    uint64_t (*begin)(uintptr_t from, uintptr_t to, size_t size);
    void (*end)(uint64_t state);
};
void mem_watch_moves(const struct mem_watch *watch);
/* Moves of pages by mremap, the program's too, that have begun, and ended: nothing is moving while
 * the two are the same. Any thread; sequentially consistent. */
void mem_move_begin(void);
void mem_move_end(void);
uint32_t mem_moves_begun(void);
uint32_t mem_moves_ended(void);
/* In the child of fork: nothing is. */
void mem_moves_after_fork(void);
/* The soft limit of address space (RLIMIT_AS) in bytes; SIZE_MAX if there is none. */
size_t mem_address_limit(void);
/* Not a page more can be mapped. */
bool mem_is_full(void);
/* Resident memory of the process, from /proc: needs a descriptor for a moment. 0: not known. */
uint64_t mem_resident(void);

#endif
