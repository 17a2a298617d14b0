/* maps.h -- the process's own mappings, read from /proc/thread-self/maps.
 *
 * The caller gives the buffer; nothing is allocated. Safe while the world is stopped. */
#ifndef GC_MAPS_H
#define GC_MAPS_H

#include "base/base.h"

enum map_kind {
    MAP_KIND_ANONYMOUS,     /* private, no file: heap, stacks, mmap pools */
    MAP_KIND_FILE_PRIVATE,  /* private mapping of a file: .data, .bss head, .text */
    MAP_KIND_SHARED_MEMORY, /* shared anonymous memory, memfd, /dev/shm, System V */
    MAP_KIND_SHARED_FILE,   /* shared mapping of a regular file: not a root */
    MAP_KIND_DEVICE,        /* device mappings, vvar, vdso, vsyscall: not a root */
    MAP_KIND_COUNT
};

struct mapping {
    uintptr_t start, end;
    bool readable, writable, executable, shared;
    enum map_kind kind;
    uint64_t offset, inode;
    const char *name; /* points into the reader's buffer; "" if none; NUL-terminated */
};

/* A reader over the text of /proc/thread-self/maps. */
struct maps_reader {
    int fd;
    char *buffer;
    size_t capacity, used, next;
    bool failed; /* the file could not be opened or read, or a line could not be parsed */
};

/* `buffer` must hold at least 16 KiB (a line is at most 4 KiB + 100). Opens the file.
 * Returns false, with `failed` set, when /proc is not there. */
bool maps_open(struct maps_reader *r, char *buffer, size_t capacity);
/* Fills *out with the next mapping in address order; false at the end (check `failed`).
 * The file is read in chunks: what changes under a running world may be seen or not. */
bool maps_next(struct maps_reader *r, struct mapping *out);
void maps_close(struct maps_reader *r);
/* Is [start, end) one whole mapping at this moment? False also if the kernel cannot tell (before
 * Linux 6.11). The reader is open. */
bool maps_is_whole(struct maps_reader *r, uintptr_t start, uintptr_t end);
/* Parses one line (without newline, NUL-terminated, may be modified). False: malformed. */
bool maps_parse_line(char *line, struct mapping *out);

#endif
