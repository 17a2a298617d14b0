/* proc_mem.h -- reading the program's memory without ever faulting.
 *
 * process_vm_readv on ourselves; where that is refused (EPERM, ENOSYS) or the page is not readable
 * (PROT_NONE pages that hold data), /proc/thread-self/mem. Unmapped memory is skipped, not an
 * error. */
#ifndef GC_PROC_MEM_H
#define GC_PROC_MEM_H

#include "base/base.h"

struct proc_mem {
    int mem_fd;        /* /proc/thread-self/mem, or -1 */
    bool vm_readv_ok;
};

/* True if at least one way of reading works (both are tried on a known word). */
bool proc_mem_open(struct proc_mem *m);
void proc_mem_close(struct proc_mem *m);
/* Copies [address, address + length) to `to`. Returns the number of bytes copied from the start:
 * less than `length` where an unreadable page begins, 0 if the first byte is unreadable.
 * `unreadable_ok`: the range is PROT_NONE by its mapping; the file is used at once. */
size_t proc_mem_read(struct proc_mem *m, void *to, uintptr_t address, size_t length,
                     bool unreadable_ok);

/* All of [address, address + length), by process_vm_readv alone: needs no descriptor. False: not
 * all of it could be read. Any thread. */
bool proc_mem_copy(void *to, uintptr_t address, size_t length);

#endif
