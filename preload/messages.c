/* messages.c -- functions that give references to the kernel, and take them back, in messages and
 * signals.
 *
 * See gc/held.c. A message without an address of the heap costs a copy, and a look at its bytes. */
#include "base/base.h"
#include "gc/held.h"
#include "real.h"
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

/* With more than this noted, it is asked now and then whether the queue is empty. */
enum { FEW = 512, COPIED_MOST = 8192 };

static struct held_place posix_place(enum held_kind kind, mqd_t queue)
{
    struct stat s = {0};
    int saved = errno;
    fstat(queue, &s);
    errno = saved;
    return (struct held_place){kind, s.st_ino};
}

/* Before a call that sends. Who takes from the queue may be another process. */
static void forget_posix(mqd_t queue)
{
    struct mq_attr attributes;
    uint64_t until = held_now();
    if (held_count() > FEW && mq_getattr(queue, &attributes) == 0 && attributes.mq_curmsgs == 0)
        held_forget(posix_place(HELD_POSIX_QUEUE, queue), until);
}

static void forget_messages(int queue, struct held_place place)
{
    struct msqid_ds status;
    uint64_t until = held_now();
    if (held_count() > FEW && msgctl(queue, IPC_STAT, &status) == 0 && status.msg_qnum == 0)
        held_forget(place, until);
}

/* A message, looked at before the kernel does: it may be no memory at all, and that is for the
 * kernel to say. A long one, or one that cannot be copied, is looked at when it was sent. */
struct message {
    const void *bytes;
    size_t size;
    bool copied, refers;
    char copy[COPIED_MOST];
};

static void look_at(struct message *m, const void *bytes, size_t size)
{
    struct iovec from = {(void *)(uintptr_t)bytes, size}, to = {m->copy, size};
    m->bytes = bytes;
    m->size = size;
    m->refers = false;
    m->copied = size <= COPIED_MOST && !sandbox_on() &&
                syscall6(__NR_process_vm_readv, syscall0(__NR_getpid), (long)&to, 1, (long)&from, 1,
                         0) == (long)size;
    if (m->copied)
        m->refers = held_has_reference(m->copy, size);
}

static void note_sent(const struct message *m, struct held_place place, int result)
{
    if (m->copied && m->refers && result != 0)
        held_remove(place, m->copy, m->size);
    else if (!m->copied && result == 0)
        held_add(place, m->bytes, m->size);
}

#define SEND_POSIX(call) \
    struct message m; \
    look_at(&m, text, size); \
    if (sandbox_on() || (m.copied && !m.refers)) \
        return call; \
    forget_posix(queue); \
    struct held_place place = posix_place(HELD_POSIX_QUEUE, queue); \
    if (m.refers) \
        held_add(place, m.copy, size); \
    int result = call; \
    note_sent(&m, place, result); \
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

/* One notification at most is asked for; it brings the value, or, with SIGEV_THREAD, libc's copy of
 * it. */
GC_EXPORT int mq_notify(mqd_t queue, const struct sigevent *event)
{
    real_resolve();
    uint64_t before = held_now();
    int result = real.mq_notify(queue, event);
    if (result != 0 || sandbox_on() ||
        (event != NULL && !held_has_reference(&event->sigev_value, WORD_SIZE)))
        return result;
    struct held_place place = posix_place(HELD_NOTIFICATION, queue);
    if (event != NULL)
        held_add(place, &event->sigev_value, WORD_SIZE);
    held_forget(place, before);
    return result;
}

/* The type of a message stands in front of it, and may be an address, too. */
GC_EXPORT int msgsnd(int queue, const void *message, size_t size, int flags)
{
    struct message m;
    struct held_place place = {HELD_MESSAGE_QUEUE, (uint64_t)queue};
    look_at(&m, message, size < SIZE_MAX / 2 ? sizeof(long) + size : size);
    if (m.refers) {
        forget_messages(queue, place);
        held_add(place, m.copy, m.size);
    }
    int result = real_msgsnd(queue, message, size, flags);
    note_sent(&m, place, result);
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
