/* cfi.c -- DWARF call frame information, read by libunwind.
 *
 * We use the half of libunwind that was written for debuggers: it runs the unwind program of a
 * frame and gets everything it needs through callbacks. It knows no threads, no loader and no
 * memory of its own (scripts/build-libunwind checks that), so that what happens inside malloc is
 * decided here:
 *
 *   where the table is    _dl_find_object: lock-free, safe in signal handlers. libunwind itself
 *                         calls dl_iterate_phdr, under the loader's lock: a thread in malloc would
 *                         wait there for a thread that waits in a callback for the first one's
 *                         lock.
 *   what memory holds     tables: plain loads inside the module; all else through peek.h.
 *   what registers hold   see below.
 *
 * A rule is worked out by symbolic execution. We start libunwind in a frame whose registers hold
 * tokens instead of values: a token is a number no address can be (bits 48-61 a term, the low bits
 * an offset), and it survives the only arithmetic unwind programs do, adding constants. Reading at
 * a token makes a new term, "what is stored at term t + offset". One step later, the caller's
 * registers spell out where they come from: RIP is the term [RSP + 40], the CFA is RSP + 48. If all
 * three are made of RSP and RBP in the shapes of struct frame_rule, the rule holds for every frame
 * at that pc; else it is RULE_EXACT and cfi_walk steps through with the real registers.
 *
 *   .inv.alone  One thread at a time is inside libunwind, with all signals blocked. So its own
 *               locks can be nothing, a handler never waits for its own thread, and fork's child
 *               finds its pools whole if the lock was taken before (cfi_fork_prepare).
 *   .inv.leaf   Whoever is inside takes no lock and calls no function that does.
 *   .inv.token  No token is dereferenced: bit 62 is set and bit 63 is not, which no canonical
 *               address has, with 4 or 5 levels of page tables.
 *
 * Trap: a garbage pc may point into a library that another thread is unloading; reading its table
 * can fault. Garbage comes from guesses only, and a guessed return address must follow a call
 * instruction (unwind.c), which makes this as unlikely as it can be made.
 *
 * Trap: libunwind falls back on frame pointers when a frame has no table. With tokens for registers
 * the result means nothing; `missing` tells us to ignore it.
 *
 * Cost: see the table in unwind.c. Static memory 32 KiB, of which two pages are touched; 2 mappings
 * of a few pages at the first rule. */
#include "watch/cfi.h"

#include "base/atomic.h"
#include "base/check.h"
#include "sys/lock.h"
#include "sys/signal.h"
#include "sys/syscall.h"

#include <dlfcn.h>
#include <errno.h>
#include <libunwind-x86_64.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

/* Exported by libunwind for perf(1) and friends, without a declaration in its headers. */
int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t, unw_word_t, unw_dyn_info_t *,
                                       unw_proc_info_t *, int, void *);

enum {
    TERM_SHIFT = 48,
    /* One per register, then one per place read. A signal frame, the longest, reads 20 places. */
    TERMS = 48,
    /* sizeof(struct unw_addr_space) is 26.6 KiB, mostly a cache that is switched off. */
    SPACE_SIZE = 32 << 10,
};
#define TOKEN_MARK ((uintptr_t)1 << 62)
#define TOKEN_ZERO ((uintptr_t)1 << 40) /* an offset of 0, so that negative ones do not borrow */

/* A value known by where it comes from: register `n` at entry, or what is stored at a place. */
struct place {
    unsigned term;
    int64_t offset;
};

/* What libunwind is asked, and what the callbacks need to know: its `arg`. */
struct question {
    const struct cfi_registers *registers; /* NULL: tokens */
    struct peek *peek;
    uintptr_t pc;
    uintptr_t table_low, table_high; /* the module last looked up */
    bool missing;                    /* there was no table for a pc */
    unsigned terms;
    struct place term[TERMS];
};

static struct lock cfi_lock = LOCK_INIT(UNWIND);
static __thread bool inside;
/* Written under cfi_lock. */
static unw_addr_space_t space;
static GC_LARGE char space_memory[SPACE_SIZE] __attribute__((aligned(CACHE_LINE)));

/* ---- tokens ---------------------------------------------------------------------------------- */

static uintptr_t token(struct place p)
{
    return (TOKEN_MARK | (uintptr_t)p.term << TERM_SHIFT) + TOKEN_ZERO + (uintptr_t)p.offset;
}

