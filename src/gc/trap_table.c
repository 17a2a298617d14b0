/* trap_table.c -- the system calls, by what they write.
 *
 * Theory: a call that writes to a read-only page fails with EFAULT, so what it may write is opened
 * before it is made. It may be more than it will write, never less: a length that is not known is
 * taken to be a page, a flag that may mean an output is taken to. A call that is not in the table,
 * or does what cannot be told (an ioctl with pointers inside), is TRAP_UNKNOWN: everything is
 * opened.
 *
 *   .inv.outputs  The kernel writes to memory of the caller during a call only to what
 *                 trap_keep_outputs has kept open.
 *
 * Written outside of any call's time, and kept open elsewhere: the thread's rseq area, the word it
 * clears when it ends (veil.c), signal frames (shield.c). Not handled, so that the call is UNKNOWN:
 * io_uring and aio, whose writes come at any time. */
#include "gc/trap_table.h"

#include "gc/shield.h"
#include "sys/proc_mem.h"
#include "sys/syscall.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/ioctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* args[pointer] points to fixed + args[length - 1] * unit bytes; no length if that is 0. */
struct output {
    uint8_t pointer, length;
    uint16_t unit, fixed;
};
struct call {
    uint8_t kind, count;
    struct output outputs[4];
};

#define FIX(pointer, bytes) {pointer, 0, 0, bytes}
#define LEN(pointer, length) {pointer, (length) + 1, 1, 0}
#define ARR(pointer, length, unit, more) {pointer, (length) + 1, unit, more}
#define WRITES(name, kind, count, ...) [__NR_##name] = {kind, count, {__VA_ARGS__}},
#define OUT1(name, a) WRITES(name, TRAP_OUTPUTS, 1, a)
#define OUT2(name, a, b) WRITES(name, TRAP_OUTPUTS, 2, a, b)
#define OUT3(name, a, b, c) WRITES(name, TRAP_OUTPUTS, 3, a, b, c)
#define NONE(name) [__NR_##name] = {.kind = TRAP_OUTPUTS},
#define KIND(name, k) [__NR_##name] = {.kind = k},

enum { STAT = 144, SOCKADDR = 128, TIMESPEC = 16, RUSAGE = 144, SIGINFO = 128, SOME = 4096 };

static const struct call calls[] = {
#include "gc/trap_table.inc"
};

enum trap_kind trap_kind(uint64_t number)
{
    return number < GC_COUNT(calls) ? (enum trap_kind)calls[number].kind : TRAP_UNKNOWN;
}

bool trap_peek(void *to, uintptr_t from, size_t size)
{
    return proc_mem_copy(to, from, size);
}

bool trap_poke(uintptr_t to, const void *from, size_t size)
{
    struct iovec here = {(void *)(uintptr_t)from, size}, there = {(void *)to, size};
    shield_keep_open(to, size);
    return syscall6(__NR_process_vm_writev, syscall0(__NR_getpid), (long)&here, 1, (long)&there, 1,
                    0) == (long)size;
}

static void keep_int_sized(uintptr_t pointer, uintptr_t length_pointer)
{
    uint32_t length = 0;
    shield_keep_open(length_pointer, sizeof length);
    if (trap_peek(&length, length_pointer, sizeof length))
        shield_keep_open(pointer, length);
}

static void keep_vector(uintptr_t vector, uint64_t count)
{
    struct iovec part[16];
    for (uint64_t i = 0; i < count && i < UIO_MAXIOV; i++) {
        uint64_t in = i % GC_COUNT(part);
        size_t some = size_min(GC_COUNT(part), count - i);
        if (in == 0 && !trap_peek(part, vector + i * sizeof part[0], some * sizeof part[0]))
            return; /* the call will fail */
        shield_keep_open((uintptr_t)part[in].iov_base, part[in].iov_len);
    }
}

static void keep_message(uintptr_t message)
{
    struct msghdr m;
    shield_keep_open(message, sizeof m);
    if (!trap_peek(&m, message, sizeof m))
        return;
    shield_keep_open((uintptr_t)m.msg_name, m.msg_namelen);
    shield_keep_open((uintptr_t)m.msg_control, m.msg_controllen);
    keep_vector((uintptr_t)m.msg_iov, m.msg_iovlen);
}

