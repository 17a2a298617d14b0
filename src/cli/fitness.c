/* fitness.c -- whether a program could run with the library at all: it must have a dynamic linker,
 * and be of this machine's kind. */
#include "cli/fitness.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

static bool has_interpreter(int fd, const Elf64_Ehdr *head)
{
    Elf64_Phdr segment;
    for (unsigned i = 0; i < head->e_phnum; i++) {
        off_t at = (off_t)(head->e_phoff + i * sizeof(segment));
        if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
            return true; /* cannot be told */
        if (segment.p_type == PT_INTERP)
            return true;
    }
    return false;
}

static const char *judge(int fd)
{
    Elf64_Ehdr head;
    if (pread(fd, &head, sizeof(head), 0) != sizeof(head) ||
        memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    if (head.e_ident[EI_CLASS] != ELFCLASS64)
        return "of 32 bits";
    if (head.e_machine != EM_X86_64)
        return "of another machine";
    return has_interpreter(fd, &head) ? NULL : "static";
}

const char *fitness_of_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    const char *why = judge(fd);
    close(fd);
    return why;
}
