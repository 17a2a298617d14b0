/* privileges.c -- a program that gives up rights, files, or resources, and goes on.
 *
 *     privileges KIND
 *
 * The change comes when the heap is in use and has been loaded once, and, where the kernel allows
 * it, while another thread allocates. Afterwards the heap grows and shrinks, new threads come, and
 * blocks whose only references are in places of several kinds must be as they were.
 *
 *   undumpable    PR_SET_DUMPABLE 0: /proc/self belongs to root
 *   drop          from root to nobody; elsewhere, all capabilities of a user namespace of its own
 *   chroot        to an empty directory, with no /proc
 *   read_only     everything is mounted read-only
 *   no_proc       /proc is covered by something else
 *   address_space RLIMIT_AS: somewhat more than the process has
 *   no_files, few_files, full_table
 *                 RLIMIT_NOFILE of 0, of 10, and of 10 with all of them in use */
#include "kept.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { NOBODY = 65534, ROOM = 600 << 20 };

/* ---- rights ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

/* Mounts of its own; who is not root becomes that in a user namespace of its own. */
static void own_namespaces(void)
{
    char map[64];
    uid_t user = geteuid();
    gid_t group = getegid();
    CHECK(unshare(CLONE_NEWNS | (user == 0 ? 0 : CLONE_NEWUSER)) == 0);
    if (user != 0) {
        snprintf(map, sizeof map, "0 %u 1\n", (unsigned)user);
        write_file("/proc/self/uid_map", map);
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1\n", (unsigned)group);
        write_file("/proc/self/gid_map", map);
    }
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static void change_undumpable(void)
{
    CHECK(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

/* libc's functions, which tell all threads. */
static void drop_user(void)
{
    CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    CHECK(getuid() == NOBODY && geteuid() == NOBODY && getegid() == NOBODY);
    CHECK(setuid(0) == -1 && errno == EPERM);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    CHECK(fd == -1 && errno == EACCES);
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
    CHECK(syscall(SYS_capset, &header, none) == 0);
    CHECK(chroot("/") == -1 && errno == EPERM);
}

static bool was_root;

static void change_drop(void)
{
    if (was_root)
        drop_user();
    else
        drop_capabilities();
}

static void change_chroot(void)
{
    char path[] = "privileges-XXXXXX";
    CHECK(mkdtemp(path) != NULL && chroot(path) == 0 && chdir("/") == 0);
    CHECK(access("/proc", F_OK) == -1 && errno == ENOENT);
}

static void change_read_only(void)
{
    CHECK(mount("none", "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0);
    CHECK(mkdir("/read-only", 0700) == -1 && errno == EROFS);
}

static void change_no_proc(void)
{
    CHECK(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
    CHECK(access("/proc/self", F_OK) == -1 && errno == ENOENT);
}

/* ---- resources ---- */

static void limit(int resource, rlim_t value)
{
    struct rlimit both = { value, value };
    CHECK(setrlimit(resource, &both) == 0);
}

/* What the process has, and ROOM. */
static void change_address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    CHECK(file != NULL && fscanf(file, "%lu", &pages) == 1 && fclose(file) == 0);
    limit(RLIMIT_AS, pages * (unsigned long)sysconf(_SC_PAGESIZE) + ROOM);
    CHECK(mmap(NULL, (size_t)2 * ROOM, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
          MAP_FAILED);
}

static void change_no_files(void)
{
    limit(RLIMIT_NOFILE, 0);
    CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == -1 && errno == EMFILE);
}

static void change_few_files(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    limit(RLIMIT_NOFILE, 10);
    CHECK(fd >= 3 && fd < 10 && close(fd) == 0);
}

static void change_full_table(void)
{
    limit(RLIMIT_NOFILE, 10);
    for (int fd = 0; fd >= 0 && fd < 9;)
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(open("/dev/null", O_RDONLY | O_CLOEXEC) == -1 && errno == EMFILE);
}

/* ---- the program ---- */

static void *held_in_bss[KEPT];
static void **held_in_block;
static atomic_bool over;

static void *churn_thread(void *unused)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    while (!atomic_load(&over))
        pressure(200000, 0);
    kept_check((void **)place);
    return unused;
}

static void *held_until_end(void *unused)
{
    void *volatile place[KEPT];
    kept_fill((void **)place);
    pressure(5 << 20, 1);
    kept_check((void **)place);
    for (int i = 0; i < KEPT; i++)
        free(place[i]);
    return unused;
}

static void use_heap(void)
{
    pthread_t thread;
    load();
    for (int i = 0; i < 20; i++) {
        char *block = block_make(1 << 20, (unsigned)i);
        block = realloc(block, 3 << 20);
        CHECK(block != NULL && pattern_holds(block, 1 << 20, (unsigned)i));
        free(block);
        CHECK(pthread_create(&thread, NULL, held_until_end, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static void check_all(void)
{
    kept_check(held_in_bss);
    kept_check(held_in_block);
}

static void fill_all(void)
{
    held_in_block = block_make(KEPT * sizeof(void *), 0);
    kept_fill_and_forget(held_in_bss);
    kept_fill_and_forget(held_in_block);
}

static void change_and_go_on(void (*change)(void))
{
    void *volatile place[KEPT];
    pthread_t thread;
    fill_all();
    kept_fill((void **)place);
    CHECK(pthread_create(&thread, NULL, churn_thread, NULL) == 0);
    use_heap();
    change();
    use_heap();
    atomic_store(&over, true);
    CHECK(pthread_join(thread, NULL) == 0);
    check_all();
    use_heap();
    check_all();
    kept_check((void **)place);
}

/* Those that need namespaces have them first: who has several threads gets none of users. */
#define CHANGE(name, before) \
    static void kind_##name(void) \
    { \
        was_root = geteuid() == 0; \
        before; \
        change_and_go_on(change_##name); \
    }

CHANGE(undumpable, (void)0)
CHANGE(drop, if (!was_root) own_namespaces())
CHANGE(chroot, own_namespaces())
CHANGE(read_only, own_namespaces())
CHANGE(no_proc, own_namespaces())
CHANGE(address_space, (void)0)
CHANGE(no_files, (void)0)
CHANGE(few_files, (void)0)
CHANGE(full_table, (void)0)

/* ---- */

static const struct kind kinds[] = {
    KIND(undumpable), KIND(drop), KIND(chroot), KIND(read_only), KIND(no_proc),
    KIND(address_space), KIND(no_files), KIND(few_files),
    KIND(full_table),
};

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    run_kind(kinds, sizeof kinds / sizeof kinds[0], argv[1]);
}