static void keep_messages(uintptr_t messages, uint64_t count)
{
    for (uint64_t i = 0; i < count && i < UIO_MAXIOV; i++) {
        shield_keep_open(messages + i * sizeof(struct mmsghdr), sizeof(struct mmsghdr));
        keep_message(messages + i * sizeof(struct mmsghdr));
    }
}

/* Terminals, FIONREAD and their like, and plain questions to sockets; none has pointers inside. */
static bool keep_ioctl(uint64_t request, uintptr_t argument)
{
    bool terminal = _IOC_TYPE(request) == 'T';
    bool socket = _IOC_TYPE(request) == 0x89 && request != SIOCETHTOOL && request != SIOCGMIIPHY &&
                  request < SIOCDEVPRIVATE;
    if (!terminal && !socket)
        return false;
    shield_keep_open(argument, SOME);
    if (request == SIOCGIFCONF) {
        struct {
            int32_t length;
            uintptr_t buffer;
        } list;
        if (trap_peek(&list, argument, sizeof list) && list.length > 0)
            shield_keep_open(list.buffer, (uint32_t)list.length);
    }
    return true;
}

/* Waiting on and waking a private futex writes nothing. Others look the page up as if to write. */
static void keep_futex(const uint64_t args[6])
{
    uint64_t operation = args[1] & FUTEX_CMD_MASK;
    bool reads = operation == FUTEX_WAIT || operation == FUTEX_WAKE ||
                 operation == FUTEX_WAIT_BITSET || operation == FUTEX_WAKE_BITSET;
    if (reads && (args[1] & FUTEX_PRIVATE_FLAG) != 0)
        return;
    shield_keep_open(args[0], sizeof(uint32_t));
    if (!reads)
        shield_keep_open(args[4], sizeof(uint32_t));
}

static void keep_fcntl(uint64_t command, uintptr_t argument)
{
    enum { GETOWNER_UIDS = 17, HINT_FIRST = 1035, HINT_LAST = 1038, LARGEST = 64 };
    if (command == F_GETLK || command == F_OFD_GETLK || command == F_GETOWN_EX ||
        command == GETOWNER_UIDS || (command >= HINT_FIRST && command <= HINT_LAST))
        shield_keep_open(argument, LARGEST);
}

static bool keep_nested(uint64_t number, const uint64_t args[6])
{
    switch (number) {
    case __NR_readv:
    case __NR_preadv:
    case __NR_preadv2:
    case __NR_process_vm_readv:
        keep_vector(args[1], args[2]);
        return true;
    case __NR_recvmsg:
        keep_message(args[1]);
        return true;
    case __NR_recvmmsg:
        keep_messages(args[1], args[2]);
        shield_keep_open(args[4], TIMESPEC);
        return true;
    case __NR_sendmmsg:
        shield_keep_open(args[1], size_min(args[2], UIO_MAXIOV) * sizeof(struct mmsghdr));
        return true;
    case __NR_getsockopt:
        keep_int_sized(args[3], args[4]);
        return true;
    case __NR_ioctl:
        return keep_ioctl(args[1], args[2]);
    case __NR_fcntl:
        keep_fcntl(args[1], args[2]);
        return true;
    case __NR_futex:
        keep_futex(args);
        return true;
    case __NR_mincore:
        shield_keep_open(args[2], (args[1] >> PAGE_SHIFT) + 1);
        return true;
    default:
        return false;
    }
}

bool trap_keep_outputs(uint64_t number, const uint64_t args[6])
{
    if (number >= GC_COUNT(calls))
        return false;
    const struct call *call = &calls[number];
    if (call->kind == TRAP_NESTED)
        return keep_nested(number, args);
    for (unsigned i = 0; i < call->count; i++) {
        const struct output *o = &call->outputs[i];
        uint64_t length = o->length == 0 ? 0 : size_min(args[o->length - 1], UINT32_MAX);
        shield_keep_open(args[o->pointer], o->fixed + length * o->unit);
    }
    return call->kind == TRAP_OUTPUTS || call->kind == TRAP_MASK;
}

uintptr_t trap_mask_of(uint64_t number, const uint64_t args[6])
{
    uintptr_t mask = 0;
    switch (number) {
    case __NR_rt_sigsuspend:
        return args[0];
    case __NR_ppoll:
        return args[3];
    case __NR_pselect6: /* points to the mask's address and size */
        return args[5] != 0 && trap_peek(&mask, args[5], sizeof mask) ? mask : 0;
    default: /* epoll_pwait, epoll_pwait2 */
        return args[4];
    }
}
