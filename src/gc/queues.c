/* queues.c -- a pointer that was written into a pipe, and not read yet.
 *
 * Theory: a thread hands a block to another by sending its address; until that is read, the kernel
 * alone has it. What is in a pipe can be copied out without taking it (tee), and so can what is in
 * a socket (MSG_PEEK). To do so one must hold the descriptor, and while we hold a copy of it the
 * program's close() closes nothing: a reader would not see the end. So it is done while the world
 * stands still. Which descriptors there are is found out before, beside the program, by names and
 * numbers only; of these, those matter from which the program itself can read, and into which it
 * may have written.
 *
 *   .inv.listed    In the pause each queue must be found where the list has it, by its inode. If
 *                  not, or if the program has made a new one (`changed`), all is listed anew, in
 *                  the pause. A queue that comes in by accept(), by a message, or by opening a FIFO
 *                  is found by the next mark only; until then `confirm` keeps what it holds.
 *   .inv.brief     Who looks at a descriptor in /proc, as its directory and its link are read,
 *                  holds the file for that moment: what the program closes just then stays open
 *                  for some microseconds, or until whoever looks has the processor again. So of a
 *                  program with few descriptors the list is made in the pause (2 us each).
 *   .inv.untouched Nothing is taken: not the data, not a socket's pending error (recvmsg would,
 *                  when it finds nothing to read, or at once where messages are kept apart).
 *   .inv.moved     Where the program itself has set a socket's offset for peeking (SO_PEEK_OFF) it
 *                  is not touched, and what is in there counts as unread: a thread that was in
 *                  recv() already moves it while the world stands still.
 *   .inv.alone     The processes that fork() has made share their sockets, and that offset: a
 *                  collector that moves it holds a record lock on the socket meanwhile. It ends
 *                  with the process. Who peeks meanwhile at a shared socket, another process or a
 *                  thread that was in the call already, may see it moved; so it is moved only where
 *                  one peek does not show all: for datagrams, and between descriptors.
 *   .inv.passed    A datagram leaves its queue before it is copied to whom it is given. Both are
 *                  done under one lock of the socket; to set the offset to what it is takes that
 *                  lock, and after that an empty queue means that the reader has it.
 *   .inv.first     Queues are read before any memory in the pause, dirty pages included: a thread
 *                  that sleeps in read() may be given the data at that very moment.
 *
 * Pointers may begin at any byte: a message is packed as its writer likes. A connected unix socket
 * of which another process has the other end holds what that process wrote, and is left out: the
 * kernel's socket diagnostics tell who is connected to whom. What they do not tell of (sockets of
 * another network namespace, or all) is read. Not followed: TCP and UDP to oneself, terminals.
 *
 * The collector's thread borrows descriptors by pidfd_getfd; a thread of the program's uses its
 * own, and so does the collector's deputy, where the kernel lends none.
 *
 *   .inv.same      The deputy reads by numbers in its own table, which may not be the task's any
 *                  more. An inode tells a queue for certain: what has the listed inode is that
 *                  queue, whoever's table it is found in. If the inodes differ again in a list made
 *                  in the pause, the tables do: nothing is judged by this mark, and the deputy is
 *                  dismissed, for it holds open what that task has not. */
#include "gc/queues.h"

#include "base/atomic.h"
#include "base/rng.h"
#include "gc/deputy.h"
#include "heap/meta.h"
#include "sys/clock.h"
#include "sys/directory.h"
#include "sys/syscall.h"
#include "sys/task.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

enum {
    QUEUES_MOST = 4096,
    SOCKETS_MOST = 8192,        /* a power of two: unix sockets of the machine that are told of */
    READ_MOST = 64 << 10,
    /* Messages of one socket; the kernel's own bound is some hundreds. */
    MESSAGES_MOST = 4096,
    PIDFD_THREAD = O_EXCL,      /* Linux 6.9 */
    LOCK_WAIT_NS = 2000000,
    LISTED_IN_PAUSE = 32,
    LISTENS = 10,               /* the kernel's TCP_LISTEN, for unix sockets, too */
    OWN_PORTS = 0x6c000000,
    MESSAGE_QUEUES = 0x19800202, /* a file system's number, in ipc/mqueue.c */
};