static bool token_read(const struct question *q, uintptr_t value, struct place *p)
{
    p->term = (unsigned)((value & ~TOKEN_MARK) >> TERM_SHIFT);
    p->offset = (int64_t)(value & (((uintptr_t)1 << TERM_SHIFT) - 1)) - (int64_t)TOKEN_ZERO;
    return (value & TOKEN_MARK) && p->term < q->terms;
}

/* The token for what is stored at `p`. */
static int token_load(struct question *q, struct place p, unw_word_t *value)
{
    unsigned i = CFI_REGISTERS;
    while (i < q->terms && (q->term[i].term != p.term || q->term[i].offset != p.offset))
        i++;
    if (i == TERMS)
        return -UNW_EINVAL;
    if (i == q->terms)
        q->term[q->terms++] = p;
    *value = token((struct place){i, 0});
    return 0;
}

/* ---- libunwind's questions ------------------------------------------------------------------- */

static int answer_memory(unw_addr_space_t as, unw_word_t address, unw_word_t *value, int write,
                         void *arg)
{
    struct question *q = arg;
    struct place place;
    (void)as;
    if (write)
        return -UNW_EINVAL;
    if (token_read(q, address, &place)) /* .inv.token */
        return token_load(q, place, value);
    if (address >= q->table_low && address + WORD_SIZE <= q->table_high) {
        memcpy(value, (const void *)address, sizeof *value);
        return 0;
    }
    return peek_word(q->peek, address, value) ? 0 : -UNW_EINVAL;
}

static int answer_register(unw_addr_space_t as, unw_regnum_t n, unw_word_t *value, int write,
                           void *arg)
{
    struct question *q = arg;
    (void)as;
    if (write || n < 0 || n >= CFI_REGISTERS)
        return -UNW_EBADREG;
    if (n == CFI_RIP)
        *value = q->pc;
    else
        *value = q->registers ? q->registers->value[n] : token((struct place){(unsigned)n, 0});
    return 0;
}

/* The binary search table that GNU and LLVM linkers write: see "Linux Standard Base Core", section
 * 10.6.2 (.eh_frame_hdr). Linkers write no other encodings today; those count as no table. */
struct search_table {
    uint8_t version, frame_encoding, count_encoding, table_encoding;
    int32_t frame;
    uint32_t count;
    struct {
        int32_t pc, fde;
    } entries[];
};
enum { TABLE_VERSION = 1, PCREL_SDATA4 = 0x1b, UDATA4 = 0x03, DATAREL_SDATA4 = 0x3b };

static bool module_table(uintptr_t pc, struct question *q, unw_dyn_info_t *info)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0 || !found.dlfo_eh_frame)
        return false;
    const struct search_table *table = found.dlfo_eh_frame;
    q->table_low = (uintptr_t)found.dlfo_map_start;
    q->table_high = (uintptr_t)found.dlfo_map_end;
    if (table->version != TABLE_VERSION || table->frame_encoding != PCREL_SDATA4 ||
        table->count_encoding != UDATA4 || table->table_encoding != DATAREL_SDATA4)
        return false;
    memset(info, 0, sizeof *info);
    info->start_ip = q->table_low;
    info->end_ip = q->table_high;
    info->format = UNW_INFO_FORMAT_REMOTE_TABLE;
    info->u.rti.segbase = (uintptr_t)table;
    info->u.rti.table_data = (uintptr_t)table->entries;
    info->u.rti.table_len = table->count; /* in words: an entry is one */
    return true;
}

static int answer_table(unw_addr_space_t as, unw_word_t pc, unw_proc_info_t *proc, int want_cfi,
                        void *arg)
{
    struct question *q = arg;
    unw_dyn_info_t info;
    int got = -UNW_ENOINFO;
    if (module_table(pc, q, &info))
        got = _Ux86_64_dwarf_search_unwind_table(as, pc, &info, proc, want_cfi, arg);
    if (got == -UNW_ENOINFO)
        q->missing = true;
    return got;
}

static void answer_table_done(unw_addr_space_t as, unw_proc_info_t *proc, void *arg)
{
    (void)as;
    (void)proc;
    (void)arg;
}

static int answer_no_dynamic_code(unw_addr_space_t as, unw_word_t *address, void *arg)
{
    (void)as;
    (void)address;
    (void)arg;
    return -UNW_ENOINFO;
}

/* ---- what libunwind calls instead of libc (build-libunwind renames) -------------------------- */

