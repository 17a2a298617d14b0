/* watch_destination.c -- names with numbers in them, and files that cannot be had. */
#include "watch/destination.h"

#include "said.h"

#include <stdlib.h>
#include <sys/stat.h>

static char directory[] = "/tmp/gcmalloc-destination-XXXXXX", text[4096];

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static bool is_file(const char *name, long size)
{
    struct stat st;
    return stat(in_directory(name), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == size;
}

static void write_to(const char *name, const char *what)
{
    struct destination d = destination_open(in_directory(name), "the test", false);
    if (!EXPECT(d.fd >= 0 && !d.is_stderr))
        return;
    EXPECT(fcntl(d.fd, F_GETFD) == FD_CLOEXEC);
    EXPECT(write(d.fd, what, strlen(what)) == (ssize_t)strlen(what));
    destination_close(d);
    EXPECT(fcntl(d.fd, F_GETFD) == -1);
}

/* %n counts what was opened, from 1. */
static void test_names(void)
{
    char name[64];
    EXPECT(mkdtemp(directory) != NULL);
    write_to("a.%p.%n", "1");
    write_to("b%%%n%", "22");
    write_to("c.%x.%n%n", "333");
    snprintf(name, sizeof name, "a.%d.1", (int)getpid());
    EXPECT(is_file(name, 1));
    EXPECT(is_file("b%2%", 2));
    EXPECT(is_file("c.%x.33", 3));
}

static void test_replaced(void)
{
    write_to("same", "a long text");
    write_to("same", "short");
    EXPECT(is_file("same", 5));
}

static void test_stderr(void)
{
    struct said s = said_begin();
    struct destination d = destination_open("stderr", "the test", false);
    EXPECT(d.is_stderr && d.fd >= 0 && write(d.fd, "hello", 5) == 5);
    destination_close(d);
    said_end(s, text, sizeof text);
    EXPECT_TEXT(text, "hello");
    EXPECT(fcntl(2, F_GETFD) != -1);
}

static void test_not_to_be_had(void)
{
    struct said s = said_begin();
    struct destination d = destination_open("/nonexistent/%p", "the test", false);
    EXPECT(d.fd < 0 && !d.is_stderr);
    destination_close(d);
    d = destination_open("/nonexistent/x", "the other test", true);
    EXPECT(d.fd >= 0 && d.is_stderr);
    destination_close(d);
    said_end(s, text, sizeof text);
    EXPECT(strstr(text, "the test cannot be written to '/nonexistent/") != NULL);
    EXPECT(strstr(text, "the other test cannot be written to '/nonexistent/x' (error 2), so it "
                        "comes here") != NULL);
}

/* A file that nobody reads from is no reason to wait. */
static void test_fifo(void)
{
    struct said s = said_begin();
    EXPECT(mkfifo(in_directory("fifo"), 0600) == 0);
    struct destination d = destination_open(in_directory("fifo"), "the test", false);
    EXPECT(d.fd < 0);
    int reader = open(in_directory("fifo"), O_RDONLY | O_NONBLOCK);
    d = destination_open(in_directory("fifo"), "the test", false);
    EXPECT(d.fd >= 0 && !(fcntl(d.fd, F_GETFL) & O_NONBLOCK));
    destination_close(d);
    close(reader);
    said_end(s, text, sizeof text);
    EXPECT(strstr(text, "(error 6)") != NULL);
}

/* Too long a name is refused, rather than cut. */
static void test_too_long(void)
{
    static char name[3000] = "/tmp/";
    struct said s = said_begin();
    memset(name + 5, 'x', 1500);
    struct destination d = destination_open(name, "the test", false);
    EXPECT(d.fd < 0);
    said_end(s, text, sizeof text);
    EXPECT(strstr(text, "(error 36)") != NULL);
}

static void test_tidy(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r %s", directory);
    EXPECT(system(command) == 0);
}

UNIT_MAIN(TEST(test_names), TEST(test_replaced), TEST(test_stderr), TEST(test_not_to_be_had),
          TEST(test_fifo), TEST(test_too_long), TEST(test_tidy))
