/* instant.h -- times in nanoseconds. */
#ifndef GC_CLI_INSTANT_H
#define GC_CLI_INSTANT_H

#include <stdint.h>

#define NS_PER_SECOND ((uint64_t)1000000000)
#define NS_PER_MS ((uint64_t)1000000)

/* Of a clock that only goes forward; for deadlines. */
uint64_t instant_now(void);
/* Since 1970. */
uint64_t instant_unix(void);

#endif
