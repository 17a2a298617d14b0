/* symbol.c -- names for code addresses.
 *
 * _dl_find_object says which module an address is in; the module's file has the names. Not dladdr:
 * it takes the loader's lock and knows exported names only. The file's .symtab is read, which has
 * static functions too; if it was stripped, the one in /usr/lib/debug by build id (Debian's -dbgsym
 * packages); else .dynsym.
 *
 *   .inv.same     A file counts only if its build id is the one in memory: programs are replaced
 *                 while they run. A module without build id is believed.
 *   .inv.within   Nothing outside a file's bytes is read, whatever its headers say.
 *
 * A file that shrinks while it is mapped would raise SIGBUS. Files of running programs are replaced
 * by rename, not rewritten; the kernel refuses to write a running program's main file.
 *
 * Which of several symbols: the one that contains the address and begins last; functions before
 * other types; without size (assembly) only if nothing contains the address, and only if it is the
 * nearest. Data symbols never.
 *
 * Cost: one pass over the symbols per distinct address: 8 us for libc's 3,000 (2026-11, one core).
 * The memo makes it once for a frame that many stacks share. The path and the build id of a frame's
 * module are kept for the next frame: they were half of the time of a long report. A reader is
 * 6 KiB. */
#include "watch/symbol.h"

#include "base/check.h"
#include "sys/clock.h"
#include "sys/print.h"
#include "sys/syscall.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static symbol_demangler *demangler;
static symbol_release *releaser;

