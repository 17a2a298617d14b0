/* pause.c -- how long does a collection keep a program from running?
 *
 * MIB MiB live (live.h), and two threads. The mutator wakes each millisecond and does what the
 * clock says is due: it swaps subtrees of random nodes, so that DIRTY_MB megabytes of pages are
 * written each second (4,096 bytes for each page touched), and loses LEAK_MB megabytes of messages
 * each second, so that cycles run. The heartbeat does nothing but wake each millisecond.
 *
 *   pause.heartbeat  how late it woke. It wakes at absolute times: one stop of 10 ms is ten late
 *                    beats, of 10, 9, 8 ... ms. The kernel's timer slack of 50 us is in it, under
 *                    every allocator.
 *   pause.gap        the time between two readings of the clock while the mutator was at work, one
 *                    swap or one message apart: stops, slow mallocs, write faults of a barrier, and
 *                    what else ran on the core. With `spin` the mutator does not sleep but reads
 *                    the clock all the time: then the longest gap is an estimate of the longest
 *                    stop that needs nobody's word, at the price of a whole core.
 *   pause.tick       the longest that one millisecond of work took.
 *
 * Timed, since the question is about time; what was done is reported. The collector's own word on
 * its stops are gctrace lines between `built` and `done` on standard error.
 *
 *     pause [SECONDS=20] [MIB=1024] [DIRTY_MB=100] [LEAK_MB=100] [sleep|spin] */
#include "histogram.h"
#include "live.h"

#include <pthread.h>

static struct live live;
static struct histogram heartbeat, gap;

static struct {
    uint64_t begin, end;
    uint64_t dirtied, lost, behind_ns;
    double dirty_mb, leak_mb;
    bool spin;
} run;

static void *heartbeat_main(void *arg)
{
    for (uint64_t due = run.begin; due < run.end; due += TICK_NS) {
        sleep_until(due);
        histogram_add(&heartbeat, now_ns() - due);
    }
    return arg;
}

static uint64_t gap_note(uint64_t before)
{
    uint64_t now = now_ns();
    histogram_add(&gap, now - before);
    return now;
}

/* Everything that is due at `start`; gives the time when it was done. */
static uint64_t work_due(uint64_t start, uint64_t *rng)
{
    uint64_t elapsed = start - run.begin, now = start;
    uint64_t dirty = pace_due(elapsed, run.dirty_mb), lose = pace_due(elapsed, run.leak_mb);
    while (now < run.end && (run.dirtied < dirty || run.lost < lose)) {
        if (run.dirtied < dirty)
            run.dirtied += live_swap(&live, rng) * (uint64_t)PAGE;
        now = gap_note(now);
        if (run.lost < lose)
            run.lost += message_lose(rng);
        now = gap_note(now);
    }
    if (now - start > run.behind_ns)
        run.behind_ns = now - start;
    return now;
}

static void mutate(void)
{
    uint64_t rng = 6, now = run.begin, due = run.begin;
    while (now < run.end) {
        if (run.spin) {
            now = gap_note(now);
        } else {
            sleep_until(due);
            now = now_ns();
        }
        if (now >= due) {
            now = work_due(now, &rng);
            due += TICK_NS * ((now - due) / TICK_NS + 1);
        }
    }
}

int main(int argc, char **argv)
{
    pthread_t thread;
    uint64_t seconds = arg_count(argc, argv, 1, 20);
    size_t mib = arg_count(argc, argv, 2, 1024);
    run.dirty_mb = (double)arg_count(argc, argv, 3, 100);
    run.leak_mb = (double)arg_count(argc, argv, 4, 100);
    run.spin = !strcmp(arg_word(argc, argv, 5, "sleep"), "spin");
    live_build(&live, mib, 4);
    mark_built();
    run.begin = now_ns() + TICK_NS;
    run.end = run.begin + seconds * 1000000000u;
    if (pthread_create(&thread, NULL, heartbeat_main, NULL))
        die("pthread_create failed");
    sleep_until(run.begin);
    mutate();
    double took = (double)(now_ns() - run.begin) / 1e9;
    pthread_join(thread, NULL);
    mark_done();

    histogram_report(&heartbeat, "pause.heartbeat");
    histogram_report(&gap, "pause.gap");
    report("pause.tick", "longest", (double)run.behind_ns / 1e3, "us");
    report("pause", "dirtied", (double)run.dirtied / 1e6 / took, "MB/s");
    report("pause", "lost", (double)run.lost / 1e6 / took, "MB/s");
    report("pause", "resident", resident_mb(), "MB");
    report_peak("pause");
    live_verify(&live);
}
