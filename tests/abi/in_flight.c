/* in_flight.c -- blocks whose only reference is on its way through the kernel.   in_flight KIND
 *
 * Their addresses are written into a pipe, a socket, a message queue, or a signal, in packed
 * messages; then another thread allocates and leaks 100 MB, while under the library cycles run. At
 * the end the messages are read, and every byte of the blocks is compared.
 *
 *   pipe packets fifo          a pipe; with O_DIRECT; one that has a name
 *   big_pipe                   of 1 MiB, full of messages
 *   duplicated half_closed     read by a copy of the descriptor; the end for writing is closed
 *   stream datagrams sequence  a pair of unix sockets, of each type; some messages are empty
 *   rights                     messages with descriptors between them
 *   named                      a datagram socket that has a name, and senders that are gone
 *   connections                a hundred pairs, of which one has something in it
 *   inherited                  what was written before fork() is read after it
 *   table_left                 the process takes a table of descriptors of its own, and closes the
 *                              end of a pipe in it: that is closed
 *   namespace                  a pair whose process has gone to another network since
 *   not_accepted               a connection to itself that is accepted late
 *   main_gone                  a pipe; the main thread has ended by a bare system call
 *   posix system               message queues
 *   value thread_value         signals that are pending, for the process or for one thread
 *   notified notified_thread   what a POSIX queue brings with the news that it is not empty any more
 *   notified_again             the same, several times before anybody takes it
 *   moving moving_posix moving_system moving_value
 *                              references go round, through four channels, as fast as they can
 *   ends                       not held back: the end of a pipe or of a connection, a broken one,
 *                              a socket's error, its offset for peeking */
#include "kept.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { PAIRS = 100, MANY = 20000, MANY_SIZE = 48, SIGNAL = 44, CHANNELS = 4, MOVERS = 16 };

/* In a stream it begins anywhere. In memory at multiples of four, as the library asks. */
struct __attribute__((packed, aligned(4))) message {
    int tag;
    void *block;
    unsigned tail;
};

/* A way for messages, by descriptors or by the id of a queue. */
static int ends[2];

static NOINLINE void put(int fd, void *block, unsigned number)
{
    struct message m = { (int)number + 1, block, number };
    CHECK(write(fd, &m, sizeof m) == sizeof m);
    memset(OPAQUE(&m), 0, sizeof m);
}

static NOINLINE void *get(int fd, unsigned number)
{
    struct message m;
    CHECK(read(fd, &m, sizeof m) == sizeof m);
    CHECK(m.tag == (int)number + 1 && m.tail == number);
    return m.block;
}

static void fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        put(ends[1], kept_make(i), i);
}

/* After a byte, so that nothing is where one expects it. */
static void fill_shifted(void)
{
    CHECK(write(ends[1], "x", 1) == 1);
    fill();
}

static void check(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(get(ends[0], i), i);
}

static void fill_load_check(void)
{
    char byte;
    run_and_forget(fill_shifted);
    load();
    CHECK(read(ends[0], &byte, 1) == 1);
    check();
}

/* ---- pipes ---- */

static void kind_pipe(void)
{
    CHECK(pipe(ends) == 0);
    fill_load_check();
}

static void kind_packets(void)
{
    CHECK(pipe2(ends, O_DIRECT) == 0);
    fill_load_check();
}

static void kind_fifo(void)
{
    char folder[] = "/tmp/in_flight-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/fifo", folder);
    CHECK(mkfifo(path, 0600) == 0);
    CHECK((ends[0] = ends[1] = open(path, O_RDWR)) >= 0);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
    fill_load_check();
}

static void many_fill(void)
{
    for (unsigned i = 0; i < MANY; i++)
        put(ends[1], block_make(MANY_SIZE, i), i);
}

