/* notice.h -- a text about one use of one block, written where it happens.
 *
 * Thread safety: any thread, in handlers of a fault too; one text at a time. */
#ifndef GC_NOTICE_H
#define GC_NOTICE_H

#include "base/base.h"

struct printer;

/* Prints the text. The caller's stack, innermost first, begins with `pc` if that is known. */
typedef void notice_fn(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data);

/* Gets the stack that texts are made on; else they are made on the caller's. */
void notice_start(void);
/* Writes to standard error what say() prints, if anybody reads there. `pc`: of the instruction that
 * faulted, whose handler this is; or 0. */
void notice_give(uintptr_t pc, notice_fn *say, const void *data);
/* The heading and the stack of that number, or what stands for it. */
void notice_print_stack(struct printer *out, const char *heading, uint32_t stack);
/* In the child of fork. */
void notice_after_fork(void);

#endif
