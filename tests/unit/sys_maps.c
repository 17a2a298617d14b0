/* sys_maps.c -- lines as the kernel writes them, and mappings that really are what they seem. */
#include "sys/maps.h"

#include "unit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

static char line_buffer[8192];

static bool parse(const char *line, struct mapping *m)
{
    snprintf(line_buffer, sizeof line_buffer, "%s", line);
    return maps_parse_line(line_buffer, m);
}

/* ---- lines ---- */

static void test_fields(void)
{
    struct mapping m;
    EXPECT(parse("55d0c8a00000-55d0c8a21000 rw-p 0001f000 fe:01 1835058                    "
                 "/usr/bin/a b  c (deleted)", &m));
    EXPECT(m.start == 0x55d0c8a00000 && m.end == 0x55d0c8a21000 && m.offset == 0x1f000);
    EXPECT(m.readable && m.writable && !m.executable && !m.shared && m.inode == 1835058);
    EXPECT(m.kind == MAP_KIND_FILE_PRIVATE);
    EXPECT_TEXT(m.name, "/usr/bin/a b  c (deleted)");
    EXPECT(parse("7f0000000000-7f0000001000 ---p 00000000 00:00 0 ", &m));
    EXPECT(!m.readable && !m.writable && m.kind == MAP_KIND_ANONYMOUS && m.name[0] == '\0');
    EXPECT(parse("7f0000000000-7f0000001000 --xs 00000000 00:00 0", &m));
    EXPECT(m.executable && m.shared && m.kind == MAP_KIND_SHARED_MEMORY);
    EXPECT(parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0       [vsyscall]", &m));
    EXPECT(m.start == 0xffffffffff600000 && m.kind == MAP_KIND_DEVICE);
    EXPECT(parse("1000-2000 r--p ABCdef 00:00 18446744073709551615 /x\\012y", &m));
    EXPECT(m.offset == 0xabcdef && m.inode == UINT64_MAX);
    EXPECT_TEXT(m.name, "/x\\012y");
}

static void test_malformed(void)
{
    static const char *const bad[] = {
        "", " ", "x", "1000", "1000-", "1000-2000", "1000-2000 ", "1000-2000 rwxp",
        "1000-2000 rwx 0 0:0 0", "1000-2000 rwxq 0 0:0 0", "1000-2000 wrxp 0 0:0 0",
        "1000-2000 rwxp g 0:0 0", "1000-2000 rwxp 0 00 0", "1000-2000 rwxp 0 0:0",
        "-2000 rwxp 0 0:0 0",
        "1000-2000 rwxp 0 0:0 ", "1000-2000 rwxp 0 0:0 0x", "2000-1000 rwxp 0 0:0 0",
        "1000-1000 rwxp 0 0:0 0", "1000 2000 rwxp 0 0:0 0", "11111111111111111-2 rwxp 0 0:0 0",
        "1000-2000 rwxp  0 0:0 0", "1000-2000  rwxp 0 0:0 0", "1000-2000 rw",
    };
    struct mapping m;
    for (size_t i = 0; i < GC_COUNT(bad); i++)
        if (!EXPECT(!parse(bad[i], &m)))
            printf("    %s\n", bad[i]);
}

static void test_kinds(void)
{
    static const struct {
        char share;
        unsigned inode;
        const char *name;
        enum map_kind kind;
    } cases[] = {
        {'p', 0, "", MAP_KIND_ANONYMOUS},
        {'p', 0, "[heap]", MAP_KIND_ANONYMOUS},
        {'p', 0, "[stack]", MAP_KIND_ANONYMOUS},
        {'p', 0, "[stack:77]", MAP_KIND_ANONYMOUS},
        {'p', 0, "[anon:a pool [vdso]]", MAP_KIND_ANONYMOUS},
        {'p', 5, "/dev/zero", MAP_KIND_ANONYMOUS},
        {'p', 5, "/anon_hugepage (deleted)", MAP_KIND_ANONYMOUS},
        {'p', 0, "[vdso]", MAP_KIND_DEVICE},
        {'p', 0, "[vvar]", MAP_KIND_DEVICE},
        {'p', 0, "[vvar_vclock]", MAP_KIND_DEVICE},
        {'p', 0, "[vsyscall]", MAP_KIND_DEVICE},
        {'p', 5, "/dev/dri/card0", MAP_KIND_DEVICE},
        {'s', 5, "/dev/nvidia0", MAP_KIND_DEVICE},
        {'p', 5, "/usr/lib/libc.so.6", MAP_KIND_FILE_PRIVATE},
        {'p', 5, "/usr/lib/[vdso] (deleted)", MAP_KIND_FILE_PRIVATE},
        {'p', 5, "/dev/shm/x", MAP_KIND_FILE_PRIVATE},
        {'p', 5, "/memfd:x (deleted)", MAP_KIND_FILE_PRIVATE},
        {'p', 5, "/device", MAP_KIND_FILE_PRIVATE},
        {'s', 5, "/usr/share/locale", MAP_KIND_SHARED_FILE},
        {'s', 5, "/home/dev/shm/x", MAP_KIND_SHARED_FILE},
        {'s', 5, "anon_inode:[perf_event]", MAP_KIND_SHARED_FILE},
        {'s', 5, "/dev/zero (deleted)", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/memfd:a name (deleted)", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/dev/shm/sem.x", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/SYSV0000002a (deleted)", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/anon_hugepage (deleted)", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/dev/hugepages/rte", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "[anon_shmem:pool]", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "anon_inode:[io_uring]", MAP_KIND_SHARED_MEMORY},
        {'s', 5, "/[aio] (deleted)", MAP_KIND_SHARED_MEMORY},
    };
    for (size_t i = 0; i < GC_COUNT(cases); i++) {
        char line[256];
        struct mapping m;
        snprintf(line, sizeof line, "1000-2000 rw-%c 00000000 00:01 %u        %s", cases[i].share,
                 cases[i].inode, cases[i].name);
        if (!EXPECT(parse(line, &m) && m.kind == cases[i].kind))
            printf("    %s\n", line);
    }
}

/* ---- the real file ---- */

static char buffer[64 * 1024];

/* The mapping that holds `address`; its name is copied to `name`. */
static bool find(const void *address, struct mapping *out, char *name)
{
    struct maps_reader r;
    bool found = false;
    EXPECT(maps_open(&r, buffer, sizeof buffer));
    while (!found && maps_next(&r, out))
        found = out->start <= (uintptr_t)address && (uintptr_t)address < out->end;
    EXPECT(!r.failed);
    if (found)
        snprintf(name, 512, "%s", out->name);
    maps_close(&r);
    return found;
}

static int initialised = 42;

static void expect_kind(const void *address, enum map_kind kind, const char *name_part)
{
    struct mapping m;
    char name[512];
    if (!EXPECT(address != MAP_FAILED && address != NULL) || !EXPECT(find(address, &m, name)))
        return;
    if (!EXPECT(m.kind == kind && strstr(name, name_part) != NULL))
        printf("    kind %d, name %s, wanted %s\n", (int)m.kind, name, name_part);
}

static void test_real_private(void)
{
    int local = 0, fd = open("/dev/zero", O_RDWR);
    const size_t size = 4096;
    expect_kind(&initialised, MAP_KIND_FILE_PRIVATE, "sys_maps");
    expect_kind((void *)(uintptr_t)test_real_private, MAP_KIND_FILE_PRIVATE, "sys_maps");
    expect_kind(&local, MAP_KIND_ANONYMOUS, "[stack]");
    expect_kind(mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_KIND_ANONYMOUS,
                "");
    expect_kind(mmap(NULL, size, PROT_WRITE, MAP_PRIVATE, fd, 0), MAP_KIND_ANONYMOUS, "/dev/zero");
    close(fd);
}

static void test_real_shared(void)
{
    const size_t size = 4096;
    const int rw = PROT_READ | PROT_WRITE;
    char path[] = "/tmp/gcm maps\nXXXXXX";
    int fd = open("/dev/zero", O_RDWR), memory = memfd_create("gcm test", 0), file = mkstemp(path);
    expect_kind(mmap(NULL, size, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0), MAP_KIND_SHARED_MEMORY,
                "/dev/zero (deleted)");
    expect_kind(mmap(NULL, size, rw, MAP_SHARED, fd, 0), MAP_KIND_SHARED_MEMORY, "/dev/zero");
    EXPECT(ftruncate(memory, 4096) == 0 && ftruncate(file, 4096) == 0);
    expect_kind(mmap(NULL, size, rw, MAP_SHARED, memory, 0), MAP_KIND_SHARED_MEMORY,
                "/memfd:gcm test (deleted)");
    expect_kind(mmap(NULL, size, rw, MAP_SHARED, file, 0), MAP_KIND_SHARED_FILE,
                "/tmp/gcm maps\\012");
    unlink(path);
    expect_kind(mmap(NULL, size, rw, MAP_PRIVATE, file, 0), MAP_KIND_FILE_PRIVATE, " (deleted)");
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    if (id >= 0) {
        expect_kind(shmat(id, NULL, 0), MAP_KIND_SHARED_MEMORY, "/SYSV");
        shmctl(id, IPC_RMID, NULL);
    }
    int shm = open("/dev/shm/gcm-test", O_RDWR | O_CREAT, 0600);
    if (shm >= 0 && ftruncate(shm, 4096) == 0) {
        expect_kind(mmap(NULL, size, rw, MAP_SHARED, shm, 0), MAP_KIND_SHARED_MEMORY,
                    "/dev/shm/gcm-test");
        unlink("/dev/shm/gcm-test");
    }
    close(shm);
    close(fd);
    close(memory);
    close(file);
}

/* Every line that fgets and sscanf see, we see: with the smallest buffer, and 12,000 mappings. */
static void test_many(void)
{
    enum { PAGES = 24000 };
    static char small[16 * 1024];
    char *area = mmap(NULL, (size_t)PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(area != MAP_FAILED);
    for (size_t i = 0; i < PAGES; i += 2)
        mprotect(area + i * 4096, 4096, PROT_READ);
    FILE *file = fopen("/proc/self/maps", "r");
    static char line[8192];
    EXPECT(file != NULL && fgets(line, sizeof line, file) != NULL); /* stdio has its memory now */
    rewind(file);
    struct maps_reader r;
    struct mapping m;
    size_t count = 0;
    EXPECT(maps_open(&r, small, sizeof small));
    while (maps_next(&r, &m)) {
        unsigned long start = 0, end = 0;
        char perms[5] = "";
        if (!EXPECT(fgets(line, sizeof line, file) != NULL) ||
            !EXPECT(sscanf(line, "%lx-%lx %4s", &start, &end, perms) == 3) ||
            !EXPECT(m.start == start && m.end == end && m.readable == (perms[0] == 'r')))
            break;
        count++;
    }
    EXPECT(!r.failed && count > PAGES - 10 && fgets(line, sizeof line, file) == NULL);
    EXPECT(!maps_next(&r, &m) && !r.failed); /* the end stays the end */
    maps_close(&r);
    fclose(file);
    munmap(area, (size_t)PAGES * 4096);
}

/* ---- a file that comes in pieces, or breaks off ---- */

static bool read_text(const char *text, size_t piece, size_t *count, struct maps_reader *r)
{
    static char small[16 * 1024];
    int fds[2];
    struct mapping m;
    EXPECT(pipe2(fds, O_NONBLOCK) == 0);
    fcntl(fds[0], F_SETFL, 0);
    *r = (struct maps_reader){.fd = fds[0], .buffer = small, .capacity = sizeof small};
    *count = 0;
    size_t length = strlen(text), sent = 0;
    for (; sent < length && sent < 60000; sent += piece) { /* fits the pipe */
        size_t part = length - sent < piece ? length - sent : piece;
        if (write(fds[1], text + sent, part) != (ssize_t)part)
            break;
    }
    close(fds[1]);
    while (maps_next(r, &m))
        ++*count;
    maps_close(r);
    return !r->failed;
}

static void test_pieces(void)
{
    static char text[60000];
    struct maps_reader r;
    size_t count, length = 0;
    while (length < 50000)
        length += (size_t)snprintf(text + length, sizeof text - length,
                                   "%zx000-%zx000 rw-p 0 0:0 0 /%0*d\n", length + 1, length + 2,
                                   (int)(length % 3000) + 1, 1);
    size_t lines = 0;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    EXPECT(read_text(text, 1000, &count, &r) && count == lines);
    text[length - 1] = '\0'; /* the last line breaks off */
    EXPECT(!read_text(text, 1000, &count, &r) && count == lines - 1);
    EXPECT(read_text("", 1, &count, &r) && count == 0);
    EXPECT(!read_text("1000-2000 rw-p 0 0:0 0\nnonsense\n3-4 rw-p 0 0:0 0\n", 99, &count, &r));
    EXPECT(count == 1);
    memset(text, '1', 20000); /* a line longer than the buffer */
    text[20000] = '\0';
    EXPECT(!read_text(text, 1000, &count, &r) && count == 0);
}

static void test_close_twice(void)
{
    struct maps_reader r;
    EXPECT(maps_open(&r, buffer, sizeof buffer));
    maps_close(&r);
    maps_close(&r);
    EXPECT(r.fd == -1);
}

/* Not a pass or fail: parsing must cost little beside the kernel's printing of the text. */
static void test_speed(void)
{
    const char *text = "7f2a41c00000-7f2a41c21000 rw-p 0001f000 fe:01 1835058 /usr/lib/libx.so.1";
    struct timespec from, to;
    struct mapping m;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 100000; i++) {
        memcpy(line_buffer, text, strlen(text) + 1);
        if (!maps_parse_line(line_buffer, &m) && !EXPECT(!"parsed"))
            break;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("      %.0f ns a line\n", ns / 100000);
}

UNIT_MAIN(TEST(test_fields), TEST(test_malformed), TEST(test_kinds), TEST(test_real_private),
          TEST(test_real_shared), TEST(test_many), TEST(test_pieces), TEST(test_close_twice),
          TEST(test_speed))
