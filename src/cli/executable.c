/* executable.c -- the file that a program's name stands for.
 *
 * The kernel and the loader decide whether LD_PRELOAD is heeded, and say nothing if it is not. The
 * cases in which it is not are found beforehand: nobody should look for leaks in an empty report.
 */
#include "cli/executable.h"

#include "cli/fault.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum {
    MOST_INTERPRETERS = 4, /* one after the other, as in the kernel */
    HEAD_SIZE = 256,       /* of a script's first line, as in the kernel */
    MOST_SEGMENTS = 512,
};

#define LOADER "ld-linux-x86-64.so.2"

/* ---- where it is ----------------------------------------------------------------------------- */

static bool is_program(const char *path)
{
    struct stat stat_of;
    return stat(path, &stat_of) == 0 && S_ISREG(stat_of.st_mode) && access(path, X_OK) == 0;
}

/* In the directories of PATH. `denied` if something of that name is there but no program. */
static bool search(const char *name, char path[PATH_MAX], bool *denied)
{
    const char *at = getenv("PATH");
    for (at = at != NULL ? at : "/usr/bin:/bin"; at != NULL;) {
        const char *end = strchrnul(at, ':');
        int length = (int)(end - at);
        snprintf(path, PATH_MAX, "%.*s%s%s", length, at, length != 0 ? "/" : "./", name);
        if (is_program(path))
            return true;
        *denied |= access(path, F_OK) == 0;
        at = *end != 0 ? end + 1 : NULL;
    }
    return false;
}

int executable_find(const char *name, char path[PATH_MAX])
{
    bool denied = false, found;
    if (strchr(name, '/') != NULL) {
        snprintf(path, PATH_MAX, "%s", name);
        found = is_program(path);
        denied = !found && access(path, F_OK) == 0;
    } else {
        found = name[0] != 0 && search(name, path, &denied);
    }
    if (found)
        return 0;
    fault(STATUS_OK, denied ? "%s: cannot be executed" : "%s: there is no such program", name);
    return denied ? EXECUTABLE_DENIED : EXECUTABLE_MISSING;
}

/* ---- whether it is fit ----------------------------------------------------------------------- */

/* The loader leaves LD_PRELOAD aside where a program has more rights than who starts it. */
static bool raises_rights(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return false;
    bool user = (stat.st_mode & S_ISUID) != 0 && stat.st_uid != getuid();
    bool group = (stat.st_mode & S_ISGID) != 0 && (stat.st_mode & S_IXGRP) != 0 &&
                 stat.st_gid != getgid();
    bool capabilities =
        geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0;
    return user || group || capabilities;
}

/* Of a dynamically linked program; "" if it has none. */
static void read_loader(int fd, const Elf64_Ehdr *header, char loader[HEAD_SIZE])
{
    Elf64_Phdr segment;
    for (unsigned i = 0; i < header->e_phnum && i < MOST_SEGMENTS; i++) {
        off_t at = (off_t)(header->e_phoff + i * sizeof(segment));
        if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
            break;
        if (segment.p_type == PT_INTERP && segment.p_filesz < HEAD_SIZE &&
            pread(fd, loader, segment.p_filesz, (off_t)segment.p_offset) > 0)
            return;
    }
    loader[0] = 0;
}

static const char *elf_unfit(int fd)
{
    Elf64_Ehdr header = {0};
    char loader[HEAD_SIZE] = "";
    if (pread(fd, &header, sizeof(header), 0) < (ssize_t)sizeof(Elf32_Ehdr))
        return "its ELF header is cut off";
    if (header.e_ident[EI_CLASS] == ELFCLASS32)
        return "it is a 32-bit program";
    if (header.e_machine != EM_X86_64 || header.e_phentsize != sizeof(Elf64_Phdr))
        return "it is for another processor";
    read_loader(fd, &header, loader);
    if (loader[0] == 0)
        return "it is statically linked";
    const char *slash = strrchr(loader, '/');
    if (strcmp(slash != NULL ? slash + 1 : loader, LOADER) != 0)
        return "it uses another C library";
    return NULL;
}

/* The path behind #!, in place. */
static char *interpreter_of(char *head)
{
    char *path = head + 2 + strspn(head + 2, " \t");
    path[strcspn(path, " \t\r\n")] = 0;
    return path;
}

static const char *unfit_at(const char *path, unsigned depth)
{
    char head[HEAD_SIZE + 1] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) /* it can be executed, but not read: the kernel will say more */
        return NULL;
    const char *unfit = NULL;
    ssize_t size = pread(fd, head, HEAD_SIZE, 0);
    bool elf = size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
    bool script = size > 2 && memcmp(head, "#!", 2) == 0;
    if (elf && raises_rights(fd))
        unfit = "it is set-user-id, set-group-id or has capabilities";
    else if (elf)
        unfit = elf_unfit(fd);
    close(fd);
    if (script && depth < MOST_INTERPRETERS)
        return unfit_at(interpreter_of(head), depth + 1);
    return unfit;
}

const char *executable_unfit(const char *path)
{
    return unfit_at(path, 0);
}
