/* replay.c -- runs files through the sequence, with every check.   replay DIRECTORY|FILE...
 *
 * With --random=N in place of files: N inputs of random bytes; the seed is printed (--seed=N). */
#include "sequence.h"

#include "../model/shadow.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_MOST = 1 << 16, RANDOM_MOST = 1024 };

static uint8_t bytes[INPUT_MOST];

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    printf("%s: %zu bytes\n", path, size);
    fflush(stdout);
    return LLVMFuzzerTestOneInput(bytes, size);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* All files of a directory, in order of their names; or the one file. Returns how many failed. */
static int replay_path(const char *path, int *files)
{
    struct dirent **entries;
    int failed = 0, count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) {
        ++*files;
        return replay_file(path);
    }
    for (int i = 0; i < count; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        failed += replay_file(name);
        free(entries[i]);
    }
    free(entries);
    *files += count;
    return failed;
}

static void replay_random(uint64_t count, uint64_t seed)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t rng = rng_mix(seed, i);
        size_t size = rng_between(&rng, 2, RANDOM_MOST);
        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)rng_next(&rng);
        where.round = (unsigned)i;
        LLVMFuzzerTestOneInput(bytes, size);
    }
}

int main(int argc, char **argv)
{
    uint64_t count = 0, seed = 1;
    int failed = 0, files = 0;
    sequence_check_always();
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--random=", 9) == 0)
            count = strtoull(argv[i] + 9, NULL, 0);
        else if (strncmp(argv[i], "--seed=", 7) == 0)
            seed = strtoull(argv[i] + 7, NULL, 0);
        else
            failed += replay_path(argv[i], &files);
    }
    printf("replay: --random=%ju --seed=%ju\n", (uintmax_t)count, (uintmax_t)seed);
    fflush(stdout);
    replay_random(count, seed);
    if (failed == 0 && (files != 0 || count != 0))
        printf("replay: passed, %d files, %ju random inputs\n", files, (uintmax_t)count);
    return failed != 0 || (files == 0 && count == 0);
}
