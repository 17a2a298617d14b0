/* sys_file.c -- small files are read whole, or as much as fits. */
#include "sys/file.h"

#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_bytes(void)
{
    char path[] = "/tmp/file.XXXXXX", text[16] = "";
    int fd = mkstemp(path);
    EXPECT(fd >= 0 && write(fd, "twelve bytes", 12) == 12 && close(fd) == 0);
    EXPECT(file_read(path, text, sizeof text) == 12 && memcmp(text, "twelve bytes", 12) == 0);
    memset(text, 0, sizeof text);
    EXPECT(file_read(path, text, 6) == 6 && strcmp(text, "twelve") == 0);
    unlink(path);
    EXPECT(file_read(path, text, sizeof text) == -ENOENT);
}

/* Nobody writes into it, and nobody is waited for. */
static void test_fifo(void)
{
    char path[] = "/tmp/file.XXXXXX", text[16];
    EXPECT(mkdtemp(path) != NULL && rmdir(path) == 0 && mkfifo(path, 0600) == 0);
    EXPECT(file_read(path, text, sizeof text) == 0);
    unlink(path);
}

UNIT_MAIN(TEST(test_bytes), TEST(test_fifo))
