/* symbolize.c -- names, files and lines for code addresses of another process.
 *
 * Each module has a Dwfl of its own, made when an address in it is first asked for: two modules
 * that had the same place one after the other cannot stand in one. In it the file lies where it was
 * linked (bias 0), so an address is first turned into the file's own, START being the bias plus the
 * lowest p_vaddr, rounded down to a page.
 *
 *   .inv.time   An address belongs to the module that was there at the stack's time. If none was,
 *               it belongs to the only one that ever had the place (the library learns of a module
 *               some time after the loader has mapped it); of several, to none: a wrong name is
 *               worse than a number.
 *
 * Names: the function in the debug information (its linkage name, demangled), else the symbol that
 * contains the address. Demangling is libiberty's, which knows C++ and both of Rust's manglings.
 *
 * Cost: about 10 us per distinct address, and for each unit of the debug information that has one a
 * walk over its entries (libdw's own search for scopes walks the unit for each address: 2.5 ms in
 * one of 4,096 functions). The memo is a table of open addressing by module and
 * address, so a million stacks of the same addresses cost a look-up each. */
#include "cli/symbolize.h"

#include "cli/fault.h"
#include "cli/met.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <gelf.h>
#include <libiberty/demangle.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_ENTRIES = 4096, /* of the memo; a power of two */
    MOST_INLINED = 64,    /* calls at one address; more are cut off */
    MOST_NESTED = 256,    /* entries of the debug information in each other */
    HASH_LENGTH = 16,     /* hexadecimal digits at the end of Rust's older names */
};

/* Below this a module lies where it was linked: nothing that can be moved is put there. */
#define LINKED_BELOW 0x100000000u

/* Code of a function or of a unit, in the addresses of the debug information. */
struct code {
    uint64_t from, to;
    Dwarf_Die die;
};

struct unit {
    LIST(struct code) code; /* by `from` */
};

struct file {
    Dwfl *dwfl;         /* NULL: not opened, or not to be used */
    Dwfl_Module *module;
    uint64_t first;     /* its lowest p_vaddr, rounded down to a page */
    bool tried;
    bool listed;        /* its units, by their code: below */
    struct unit units;
};

struct entry {
    uint64_t address;    /* return address; 0 = free */
    size_t module;       /* number + 1; 0 = none */
    struct frames frames;
};

struct symbolizer {
    const struct profile_module *modules;
    struct file *files; /* of these */
    size_t count;
    struct entry *entries;
    size_t used, room; /* of the memo */
    size_t last;       /* the module of the last address: number + 1, or 0 */
    LIST(struct unit) units;
    struct met met_units;
    struct timespec begun;
    double seconds;
    bool progress, progressed;
    LIST(char *) names; /* ours to free */
};

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_build_id_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
    .section_address = dwfl_offline_section_address,
};

/* ---- modules --------------------------------------------------------------------------------- */

static bool covers(const struct profile_module *module, uint64_t pc)
{
    return module->start <= pc && pc < module->end;
}

static bool there_at(const struct profile_module *module, uint64_t time)
{
    return module->loaded <= time && (module->unloaded == 0 || time < module->unloaded);
}