static void kind_big_pipe(void)
{
    CHECK(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    run_and_forget(many_fill);
    load();
    for (unsigned i = 0; i < MANY; i++)
        CHECK(pattern_holds(get(ends[0], i), MANY_SIZE, i));
}

static void kind_duplicated(void)
{
    CHECK(pipe(ends) == 0);
    run_and_forget(fill);
    int copy = fcntl(ends[0], F_DUPFD_CLOEXEC, 100);
    CHECK(copy >= 100 && close(ends[0]) == 0);
    ends[0] = copy;
    load();
    check();
}

static void kind_half_closed(void)
{
    CHECK(pipe(ends) == 0);
    run_and_forget(fill);
    CHECK(close(ends[1]) == 0);
    load();
    check();
}

static void kind_inherited(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    run_and_forget(fill);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        load();
        check();
        _exit(0);
    }
    int status;
    load();
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void leave_table(unsigned fd, int by_syscall)
{
    if (by_syscall)
        CHECK(syscall(SYS_close_range, fd, fd, CLOSE_RANGE_UNSHARE) == 0);
    else
        CHECK(close_range(fd, fd, CLOSE_RANGE_UNSHARE) == 0);
}

enum { PATIENCE_MS = 10000 };

static void kind_table_left(void)
{
    for (int by_syscall = 0; by_syscall < 2; by_syscall++) {
        int other[2];
        CHECK(pipe(ends) == 0 && pipe2(other, O_NONBLOCK) == 0);
        run_and_forget(fill);
        load();
        leave_table((unsigned)other[1], by_syscall);
        /* The joined thread lets go of the table a moment after it has been joined. */
        struct pollfd end = { .fd = other[0], .events = POLLIN };
        CHECK(poll(&end, 1, PATIENCE_MS) == 1);
        CHECK(read(other[0], &(char){ 0 }, 1) == 0);
        load();
        check();
    }
}

/* ---- unix sockets ---- */

static void kind_stream(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    fill_load_check();
}

static void messages_of(int type)
{
    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
    CHECK(send(ends[1], "", 0, 0) == 0 && send(ends[1], "", 0, 0) == 0);
    run_and_forget(fill);
    CHECK(send(ends[1], "", 0, 0) == 0);
    load();
    CHECK(recv(ends[0], &(char){ 0 }, 1, 0) == 0 && recv(ends[0], &(char){ 0 }, 1, 0) == 0);
    check();
    CHECK(recv(ends[0], &(char){ 0 }, 1, 0) == 0);
}

static void kind_datagrams(void)
{
    messages_of(SOCK_DGRAM);
}

static void kind_sequence(void)
{
    messages_of(SOCK_SEQPACKET);
}

static NOINLINE void put_with_right(unsigned number)
{
    struct message m = { (int)number + 1, kept_make(number), number };
    struct iovec part = { &m, sizeof m };
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                              .msg_controllen = sizeof control };
    memcpy(CMSG_DATA(&control.header), &ends[1], sizeof(int));
    CHECK(sendmsg(ends[1], &message, 0) == sizeof m);
    memset(OPAQUE(&m), 0, sizeof m);
}

static void rights_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        put_with_right(i);
}

static void kind_rights(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    run_and_forget(rights_fill);
    load();
    check();
}

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static void named_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        CHECK((ends[1] = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
        CHECK(connect(ends[1], (struct sockaddr *)&address, sizeof address) == 0);
        put(ends[1], kept_make(i), i);
        CHECK(close(ends[1]) == 0);
    }
}

static void kind_named(void)
{
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "in_flight-%d", (int)getpid());
    CHECK((ends[0] = socket(AF_UNIX, SOCK_DGRAM, 0)) >= 0);
    CHECK(bind(ends[0], (struct sockaddr *)&address, sizeof address) == 0);
    run_and_forget(named_fill);
    load();
    check();
}

static void kind_connections(void)
{
    int pair[2];
    for (int i = 0; i < PAIRS; i++)
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, i == PAIRS / 2 ? ends : pair) == 0);
    fill_load_check();
}

/* Of sockets the kernel tells by network. */
static void kind_namespace(void)
{
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
    CHECK(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0);
    fill_load_check();
}

static void kind_not_accepted(void)
{
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "accept-%d", (int)getpid());
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK((ends[1] = socket(AF_UNIX, SOCK_STREAM, 0)) >= 0);
    CHECK(bind(listening, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listening, 1) == 0);
    CHECK(connect(ends[1], (struct sockaddr *)&address, sizeof address) == 0);
    run_and_forget(fill);
    load();
    CHECK((ends[0] = accept(listening, NULL, NULL)) >= 0);
    check();
}

