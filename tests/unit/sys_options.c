/* sys_options.c -- what the parser accepts, and the one line it says about what it does not. */
#include "sys/options.h"

#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- complaints, caught in a pipe ---- */

static char said[16384];
static int said_fds[2];

static int listen_start(void)
{
    EXPECT(pipe(said_fds) == 0);
    return said_fds[1];
}

static const char *listen_end(void)
{
    close(said_fds[1]);
    ssize_t got = read(said_fds[0], said, sizeof said - 1);
    said[got > 0 ? got : 0] = '\0';
    close(said_fds[0]);
    return said;
}

static unsigned lines(const char *text)
{
    unsigned count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

/* Parses over the defaults; what was said is in `said`. */
static unsigned parse(struct options *o, const char *text)
{
    options_set_defaults(o);
    unsigned complaints = options_parse_text(o, text, strlen(text), listen_start());
    listen_end();
    EXPECT(lines(said) == complaints);
    return complaints;
}

/* ---- texts ---- */

static void test_defaults(void)
{
    struct options o;
    memset(&o, 0x5a, sizeof o);
    EXPECT(parse(&o, "") == 0);
    EXPECT(o.mode == MODE_COLLECT && o.stacks == STACKS_SAMPLED);
    EXPECT(o.percent == 100 && o.confirm == 2 && o.probation == 3 && o.help == 0);
    EXPECT(o.min_heap == 32 * MIB && o.arena == TIB);
    EXPECT_TEXT(o.report, "stderr");
}

static void test_values(void)
{
    struct options o;
    EXPECT(parse(&o, "mode=off,percent=-1,confirm=64,min_heap=5M,sample=1,report=/a b.%p") == 0);
    EXPECT(o.mode == MODE_OFF && o.percent == -1 && o.confirm == 64 && o.min_heap == 5 * MIB);
    EXPECT(o.sample == 1);
    EXPECT_TEXT(o.report, "/a b.%p");
    EXPECT(parse(&o, "mode=report,stacks=none") == 0 && o.mode == MODE_REPORT && o.stacks == 0);
    EXPECT(parse(&o, "mode=collect,stacks=all") == 0 && o.mode == MODE_COLLECT);
    EXPECT(o.stacks == STACKS_ALL);
    EXPECT(parse(&o, "confirm=3,confirm=4") == 0 && o.confirm == 4);
    EXPECT(parse(&o, "report=a=b") == 0);
    EXPECT_TEXT(o.report, "a=b");
}

static void test_sizes(void)
{
    struct options o;
    EXPECT(parse(&o, "min_heap=4096") == 0 && o.min_heap == 4096);
    EXPECT(parse(&o, "min_heap=4k") == 0 && o.min_heap == 4096);
    EXPECT(parse(&o, "min_heap=4K") == 0 && o.min_heap == 4096);
    EXPECT(parse(&o, "min_heap=2G") == 0 && o.min_heap == 2 * GIB);
    EXPECT(parse(&o, "min_heap=1t") == 0 && o.min_heap == TIB);
    EXPECT(parse(&o, "min_heap=0") == 0 && o.min_heap == 0);
    static const char *const bad[] = {
        "min_heap=-1",    "min_heap=1.5M", "min_heap=M", "min_heap=1KB", "min_heap=1025G",
        "min_heap=0x10", "min_heap=99999999999999999999", "min_heap=9223372036854775807T",
        "min_heap=18446744073709551616", "min_heap=1 M", "min_heap=", "arena=1K",
    };
    for (size_t i = 0; i < GC_COUNT(bad); i++)
        if (!EXPECT(parse(&o, bad[i]) == 1 && o.min_heap == 32 * MIB && o.arena == TIB))
            printf("    %s: %s", bad[i], said);
}

#define SECOND ((uint64_t)1000000000)

static void test_times(void)
{
    struct options o;
    EXPECT(parse(&o, "") == 0 && o.report_every.ns == 0 && o.stop_ms.ns == SECOND / 5);
    EXPECT(o.pause_us.ns == 500000);
    EXPECT(parse(&o, "report_every=60,stop_ms=7,pause_us=9") == 0); /* as the names say */
    EXPECT(o.report_every.ns == 60 * SECOND && o.stop_ms.ns == 7000000 && o.pause_us.ns == 9000);
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"250ms", SECOND / 4}, {"1us", 1000}, {"60s", 60 * SECOND}, {"5m", 300 * SECOND},
                {"2h", 7200 * SECOND}, {"365d", 31536000 * SECOND}, {"0s", 0}, {"0", 0}};
    char text[64];
    for (size_t i = 0; i < GC_COUNT(good); i++) {
        snprintf(text, sizeof text, "report_every=%s", good[i].text);
        if (!EXPECT(parse(&o, text) == 0 && o.report_every.ns == good[i].ns))
            printf("    %s: %lu\n", text, o.report_every.ns);
    }
    static const char *const bad[] = {
        "60x", "s", "-1s", "-1", "1.5s", "5 m", "5M", "1sec", "60ss", "1ns", "366d", "31536001",
        "18446744073709551616s", "9223372036854775807d", "106752d", "", "0x1s", "5m5s",
    };
    for (size_t i = 0; i < GC_COUNT(bad); i++) {
        snprintf(text, sizeof text, "report_every=%s", bad[i]);
        if (!EXPECT(parse(&o, text) == 1 && o.report_every.ns == 0))
            printf("    %s: %s", text, said);
    }
    EXPECT(parse(&o, "stop_ms=0s,stop_ms=61s,pause_us=2m") == 3);
}

