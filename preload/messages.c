/* messages.c -- functions that give references to the kernel, and take them back, in messages and
 * signals.
 *
 * See gc/held.c. A message without an address of the heap costs a copy of each piece, and a look at
 * its bytes. */
#include "base/base.h"
#include "gc/held.h"
#include "real.h"
#include "runtime.h"
#include "sys/sandbox.h"
#include "sys/syscall.h"

#include <errno.h>
#include <mqueue.h>
#include <sys/msg.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Parked: in blocking.c. */
__typeof__(mq_send) real_mq_send;
__typeof__(mq_timedsend) real_mq_timedsend;
__typeof__(mq_receive) real_mq_receive;
__typeof__(mq_timedreceive) real_mq_timedreceive;
__typeof__(msgsnd) real_msgsnd;
__typeof__(msgrcv) real_msgrcv;

/* Of a message, looked at before the kernel does: it may be no memory at all, and that is for the
 * kernel to say. Small, for it may be sent from a handler on a small stack. */
enum { PIECE = 512 };

static struct held_place posix_place(enum held_kind kind, mqd_t queue)
{
    struct stat s = {0};
    int saved = errno;
    fstat(queue, &s);
    errno = saved;
    return (struct held_place){kind, s.st_ino};
}

typedef bool piece_fn(struct held_place place, const char *bytes, size_t size);

/* Calls `call` for pieces of the message that together hold each word of it once, until it returns
 * true. -1: it cannot be copied. */
static int each_piece(const void *message, size_t size, struct held_place place, piece_fn *call)
{
    char copy[PIECE];
    const char *bytes = message;
    for (size_t at = 0; at + WORD_SIZE <= size; at += PIECE - (WORD_SIZE - 1)) {
        size_t n = size_min(PIECE, size - at);
        struct iovec from = {(void *)(uintptr_t)(bytes + at), n}, to = {copy, n};
        if (syscall6(__NR_process_vm_readv, syscall0(__NR_getpid), (long)&to, 1, (long)&from, 1,
                     0) != (long)n)
            return -1;
        if (call(place, copy, n))
            return 1;
    }
    return 0;
}

static bool piece_refers(struct held_place place, const char *bytes, size_t size)
{
    (void)place;
    return held_has_reference(bytes, size);
}

static bool add_piece(struct held_place place, const char *bytes, size_t size)
{
    held_add(place, bytes, size);
    return false;
}

static bool remove_piece(struct held_place place, const char *bytes, size_t size)
{
    held_remove(place, bytes, size);
    return false;
}

/* Does the message hold references? -1: that will be seen when it was sent. */
static int look_at(const void *message, size_t size)
{
    return sandbox_on() ? 0 : each_piece(message, size, (struct held_place){0}, piece_refers);
}

static void note_sending(int refers, const void *message, size_t size, struct held_place place)
{
    if (refers == 1)
        each_piece(message, size, place, add_piece);
}

static void note_sent(int refers, const void *message, size_t size, struct held_place place,
                      bool sent)
{
    if (refers == 1 && !sent)
        each_piece(message, size, place, remove_piece);
    else if (refers == -1 && sent)
        held_add(place, message, size);
}

#define SEND_POSIX(call) \
    int refers = look_at(text, size); \
    if (refers == 0) \
        return call; \
    struct held_place place = posix_place(HELD_POSIX_QUEUE, queue); \
    note_sending(refers, text, size, place); \
    int result = call; \
    note_sent(refers, text, size, place, result == 0); \
    return result

GC_EXPORT int mq_send(mqd_t queue, const char *text, size_t size, unsigned priority)
{
    SEND_POSIX(real_mq_send(queue, text, size, priority));
}

GC_EXPORT int mq_timedsend(mqd_t queue, const char *text, size_t size, unsigned priority,
                           const struct timespec *until)
{
    SEND_POSIX(real_mq_timedsend(queue, text, size, priority, until));
}

static ssize_t received(mqd_t queue, const char *text, ssize_t got)
{
    if (got > 0 && held_count() != 0 && !sandbox_on())
        held_remove(posix_place(HELD_POSIX_QUEUE, queue), text, (size_t)got);
    return got;
}

GC_EXPORT ssize_t mq_receive(mqd_t queue, char *text, size_t size, unsigned *priority)
{
    return received(queue, text, real_mq_receive(queue, text, size, priority));
}

GC_EXPORT ssize_t mq_timedreceive(mqd_t queue, char *restrict text, size_t size,
                                  unsigned *restrict priority,
                                  const struct timespec *restrict until)
{
    return received(queue, text, real_mq_timedreceive(queue, text, size, priority, until));
}

/* The kernel brings the value. With SIGEV_THREAD it brings libc's copy of it, and of the
 * attributes: that one is a block of which libc, too, keeps nothing. */
GC_EXPORT int mq_notify(mqd_t queue, const struct sigevent *event)
{
    real_resolve();
    runtime_forbid_thread(); /* gc/own_thread.c, .inv.files */
    int result = real.mq_notify(queue, event);
    if (result != 0 || event == NULL || sandbox_on())
        return result;
    held_add(posix_place(HELD_NOTIFICATION, queue), &event->sigev_value, WORD_SIZE);
    if (event->sigev_notify == SIGEV_THREAD && event->sigev_notify_attributes != NULL)
        held_lose();
    return result;
}

/* The type of a message stands in front of it, and may be an address, too. */
GC_EXPORT int msgsnd(int queue, const void *message, size_t size, int flags)
{
    struct held_place place = {HELD_MESSAGE_QUEUE, (uint64_t)queue};
    size_t all = size < SIZE_MAX / 2 ? sizeof(long) + size : 0;
    int refers = look_at(message, all);
    note_sending(refers, message, all, place);
    int result = real_msgsnd(queue, message, size, flags);
    note_sent(refers, message, all, place, result == 0);
    return result;
}

GC_EXPORT ssize_t msgrcv(int queue, void *message, size_t size, long type, int flags)
{
    ssize_t got = real_msgrcv(queue, message, size, type, flags);
    if (got >= 0 && !(flags & MSG_COPY))
        held_remove((struct held_place){HELD_MESSAGE_QUEUE, (uint64_t)queue}, message,
                    sizeof(long) + (size_t)got);
    return got;
}

static void note_signal(int signal, const union sigval *value)
{
    held_add((struct held_place){HELD_SIGNAL, (uint64_t)signal}, value, sizeof *value);
}

GC_EXPORT int sigqueue(pid_t process, int signal, const union sigval value)
{
    real_resolve();
    int result = real.sigqueue(process, signal, value);
    if (result == 0 && process == getpid())
        note_signal(signal, &value);
    return result;
}

GC_EXPORT int pthread_sigqueue(pthread_t thread, int signal, const union sigval value)
{
    real_resolve();
    int result = real.pthread_sigqueue(thread, signal, value);
    if (result == 0)
        note_signal(signal, &value);
    return result;
}
