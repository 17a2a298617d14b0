/* ksm.h -- kernel samepage merging: may pages of this process have been replaced by others? */
#ifndef GC_KSM_H
#define GC_KSM_H

#include "base/base.h"

/* Has the kernel begun to look for pages of ours that it can merge with equal ones? True also if
 * that cannot be known. Opens a file. */
bool ksm_looks_at_us(void);
/* The same of the text of that file. */
bool ksm_looks_by(const char *text);

#endif