void *unwind_os_calloc(size_t count, size_t size);
void unwind_os_free(void *p);
void *unwind_os_mmap(void *at, size_t size, int protection, int flags, int fd, long offset);
int unwind_os_munmap(void *at, size_t size);
int unwind_os_pthread_mutex_init(void *mutex, const void *attributes);
int unwind_os_pthread_mutex_lock(void *mutex);
int unwind_os_pthread_mutex_unlock(void *mutex);
long unwind_os_write(int fd, const void *text, size_t size);
long unwind_os_sysconf(int name);
int unwind_os_getpagesize(void);
const char *unwind_os_strerror(int error);

/* Called once, for the address space. */
void *unwind_os_calloc(size_t count, size_t size)
{
    GC_CHECK(!space && count * size <= SPACE_SIZE);
    return space_memory;
}
void unwind_os_free(void *p)
{
    (void)p;
}
void *unwind_os_mmap(void *at, size_t size, int protection, int flags, int fd, long offset)
{
    long got = syscall6(__NR_mmap, (long)at, (long)size, protection, flags, fd, offset);
    return got < 0 && got > -4096 ? MAP_FAILED : (void *)got;
}
int unwind_os_munmap(void *at, size_t size)
{
    return (int)syscall2(__NR_munmap, (long)at, (long)size);
}
int unwind_os_pthread_mutex_init(void *mutex, const void *attributes)
{
    (void)mutex;
    (void)attributes;
    return 0;
}
int unwind_os_pthread_mutex_lock(void *mutex) /* .inv.alone */
{
    (void)mutex;
    return 0;
}
int unwind_os_pthread_mutex_unlock(void *mutex)
{
    (void)mutex;
    return 0;
}
long unwind_os_write(int fd, const void *text, size_t size)
{
    (void)fd;
    (void)text;
    return (long)size;
}
long unwind_os_sysconf(int name)
{
    (void)name; /* _SC_PAGESIZE is all it asks */
    return PAGE_SIZE;
}
int unwind_os_getpagesize(void)
{
    return PAGE_SIZE;
}
const char *unwind_os_strerror(int error)
{
    (void)error;
    return "";
}

/* ---- entering and leaving -------------------------------------------------------------------- */

static void start_libunwind(void)
{
    unw_accessors_t answers = {
        .find_proc_info = answer_table,
        .put_unwind_info = answer_table_done,
        .get_dyn_info_list_addr = answer_no_dynamic_code,
        .access_mem = answer_memory,
        .access_reg = answer_register,
    };
    unw_addr_space_t made = unw_create_addr_space(&answers, 0);
    GC_CHECK(made);
    unw_set_caching_policy(made, UNW_CACHE_NONE);
    space = made;
}

/* False if this thread is inside already. *blocked is for leave(). */
static bool enter(uint64_t *blocked)
{
    if (inside)
        return false;
    *blocked = signal_block(SIGNAL_ALL);
    inside = true;
    lock_acquire(&cfi_lock); /* .inv.alone */
    if (!space)
        start_libunwind();
    return true;
}

