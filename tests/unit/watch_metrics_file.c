/* watch_metrics_file.c -- whose file it is, and what is said of one that cannot be. */
#include "watch/metrics_file.h"

#include "child.h"
#include "said.h"
#include "sys/options.h"

static struct stats_page page;
static char directory[] = "/tmp/gcmalloc-metrics-XXXXXX", text[64 << 10], path[64];
static pid_t forker;

static void wish(const char *metrics)
{
    options_set_defaults(&options);
    strcpy(options.metrics, metrics);
}

static void test_wanted(void)
{
    EXPECT(mkdtemp(directory) != NULL);
    wish("off");
    EXPECT(!metrics_file_wanted());
    wish("/tmp/m");
    EXPECT(metrics_file_wanted());
    options.mode = MODE_OFF;
    EXPECT(!metrics_file_wanted());
}

/* Is it written by this process? */
static bool is_written(const char *file)
{
    metrics_file_write(&page);
    return unlink(file) == 0;
}

static bool written_in_child(const char *format)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        metrics_file_after_fork();
        snprintf(path, sizeof path, format, directory, (int)getpid());
        _exit(is_written(path) ? 7 : 8);
    }
    EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status) == 7;
}

/* .inv.one */
static void test_whose(void)
{
    metrics_file_start();
    snprintf(path, sizeof path, "%s/m", directory);
    wish(path);
    EXPECT(is_written(path) && !written_in_child("%s/m"));
    snprintf(path, sizeof path, "%s/100%%%%p", directory);
    wish(path);
    EXPECT(!written_in_child("%s/100%%p"));
    snprintf(path, sizeof path, "%s/%%%%%%p%%", directory);
    wish(path);
    EXPECT(written_in_child("%s/%%%d%%"));
}

/* A daemon, and a child of it; to[1] hears of each whether it writes. */
static void be_daemon(int to[2])
{
    char answers[2];
    metrics_file_after_fork();
    while (kill(forker, 0) == 0) /* it ends at once */
        usleep(1000);
    pid_t child = fork();
    if (child == 0) {
        metrics_file_after_fork();
        answers[0] = is_written(path) ? 'y' : 'n';
        _exit(write(to[1], answers, 1) != 1);
    }
    waitpid(child, NULL, 0);
    answers[0] = is_written(path) ? 'y' : 'n';
    _exit(write(to[1], answers, 1) != 1);
}

/* Whose parent has ended, though its grandparent may be there. */
static const char *daemon_answers(bool owner_ends)
{
    static char answers[3];
    int to[2];
    EXPECT(pipe(to) == 0);
    pid_t first = fork();
    if (first == 0) {
        if (owner_ends)
            metrics_file_start();
        else
            metrics_file_after_fork();
        forker = getpid();
        if (fork() == 0)
            be_daemon(to);
        _exit(0);
    }
    close(to[1]);
    waitpid(first, NULL, 0);
    memset(answers, 0, sizeof answers);
    while (read(to[0], answers + strlen(answers), 1) > 0 && strlen(answers) < 2)
        ;
    close(to[0]);
    return answers;
}

static void test_daemons(void)
{
    metrics_file_start();
    snprintf(path, sizeof path, "%s/d", directory);
    wish(path);
    EXPECT_TEXT(daemon_answers(true), "ny");
    EXPECT_TEXT(daemon_answers(false), "nn");
}

static void test_written(void)
{
    snprintf(path, sizeof path, "%s/%%p", directory);
    wish(path);
    snprintf(path, sizeof path, "%s/%d", directory, (int)getpid());
    page.pid = (int)getpid();
    page.totals.threads = 5;
    metrics_file_write(&page);
    FILE *file = fopen(path, "r");
    size_t got = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    EXPECT(file != NULL && fclose(file) == 0 && unlink(path) == 0);
    EXPECT(got > 6 && strcmp(text + got - 6, "# EOF\n") == 0);
    EXPECT(strstr(text, "\ngcmalloc_threads 5\n") != NULL);
    char info[128];
    snprintf(info, sizeof info, "\ngcmalloc_info{pid=\"%d\",program=\"unit_watch_metr\"} 1\n",
             (int)getpid());
    EXPECT(strstr(text, info) != NULL);
}

/* .inv.once */
static void test_said_once(void)
{
    struct said s = said_begin();
    wish("/nonexistent/m");
    for (int i = 0; i < 3; i++)
        metrics_file_write(&page);
    said_end(s, text, sizeof text);
    EXPECT_TEXT(text, "libgcmalloc: the metrics cannot be written to '/nonexistent/m' (error 2)\n");
}

static void not_regular(void)
{
    struct said s = said_begin();
    wish("/dev/null");
    metrics_file_write(&page);
    said_end(s, text, sizeof text);
    EXPECT_TEXT(text, "libgcmalloc: the metrics are not written to '/dev/null': it is no regular "
                      "file\n");
}

IN_CHILD(not_regular)

static void test_tidy(void)
{
    EXPECT(rmdir(directory) == 0);
}

UNIT_MAIN(TEST(test_wanted), TEST(test_whose), TEST(test_daemons), TEST(test_written),
          TEST(test_not_regular), TEST(test_said_once), TEST(test_tidy))