/* Number + 1 of the module of an address: .inv.time. */
static size_t find_module(struct symbolizer *s, uint64_t pc, uint64_t time)
{
    size_t only = 0, several = 0;
    if (s->last != 0 && covers(&s->modules[s->last - 1], pc) &&
        there_at(&s->modules[s->last - 1], time))
        return s->last;
    for (size_t i = 0; i < s->count; i++) {
        if (!covers(&s->modules[i], pc))
            continue;
        if (there_at(&s->modules[i], time))
            return s->last = i + 1;
        only = i + 1;
        several++;
    }
    return several == 1 ? only : 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool lowest_address(Dwfl_Module *module, uint64_t *lowest)
{
    GElf_Addr bias;
    GElf_Phdr header;
    size_t count;
    Elf *elf = dwfl_module_getelf(module, &bias);
    *lowest = UINT64_MAX;
    if (elf == NULL || elf_getphdrnum(elf, &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (gelf_getphdr(elf, (int)i, &header) != NULL && header.p_type == PT_LOAD &&
            header.p_vaddr < *lowest)
            *lowest = header.p_vaddr & ~(uint64_t)4095;
    return *lowest != UINT64_MAX;
}

/* .inv.same */
static bool same_build(Dwfl_Module *module, const char *build_id)
{
    const unsigned char *bits;
    GElf_Addr at;
    char digits[3];
    int length = dwfl_module_build_id(module, &bits, &at);
    if (build_id[0] == 0)
        return true;
    if (length <= 0 || strlen(build_id) != 2 * (size_t)length)
        return false;
    for (int i = 0; i < length; i++) {
        snprintf(digits, sizeof(digits), "%02x", bits[i]);
        if (strncasecmp(digits, build_id + 2 * (size_t)i, 2) != 0)
            return false;
    }
    return true;
}

/* Reads the file of a module. What is no regular file ([vdso], a path in another root) is left
 * out without a word; open is asked not to wait for a FIFO. */
static Dwfl_Module *report_file(Dwfl *dwfl, const char *path)
{
    int fd = path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return NULL;
    dwfl_report_begin(dwfl);
    Dwfl_Module *module = dwfl_report_elf(dwfl, path, path, fd, 0, true);
    dwfl_report_end(dwfl, NULL, NULL);
    if (module == NULL)
        close(fd);
    return module;
}

static void open_file(const struct profile_module *module, struct file *file)
{
    file->tried = true;
    Dwfl *dwfl = dwfl_begin(&callbacks);
    Dwfl_Module *found = dwfl != NULL ? report_file(dwfl, module->path) : NULL;
    if (found != NULL && !same_build(found, module->build_id)) {
        fault(STATUS_OK, "%s has changed since: its functions are not named", module->path);
        found = NULL;
    }
    if (found != NULL && lowest_address(found, &file->first)) {
        file->dwfl = dwfl;
        file->module = found;
    } else {
        dwfl_end(dwfl);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Rust's older names end with ::h and a hash. */
static void cut_hash(char *name)
{
    size_t length = strlen(name);
    if (length <= HASH_LENGTH + 3)
        return;
    char *hash = name + length - HASH_LENGTH - 3;
    if (strncmp(hash, "::h", 3) == 0 && strspn(hash + 3, "0123456789abcdef") == HASH_LENGTH)
        *hash = 0;
}

static const char *demangled(struct symbolizer *s, const char *name)
{
    if (name == NULL || strncmp(name, "_", 1) != 0)
        return name;
    char *plain = cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
    if (plain == NULL)
        return name;
    cut_hash(plain);
    return *LIST_ADD(&s->names) = plain;
}

/* Of a function's entry in the debug information. */
static const char *entry_name(struct symbolizer *s, Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *linkage = NULL;
    if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute) != NULL ||
        dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute) != NULL)
        linkage = dwarf_formstring(&attribute);
    return linkage != NULL ? demangled(s, linkage) : dwarf_diename(die);
}

static const char *symbol_name(struct symbolizer *s, Dwfl_Module *module, uint64_t address)
{
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);
    if (name == NULL || (symbol.st_size != 0 && offset >= symbol.st_size))
        return NULL;
    return demangled(s, name);
}

/* ---- inlined calls --------------------------------------------------------------------------- */

static int unsigned_attribute(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word value;
    if (dwarf_attr(die, name, &attribute) == NULL || dwarf_formudata(&attribute, &value) != 0)
        return 0;
    return (int)value;
}

/* Where an inlined function was called: the place of the next frame. */
static void set_call_place(struct frame *frame, Dwarf_Die *inlined)
{
    Dwarf_Die unit;
    Dwarf_Files *files;
    int file = unsigned_attribute(inlined, DW_AT_call_file);
    if (dwarf_diecu(inlined, &unit, NULL, NULL) == NULL ||
        dwarf_getsrcfiles(&unit, &files, NULL) != 0)
        return;
    frame->file = dwarf_filesrc(files, (size_t)file, NULL, NULL);
    if (frame->file != NULL) {
        frame->line = unsigned_attribute(inlined, DW_AT_call_line);
        frame->column = unsigned_attribute(inlined, DW_AT_call_column);
    }
}

/* Entries in which the code of a function may be described. */
static bool has_scopes(Dwarf_Die *die)
{
    switch (dwarf_tag(die)) {
    case DW_TAG_namespace:
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_module:
    case DW_TAG_subprogram:
    case DW_TAG_inlined_subroutine:
    case DW_TAG_lexical_block:
    case DW_TAG_try_block:
    case DW_TAG_catch_block:
    case DW_TAG_with_stmt:
        return true;
    default:
        return false;
    }
}

static void add_code(struct unit *unit, Dwarf_Die *function)
{
    Dwarf_Addr base, from, to;
    ptrdiff_t next = 0;
    while ((next = dwarf_ranges(function, next, &base, &from, &to)) > 0)
        if (from < to)
            *LIST_ADD(&unit->code) = (struct code){from, to, *function};
}

/* Of a tree of entries the functions that have code. */
static void add_functions(struct unit *unit, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die die;
    if (depth == MOST_NESTED || dwarf_child(parent, &die) != 0)
        return;
    do {
        if (!has_scopes(&die))
            continue;
        if (dwarf_tag(&die) == DW_TAG_subprogram)
            add_code(unit, &die);
        add_functions(unit, &die, depth + 1);
    } while (dwarf_siblingof(&die, &die) == 0);
}

/* Of functions that the linker has folded into one, the first one comes last, and is found. */
static int by_start(const void *one, const void *other)
{
    const struct code *a = one, *b = other;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->die.addr > b->die.addr ? -1 : a->die.addr < b->die.addr;
}

/* The functions of a unit, by their code: made once, for libdw's own search walks the whole unit
 * for each address. */
static struct unit *unit_of(struct symbolizer *s, struct file *file, Dwarf_Die *die)
{
    bool is_new;
    uint64_t hash = met_hash(met_hash(1, (uint64_t)(file - s->files)), dwarf_dieoffset(die));
    uint64_t number = met_number(&s->met_units, hash, &is_new);
    if (is_new) {
        struct unit *unit = LIST_ADD(&s->units);
        add_functions(unit, die, 0);
        if (unit->code.count != 0)
            qsort(unit->code.items, unit->code.count, sizeof(struct code), by_start);
    }
    return &s->units.items[number - 1];
}

static Dwarf_Die *function_at(const struct unit *unit, uint64_t address)
{
    size_t low = 0, high = unit->code.count; /* the last one that begins at or before it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unit->code.items[middle].from <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low != 0 && address < unit->code.items[low - 1].to ? &unit->code.items[low - 1].die
                                                              : NULL;
}

/* The child that the address is in. */
static bool step_in(Dwarf_Die *parent, uint64_t address, Dwarf_Die *child)
{
    if (dwarf_child(parent, child) != 0)
        return false;
    do {
        if (has_scopes(child) && dwarf_haspc(child, address) > 0)
            return true;
    } while (dwarf_siblingof(child, child) == 0);
    return false;
}

/* The unit of an address. Clang writes no table of them (.debug_aranges), without which libdw finds
 * none: then each is asked for its code, once. */
static Dwarf_Die *unit_at(struct file *file, uint64_t address, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = dwfl_module_addrdie(file->module, address, bias);
    if (unit != NULL)
        return unit;
    for (; !file->listed && (unit = dwfl_module_nextcu(file->module, unit, bias)) != NULL;)
        add_code(&file->units, unit);
    if (!file->listed && file->units.code.count != 0)
        qsort(file->units.code.items, file->units.code.count, sizeof(struct code), by_start);
    file->listed = true;
    if (dwfl_module_getdwarf(file->module, bias) == NULL)
        return NULL;
    return function_at(&file->units, address - *bias);
}

/* The entries that an address is in, from its function inwards; at most MOST_NESTED. Returns how
 * many. */
static size_t physical_scopes(struct symbolizer *s, struct file *file, Dwarf_Die *unit,
                              uint64_t address, Dwarf_Die *scopes)
{
    Dwarf_Die *function = function_at(unit_of(s, file, unit), address);
    size_t count = 0;
    if (function == NULL)
        return 0;
    scopes[count++] = *function;
    while (count < MOST_NESTED && step_in(&scopes[count - 1], address, &scopes[count]))
        count++;
    return count;
}

/* Fills `frames` from the innermost; the first one's place is set. Returns how many. */
static size_t name_scopes(struct symbolizer *s, Dwarf_Die *scopes, size_t count,
                          struct frame *frames)
{
    size_t at = 0;
    for (size_t i = count; i-- > 0 && at < MOST_INLINED;) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram)
            continue;
        frames[at].function = entry_name(s, &scopes[i]);
        frames[at].inlined = tag == DW_TAG_inlined_subroutine && at < MOST_INLINED - 1;
        if (!frames[at++].inlined)
            break;
        frames[at] = (struct frame){.pc = frames[0].pc, .module = frames[0].module,
                                    .offset = frames[0].offset};
        set_call_place(&frames[at], &scopes[i]);
    }
    return at != 0 ? at : 1;
}