static void test_blanks_and_comments(void)
{
    struct options o;
    EXPECT(parse(&o, ",,  ,\n\n, confirm = 5 ,\r\n\tpercent=7 \r\n") == 0);
    EXPECT(o.confirm == 5 && o.percent == 7);
    EXPECT(parse(&o, "# confirm=6, nonsense, more\nconfirm=7 # , trailing\n#last") == 0);
    EXPECT(o.confirm == 7);
    EXPECT(parse(&o, "report=a#b,confirm=8") == 0 && o.confirm == 8);
    EXPECT_TEXT(o.report, "a#b");
}

#define G "libgcmalloc: GCMALLOC: "

static void test_complaints(void)
{
    struct options o;
    EXPECT(parse(&o, "foo") == 1);
    EXPECT_TEXT(said, G "unknown option 'foo' ignored\n");
    EXPECT(parse(&o, "confirm=zero") == 1 && o.confirm == 2);
    EXPECT_TEXT(said, G "confirm=zero is not a whole number from 1 to 64; using 2\n");
    EXPECT(parse(&o, "confirm=9,confirm=65") == 1 && o.confirm == 9);
    EXPECT_TEXT(said, G "confirm=65 is not a whole number from 1 to 64; using 9\n");
    EXPECT(parse(&o, "mode=kill") == 1 && o.mode == MODE_COLLECT);
    EXPECT_TEXT(said, G "mode=kill is not one of off, report, collect, shakedown; using collect\n");
    EXPECT(parse(&o, "sample=0") == 1);
    EXPECT_TEXT(said, G "sample=0 is not a size (bytes, or with K, M, G, T) from 1 to 1T; "
                        "using 512K\n");
    EXPECT(parse(&o, "report_every=90,report_every=5x") == 1);
    EXPECT_TEXT(said, G "report_every=5x is not a time (seconds, or with us, ms, s, m, h, d) from "
                        "0 to 365d; using 90s\n");
    EXPECT(parse(&o, "percent") == 1);
    EXPECT_TEXT(said, G "option 'percent' needs a value; ignored\n");
    EXPECT(parse(&o, "Confirm=3,confirm=4,=5,confirms=6,confir=7") == 4 && o.confirm == 4);
    static const char *const bad[] = {
        "confirm=", "confirm=0", "confirm=-2", "confirm=+2", "confirm=2x", "confirm=- 2",
        "confirm=-",
        "percent=-2", "percent=9223372036854775808", "percent=-9223372036854775808", "mode=",
        "mode=of", "mode=offf", "mode=off report", "mode=,", "report=", "help=2", "percent==3",
    };
    for (size_t i = 0; i < GC_COUNT(bad); i++)
        if (!EXPECT(parse(&o, bad[i]) == 1 && o.confirm == 2 && o.percent == 100))
            printf("    %s: %s", bad[i], said);
}