void symbol_set_demangler(symbol_demangler *demangle, symbol_release *release)
{
    demangler = demangle;
    releaser = release;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void image_unmap(struct symbol_image *image)
{
    if (image->mapped)
        syscall2(__NR_munmap, (long)image->bytes, (long)image->size);
    *image = (struct symbol_image){0};
}

static bool image_map(struct symbol_image *image, const char *path)
{
    struct stat status;
    long at = -1, fd = syscall4(__NR_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (syscall2(__NR_fstat, fd, (long)&status) == 0 && S_ISREG(status.st_mode) &&
        status.st_size > 0)
        at = syscall6(__NR_mmap, 0, status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    syscall1(__NR_close, fd);
    if (at < 0 && at > -4096)
        return false;
    *image = (struct symbol_image){(const char *)at, (size_t)status.st_size, true};
    return true;
}

/* `size` bytes at `offset`, or NULL: .inv.within. */
static const void *image_at(const struct symbol_image *image, uint64_t offset, uint64_t size)
{
    if (offset > image->size || size > image->size - offset)
        return NULL;
    return image->bytes + offset;
}

static const Elf64_Ehdr *image_header(const struct symbol_image *image)
{
    const Elf64_Ehdr *header = image_at(image, 0, sizeof *header);
    if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64)
        return NULL;
    return header;
}

const uint8_t *symbol_build_id(const char *notes, size_t size, size_t *length)
{
    while (notes && size >= sizeof(Elf64_Nhdr)) {
        const Elf64_Nhdr *note = (const void *)notes;
        size_t name = align_up(note->n_namesz, 4), data = align_up(note->n_descsz, 4);
        if (name > size || data > size || sizeof *note + name + data > size)
            return NULL;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(notes + sizeof *note, "GNU", 4) == 0) {
            *length = note->n_descsz;
            return (const uint8_t *)notes + sizeof *note + name;
        }
        notes += sizeof *note + name + data;
        size -= sizeof *note + name + data;
    }
    return NULL;
}

/* The build id of a file (as_loaded false) or of a module in memory, as hexadecimal digits. */
static void build_id_read(const struct symbol_image *image, uintptr_t bias, bool as_loaded,
                          char *text)
{
    const Elf64_Ehdr *header = image_header(image);
    const Elf64_Phdr *ph = NULL;
    const uint8_t *id = NULL;
    size_t length = 0;
    text[0] = 0;
    if (header && header->e_phentsize == sizeof *ph)
        ph = image_at(image, header->e_phoff, (uint64_t)header->e_phnum * sizeof *ph);
    for (unsigned i = 0; ph && i < header->e_phnum && !id; i++) {
        uint64_t at = as_loaded ? ph[i].p_vaddr + bias - (uintptr_t)image->bytes : ph[i].p_offset;
        if (ph[i].p_type == PT_NOTE)
            id = symbol_build_id(image_at(image, at, ph[i].p_filesz), ph[i].p_filesz, &length);
    }
    length = id ? size_min(length, SYMBOL_BUILD_ID_MAX / 2) : 0;
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = "0123456789abcdef"[id[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[id[i] & 15];
    }
    text[2 * length] = 0;
}

/* Points `file` at the symbol table of this type in its image. */
static bool table_find(struct symbol_file *file, uint32_t type)
{
    const struct symbol_image *image = &file->image;
    const Elf64_Ehdr *header = image_header(image);
    const Elf64_Shdr *sh = NULL;
    if (header && header->e_shentsize == sizeof *sh)
        sh = image_at(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sh);
    for (unsigned i = 0; sh && i < header->e_shnum; i++) {
        if (sh[i].sh_type != type || sh[i].sh_link >= header->e_shnum)
            continue;
        const Elf64_Shdr *names = &sh[sh[i].sh_link];
        file->symbols = image_at(image, sh[i].sh_offset, sh[i].sh_size);
        file->count = sh[i].sh_size / sizeof(Elf64_Sym);
        file->names = image_at(image, names->sh_offset, names->sh_size);
        file->names_size = names->sh_size;
        if (file->symbols && file->names && file->names_size > 0 && names->sh_type == SHT_STRTAB)
            return true;
    }
    file->symbols = NULL;
    return false;
}

/* ---- modules --------------------------------------------------------------------------------- */

static void module_path(const struct dl_find_object *found, char *path)
{
    const char *name = found->dlfo_link_map->l_name;
    if (name[0]) {
        size_t length = strnlen(name, SYMBOL_PATH_MAX - 1);
        memcpy(path, name, length);
        path[length] = 0;
        return;
    }
    /* The main program has no name there. */
    long length = syscall3(__NR_readlink, (long)"/proc/thread-self/exe", (long)path,
                           SYMBOL_PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
}

static struct symbol_image module_in_memory(const struct dl_find_object *found)
{
    return (struct symbol_image){
        found->dlfo_map_start,
        (size_t)((const char *)found->dlfo_map_end - (const char *)found->dlfo_map_start), false};
}

/* /usr/lib/debug/.build-id/ab/cdef….debug */
static bool file_map_debug(struct symbol_file *file, const char *build_id)
{
    struct printer path;
    if (strlen(build_id) < 4)
        return false;
    printer_start(&path, -1);
    printer_printf(&path, "/usr/lib/debug/.build-id/%.*s/%s.debug", 2, build_id, build_id + 2);
    if (!image_map(&file->image, path.text))
        return false;
    if (table_find(file, SHT_SYMTAB))
        return true;
    image_unmap(&file->image);
    return false;
}

static void file_open(struct symbol_file *file, const struct dl_find_object *found,
                      const char *path, const char *build_id)
{
    char id_in_file[SYMBOL_BUILD_ID_MAX + 1];
    *file = (struct symbol_file){.module = (uintptr_t)found->dlfo_map_start};
    /* The vdso has no file; its section headers are in memory. */
    if (!image_map(&file->image, found->dlfo_link_map->l_name[0] ? path : "/proc/thread-self/exe"))
        file->image = module_in_memory(found);
    else
        build_id_read(&file->image, 0, false, id_in_file);
    if (file->image.mapped && build_id[0] && strcmp(id_in_file, build_id) != 0)
        image_unmap(&file->image); /* .inv.same */
    if (file->image.bytes && table_find(file, SHT_SYMTAB))
        return;
    struct symbol_image stripped = file->image;
    if (file_map_debug(file, build_id)) {
        image_unmap(&stripped);
        return;
    }
    file->image = stripped;
    if (file->image.bytes && !table_find(file, SHT_DYNSYM))
        image_unmap(&file->image);
}


static struct symbol_file *file_for(struct symbol_reader *reader,
                                    const struct dl_find_object *found, const char *path,
                                    const char *build_id)
{
    for (unsigned i = 0; i < SYMBOL_FILES; i++)
        if (reader->files[i].module == (uintptr_t)found->dlfo_map_start)
            return &reader->files[i];
    struct symbol_file *file = &reader->files[reader->next_file++ % SYMBOL_FILES];
    image_unmap(&file->image);
    file_open(file, found, path, build_id);
    return file;
}

/* ---- symbols --------------------------------------------------------------------------------- */

static bool is_function(const Elf64_Sym *symbol)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    return symbol->st_shndx != SHN_UNDEF && symbol->st_name != 0 &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

/* True if `a`, which begins at or before the address, is the better name for it than `b`. */
static bool better(const Elf64_Sym *a, const Elf64_Sym *b, uint64_t address)
{
    bool a_holds = address - a->st_value < a->st_size, b_holds;
    if (!b)
        return a_holds || a->st_size == 0;
    b_holds = address - b->st_value < b->st_size;
    if (a_holds != b_holds)
        return a_holds;
    if (!a_holds && a->st_size != 0)
        return false;
    if (a->st_value != b->st_value)
        return a->st_value > b->st_value;
    return ELF64_ST_BIND(a->st_info) == STB_GLOBAL && ELF64_ST_BIND(b->st_info) != STB_GLOBAL;
}

/* The index of the best symbol for `address` (as in the file), plus one; 0: none. */
static uint32_t file_search(const struct symbol_file *file, uint64_t address)
{
    const Elf64_Sym *all = file->symbols, *best = NULL;
    uint64_t barrier = 0; /* the last end of a sized function before the address */
    for (size_t i = 0; all && i < file->count; i++) {
        if (all[i].st_value > address || !is_function(&all[i]))
            continue;
        if (all[i].st_size > 0 && all[i].st_value + all[i].st_size <= address)
            barrier = all[i].st_value + all[i].st_size > barrier ? all[i].st_value + all[i].st_size
                                                                 : barrier;
        if (better(&all[i], best, address))
            best = &all[i];
    }
    /* A name without size reaches as far as the next function only. */
    if (best && best->st_size == 0 && best->st_value < barrier)
        return 0;
    return best ? (uint32_t)(best - all) + 1 : 0;
}

static uint32_t find_memoized(struct symbol_reader *reader, const struct symbol_file *file,
                              uintptr_t pc, uint64_t address)
{
    unsigned slot = (unsigned)((pc * 0x9e3779b97f4a7c15u) >> 56) % SYMBOL_MEMO;
    if (reader->memo[slot].pc != pc) {
        reader->memo[slot].pc = pc;
        reader->memo[slot].symbol = file_search(file, address);
    }
    return reader->memo[slot].symbol;
}

static void copy_name(char *to, const char *name, size_t most)
{
    size_t length = strnlen(name, size_min(most, SYMBOL_NAME_MAX - 1));
    memcpy(to, name, length);
    to[length] = 0;
}

/* C++ names begin with _Z. */
static void demangle_in_place(char *name)
{
    int status = -1;
    if (!demangler || strncmp(name, "_Z", 2) != 0)
        return;
    char *plain = demangler(name, NULL, NULL, &status);
    if (plain && status == 0)
        copy_name(name, plain, SYMBOL_NAME_MAX);
    if (plain && releaser)
        releaser(plain);
}

static void look_at_module(struct symbol_reader *reader, const struct dl_find_object *found)
{
    struct symbol_image memory = module_in_memory(found);
    if (reader->module.start == (uintptr_t)memory.bytes)
        return;
    reader->module.start = (uintptr_t)memory.bytes;
    module_path(found, reader->module.path);
    build_id_read(&memory, found->dlfo_link_map->l_addr, true, reader->module.build_id);
}

struct symbol_time symbol_time_start(uint64_t ns)
{
    return (struct symbol_time){.give_up = ns != 0 ? clock_now_ns() + ns : 0};
}

static bool time_is_up(struct symbol_time *time)
{
    if (time == NULL || time->give_up == 0 || clock_now_ns() < time->give_up)
        return false;
    time->left_out++;
    return true;
}

bool symbol_find(struct symbol_reader *reader, uintptr_t pc, struct symbol *symbol)
{
    struct dl_find_object found;
    symbol->function[0] = symbol->module[0] = symbol->build_id[0] = 0;
    symbol->offset = symbol->module_offset = 0;
    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    look_at_module(reader, &found);
    memcpy(symbol->module, reader->module.path, strlen(reader->module.path) + 1);
    memcpy(symbol->build_id, reader->module.build_id, sizeof symbol->build_id);
    symbol->module_offset = pc - found.dlfo_link_map->l_addr;
    if (time_is_up(reader->time))
        return true;
    struct symbol_file *file = file_for(reader, &found, symbol->module, symbol->build_id);
    uint32_t index = find_memoized(reader, file, pc, symbol->module_offset);
    if (index == 0 || index > file->count)
        return true;
    const Elf64_Sym *best = (const Elf64_Sym *)file->symbols + (index - 1);
    symbol->offset = symbol->module_offset - best->st_value;
    if (best->st_name < file->names_size)
        copy_name(symbol->function, file->names + best->st_name, file->names_size - best->st_name);
    /* .symtab writes versions into names: qsort@@GLIBC_2.2.5. */
    symbol->function[strcspn(symbol->function, "@")] = 0;
    demangle_in_place(symbol->function);
    return true;
}

void symbol_reader_open(struct symbol_reader *reader, struct symbol_time *time)
{
    memset(reader, 0, sizeof *reader);
    reader->time = time;
}

void symbol_reader_close(struct symbol_reader *reader)
{
    for (unsigned i = 0; i < SYMBOL_FILES; i++)
        image_unmap(&reader->files[i].image);
}