static void set_place(struct frame *frame, Dwarf_Die *unit, uint64_t address)
{
    Dwarf_Line *line = dwarf_getsrc_die(unit, address);
    if (line == NULL)
        return;
    frame->file = dwarf_linesrc(line, NULL, NULL);
    if (frame->file == NULL || dwarf_lineno(line, &frame->line) != 0)
        frame->line = 0;
    if (frame->line == 0 || dwarf_linecol(line, &frame->column) != 0)
        frame->column = 0;
}

static size_t name_frames(struct symbolizer *s, struct file *file, struct frame *frames)
{
    uint64_t address = frames[0].offset;
    Dwarf_Die scopes[MOST_NESTED];
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_at(file, address, &bias);
    size_t count = 0;
    if (unit != NULL) {
        set_place(frames, unit, address - bias);
        count = physical_scopes(s, file, unit, address - bias, scopes);
    }
    size_t named = name_scopes(s, scopes, count, frames);
    /* An inlined call that no function closes is one that the debug information lost. */
    frames[named - 1].inlined = false;
    if (frames[named - 1].function == NULL)
        frames[named - 1].function = symbol_name(s, file->module, address);
    return named;
}

/* ---- time ------------------------------------------------------------------------------------ */

static double seconds_since(const struct timespec *begun)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - begun->tv_sec) + (double)(now.tv_nsec - begun->tv_nsec) * 1e-9;
}

