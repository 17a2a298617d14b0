/* leaks.c -- is a program that leaks kept up with, and what does it cost in memory?
 *
 * MIB MiB live (live.h), and messages at MB_PER_S megabytes each second for SECONDS seconds, by the
 * clock, each lost as soon as it was read; or with `free`, each freed: what a correct program would
 * have done, and what its memory would have been. A fixed amount of work: who cannot keep up
 * takes longer, and is let go after three times the time. One thread.
 *
 *   leaks.rate      what was reached, MB/s
 *   leaks.late      the most that the work lagged behind the clock
 *   leaks.resident  at the end, and on average; leaks.peak the kernel's word on the most
 *
 * With CSV (a path, or - for standard output) it says every 50 ms what was lost and what is
 * resident, as lines `seconds,lost_mb,resident_mb`.
 *
 *     leaks [SECONDS=20] [MIB=1024] [MB_PER_S=100] [lose|free] [CSV] */
#include "live.h"

enum { SAMPLE_NS = 50000000, PATIENCE = 3 };

static struct live live;

static struct {
    FILE *csv;
    uint64_t begin, next_sample, done, late_ns, samples;
    double resident_sum;
    bool frees;
} run;

/* The size of what this process has in memory, without a malloc. */
static double statm_mb(void)
{
    static int fd = -1;
    char text[128] = {0};
    if (fd < 0)
        fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (pread(fd, text, sizeof text - 1, 0) <= 0)
        die("/proc/self/statm cannot be read");
    char *second = strchr(text, ' ');
    return (double)strtoull(second ? second : text, NULL, 10) * PAGE / 1e6;
}

static void sample(uint64_t now)
{
    if (now < run.next_sample)
        return;
    double resident = statm_mb();
    run.resident_sum += resident;
    run.samples++;
    if (run.csv)
        fprintf(run.csv, "%.3f,%.1f,%.1f\n", (double)(now - run.begin) / 1e9,
                (double)run.done / 1e6, resident);
    run.next_sample = now + SAMPLE_NS;
}

__attribute__((noinline)) static size_t message_work(uint64_t *rng)
{
    if (!run.frees)
        return message_lose(rng);
    struct message *m = message_new(rng);
    size_t bytes = message_read(m);
    message_free(m);
    return bytes;
}

/* All that is due at `due`, an absolute time. */
static void work_until(uint64_t due, double rate, uint64_t *rng)
{
    uint64_t bytes = pace_due(due - run.begin, rate), now = now_ns();
    while (run.done < bytes) {
        run.done += message_work(rng);
        now = now_ns();
        sample(now);
    }
    if (now > due && now - due > run.late_ns)
        run.late_ns = now - due;
    sample(now);
}

static FILE *csv_open(const char *path)
{
    FILE *csv = !path ? NULL : !strcmp(path, "-") ? stdout : fopen(path, "w");
    if (path && !csv)
        die("the CSV file cannot be written");
    if (csv)
        fprintf(csv, "seconds,lost_mb,resident_mb\n");
    return csv;
}

int main(int argc, char **argv)
{
    uint64_t seconds = arg_count(argc, argv, 1, 20), rng = 7;
    size_t mib = arg_count(argc, argv, 2, 1024);
    double rate = (double)arg_count(argc, argv, 3, 100);
    run.frees = !strcmp(arg_word(argc, argv, 4, "lose"), "free");
    run.csv = csv_open(arg_word(argc, argv, 5, NULL));
    live_build(&live, mib, 4);
    mark_built();

    run.begin = run.next_sample = now_ns();
    uint64_t end = run.begin + seconds * 1000000000u;
    uint64_t give_up = run.begin + PATIENCE * seconds * 1000000000u;
    for (uint64_t due = run.begin; due <= end && now_ns() < give_up; due += TICK_NS) {
        sleep_until(due);
        work_until(due, rate, &rng);
    }
    double took = (double)(now_ns() - run.begin) / 1e9;
    mark_done();
    report("leaks", "rate", (double)run.done / 1e6 / took, "MB/s");
    report("leaks", "late", (double)run.late_ns / 1e6, "ms");
    report("leaks", "resident", statm_mb(), "MB");
    report("leaks", "mean_resident", run.resident_sum / (double)run.samples, "MB");
    report("leaks", "peak", (double)status_kib("VmHWM:") * 1024 / 1e6, "MB");
    live_verify(&live);
}