struct queue {
    uint64_t inode;
    int32_t fd;
    bool is_pipe;
};

struct unix_socket {
    uint64_t inode;             /* 0: none */
    uint64_t peer;              /* 0: not connected, or the other end is closed */
    bool ours;
    bool listens, waits;        /* for accept() */
};

static struct {
    _Atomic bool changed;
    bool listed, no_diagnostics;
    bool has_ring;              /* io_uring */
    bool has_faults;            /* userfaultfd: its own threads serve the program's faults */
    bool listens;               /* of the program's: a socket listens, another waits for accept */
    int32_t task;               /* whose descriptors are listed */
    uint32_t count;
    struct queue list[QUEUES_MOST];
    struct unix_socket sockets[SOCKETS_MOST]; /* by hash of the inode */
    struct marker *marker;
    char text[WORD_SIZE + READ_MOST];
} queues GC_LARGE;

void queues_note_new(void)
{
    if (!relaxed_load(&queues.changed))
        atomic_store(&queues.changed, true);
}

void queues_end(void)
{
    queues.listed = false;
}

/* ---- who is connected to whom ---- */

/* The socket's place in the table, or the one where it would be put; NULL: the table is full. */
static struct unix_socket *socket_place(uint64_t inode)
{
    for (uint32_t i = 0; i < SOCKETS_MOST; i++) {
        struct unix_socket *s = &queues.sockets[(mix64(inode) + i) % SOCKETS_MOST];
        if (s->inode == inode || s->inode == 0)
            return s;
    }
    return NULL;
}

static bool note_socket(const struct nlmsghdr *header)
{
    const struct unix_diag_msg *told = NLMSG_DATA(header);
    struct unix_socket *s = socket_place(told->udiag_ino);
    int left = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof *told);
    if (s == NULL)
        return false;
    *s = (struct unix_socket){.inode = told->udiag_ino, .listens = told->udiag_state == LISTENS};
    const char *end = (const char *)header + header->nlmsg_len;
    for (const char *at = end - left; left >= (int)sizeof(struct rtattr);) {
        struct rtattr attribute;
        uint32_t peer;
        memcpy(&attribute, at, sizeof attribute);
        int step = (int)RTA_ALIGN(attribute.rta_len);
        if (attribute.rta_type == UNIX_DIAG_PEER && attribute.rta_len == RTA_LENGTH(sizeof peer)) {
            memcpy(&peer, at + RTA_LENGTH(0), sizeof peer);
            s->peer = peer;
            s->waits = peer == 0;
        }
        at += step;
        left = step == 0 ? 0 : left - step;
    }
    return true;
}

/* One packet. 1: there are more; 0: that was the last; -1: failed. */
static int note_sockets(const char *packet, long size)
{
    for (long at = 0; at + (long)sizeof(struct nlmsghdr) <= size;) {
        const struct nlmsghdr *header = (const void *)(packet + at);
        if (header->nlmsg_type == NLMSG_DONE)
            return 0;
        queues.no_diagnostics = header->nlmsg_type == NLMSG_ERROR;
        if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
            header->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)) || !note_socket(header))
            return -1;
        at += (long)NLMSG_ALIGN(header->nlmsg_len);
    }
    return 1;
}

static bool dump_sockets(long fd)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } asked = {
        .header = {.nlmsg_len = sizeof asked,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = UINT32_MAX,
                    .udiag_show = UDIAG_SHOW_PEER},
    };
    int more = syscall6(__NR_sendto, fd, (long)&asked, sizeof asked, 0, 0, 0) < 0 ? -1 : 1;
    while (more > 0) {
        long got = syscall6(__NR_recvfrom, fd, (long)queues.text, READ_MOST, MSG_DONTWAIT, 0, 0);
        more = got <= 0 ? -1 : note_sockets(queues.text, got);
    }
    return more == 0;
}

