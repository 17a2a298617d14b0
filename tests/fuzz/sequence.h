/* sequence.h -- what libFuzzer calls, and the driver that replays the corpus calls like it. */
#ifndef FUZZ_SEQUENCE_H
#define FUZZ_SEQUENCE_H

#include <stddef.h>
#include <stdint.h>

/* Does what the bytes say to the allocator, and aborts when an answer is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Held against every invariant after each input, not only now and then. */
void sequence_check_always(void);

#endif