/* Whatever comes in, a complaint is one printable line. */
static void test_hostile_text(void)
{
    struct options o;
    EXPECT(parse(&o, "a\x01\x1b[2Jb=1") == 1);
    EXPECT_TEXT(said, "libgcmalloc: GCMALLOC: unknown option 'a??[2Jb' ignored\n");
    static char huge[100000];
    memset(huge, 'x', sizeof huge - 1);
    EXPECT(parse(&o, huge) == 1 && strlen(said) < 200);
    memcpy(huge, "report=", 7);
    EXPECT(parse(&o, huge) == 1 && strlen(said) < 300 && strstr(said, "...") != NULL);
    EXPECT_TEXT(o.report, "stderr");
    huge[7 + 255] = '\0';
    EXPECT(parse(&o, huge) == 0 && strlen(o.report) == 255);
    huge[7 + 255] = 'x';
    huge[7 + 256] = '\0';
    EXPECT(parse(&o, huge) == 1);
    options_set_defaults(&o); /* a NUL inside, and no NUL at the end */
    EXPECT(options_parse_text(&o, "report=a\0b,confirm=77", 20, listen_start()) == 1);
    EXPECT_TEXT(listen_end(), G "report=a?b is not a file name of 1 to 255 bytes; using stderr\n");
    EXPECT(o.confirm == 7);
}

static void test_random_text(void)
{
    static const char letters[] = "confirm=mode,report#\n 0129-KMG%";
    struct options o;
    char text[64];
    int null = open("/dev/null", O_WRONLY);
    srand(3);
    options_set_defaults(&o);
    for (int i = 0; i < 200000; i++) {
        size_t length = (size_t)rand() % sizeof text;
        for (size_t k = 0; k < length; k++)
            text[k] = letters[(size_t)rand() % (sizeof letters - 1)];
        options_parse_text(&o, text, length, null);
    }
    EXPECT(o.confirm >= 1 && o.confirm <= 64 && o.mode >= 0 && o.mode <= MODE_COLLECT);
    close(null);
}

/* ---- environment and file ---- */

static void test_env_lookup(void)
{
    char *env[] = {"GCMALLOC_CONF=f", "GCMALLO=x", "XGCMALLOC=y", "GCMALLOC=a=b", "GCMALLOC=2",
                   NULL};
    EXPECT_TEXT(env_lookup(env, "GCMALLOC"), "a=b");
    EXPECT_TEXT(env_lookup(env, "GCMALLOC_CONF"), "f");
    EXPECT(env_lookup(env, "GCMALLOC_") == NULL && env_lookup(NULL, "GCMALLOC") == NULL);
}

static char conf_path[] = "/tmp/gcmalloc-conf-XXXXXX";

static void write_conf(const char *text, size_t length)
{
    int fd = open(conf_path, O_WRONLY | O_TRUNC);
    EXPECT(write(fd, text, length) == (ssize_t)length);
    close(fd);
}

static void parse_env(const char *conf, const char *value)
{
    static char a[512], b[512];
    char *env[] = {"HOME=/", a, b, NULL};
    snprintf(a, sizeof a, "GCMALLOC=%s", value);
    snprintf(b, sizeof b, "GCMALLOC_CONF=%s", conf);
    options_parse(env, listen_start());
    listen_end();
}

static void test_file(void)
{
    int fd = mkstemp(conf_path);
    EXPECT(fd >= 0);
    close(fd);
    const char *text = "# settings\nconfirm=11\npercent = 50, probation=9\nfoo=1\nconfirm=x\n";
    write_conf(text, strlen(text));
    char want[512];
    snprintf(want, sizeof want, "libgcmalloc: %s: unknown option 'foo' ignored\n"
             "libgcmalloc: %s: confirm=x is not a whole number from 1 to 64; using 11\n",
             conf_path, conf_path);
    parse_env(conf_path, "percent=60"); /* the variable wins */
    EXPECT(options.confirm == 11 && options.percent == 60 && options.probation == 9);
    EXPECT_TEXT(said, want);
    parse_env("", "confirm=4"); /* no file; nothing left over from before */
    EXPECT(options.confirm == 4 && options.percent == 100 && said[0] == '\0');
    static char big[65537];
    memset(big, '\n', sizeof big);
    memcpy(big, "confirm=12", 10);
    write_conf(big, 65536);
    parse_env(conf_path, "");
    EXPECT(options.confirm == 12 && said[0] == '\0');
    write_conf(big, 65537);
    parse_env(conf_path, "");
    EXPECT(options.confirm == 2 && lines(said) == 1 && strstr(said, "longer than 64 KiB") != NULL);
    unlink(conf_path);
}

