/* smartheap.c -- what do batches of blocks of all small sizes cost that are freed in mixed order,
 * partly by another thread?
 *
 * After the published descriptions of MicroQuill's sh6bench and sh8bench ("SmartHeap", also in
 * mimalloc-bench). A batch holds blocks of 1 to 1,000 bytes, each size half as large again as the
 * one before, the smaller the more of them. Of its blocks one in ten stays until LASTING batches
 * later; of the others the later half is freed last first, as usual, and the earlier half first
 * first. KIND says by whom:
 *
 *   sh6    by the thread that allocated them
 *   sh8    each third batch's by the next thread (unless that one lags behind, inbox.h)
 *
 * Time is wall clock for each block, all threads together.
 *
 *     smartheap [KIND=sh6] [THREADS=1] [BATCHES=10000] */
#include "inbox.h"
#include "threads.h"

enum { SIZE_MOST = 1000, LASTING = 100, BATCH_MOST = 2048, LASTS = 10 };

/* Bytes of each size in a batch: one block of the largest, 500 of one byte. */
enum { COPIES_BYTES = SIZE_MOST, COPIES_MOST = 500 };

struct worker {
    _Alignas(LINE) struct inbox inbox;
    _Alignas(LINE) struct inbox *next;
    uint64_t batches, made;
    bool hands_on;
    void *batch[BATCH_MOST];
    struct parcel *lasting[LASTING];
};

static size_t batch_fill(void **batch)
{
    size_t n = 0;
    for (size_t size = 1; size <= SIZE_MOST; size += size / 2 + 1) {
        size_t copies = COPIES_BYTES / size < COPIES_MOST ? COPIES_BYTES / size : COPIES_MOST;
        for (size_t i = 0; i < copies && n < BATCH_MOST; i++)
            batch[n++] = allocate(size);
    }
    return n;
}

/* Takes one in LASTS out of the batch, and frees those that were taken LASTING batches ago. */
static size_t batch_keep(struct worker *w, size_t n, uint64_t turn)
{
    struct parcel **slot = &w->lasting[turn % LASTING];
    for (size_t i = 0; *slot && i < (*slot)->count; i++)
        free((*slot)->blocks[i]);
    free(*slot);
    *slot = parcel_new(n / LASTS + 1);
    size_t left = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % LASTS == 0)
            (*slot)->blocks[(*slot)->count++] = w->batch[i];
        else
            w->batch[left++] = w->batch[i];
    }
    return left;
}

static void batch_free(void **batch, size_t n)
{
    for (size_t i = n; i > n / 2; i--)
        free(batch[i - 1]);
    for (size_t i = 0; i < n / 2; i++)
        free(batch[i]);
}

static void batch_send(struct worker *w, size_t n)
{
    struct parcel *p = parcel_new(n);
    memcpy(p->blocks, w->batch, n * sizeof *p->blocks);
    p->count = n;
    inbox_push(w->next, p);
}

static void lasting_free(struct worker *w)
{
    for (size_t i = 0; i < LASTING && w->lasting[i]; i++) {
        for (size_t k = 0; k < w->lasting[i]->count; k++)
            free(w->lasting[i]->blocks[k]);
        free(w->lasting[i]);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    for (uint64_t turn = 0; turn < w->batches; turn++) {
        size_t n = batch_fill(w->batch);
        w->made += n;
        n = batch_keep(w, n, turn);
        if (w->hands_on && turn % 3 == 2)
            batch_send(w, n);
        else
            batch_free(w->batch, n);
        inbox_empty(&w->inbox);
    }
    lasting_free(w);
    return NULL;
}

int main(int argc, char **argv)
{
    const char *kind = arg_word(argc, argv, 1, "sh6");
    unsigned threads = (unsigned)arg_count(argc, argv, 2, 1);
    uint64_t batches = arg_count(argc, argv, 3, 10000), made = 0;
    if (strcmp(kind, "sh6") && strcmp(kind, "sh8"))
        die("KIND is sh6 or sh8");
    struct worker *workers = table_map(threads * sizeof *workers);
    for (unsigned t = 0; t < threads; t++) {
        workers[t].next = &workers[(t + 1) % threads].inbox;
        workers[t].batches = batches;
        workers[t].hands_on = !strcmp(kind, "sh8");
    }
    char name[32];
    snprintf(name, sizeof name, "%s.%u", kind, threads);

    double ns = (double)threads_run(worker_main, workers, sizeof *workers, threads);
    for (unsigned t = 0; t < threads; t++) {
        inbox_empty(&workers[t].inbox);
        made += workers[t].made;
    }
    report(name, "time", ns / (double)made, "ns");
    report_peak(name);
}