static void *go_on(void *unused)
{
    (void)unused;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/fd/0", (int)getpid());
    while (access(path, F_OK) == 0) /* a zombie has none */
        sched_yield();
    fill_load_check();
    puts("done");
    exit(0);
}

static void kind_main_gone(void)
{
    pthread_t thread;
    CHECK(pipe(ends) == 0 && pthread_create(&thread, NULL, go_on, NULL) == 0);
    syscall(SYS_exit, 0);
}

/* ---- message queues ---- */

static mqd_t queue_open(const char *name)
{
    char path[64];
    struct mq_attr attributes = { .mq_maxmsg = 10, .mq_msgsize = sizeof(struct message) };
    snprintf(path, sizeof path, "/in_flight-%s-%d", name, (int)getpid());
    mqd_t queue = mq_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    CHECK(queue >= 0 && mq_unlink(path) == 0);
    return queue;
}

static NOINLINE void queue_put(mqd_t queue, void *block, unsigned number)
{
    struct message m = { 'q', block, number };
    CHECK(mq_send(queue, (char *)&m, sizeof m, 3) == 0);
    memset(OPAQUE(&m), 0, sizeof m);
}

static NOINLINE void *queue_get(mqd_t queue)
{
    struct message m;
    CHECK(mq_receive(queue, (char *)&m, sizeof m, NULL) == sizeof m);
    return m.block;
}

static mqd_t queue;

static void queue_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        queue_put(queue, kept_make(i), i);
}

static void kind_posix(void)
{
    queue = queue_open("posix");
    run_and_forget(queue_fill);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(queue_get(queue), i);
}

struct system_message {
    long type;
    struct message m;
};

static NOINLINE void system_put(int id, void *block, unsigned number)
{
    struct system_message s = { 1, { 's', block, number } };
    CHECK(msgsnd(id, &s, sizeof s.m, 0) == 0);
    memset(OPAQUE(&s), 0, sizeof s);
}

static NOINLINE void *system_get(int id)
{
    struct system_message s;
    CHECK(msgrcv(id, &s, sizeof s.m, 0, 0) == sizeof s.m);
    return s.m.block;
}

static int system_open(void)
{
    int id = msgget(IPC_PRIVATE, 0600);
    CHECK(id >= 0);
    return id;
}

static int system_id;

static void system_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        system_put(system_id, kept_make(i), i);
}

static void kind_system(void)
{
    system_id = system_open();
    run_and_forget(system_fill);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(system_get(system_id), i);
    CHECK(msgctl(system_id, IPC_RMID, NULL) == 0);
}

/* ---- signals ---- */

static sigset_t signal_set(int first, int last)
{
    sigset_t set;
    sigemptyset(&set);
    for (int signal = first; signal <= last; signal++)
        sigaddset(&set, signal);
    return set;
}

static NOINLINE void signal_put(int signal, void *block)
{
    CHECK(sigqueue(getpid(), signal, (union sigval){ .sival_ptr = block }) == 0);
}

static NOINLINE void *signal_get(int signal)
{
    sigset_t set = signal_set(signal, signal);
    siginfo_t info;
    CHECK(sigwaitinfo(&set, &info) == signal);
    return info.si_value.sival_ptr;
}

static void signals_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        signal_put(SIGNAL + (int)i % 3, kept_make(i));
}

static void signals_block(void)
{
    sigset_t set = signal_set(SIGNAL, SIGNAL + CHANNELS);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
}

static void signals_check(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(signal_get(SIGNAL + (int)i % 3), i);
}

static void kind_value(void)
{
    signals_block();
    run_and_forget(signals_fill);
    load();
    signals_check();
}

static pthread_t main_thread;

static void thread_signals_fill(void)
{
    for (unsigned i = 0; i < KEPT; i++) {
        union sigval value = { .sival_ptr = kept_make(i) };
        CHECK(pthread_sigqueue(main_thread, SIGNAL + (int)i % 3, value) == 0);
    }
}

static void kind_thread_value(void)
{
    signals_block();
    main_thread = pthread_self();
    run_and_forget(thread_signals_fill);
    load();
    signals_check();
}

