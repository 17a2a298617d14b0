/* shakedown.c -- the text about one block that was judged. */
#include "watch/shakedown.h"

#include "sys/print.h"
#include "watch/leak_report.h"
#include "watch/notice.h"

struct touched {
    const struct block *block;
    const struct withheld_access *access;
};

static void print_allocation(struct printer *out, uint32_t stack)
{
    if (stack == 0)
        printer_printf(out, "  its allocation's stack was not recorded (GCMALLOC=stacks=all)\n");
    else
        notice_print_stack(out, "  allocated from:", stack);
}

static void say(struct printer *out, const uintptr_t *pcs, unsigned depth, const void *data)
{
    static const char *const done[] = {
        [TOUCH_READ] = "reads from",
        [TOUCH_WRITE] = "writes to",
        [TOUCH_FREE] = "frees, or resizes,",
        [TOUCH_CALL] = "gives the kernel",
    };
    const struct touched *t = data;
    printer_printf(out,
                   "libgcmalloc: shakedown: the program %s a block to which no pointer was found: "
                   "%zu bytes at %p, byte %lu\n",
                   done[t->access->how], block_requested(t->block), (void *)t->block->start,
                   t->access->address - t->block->start);
    leak_report_print_stack(out, pcs, depth, NULL);
    print_allocation(out, block_stack(t->block));
    printer_printf(out, "  The block is as it was, and the program goes on.\n");
}

void shakedown_touched(const struct block *block, const struct withheld_access *access)
{
    struct touched touched = {block, access};
    notice_give(access->pc, say, &touched);
}
