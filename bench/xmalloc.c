/* xmalloc.c -- what does a block cost that is allocated by one thread and freed by another?
 *
 * After Lever and Boreham, "malloc() performance in a multithreaded Linux environment" (USENIX
 * 2000): PRODUCERS threads allocate blocks and hand them over in batches, as many threads again
 * free them. The batch is a heap block too. The queue is bounded, so memory stays bounded when one
 * side is faster. Time is wall clock for each block, all pairs of threads together.
 *
 *     xmalloc [PRODUCERS=1] [SIZE=64, 1 = random 8..1024] [BATCHES=40000] */
#include "bench.h"

#include <pthread.h>

/* Blocks in a batch; large enough that the queue's lock does not decide the figure. */
enum { BATCH = 128 };
/* Batches waiting at most, for each producer; lets the two sides drift by 8,192 blocks. */
enum { QUEUE_MOST = 64 };

struct batch {
    struct batch *next;
    void *blocks[BATCH];
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full;
    struct batch *head;
    uint64_t length, most;
} queue = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .not_empty = PTHREAD_COND_INITIALIZER,
    .not_full = PTHREAD_COND_INITIALIZER,
};

static size_t block_size;
static uint64_t batches;

static void queue_push(struct batch *b)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.length >= queue.most)
        pthread_cond_wait(&queue.not_full, &queue.lock);
    b->next = queue.head;
    queue.head = b;
    queue.length++;
    pthread_cond_signal(&queue.not_empty);
    pthread_mutex_unlock(&queue.lock);
}

static struct batch *queue_pop(void)
{
    pthread_mutex_lock(&queue.lock);
    while (!queue.head)
        pthread_cond_wait(&queue.not_empty, &queue.lock);
    struct batch *b = queue.head;
    queue.head = b->next;
    queue.length--;
    pthread_cond_signal(&queue.not_full);
    pthread_mutex_unlock(&queue.lock);
    return b;
}

static void *produce(void *arg)
{
    uint64_t rng = (uint64_t)(uintptr_t)arg;
    for (uint64_t i = 0; i < batches; i++) {
        struct batch *b = allocate(sizeof *b);
        for (size_t k = 0; k < BATCH; k++)
            b->blocks[k] = allocate(block_size > 1 ? block_size : rng_between(&rng, 8, 1024));
        queue_push(b);
    }
    return NULL;
}

static void *consume(void *arg)
{
    for (uint64_t i = 0; i < batches; i++) {
        struct batch *b = queue_pop();
        for (size_t k = 0; k < BATCH; k++)
            free(b->blocks[k]);
        free(b);
    }
    return arg;
}

int main(int argc, char **argv)
{
    uint64_t producers = arg_count(argc, argv, 1, 1);
    block_size = arg_count(argc, argv, 2, 64);
    batches = arg_count(argc, argv, 3, 40000);
    queue.most = QUEUE_MOST * producers;
    pthread_t *threads = table_map(2 * producers * sizeof *threads);
    char name[48];
    snprintf(name, sizeof name, "xmalloc.%u.%zu", (unsigned)producers, block_size);

    uint64_t start = now_ns();
    for (uint64_t t = 0; t < 2 * producers; t++) {
        void *seed = (void *)(uintptr_t)(t + 1);
        if (pthread_create(&threads[t], NULL, t % 2 ? consume : produce, seed))
            die("pthread_create failed");
    }
    for (uint64_t t = 0; t < 2 * producers; t++)
        pthread_join(threads[t], NULL);
    double blocks = (double)(producers * batches * (BATCH + 1));
    report(name, "time", (double)(now_ns() - start) / blocks, "ns");
    report_peak(name);
}