static void notify_by_signal(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGNAL };
    event.sigev_value.sival_ptr = block_make(5000, 5);
    CHECK(mq_notify(queue, &event) == 0);
}

static void kind_notified(void)
{
    signals_block();
    queue = queue_open("notified");
    run_and_forget(notify_by_signal);
    load();
    CHECK(mq_send(queue, "", 0, 0) == 0);
    CHECK(pattern_holds(signal_get(SIGNAL), 5000, 5));
}

static void notify_often(void)
{
    char byte[sizeof(struct message)];
    for (unsigned i = 0; i < KEPT; i++) {
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGNAL };
        event.sigev_value.sival_ptr = kept_make(i);
        CHECK(mq_notify(queue, &event) == 0 && mq_send(queue, "", 0, 0) == 0);
        CHECK(mq_receive(queue, byte, sizeof byte, NULL) == 0);
    }
}

static void kind_notified_again(void)
{
    signals_block();
    queue = queue_open("again");
    run_and_forget(notify_often);
    load();
    for (unsigned i = 0; i < KEPT; i++)
        kept_check_one(signal_get(SIGNAL), i);
}

static void *_Atomic notified;

static void on_notified(union sigval value)
{
    atomic_store(&notified, value.sival_ptr);
}

static void notify_by_thread(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD };
    event.sigev_notify_function = on_notified;
    event.sigev_value.sival_ptr = block_make(5000, 5);
    CHECK(mq_notify(queue, &event) == 0);
}

static void kind_notified_thread(void)
{
    queue = queue_open("notified");
    run_and_forget(notify_by_thread);
    load();
    CHECK(mq_send(queue, "", 0, 0) == 0);
    while (atomic_load(&notified) == NULL)
        sched_yield();
    CHECK(pattern_holds(atomic_load(&notified), 5000, 5));
}

/* ---- references that move ---- */

static int channels[CHANNELS][2];

struct way {
    void (*put)(int channel, void *block);
    void *(*get)(int channel);
};
static struct way way;

static void moving_put(int channel, void *block)
{
    put(channels[channel][1], block, 1);
}

static void *moving_get(int channel)
{
    return get(channels[channel][0], 1);
}

static void moving_posix_put(int channel, void *block)
{
    queue_put(channels[channel][0], block, 1);
}

static void *moving_posix_get(int channel)
{
    return queue_get(channels[channel][0]);
}

static void moving_system_put(int channel, void *block)
{
    system_put(channels[channel][0], block, 1);
}

static void *moving_system_get(int channel)
{
    return system_get(channels[channel][0]);
}

static void moving_value_put(int channel, void *block)
{
    signal_put(SIGNAL + channel, block);
}

static void *moving_value_get(int channel)
{
    return signal_get(SIGNAL + channel);
}

static void movers_fill(void)
{
    for (unsigned i = 0; i < MOVERS; i++)
        way.put((int)i % CHANNELS, swapped_make(i));
}

static NOINLINE void move(uint32_t *state)
{
    int from = (int)(random_next(state) % CHANNELS);
    way.put(from, way.get(from)); /* no more than there are come together in a channel */
}

static void *move_thread(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument;
    while (!atomic_load(&loaded))
        move(&state);
    return NULL;
}

static void movers_check(void)
{
    unsigned char seen[MOVERS] = { 0 };
    for (unsigned i = 0; i < MOVERS; i++)
        swapped_check(way.get((int)i % CHANNELS), seen, MOVERS);
}

static void move_all(struct way by)
{
    pthread_t other, loader;
    way = by;
    run_and_forget(movers_fill);
    CHECK(pthread_create(&other, NULL, move_thread, (void *)5) == 0);
    loader = load_begin();
    move_thread((void *)99);
    load_end(loader);
    CHECK(pthread_join(other, NULL) == 0);
    movers_check();
}

static void kind_moving(void)
{
    for (int i = 0; i < CHANNELS; i++)
        CHECK((i % 2 ? pipe(channels[i]) : socketpair(AF_UNIX, SOCK_DGRAM, 0, channels[i])) == 0);
    move_all((struct way){ moving_put, moving_get });
}

