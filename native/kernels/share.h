// Work cut into pieces, on the threads that XLA computes with: threads of our own beside them would wait for the same cores.
#ifndef MESHWORK_SHARE_H
#define MESHWORK_SHARE_H

#include "../ffi.h"

// How many threads XLA computes with, or as many of them as each device may have; 1 where it does not say.
int64_t mwk_threads(const FfiFrame *frame);

// Does piece(context, i) for every i below `pieces`, in any order, on the thread that asks and on all of XLA's that are idle, and returns when all are done.
void mwk_share(const FfiFrame *frame, int64_t pieces, void (*piece)(void *context, int64_t i), void *context);

#endif