/* False: they are not known. If the module that tells is not there, the kernel would look for it
 * each time. */
static bool ask_for_sockets(void)
{
    if (queues.no_diagnostics)
        return false;
    memset(queues.sockets, 0, sizeof queues.sockets);
    long fd = syscall3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return false;
    /* Not by the process's number, which a program takes for a socket of its own. */
    struct sockaddr_nl own = {.nl_family = AF_NETLINK,
                              .nl_pid = OWN_PORTS | (uint32_t)syscall0(__NR_gettid)};
    syscall3(__NR_bind, fd, (long)&own, sizeof own);
    bool known = dump_sockets(fd);
    syscall1(__NR_close, fd);
    return known;
}

/* ---- the list ---- */

static bool add(int32_t fd, uint64_t inode, bool is_pipe)
{
    if (queues.count == QUEUES_MOST)
        return false;
    queues.list[queues.count++] = (struct queue){inode, fd, is_pipe};
    return true;
}

static uint64_t number_of(const char *text)
{
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

/* Can the program read from it? The link's own mode tells. */
static bool is_readable(const char *path)
{
    struct stat s;
    return syscall4(__NR_newfstatat, AT_FDCWD, (long)path, (long)&s, AT_SYMLINK_NOFOLLOW) != 0 ||
           (s.st_mode & S_IRUSR) != 0;
}

/* Is it a unix socket, or is that not told? Without taking hold of it. */
static bool may_be_unix(const char *path)
{
    char name[16];
    long got = syscall4(__NR_getxattr, (long)path, (long)"system.sockprotoname", (long)name,
                        sizeof name);
    return got < 4 || memcmp(name, "UNIX", 4) == 0;
}

/* A name in a file system: is it a FIFO's? Without asking a server that may not answer. */
static uint64_t fifo_inode(const char *path)
{
    struct statx s;
    if (syscall6(__NR_statx, AT_FDCWD, (long)path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO,
                 (long)&s, 0) != 0)
        return 0;
    return S_ISFIFO(s.stx_mode) ? s.stx_ino : 0;
}

static bool note_entry(const char *name, void *data)
{
    static const char pipe_name[] = "pipe:[", socket_name[] = "socket:[";
    char target[64];
    (void)data;
    if (name[0] == '.')
        return true;
    struct task_path path = task_path(queues.task, "fd", name);
    long got = syscall3(__NR_readlink, (long)path.text, (long)target, sizeof target - 1);
    if (got < 0) /* closed meanwhile */
        return got == -ENOENT;
    target[got] = '\0';
    int32_t fd = (int32_t)number_of(name);
    if (strcmp(target, "anon_inode:[io_uring]") == 0)
        queues.has_ring = true;
    if (strcmp(target, "anon_inode:[userfaultfd]") == 0)
        queues.has_faults = true;
    if (strncmp(target, socket_name, strlen(socket_name)) == 0)
        return !may_be_unix(path.text) ||
               add(fd, number_of(target + strlen(socket_name)), false);
    uint64_t inode = 0;
    if (strncmp(target, pipe_name, strlen(pipe_name)) == 0)
        inode = number_of(target + strlen(pipe_name));
    else if (target[0] == '/')
        inode = fifo_inode(path.text);
    return inode == 0 || !is_readable(path.text) || add(fd, inode, true);
}

static bool is_between_us(const struct queue *q)
{
    const struct unix_socket *s = socket_place(q->inode);
    if (s == NULL || s->inode == 0) /* not told of */
        return true;
    const struct unix_socket *peer = s->peer == 0 ? NULL : socket_place(s->peer);
    return peer == NULL || peer->inode == 0 || peer->ours;
}

/* What it comes to without sockets into which only others write. */
static void drop_foreign_ends(void)
{
    uint32_t kept = 0;
    bool listens = false, waits = false;
    for (uint32_t i = 0; i < queues.count; i++) {
        struct unix_socket *s = queues.list[i].is_pipe ? NULL : socket_place(queues.list[i].inode);
        if (s == NULL || s->inode == 0)
            continue;
        s->ours = true;
        listens |= s->listens;
        waits |= s->waits;
    }
    queues.listens = listens && waits;
    for (uint32_t i = 0; i < queues.count; i++)
        if (queues.list[i].is_pipe || is_between_us(&queues.list[i]))
            queues.list[kept++] = queues.list[i];
    queues.count = kept;
}

static bool has_socket(void)
{
    for (uint32_t i = 0; i < queues.count; i++)
        if (!queues.list[i].is_pipe)
            return true;
    return false;
}

static const char *make_list(int32_t task)
{
    struct task_path path = task_path(task, "fd", NULL);
    atomic_store(&queues.changed, false); /* first: what is made from here on may be missed */
    queues.count = 0;
    queues.has_ring = queues.has_faults = queues.listens = false;
    queues.task = task;
    if (!directory_each(path.text, note_entry, NULL))
        return queues.count == QUEUES_MOST ? "the program has too many pipes and sockets"
                                           : "the program's descriptors cannot be listed";
    if (has_socket() && ask_for_sockets())
        drop_foreign_ends();
    /* A pipe's lock may be held by who waits for its stopped threads. Among the caller's own
     * descriptors that may be the barrier's. */
    if (queues.has_faults && queues.count != 0 && task != 0)
        return "the program serves page faults itself (userfaultfd)";
    if (queues.listens)
        return "a connection of the program to itself waits to be accepted";
    queues.listed = true;
    return NULL;
}

bool queues_have_ring(void)
{
    return queues.has_ring;
}

const char *queues_find(int32_t task)
{
    if (queues.listed && !atomic_load(&queues.changed))
        return NULL;
    return make_list(task);
}

/* The directory's size is their number, since Linux 6.2; to ask for it holds none of them. */
static bool are_few(int32_t task)
{
    struct task_path path = task_path(task, "fd", NULL);
    struct stat s;
    return syscall2(__NR_stat, (long)path.text, (long)&s) == 0 && s.st_size > 0 &&
           s.st_size <= LISTED_IN_PAUSE;
}

const char *queues_find_beside(int32_t task)
{
    return are_few(task) ? NULL : queues_find(task); /* .inv.brief */
}

/* ---- what is in them ---- */

/* `carried`: bytes of what was read before, in front of text[WORD_SIZE]. Returns how many of this
 * one are. */
static size_t mark_text(size_t carried, size_t size)
{
    const char *text = queues.text + WORD_SIZE - carried;
    size += carried;
    for (size_t i = 0; i + WORD_SIZE <= size; i++) {
        uintptr_t word;
        memcpy(&word, text + i, sizeof word);
        mark_word(queues.marker, word);
    }
    size_t rest = size_min(size, WORD_SIZE - 1);
    memmove(queues.text + WORD_SIZE - rest, text + size - rest, rest);
    return rest;
}

static void drain_copy(int fd)
{
    long got;
    size_t carried = 0;
    while ((got = syscall3(__NR_read, fd, (long)(queues.text + WORD_SIZE), READ_MOST)) > 0)
        carried = mark_text(carried, (size_t)got);
}

static bool copy_pipe(int fd, const int *copy)
{
    int before = 0, after = 0;
    long room = syscall2(__NR_fcntl, fd, F_GETPIPE_SZ);
    if (room > syscall2(__NR_fcntl, copy[1], F_GETPIPE_SZ))
        syscall3(__NR_fcntl, copy[1], F_SETPIPE_SZ, room);
    if (syscall3(__NR_ioctl, fd, FIONREAD, (long)&before) != 0)
        return false;
    long got = syscall4(__NR_tee, fd, copy[1], INT_MAX, SPLICE_F_NONBLOCK);
    if (syscall3(__NR_ioctl, fd, FIONREAD, (long)&after) != 0)
        return false;
    drain_copy(copy[0]);
    /* Another process may read it meanwhile. */
    return got >= before || got >= after || (got == -EAGAIN && after == 0);
}

static bool read_pipe(int fd)
{
    int copy[2], there = 0;
    if (syscall3(__NR_ioctl, fd, FIONREAD, (long)&there) != 0)
        return false;
    if (there == 0)
        return true;
    if (syscall2(__NR_pipe2, (long)copy, O_NONBLOCK | O_CLOEXEC) != 0)
        return false;
    bool whole = copy_pipe(fd, copy);
    syscall1(__NR_close, copy[0]);
    syscall1(__NR_close, copy[1]);
    return whole;
}

static bool socket_option(int fd, int option, int *value)
{
    socklen_t size = sizeof *value;
    *value = 0;
    return syscall6(__NR_getsockopt, fd, SOL_SOCKET, option, (long)value, (long)&size, 0) == 0;
}

static bool set_offset(int fd, int offset)
{
    return syscall6(__NR_setsockopt, fd, SOL_SOCKET, SO_PEEK_OFF, (long)&offset, sizeof offset,
                    0) == 0;
}

static long peek(int fd)
{
    struct iovec part = {queues.text + WORD_SIZE, READ_MOST};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return syscall3(__NR_recvmsg, fd, (long)&message, MSG_PEEK | MSG_DONTWAIT);
}

/* `total`: bytes there are; messages may be empty. Without them, until there is no more. */
static bool peek_all(int fd, bool counted, int total)
{
    size_t carried = 0;
    long got = 0, sum = 0;
    for (int i = 0; i < MESSAGES_MOST && (!counted || sum < total); i++) {
        got = peek(fd);
        if (got < 0)
            return got == -EAGAIN; /* that was all; or somebody else has read it */
        sum += got;
        carried = mark_text(carried, (size_t)got);
    }
    return counted && sum >= total;
}

static long set_lock(int fd, int type)
{
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET};
    return syscall3(__NR_fcntl, fd, F_SETLK, (long)&lock);
}