static void kind_moving_posix(void)
{
    char name[] = "0";
    for (int i = 0; i < CHANNELS; i++) {
        name[0] = (char)('0' + i);
        channels[i][0] = queue_open(name);
    }
    move_all((struct way){ moving_posix_put, moving_posix_get });
}

static void kind_moving_system(void)
{
    for (int i = 0; i < CHANNELS; i++)
        channels[i][0] = system_open();
    move_all((struct way){ moving_system_put, moving_system_get });
    for (int i = 0; i < CHANNELS; i++)
        CHECK(msgctl(channels[i][0], IPC_RMID, NULL) == 0);
}

static void kind_moving_value(void)
{
    signals_block();
    move_all((struct way){ moving_value_put, moving_value_get });
}

/* ---- what the program sees of its channels ---- */

static void pipe_ends(void)
{
    char byte;
    int end[2];
    CHECK(pipe(end) == 0 && write(end[1], "x", 1) == 1);
    CHECK(close(end[1]) == 0 && read(end[0], &byte, 1) == 1 && read(end[0], &byte, 1) == 0);
    CHECK(close(end[0]) == 0);
    CHECK(pipe(end) == 0 && close(end[0]) == 0);
    CHECK(write(end[1], "x", 1) == -1 && errno == EPIPE);
    CHECK(close(end[1]) == 0);
}

static void connection_ends(int type)
{
    char byte;
    int end[2];
    CHECK(socketpair(AF_UNIX, type, 0, end) == 0 && write(end[1], "x", 1) == 1);
    CHECK(close(end[1]) == 0 && read(end[0], &byte, 1) == 1 && read(end[0], &byte, 1) == 0);
    CHECK(close(end[0]) == 0);
}

/* The other side left what was sent to it: that is an error of ours, told once. */
static void connection_breaks(void)
{
    char byte;
    int end[2], error;
    socklen_t size = sizeof error;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, end) == 0 && write(end[0], "x", 1) == 1);
    CHECK(close(end[1]) == 0);
    stack_clear();
    CHECK(getsockopt(end[0], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNRESET);
    CHECK(read(end[0], &byte, 1) == 0 && close(end[0]) == 0);
}

static void peeks_go_on(void)
{
    char bytes[4];
    int end[2], offset = 1;
    socklen_t size = sizeof offset;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, end) == 0 && write(end[1], "abcd", 4) == 4);
    CHECK(setsockopt(end[0], SOL_SOCKET, SO_PEEK_OFF, &offset, size) == 0);
    CHECK(recv(end[0], bytes, 1, MSG_PEEK) == 1 && bytes[0] == 'b');
    stack_clear();
    CHECK(recv(end[0], bytes, 2, MSG_PEEK) == 2 && bytes[0] == 'c' && bytes[1] == 'd');
    CHECK(getsockopt(end[0], SOL_SOCKET, SO_PEEK_OFF, &offset, &size) == 0 && offset == 4);
    CHECK(read(end[0], bytes, 4) == 4 && memcmp(bytes, "abcd", 4) == 0);
    CHECK(close(end[0]) == 0 && close(end[1]) == 0);
}

static void kind_ends(void)
{
    signal(SIGPIPE, SIG_IGN);
    pthread_t loader = load_begin();
    while (!atomic_load(&loaded)) {
        pipe_ends();
        connection_ends(SOCK_STREAM);
        connection_ends(SOCK_SEQPACKET);
        connection_breaks();
        peeks_go_on();
    }
    load_end(loader);
}

/* ---- */

static const struct kind kinds[] = {
    KIND(pipe), KIND(packets), KIND(fifo), KIND(big_pipe), KIND(duplicated), KIND(half_closed),
    KIND(table_left), KIND(stream), KIND(datagrams), KIND(sequence), KIND(rights), KIND(named),
    KIND(connections), KIND(inherited), KIND(namespace), KIND(not_accepted), KIND(main_gone),
    KIND(posix), KIND(system), KIND(value), KIND(thread_value), KIND(notified),
    KIND(notified_again), KIND(notified_thread), KIND(moving), KIND(moving_posix),
    KIND(moving_system), KIND(moving_value), KIND(ends),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
