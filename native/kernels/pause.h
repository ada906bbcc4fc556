// What a thread does that waits for another one of its process for some nanoseconds.
#ifndef MESHWORK_PAUSE_H
#define MESHWORK_PAUSE_H

#include <stdatomic.h>

#if defined(__x86_64__)
static inline void pause_briefly(void) { __builtin_ia32_pause(); }
#else
static inline void pause_briefly(void) { atomic_signal_fence(memory_order_seq_cst); }
#endif

#endif
