/* sys_directory.c -- every name once; what cannot be read is not empty. */
#include "sys/directory.h"

#include "unit.h"

#include <stdlib.h>
#include <unistd.h>

enum { FILES = 500 }; /* more than one system call gives */

static unsigned seen[FILES], others, left;

static bool visit(const char *name, void *data)
{
    (void)data;
    if (name[0] == 'f')
        seen[strtoul(name + 1, NULL, 10) % FILES]++;
    else
        others++;
    return --left != 0;
}

static void name_of(char *path, size_t size, const char *folder, int i)
{
    snprintf(path, size, "%s/f%d", folder, i);
}

static void test_names(void)
{
    char folder[] = "/tmp/gcmalloc-directory-XXXXXX", path[64];
    EXPECT(mkdtemp(folder) != NULL);
    for (int i = 0; i < FILES; i++) {
        name_of(path, sizeof path, folder, i);
        EXPECT(symlink("nowhere", path) == 0);
    }
    EXPECT(directory_each(folder, visit, NULL) && others == 2);
    for (int i = 0; i < FILES; i++)
        EXPECT(seen[i] == 1);
    left = 7;
    EXPECT(!directory_each(folder, visit, NULL) && left == 0);
    for (int i = 0; i < FILES; i++) {
        name_of(path, sizeof path, folder, i);
        EXPECT(unlink(path) == 0);
    }
    EXPECT(rmdir(folder) == 0);
    EXPECT(!directory_each(folder, visit, NULL));
    EXPECT(!directory_each("/proc/self/stat", visit, NULL));
}

UNIT_MAIN(TEST(test_names))
