/* gc_queues.c -- what is in pipes and sockets is found, and nobody can tell that it was looked at.
 *
 * The test's own descriptors are read, by number as a thread of the program's does (task 0), by
 * borrowing as the collector's does, and by its deputy. No memory is scanned. */
#include "gc/queues.h"

#include "child.h"
#include "gc/deputy.h"
#include "hidden.h"
#include "sys/syscall.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

static struct marker *marker;

static void start(void)
{
    EXPECT(hidden_heap(256 * MIB, true));
    marker = meta_alloc(sizeof *marker);
    worklist_init(&marker->work, arena.mark_stack, arena.mark_stack_size);
}

/* One mark; NULL, or what could not be read. Listed before `change` is called, if there is one. */
static const char *try_mark(int32_t task, void (*change)(void))
{
    relaxed_store(&hot.epoch, epoch_next(relaxed_load(&hot.epoch)));
    marker_start(marker, NULL);
    EXPECT(queues_find(task) == NULL);
    if (change != NULL)
        change();
    const char *reason = queues_scan(marker, task);
    mark_drain(marker);
    queues_end();
    return reason;
}

static void mark(int32_t task, void (*change)(void))
{
    EXPECT(try_mark(task, change) == NULL);
}

static bool is_marked(hidden h)
{
    return hidden_byte(h) == relaxed_load(&hot.epoch);
}

static int32_t own_task(void)
{
    return (int32_t)syscall0(__NR_getpid);
}

static void mark_by_deputy(void (*change)(void))
{
    EXPECT(deputy_hire());
    mark(own_task(), change);
    EXPECT(deputy_is_there());
    deputy_dismiss();
}

/* By number, by borrowing, and by the deputy. */
static bool reached(hidden h)
{
    mark(0, NULL);
    bool found = is_marked(h);
    mark(own_task(), NULL);
    EXPECT(is_marked(h) == found);
    mark_by_deputy(NULL);
    EXPECT(is_marked(h) == found);
    return found;
}

static void put(int fd, hidden h)
{
    char *p = reveal(h);
    EXPECT(write(fd, &p, sizeof p) == sizeof p);
}

static bool get(int fd, hidden h)
{
    char *p = NULL;
    return read(fd, &p, sizeof p) == sizeof p && p == reveal(h);
}

static void pipes(void)
{
    start();
    int a[2], b[2];
    hidden h[3] = {hidden_new(64), hidden_new(64), hidden_new(64)};
    EXPECT(pipe(a) == 0 && pipe2(b, O_NONBLOCK) == 0);
    EXPECT(!reached(h[0]));
    put(a[1], h[0]);
    EXPECT(write(b[1], "xyz", 3) == 3);
    put(b[1], h[1]);
    EXPECT(reached(h[0]) && reached(h[1]) && !reached(h[2]));
    EXPECT(get(a[0], h[0]) && read(b[0], (char[3]){0}, 3) == 3 && get(b[0], h[1]));
    EXPECT(!reached(h[0]) && !reached(h[1]));
}

