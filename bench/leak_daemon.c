/* leak_daemon.c -- what becomes of a leaking server's memory over time?
 *
 * The README's before and after. A server with a table of sessions answers requests at a fixed
 * rate; each request opens a session in place of an older one, which is closed with the commonest
 * bug there is: the session itself is freed and what it holds is forgotten. The live set stays the
 * same, MB_PER_S megabytes each second are lost. Every half second one line says how much was
 * leaked and what is resident:
 *
 *     leak_daemon [MB_PER_S=50] [LIVE_MIB=50] [SECONDS=20] */
#include "bench.h"

enum { HEADERS = 6, HEADER_MOST = 2048, TICK_MS = 10, REPORT_MS = 500 };

struct header {
    struct header *next;
    size_t size;
    char text[];
};

struct session {
    uint64_t id;
    struct header *headers;
};

struct server {
    struct session **sessions;
    size_t count;
    uint64_t next_id, leaked, rng;
};

static struct server server = {.rng = 5};

__attribute__((noinline)) static struct header *header_parse(struct header *next, size_t size)
{
    struct header *h = malloc(sizeof *h + size);
    if (!h)
        die("out of memory");
    h->next = next;
    h->size = size;
    memset(h->text, 'x', size);
    return h;
}

__attribute__((noinline)) static struct session *session_open(void)
{
    struct session *s = malloc(sizeof *s);
    if (!s)
        die("out of memory");
    *s = (struct session){.id = server.next_id++};
    for (size_t i = 0; i < HEADERS; i++)
        s->headers = header_parse(s->headers, rng_between(&server.rng, 16, HEADER_MOST));
    return s;
}

/* The bug: the headers are lost. */
static void session_close(struct session *s)
{
    for (struct header *h = s->headers; h; h = h->next)
        server.leaked += sizeof *h + h->size;
    free(s);
}

static void handle_request(void)
{
    struct session **slot = &server.sessions[rng_below(&server.rng, server.count)];
    if (*slot)
        session_close(*slot);
    *slot = session_open();
}

static void sleep_until(uint64_t when_ns)
{
    struct timespec t = {(time_t)(when_ns / 1000000000u), (long)(when_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
        ;
}

static void sample(uint64_t ms)
{
    printf("sample %.1f s leaked %.0f MB resident %.0f MB\n", (double)ms / 1000,
           (double)server.leaked / 1e6, (double)status_kib("VmRSS:") * 1024 / 1e6);
    fflush(stdout);
}

/* Requests of one tick: as many as bring the leak to what the rate says it should be by now. */
static void serve_until(uint64_t leaked)
{
    while (server.leaked < leaked)
        handle_request();
}

int main(int argc, char **argv)
{
    double bytes_per_ms = (double)arg_count(argc, argv, 1, 50) * 1e6 / 1000;
    size_t live = arg_count(argc, argv, 2, 50) << 20;
    uint64_t end_ms = arg_count(argc, argv, 3, 20) * 1000;
    server.count = live / (HEADERS * (HEADER_MOST / 2 + sizeof(struct header))) + 1;
    server.sessions = calloc(server.count, sizeof *server.sessions);
    if (!server.sessions)
        die("out of memory");
    for (size_t i = 0; i < server.count; i++)
        server.sessions[i] = session_open();

    uint64_t start = now_ns();
    for (uint64_t ms = 0; ms <= end_ms; ms += TICK_MS) {
        sleep_until(start + ms * 1000000);
        serve_until((uint64_t)((double)ms * bytes_per_ms));
        if (ms % REPORT_MS == 0)
            sample(ms);
    }
    report("leak_daemon", "leaked", (double)server.leaked / 1e6, "MB");
    report("leak_daemon", "resident", (double)status_kib("VmRSS:") * 1024 / 1e6, "MB");
    report_peak("leak_daemon");
}