static bool time_is_up(const struct symbolizer *s)
{
    return s->seconds > 0 && seconds_since(&s->begun) >= s->seconds;
}

/* On a terminal, after a second, and not for each address. */
static void show_progress(struct symbolizer *s)
{
    if (!s->progress || s->used % 64 != 0 || seconds_since(&s->begun) < 1)
        return;
    s->progressed = true;
    fprintf(stderr, "\rgcmalloc: naming functions: %zu addresses ", s->used);
}

/* ---- the memo -------------------------------------------------------------------------------- */

static struct frames look_up(struct symbolizer *s, uint64_t return_address, size_t module)
{
    struct frame frames[MOST_INLINED] = {{.pc = return_address - 1}};
    size_t count = 1;
    if (module != 0) {
        struct file *file = &s->files[module - 1];
        frames[0].module = &s->modules[module - 1];
        uint64_t start = frames[0].module->start;
        bool late = time_is_up(s);
        if (!file->tried && !late)
            open_file(frames[0].module, file);
        frames[0].offset = frames[0].pc - (start < LINKED_BELOW ? 0 : start);
        if (file->dwfl != NULL) {
            frames[0].offset = frames[0].pc - start + file->first;
            if (!late)
                count = name_frames(s, file, frames);
        }
    }
    struct frame *items = list_alloc(count, sizeof(*items));
    memcpy(items, frames, count * sizeof(*items));
    return (struct frames){items, count};
}

static struct entry *find_entry(struct entry *entries, size_t room, uint64_t address, size_t module)
{
    size_t at = (address * 0x9e3779b97f4a7c15u + module) >> 20;
    for (;; at++) {
        struct entry *entry = &entries[at & (room - 1)];
        if (entry->address == 0 || (entry->address == address && entry->module == module))
            return entry;
    }
}

static void grow_memo(struct symbolizer *s)
{
    size_t room = s->room ? 2 * s->room : FIRST_ENTRIES;
    struct entry *entries = list_alloc(room, sizeof(*entries));
    for (size_t i = 0; i < s->room; i++)
        if (s->entries[i].address != 0)
            *find_entry(entries, room, s->entries[i].address, s->entries[i].module) =
                s->entries[i];
    free(s->entries);
    s->entries = entries;
    s->room = room;
}

struct frames symbolize(struct symbolizer *s, uint64_t return_address, uint64_t time)
{
    return_address += return_address == 0; /* 0 is no address of code, and marks free entries */
    size_t module = find_module(s, return_address - 1, time);
    if (2 * s->used >= s->room)
        grow_memo(s);
    struct entry *entry = find_entry(s->entries, s->room, return_address, module);
    if (entry->address == 0) {
        *entry = (struct entry){return_address, module, look_up(s, return_address, module)};
        s->used++;
        show_progress(s);
    }
    return entry->frames;
}

/* ---- from beginning to end ------------------------------------------------------------------- */

/* A download from debuginfod may not take longer than all the rest; the user's word comes first. */
static void limit_downloads(double seconds)
{
    char text[24];
    snprintf(text, sizeof(text), "%.0f", ceil(seconds));
    if (seconds > 0)
        setenv("DEBUGINFOD_MAXTIME", text, 0);
}

struct symbolizer *symbolizer_open(const struct profile_module *modules, size_t count,
                                   double seconds)
{
    struct symbolizer *s = list_alloc(1, sizeof(*s));
    s->modules = modules;
    s->count = count;
    s->files = list_alloc(count, sizeof(*s->files));
    s->seconds = seconds;
    limit_downloads(seconds);
    s->progress = isatty(STDERR_FILENO);
    clock_gettime(CLOCK_MONOTONIC, &s->begun);
    return s;
}

void symbolizer_close(struct symbolizer *s)
{
    if (s->progressed)
        fprintf(stderr, "\r\033[K");
    for (size_t i = 0; i < s->count; i++) {
        dwfl_end(s->files[i].dwfl);
        free(s->files[i].units.code.items);
    }
    for (size_t i = 0; i < s->room; i++)
        free((void *)s->entries[i].frames.items);
    for (size_t i = 0; i < s->names.count; i++)
        free(s->names.items[i]);
    free(s->names.items);
    for (size_t i = 0; i < s->units.count; i++)
        free(s->units.items[i].code.items);
    free(s->units.items);
    met_free(&s->met_units);
    free(s->entries);
    free(s->files);
    free(s);
}