/* .inv.alone: another collector needs some system calls. */
static bool lock_offset(int fd)
{
    uint64_t until = clock_now_ns() + LOCK_WAIT_NS;
    while (set_lock(fd, F_WRLCK) == -EAGAIN)
        if (clock_now_ns() > until)
            return false;
    return true;
}

/* Message by message, by the socket's offset. */
static bool peek_further(int fd, bool counted, int total)
{
    if (!lock_offset(fd))
        return false;
    bool whole = set_offset(fd, 0);
    if (whole) {
        whole = peek_all(fd, counted, total);
        set_offset(fd, -1);
    }
    set_lock(fd, F_UNLCK);
    return whole;
}

/* .inv.moved. False: it has an offset, or cannot be asked. */
static bool has_no_offset(int fd)
{
    int offset;
    return socket_option(fd, SO_PEEK_OFF, &offset) && offset < 0;
}

/* .inv.passed */
static bool await_reader(int fd)
{
    if (!lock_offset(fd))
        return false;
    bool done = has_no_offset(fd) && set_offset(fd, -1);
    set_lock(fd, F_UNLCK);
    return done;
}

/* .inv.untouched */
static bool read_messages(int fd, bool counted)
{
    int total = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec now = {0};
    if (!await_reader(fd))
        return false;
    if (syscall6(__NR_ppoll, (long)&p, 1, (long)&now, 0, sizeof(uint64_t), 0) != 1 ||
        !(p.revents & POLLIN))
        return true;
    if (counted && (syscall3(__NR_ioctl, fd, FIONREAD, (long)&total) != 0 || total == 0))
        return true; /* it listens; or is at its end */
    if (p.revents & POLLERR)
        return false;
    if (!counted)
        return peek_further(fd, counted, total);
    long got = peek(fd);
    if (got > 0)
        mark_text(0, (size_t)got);
    return got >= total || got == -EAGAIN || peek_further(fd, true, total);
}