static void test_unreadable_file(void)
{
    parse_env("/nonexistent/gc.conf", "confirm=5");
    EXPECT_TEXT(said, "libgcmalloc: GCMALLOC_CONF: cannot read '/nonexistent/gc.conf' (error 2); "
                      "file ignored\n");
    EXPECT(options.confirm == 5);
    parse_env("/tmp", "");
    EXPECT(lines(said) == 1 && strstr(said, "error 21") != NULL);
    EXPECT(mkfifo(conf_path, 0600) == 0);
    parse_env(conf_path, ""); /* does not hang */
    EXPECT(lines(said) <= 1);
    unlink(conf_path);
    options_parse(NULL, 2);
    EXPECT(options.confirm == 2);
}

static void test_help(void)
{
    parse_env("", "help=1,mode=report,min_heap=96M");
    static const char *const names[] = {
#define OPTION_INT(name, default_value, least, most, help) "\n" #name " ",
#define OPTION_SIZE(name, default_value, least, most, help) "\n" #name " ",
#define OPTION_TIME(name, default_value, least, most, unit, help) "\n" #name " ",
#define OPTION_ENUM(name, default_value, help, ...) "\n" #name " ",
#define OPTION_PATH(name, default_value, help) "\n" #name " ",
#include "sys/options.inc"
    };
    for (size_t i = 0; i < GC_COUNT(names); i++)
        EXPECT(strstr(said, names[i]) != NULL);
    EXPECT(strstr(said, "\nmode       report     collect    off, report, collect, shakedown what ") != NULL);
    EXPECT(strstr(said, "\nmin_heap   96M        32M        0..1T ") != NULL);
    EXPECT(strstr(said, "\nstop_ms    200ms      200ms      1ms..1m ") != NULL);
}

static void has(const char *name, const char *value)
{
    char text[OPTION_PATH_MAX];
    EXPECT(options_get(name, text, sizeof text) == (long)strlen(value));
    EXPECT_TEXT(text, value);
}

static void test_at_run_time(void)
{
    char three[3] = "xx", path[OPTION_PATH_MAX], long_name[OPTION_PATH_MAX];
    options_set_defaults(&options);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    EXPECT(options_set("percent", " 30\t") == OPTION_SET && options.percent == 30);
    EXPECT(options_set("percent", "30x") == OPTION_BAD_VALUE && options.percent == 30);
    EXPECT(options_set("percents", "30") == OPTION_UNKNOWN);
    EXPECT(options_set("", "30") == OPTION_UNKNOWN && options_set("percent", "") == OPTION_BAD_VALUE);
    EXPECT(options_set("limit", "3G") == OPTION_SET);
    EXPECT(options_set("report", long_name) == OPTION_SET);
    has("percent", "30");
    has("limit", "3G");
    has("mode", "collect");
    has("report", long_name); /* whole, where a complaint would cut it */
    EXPECT(options_get("limit", three, 2) == 2);
    EXPECT_TEXT(three, "3");
    EXPECT(options_get("limit", NULL, 0) == 2 && options_get("limits", three, 3) == -1);
    options_text(options.report, path);
    EXPECT_TEXT(path, long_name);
}

UNIT_MAIN(TEST(test_at_run_time), TEST(test_defaults), TEST(test_values), TEST(test_sizes),
          TEST(test_times), TEST(test_blanks_and_comments),
          TEST(test_complaints), TEST(test_hostile_text), TEST(test_random_text),
          TEST(test_env_lookup), TEST(test_file), TEST(test_unreadable_file), TEST(test_help))
