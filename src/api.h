/* api.h -- what the files behind gcmalloc.h have in common. */
#ifndef GC_API_H
#define GC_API_H

#include "base/base.h"

#include <errno.h>

/* How a function of gcmalloc.h says that it has failed. */
GC_INLINE int api_fail(int error)
{
    errno = error;
    return -1;
}

#endif
