/* profile.h -- a snapshot of what is known of the heap, as a file for the `gcmalloc` command.
 *
 * The file is text, a record a line: the first word says what it is, fields are separated by one
 * space, numbers are decimal, addresses and build ids hexadecimal without 0x. Text that may contain
 * anything (names, paths, arguments) comes last on its line, with control characters and
 * backslashes written \xHH. Readers skip records and trailing fields that they do not know. A file
 * without its last line, `end N` with the number of lines before it, is incomplete. Version 1 had
 * no `branch`.
 *
 *   gcmalloc-profile 2                first line
 *   process PID PPID UID
 *   program PATH                      of the executable
 *   argument TEXT                     one each, argv[0] first
 *   started UNIX_NS
 *   taken UPTIME_NS REASON            exit, request, signal, periodic
 *   option NAME VALUE                 every option
 *   total NAME VALUE                  every figure of totals.h
 *   note TEXT                         why nothing was collected, or reclaimed in the end
 *   unrecorded TEXT                   why no stacks were recorded; missing if they were
 *   module START END LOADED UNLOADED BUILD_ID PATH
 *                                     an ELF module, loaded at [START, END) since and until
 *                                     these times (ns since the start; 0: still there);
 *                                     BUILD_ID is - if it has none. START is the load bias + the
 *                                     lowest p_vaddr, rounded down to a page. Several modules may
 *                                     have had the same place, one after the other
 *   forgotten MODULES                 so many that were unloaded are not among them; missing if 0
 *   thread TID NAME                   of the program
 *   stack ID TIME PC PC ...           return addresses, innermost first; first seen at TIME: the
 *                                     modules of that time name its functions
 *   branch ID TIME PARENT KEPT PC ... a stack too: behind these addresses, which may be none, come
 *                                     the KEPT outermost ones, not 0, of the stack PARENT, whose
 *                                     number is smaller, and whose line may come later
 *   site STACK ALLOCATED_BLOCKS ALLOCATED_BYTES FREED_BLOCKS FREED_BYTES
 *                                     estimates of what was ever allocated there, and of what of it
 *                                     was freed by the program or reclaimed; exact with stacks=all
 *   reach STACK SIZE BLOCKS BYTES FOR_BLOCKS FOR_BYTES
 *                                     blocks that the last mark reached, counted one by one, and
 *                                     estimates of how many there are of which they are the ones
 *                                     that have a stack. STACK 0: no stack was recorded, SIZE is
 *                                     that of their class, and the estimates are missing; else SIZE
 *                                     is 0
 *   leak STACK SIZE direct|indirect remaining|reclaimed BLOCKS BYTES YOUNGEST OLDEST FOR_BLOCKS
 *        FOR_BYTES
 *                                     blocks that were not reached, counted one by one, for how
 *                                     many cycles (of remaining ones: at least), and the same
 *   contradiction STACK COUNT
 *   cycle NUMBER REASON ...           the fields of struct stats_cycle in their order, for each of
 *                                     the last STATS_CYCLES
 *   moment TIME ...                   the fields of struct stats_moment
 *   event TIME THREAD KIND A B        KIND by its name in EVENT_KINDS
 *   end LINES
 *
 * Estimates: with stacks=sampled a block has its stack recorded with the probability
 * 1 - exp(-n / sample), where n is the size of its class, and stands for so many as that is the
 * inverse of; those that are larger than every class always have one. */
#ifndef GC_PROFILE_H
#define GC_PROFILE_H

#include "base/base.h"

enum profile_reason { PROFILE_EXIT, PROFILE_REQUEST, PROFILE_SIGNAL, PROFILE_PERIODIC };

/* Writes a profile to a descriptor; `notes` end with NULL, `unrecorded` may be it. False: it could
 * not be written whole. Takes milliseconds; on a thread that may wait for locks, with the world
 * running. */
bool profile_write(int fd, enum profile_reason reason, const char *const *notes,
                   const char *unrecorded);

struct lock *profile_lock(void);

#endif
