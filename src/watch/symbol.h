/* symbol.h -- names for code addresses.
 *
 * For reports only: opens and maps files, takes milliseconds for a large program. On an ordinary
 * thread, not in a signal handler, not while the world is stopped. Calls no libc function that
 * allocates or takes the loader's lock.
 *
 * Thread safety: a reader belongs to one thread. */
#ifndef GC_SYMBOL_H
#define GC_SYMBOL_H

#include "base/base.h"

enum {
    SYMBOL_NAME_MAX = 1024, /* longer names are cut; C++ has some */
    SYMBOL_PATH_MAX = 512,
    SYMBOL_BUILD_ID_MAX = 64, /* in hexadecimal digits; ld writes 40 */
    SYMBOL_FILES = 16,
    SYMBOL_MEMO = 256,
};

struct symbol {
    char function[SYMBOL_NAME_MAX];       /* "" if not known */
    uintptr_t offset;                     /* in the function */
    char module[SYMBOL_PATH_MAX];         /* "" if the address is in none */
    uintptr_t module_offset;              /* as in the file: what addr2line wants */
    char build_id[SYMBOL_BUILD_ID_MAX + 1]; /* "" if the module has none */
};

/* A file, or a module in memory, as bytes. */
struct symbol_image {
    const char *bytes;
    size_t size;
    bool mapped; /* by us */
};

struct symbol_file {
    uintptr_t module;           /* start of the module in memory: the key; 0 = unused */
    struct symbol_image image;  /* where the names are; bytes NULL: nowhere */
    const void *symbols;        /* Elf64_Sym[count] */
    size_t count;
    const char *names;
    size_t names_size;
};

/* How long names may be looked up, for all readers that share it. */
struct symbol_time {
    uint64_t give_up;   /* by the clock; 0: never */
    uint64_t left_out;  /* frames that came too late */
};
/* From now on; 0: for as long as it takes. */
struct symbol_time symbol_time_start(uint64_t ns);

struct symbol_reader {
    struct symbol_time *time;   /* or NULL */
    struct {
        uintptr_t start;        /* in memory; 0: none yet */
        char path[SYMBOL_PATH_MAX], build_id[SYMBOL_BUILD_ID_MAX + 1];
    } module;                   /* the last one asked about: the next frame is often in it, too */
    struct symbol_file files[SYMBOL_FILES]; /* the last modules asked about */
    unsigned next_file;
    struct {
        uintptr_t pc;
        uint32_t symbol; /* index + 1; 0: no name */
    } memo[SYMBOL_MEMO]; /* stacks share frames */
};

/* A demangler as __cxa_demangle, and free for its result. Unset: mangled names are reported. */
typedef char *symbol_demangler(const char *mangled, char *buffer, size_t *length, int *status);
typedef void symbol_release(void *result);
void symbol_set_demangler(symbol_demangler *demangle, symbol_release *release);

/* The build id (NT_GNU_BUILD_ID) among `size` bytes of ELF notes, which may be NULL; *length bytes
 * of it. NULL: there is none. Any thread. */
const uint8_t *symbol_build_id(const char *notes, size_t size, size_t *length);

/* `time` may be NULL: for as long as it takes. */
void symbol_reader_open(struct symbol_reader *reader, struct symbol_time *time);
void symbol_reader_close(struct symbol_reader *reader);
/* Fills *symbol for the instruction at `pc` (pass a return address - 1). False if it is in no
 * loaded module: then only *symbol's strings are set, to "". When the time is up, the module and
 * what belongs to it is all there is. */
bool symbol_find(struct symbol_reader *reader, uintptr_t pc, struct symbol *symbol);

#endif