/* The same; here data come before an error. */
static bool read_stream(int fd)
{
    int total = 0;
    if (syscall3(__NR_ioctl, fd, FIONREAD, (long)&total) != 0 || total == 0)
        return true;
    if (!has_no_offset(fd) && !await_reader(fd)) /* perhaps it was another collector's */
        return false;
    long got = peek(fd);
    if (got > 0)
        mark_text(0, (size_t)got);
    /* Descriptors between the bytes part them. */
    return got >= total || got == -EAGAIN || peek_further(fd, true, total);
}

static bool read_socket(int fd)
{
    int domain, type;
    if (!socket_option(fd, SO_DOMAIN, &domain) || !socket_option(fd, SO_TYPE, &type))
        return false;
    if (domain != AF_UNIX)
        return true;
    return type == SOCK_STREAM ? read_stream(fd) : read_messages(fd, type == SOCK_SEQPACKET);
}

/* 1: read, 0: it is not what the list says, -1: it could not be read. */
static int read_queue(const struct queue *q, int fd)
{
    struct stat s;
    if (syscall2(__NR_fstat, fd, (long)&s) != 0 || s.st_ino != q->inode ||
        !(q->is_pipe ? S_ISFIFO(s.st_mode) : S_ISSOCK(s.st_mode)))
        return 0;
    return (q->is_pipe ? read_pipe(fd) : read_socket(fd)) ? 1 : -1;
}

