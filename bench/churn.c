/* churn.c -- what does the collector cost a busy program, one that frees, and one that leaks?
 *
 * MIB MiB live (live.h), and OPERATIONS operations as fast as they go. One operation is what a
 * server does with a request: build a message, look up a random node, put a new node in its place
 * and free the old one, read the message, free it. With LEAK_MB the program also has a bug: as
 * long as it has lost less than the clock says (LEAK_MB megabytes each second), it forgets to free.
 * A program so slow that all its messages are too little loses them all.
 *
 * So that a slow machine does not run out of memory, no more than 6 GB are lost.
 *
 * The work is the same in each run, so the time over the time of the same with mode=off, or on
 * glibc, is the cost. Each thread has a tree of its own, an equal part of MIB.
 *
 *     churn [OPERATIONS=1000000] [MIB=1024] [LEAK_MB=0] [THREADS=1] */
#include "live.h"

#include <pthread.h>

static const uint64_t LOST_MOST = 6000000000u;

struct worker {
    struct live live;
    pthread_t thread;
    uint64_t operations, rng, lost;
    double leak_mb;
};

/* A block, not our own mapping: .inv.heap */
static struct worker *workers;
static uint64_t begin;

/* Gives the size of the node and the message. */
__attribute__((noinline)) static size_t operate(struct worker *w, bool lose)
{
    struct message *m = message_new(&w->rng);
    struct node **link = live_link(&w->live, live_random(&w->live, &w->rng));
    if (!link)
        die("the tree has a gap");
    struct node *old = *link, *fresh = allocate(sizeof *fresh);
    *fresh = *old;
    fresh->payload[1] += 1;
    *link = fresh;
    size_t bytes = message_read(m) + sizeof *old;
    if (lose)
        return bytes;
    free(old);
    message_free(m);
    return 0;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    uint64_t due = 0;
    for (uint64_t i = 0; i < w->operations; i++) {
        if (i % 16 == 0 && w->leak_mb > 0)
            due = pace_due(now_ns() - begin, w->leak_mb);
        if (due > LOST_MOST)
            due = LOST_MOST;
        w->lost += operate(w, w->lost < due);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    uint64_t operations = arg_count(argc, argv, 1, 1000000);
    size_t mib = arg_count(argc, argv, 2, 1024);
    double leak_mb = strtod(arg_word(argc, argv, 3, "0"), NULL);
    unsigned threads = (unsigned)arg_count(argc, argv, 4, 1);
    workers = calloc(threads, sizeof *workers);
    if (!workers)
        die("out of memory");
    for (unsigned t = 0; t < threads; t++) {
        workers[t] = (struct worker){.operations = operations / threads, .rng = t + 8,
                                     .leak_mb = leak_mb / threads};
        live_build(&workers[t].live, mib / threads, t + 4);
    }
    mark_built();
    double before = resident_mb();
    begin = now_ns();
    for (unsigned t = 0; t < threads; t++)
        if (pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]))
            die("pthread_create failed");
    uint64_t lost = 0;
    for (unsigned t = 0; t < threads; t++) {
        pthread_join(workers[t].thread, NULL);
        lost += workers[t].lost;
    }
    double took = (double)(now_ns() - begin);
    mark_done();
    report("churn", "time", took / (double)operations, "ns");
    report("churn", "lost", (double)lost / 1e6 / (took / 1e9), "MB/s");
    report("churn", "live", (double)(mib << 20) / 1e6, "MB");
    report("churn", "built", before, "MB");
    report("churn", "resident", resident_mb(), "MB");
    report_peak("churn");
    for (unsigned t = 0; t < threads; t++)
        live_verify(&workers[t].live);
}