static void leave(uint64_t blocked)
{
    lock_release(&cfi_lock);
    inside = false;
    signal_unblock(blocked);
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* Writes place `p` as base and offset; a place next to the CFA's own counts from the CFA. */
static bool write_place(struct place p, struct place cfa, unsigned *base, int64_t *offset)
{
    if (p.term == cfa.term) {
        *base = RULE_CFA;
        *offset = p.offset - cfa.offset;
        return true;
    }
    *base = p.term == CFI_RSP ? RULE_RSP : RULE_RBP;
    *offset = p.offset;
    return p.term == CFI_RSP || p.term == CFI_RBP;
}

static bool fits(int64_t value, unsigned bits)
{
    int64_t half = (int64_t)1 << (bits - 1);
    return value >= -half && value < half;
}

/* The three places as a rule, or RULE_EXACT if the shape is another one. `cfa` is a value, `ra` and
 * `rbp` are where values are stored (rbp_kept: it is still in the register). */
static struct frame_rule rule_from_places(const struct question *q, struct place cfa,
                                          struct place ra, struct place rbp, bool rbp_kept)
{
    struct frame_rule rule = {.kind = RULE_EXACT};
    struct place base = cfa;
    unsigned ra_base, rbp_base = RULE_UNCHANGED;
    int64_t ra_offset, rbp_offset = 0;
    bool deref = cfa.term >= CFI_REGISTERS;
    if (deref)
        base = q->term[cfa.term];
    if ((deref && cfa.offset != 0) || (base.term != CFI_RSP && base.term != CFI_RBP))
        return rule;
    if (!write_place(ra, cfa, &ra_base, &ra_offset) ||
        (!rbp_kept && !write_place(rbp, cfa, &rbp_base, &rbp_offset)))
        return rule;
    if (!fits(base.offset, 24) || !fits(ra_offset, 12) || !fits(rbp_offset, 18))
        return rule;
    rule.kind = RULE_PLAIN;
    rule.cfa_base = base.term == CFI_RSP ? RULE_RSP : RULE_RBP;
    rule.cfa_deref = deref;
    rule.cfa_offset = base.offset;
    rule.return_base = ra_base;
    rule.return_offset = ra_offset;
    rule.rbp_base = rbp_base;
    rule.rbp_offset = rbp_offset;
    /* The kernel's signal frame stores rsp, rbp and rip side by side, far from the caller's. */
    rule.after_signal = deref && ra_base != RULE_CFA;
    return rule;
}

/* Reads the caller's registers off the cursor after a step. */
static struct frame_rule rule_from_cursor(const struct question *q, unw_cursor_t *cursor)
{
    unw_word_t ip_value, cfa_value, rbp_value;
    struct place ip, cfa, rbp;
    struct frame_rule rule = {.kind = RULE_EXACT};
    if (unw_get_reg(cursor, UNW_X86_64_RIP, &ip_value) < 0 ||
        unw_get_reg(cursor, UNW_X86_64_CFA, &cfa_value) < 0 ||
        unw_get_reg(cursor, UNW_X86_64_RBP, &rbp_value) < 0)
        return rule;
    if (!token_read(q, ip_value, &ip) || !token_read(q, cfa_value, &cfa) ||
        !token_read(q, rbp_value, &rbp))
        return rule;
    if (ip.term < CFI_REGISTERS || ip.offset != 0 || rbp.offset != 0)
        return rule;
    bool kept = rbp.term == CFI_RBP;
    if (!kept && rbp.term < CFI_REGISTERS)
        return rule;
    return rule_from_places(q, cfa, q->term[ip.term], q->term[rbp.term], kept);
}

static struct frame_rule interpret(struct question *q)
{
    unw_cursor_t cursor;
    if (unw_init_remote(&cursor, space, q) < 0)
        return (struct frame_rule){.kind = RULE_END};
    int got = unw_step(&cursor);
    if (q->missing)
        return (struct frame_rule){.kind = RULE_GUESS};
    if (got <= 0)
        return (struct frame_rule){.kind = RULE_END};
    return rule_from_cursor(q, &cursor);
}

struct frame_rule cfi_rule(uintptr_t pc, bool *cacheable)
{
    struct frame_rule rule = {.kind = RULE_GUESS};
    struct dl_find_object found;
    struct peek peek;
    uint64_t mask;
    *cacheable = false;
    /* Generated code: there may be a library at this address later. */
    if (_dl_find_object((void *)pc, &found) != 0 || !enter(&mask))
        return rule;
    peek_start(&peek, 0);
    struct question q = {.peek = &peek, .pc = pc, .terms = CFI_REGISTERS};
    for (unsigned i = 0; i < CFI_REGISTERS; i++)
        q.term[i].term = i;
    rule = interpret(&q);
    leave(mask);
    *cacheable = true;
    return rule;
}

unsigned cfi_walk(const struct cfi_registers *from, struct peek *peek, uintptr_t first,
                  uintptr_t *pcs, unsigned max)
{
    /* Frames inside `first`: our own, from malloc down to the caller. */
    enum { INNER_MOST = 40 };
    unw_cursor_t cursor;
    unw_word_t pc;
    uint64_t mask;
    unsigned n = 0, inner = 0;
    if (!enter(&mask))
        return 0;
    struct question q = {.registers = from, .peek = peek, .pc = from->value[CFI_RIP]};
    if (unw_init_remote(&cursor, space, &q) >= 0)
        while (n < max && inner < INNER_MOST && unw_step(&cursor) > 0) {
            if (unw_get_reg(&cursor, UNW_REG_IP, &pc) < 0)
                break;
            if (n > 0 || pc == first)
                pcs[n++] = pc;
            else
                inner++;
        }
    leave(mask);
    return n;
}

/* `inside`, so that a handler that runs before the fork is over does not wait for us. */
void cfi_fork_prepare(void)
{
    inside = true;
    lock_acquire(&cfi_lock);
}

void cfi_fork_parent(void)
{
    lock_release(&cfi_lock);
    inside = false;
}

/* The lock's waiters, if any, were threads that the child does not have. */
void cfi_fork_child(void)
{
    lock_release(&cfi_lock);
    inside = false;
}