/* What has taken the number since: to close any copy of such a descriptor would undo the process's
 * mq_notify. It is left open. */
static bool is_message_queue(int fd)
{
    struct statfs s;
    return syscall2(__NR_fstatfs, fd, (long)&s) == 0 && s.f_type == MESSAGE_QUEUES;
}

static int borrow_and_read(const struct queue *q, long pidfd)
{
    if (pidfd < 0)
        return read_queue(q, q->fd);
    long fd = syscall3(__NR_pidfd_getfd, pidfd, q->fd, 0);
    if (fd < 0)
        return fd == -EBADF ? 0 : -1;
    int result = read_queue(q, (int)fd);
    if (result != 0 || !is_message_queue((int)fd))
        syscall1(__NR_close, fd);
    return result;
}

/* Of all in the list. */
struct reading {
    long pidfd;                 /* -1: by the reader's own numbers */
    int result;                 /* as read_queue's */
};

static void read_list(void *data)
{
    struct reading *r = data;
    r->result = 1;
    for (uint32_t i = 0; i < queues.count && r->result > 0; i++)
        r->result = borrow_and_read(&queues.list[i], r->pidfd);
}

static int read_with(long pidfd, bool by_deputy)
{
    struct reading r = {pidfd, 0};
    if (by_deputy)
        deputy_do(read_list, &r);
    else
        read_list(&r);
    return r.result;
}

/* Whose descriptors they are: a thread's, where the kernel knows such; else the process's. */
static long open_pidfd(int32_t task)
{
    long fd = syscall2(__NR_pidfd_open, task, PIDFD_THREAD);
    return fd != -EINVAL ? fd : syscall2(__NR_pidfd_open, syscall0(__NR_getpid), 0);
}

const char *queues_scan(struct marker *m, int32_t task)
{
    static const char refused[] = "what is in the program's pipes and sockets cannot be read";
    const char *reason = queues_find(task);
    queues.marker = m;
    if (reason != NULL || queues.count == 0)
        return reason;
    bool by_deputy = task != 0 && deputy_is_there(), borrows = task != 0 && !by_deputy;
    long pidfd = borrows ? open_pidfd(task) : -1;
    if (borrows && pidfd < 0)
        return refused;
    int result = read_with(pidfd, by_deputy);
    if (result == 0 && (reason = make_list(task)) == NULL) /* .inv.listed */
        result = read_with(pidfd, by_deputy);
    if (result == 0 && reason == NULL && by_deputy) /* .inv.same */
        deputy_dismiss();
    if (pidfd >= 0)
        syscall1(__NR_close, pidfd);
    return reason == NULL && result <= 0 ? refused : reason;
}
