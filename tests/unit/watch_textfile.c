/* watch_textfile.c -- the file before, or this one, and nothing beside it. */
#include "watch/textfile.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/gcmalloc-textfile-XXXXXX", content[4096];

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static const char *read_it(const char *name)
{
    int fd = open(in_directory(name), O_RDONLY);
    ssize_t got = fd < 0 ? 0 : read(fd, content, sizeof content - 1);
    content[got > 0 ? got : 0] = '\0';
    if (fd >= 0)
        close(fd);
    return fd < 0 ? "(none)" : content;
}

/* The name that it has while it is written. */
static const char *fresh(const char *name)
{
    static char text[128];
    snprintf(text, sizeof text, "%s.%d.new", name, (int)getpid());
    return text;
}

static void test_replaces(void)
{
    struct textfile f;
    EXPECT(mkdtemp(directory) != NULL);
    for (int i = 0; i < 3; i++) {
        EXPECT(textfile_open(&f, in_directory("a")) == 0);
        printer_printf(&f.out, "number %d\n", i);
        printer_flush(&f.out);
        EXPECT_TEXT(read_it("a"), i == 0 ? "(none)" : i == 1 ? "number 0\n" : "number 1\n");
        EXPECT(access(in_directory(fresh("a")), F_OK) == 0);
        EXPECT(textfile_close(&f) == 0);
        EXPECT(access(in_directory(fresh("a")), F_OK) != 0);
    }
    EXPECT_TEXT(read_it("a"), "number 2\n");
}

static void test_names(void)
{
    struct textfile f;
    char name[32];
    snprintf(name, sizeof name, "b.%d", (int)getpid());
    EXPECT(textfile_open(&f, in_directory("b.%p")) == 0);
    EXPECT_TEXT(f.path.text, in_directory(name));
    EXPECT(textfile_close(&f) == 0);
    EXPECT_TEXT(read_it(name), "");
}

/* .inv.regular */
static void test_not_regular(void)
{
    struct textfile f;
    struct stat st;
    EXPECT(textfile_open(&f, "/dev/null") == -EEXIST);
    EXPECT(textfile_open(&f, directory) == -EEXIST);
    EXPECT(mkfifo(in_directory("fifo"), 0600) == 0);
    EXPECT(textfile_open(&f, in_directory("fifo")) == -EEXIST);
    EXPECT(stat(in_directory("fifo"), &st) == 0 && S_ISFIFO(st.st_mode));
    EXPECT(symlink("a", in_directory(fresh("trap"))) == 0); /* somebody's, in /tmp */
    EXPECT(textfile_open(&f, in_directory("trap")) == -ELOOP);
    EXPECT_TEXT(read_it("a"), "number 2\n");
}

static void test_not_to_be_had(void)
{
    static char name[2000];
    struct textfile f;
    EXPECT(textfile_open(&f, "/nonexistent/x") == -ENOENT);
    EXPECT_TEXT(f.path.text, "/nonexistent/x");
    memset(name, 'x', sizeof name - 1);
    EXPECT(textfile_open(&f, name) == -ENAMETOOLONG);
}

/* .inv.whole: a disk that is full. */
static void test_half(void)
{
    struct textfile f;
    EXPECT(textfile_open(&f, in_directory("a")) == 0);
    printer_printf(&f.out, "half");
    int full = open("/dev/full", O_WRONLY);
    EXPECT(full >= 0 && dup2(full, f.out.fd) == f.out.fd);
    EXPECT(textfile_close(&f) != 0);
    EXPECT_TEXT(read_it("a"), "number 2\n");
    EXPECT(access(in_directory(fresh("a")), F_OK) != 0);
    close(full);
}

static void test_tidy(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", directory);
    EXPECT(system(command) == 0);
}

UNIT_MAIN(TEST(test_replaces), TEST(test_names), TEST(test_not_regular), TEST(test_not_to_be_had),
          TEST(test_half), TEST(test_tidy))