/* One full of messages, of its largest size; the last one, too. */
static void large_pipe(void)
{
    start();
    int a[2];
    hidden first = hidden_new(64), last = hidden_new(64);
    EXPECT(pipe2(a, O_NONBLOCK) == 0 && fcntl(a[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    put(a[1], first);
    for (size_t i = sizeof(void *); i < (1 << 20) - sizeof(void *); i += sizeof(void *))
        EXPECT(write(a[1], "nothing.", 8) == 8);
    put(a[1], last);
    EXPECT(write(a[1], "x", 1) == -1 && errno == EAGAIN);
    EXPECT(reached(first) && reached(last));
    EXPECT(get(a[0], first));
}

/* A word that lies across two of our reads. */
static void across_reads(void)
{
    start();
    int a[2];
    static char much[(64 << 10) - 3];
    hidden h = hidden_new(64);
    EXPECT(pipe2(a, O_NONBLOCK) == 0 && fcntl(a[0], F_SETPIPE_SZ, 1 << 20) == 1 << 20);
    EXPECT(write(a[1], much, sizeof much) == sizeof much);
    put(a[1], h);
    EXPECT(reached(h));
}

static void sockets_of(int type)
{
    int a[2];
    hidden h[20], not_sent = hidden_new(64);
    EXPECT(socketpair(AF_UNIX, type, 0, a) == 0);
    if (type != SOCK_STREAM)
        EXPECT(send(a[1], "", 0, 0) == 0);
    for (size_t i = 0; i < GC_COUNT(h); i++) {
        h[i] = hidden_new(64);
        put(a[i % 2], h[i]);
    }
    for (size_t i = 0; i < GC_COUNT(h); i++)
        EXPECT(reached(h[i]));
    EXPECT(!reached(not_sent));
    if (type != SOCK_STREAM)
        EXPECT(recv(a[0], (char[1]){0}, 1, 0) == 0);
    for (size_t i = 0; i < GC_COUNT(h); i++)
        EXPECT(get(a[(i + 1) % 2], h[i]));
    for (size_t i = 0; i < GC_COUNT(h); i++)
        EXPECT(!reached(h[i]));
    EXPECT(recv(a[0], (char[1]){0}, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
}

static void sockets(void)
{
    start();
    sockets_of(SOCK_STREAM);
    sockets_of(SOCK_DGRAM);
    sockets_of(SOCK_SEQPACKET);
}

/* ---- between the list and the pause ---- */

static int ends[2], others[2];
static hidden passed;

static void make_one(void)
{
    EXPECT(pipe(ends) == 0);
    queues_note_new();
    put(ends[1], passed);
}

static void move_it(void)
{
    int copy = dup(ends[0]);
    EXPECT(copy >= 0 && dup2(others[0], ends[0]) == ends[0]);
    ends[0] = copy;
}

static void close_it(void)
{
    int copy = dup(ends[0]);
    EXPECT(copy >= 0 && close(ends[0]) == 0);
    ends[0] = copy;
}

static void mark_by_number(void (*change)(void))
{
    mark(0, change);
}

static void mark_by_borrowing(void (*change)(void))
{
    mark(own_task(), change);
}

static void changed_meanwhile(void)
{
    static void (*const ways[])(void (*change)(void)) = {mark_by_number, mark_by_borrowing,
                                                         mark_by_deputy};
    start();
    for (size_t way = 0; way < GC_COUNT(ways); way++) {
        passed = hidden_new(64);
        EXPECT(pipe(others) == 0);
        ways[way](make_one);
        EXPECT(is_marked(passed));
        ways[way](move_it); /* its number is another's now */
        EXPECT(is_marked(passed));
        ways[way](close_it);
        EXPECT(is_marked(passed));
        EXPECT(get(ends[0], passed));
        ways[way](NULL);
        EXPECT(!is_marked(passed));
    }
}

/* The program has left the table to the deputy. What is the same in both is read; if anything is
 * not, no mark is to end, and the deputy must go: it keeps a pipe open. */
static void other_table(void)
{
    start();
    hidden h[2] = {hidden_new(64), hidden_new(64)};
    EXPECT(pipe2(ends, O_NONBLOCK) == 0 && deputy_hire());
    put(ends[1], h[0]);
    EXPECT(unshare(CLONE_FILES) == 0);
    mark(own_task(), NULL);
    EXPECT(is_marked(h[0]) && !is_marked(h[1]) && deputy_is_there());
    EXPECT(close(ends[1]) == 0 && get(ends[0], h[0]));
    EXPECT(read(ends[0], (char[1]){0}, 1) == -1 && errno == EAGAIN); /* the deputy has the end */
    EXPECT(pipe(others) == 0);
    put(others[1], h[1]);
    queues_note_new();
    EXPECT(queues_scan(marker, own_task()) != NULL && !deputy_is_there());
    EXPECT(read(ends[0], (char[1]){0}, 1) == 0);
    mark(own_task(), NULL); /* by borrowing, here */
    EXPECT(is_marked(h[1]));
}

/* ---- what is left alone ---- */

/* The other end is another process's: what comes from there is none of ours. */
static void foreign_end(void)
{
    start();
    int a[2], pid;
    hidden h = hidden_new(64);
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0);
    put(a[1], h);
    EXPECT(reached(h));
    EXPECT((pid = fork()) >= 0);
    if (pid == 0) {
        close(a[0]);
        pause();
    }
    close(a[1]);
    EXPECT(!reached(h)); /* its end is not closed: the child has it */
    EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    EXPECT(reached(h)); /* now it is; it might have been ours */
    EXPECT(get(a[0], h));
}

static void error_is_left(void)
{
    start();
    int a[2], error = 0;
    socklen_t size = sizeof error;
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0 && write(a[0], "x", 1) == 1);
    EXPECT(write(a[1], "yy", 2) == 2 && close(a[1]) == 0);
    mark(0, NULL);
    EXPECT(getsockopt(a[0], SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == ECONNRESET);
    EXPECT(read(a[0], (char[2]){0}, 2) == 2 && read(a[0], (char[1]){0}, 1) == 0);
    mark(0, NULL);
}

static void offset_is_left(void)
{
    start();
    int a[2], offset = 3;
    socklen_t size = sizeof offset;
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        EXPECT(socketpair(AF_UNIX, type, 0, a) == 0 && write(a[1], "abcdef", 6) == 6);
        EXPECT(setsockopt(a[0], SOL_SOCKET, SO_PEEK_OFF, &(int){3}, size) == 0);
        EXPECT(try_mark(0, NULL) != NULL); /* .inv.moved: then nothing is judged */
        EXPECT(getsockopt(a[0], SOL_SOCKET, SO_PEEK_OFF, &offset, &size) == 0 && offset == 3);
        EXPECT(setsockopt(a[0], SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, size) == 0);
        mark(0, NULL);
    }
}

IN_CHILD(pipes)
IN_CHILD(large_pipe)
IN_CHILD(across_reads)
IN_CHILD(sockets)
IN_CHILD(changed_meanwhile)
IN_CHILD(other_table)
IN_CHILD(foreign_end)
IN_CHILD(error_is_left)
IN_CHILD(offset_is_left)

UNIT_MAIN(TEST(test_pipes), TEST(test_large_pipe), TEST(test_across_reads), TEST(test_sockets),
          TEST(test_changed_meanwhile), TEST(test_other_table), TEST(test_foreign_end),
          TEST(test_error_is_left), TEST(test_offset_is_left))
