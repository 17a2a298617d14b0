/* print.h -- formatted output without stdio, errno or allocation.
 *
 * A `struct printer` is a buffer on the caller's stack that flushes to a file descriptor when it
 * is full. The format language is the small part of printf's that the project uses:
 *   %s %.*s %c %d %u %ld %lu %zu %x %lx %p %%, with an optional '-' flag, '0' flag, and width;
 *   and %f / %.Nf for a double.
 * Anything else in a format is an assertion failure, not silence. Callable from signal handlers.
 */
#ifndef GC_PRINT_H
#define GC_PRINT_H

#include "base/base.h"

#include <stdarg.h>

struct printer {
    int fd;          /* -1: keep what fits, drop the rest (a string builder) */
    bool failed;     /* a write returned an error, or text was dropped */
    bool begun;      /* some of it has been written */
    size_t used;
    char text[1024]; /* always NUL-terminated */
};

void printer_start(struct printer *p, int fd);
void printer_vprintf(struct printer *p, const char *format, va_list args);
void printer_printf(struct printer *p, const char *format, ...) GC_PRINTF_LIKE(2, 3);
/* Writes what is buffered, through partial writes and EINTR. Waits a second for who does not read,
 * and then drops it. */
void printer_flush(struct printer *p);
/* The process ends: from now on ten seconds. */
void print_be_patient(void);

/* Is standard error still what it was when the process began? A daemon may have closed it and
 * opened a data file under its number; what is printed then would land in that file. True also if
 * it now is something that is appended to, a terminal, or a pipe. `print_note_stderr` is called at
 * the start. */
void print_note_stderr(void);
bool print_stderr_usable(void);
/* The same, and a descriptor to write to until print_close_stderr; -1: it is not usable. */
int print_open_stderr(void);
void print_close_stderr(int fd);

/* The calling thread has a table of descriptors of its own: its messages go to the program's all
 * the same, where the kernel lets it borrow them. */
void print_borrow_stderr(void);
/* One message to a descriptor of the program, in one write(2) when it fits the buffer. */
void print_fd(int fd, const char *format, ...) GC_PRINTF_LIKE(2, 3);
/* "libgcmalloc: " + message + newline, to standard error. */
void print_error(const char *format, ...) GC_PRINTF_LIKE(1, 2);
/* The same, then abort(): SIGABRT with the default action if the program's handler returns. */
_Noreturn void print_fatal(const char *format, ...) GC_PRINTF_LIKE(1, 2);

#endif
