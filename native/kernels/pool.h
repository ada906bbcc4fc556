// Threads of the library: work that is cut into pieces, and done by whoever asked for it and all that are idle.
#ifndef MESHWORK_POOL_H
#define MESHWORK_POOL_H

#include <stdint.h>

// Does piece(context, i) for every i below `pieces`, in any order and on any thread, and returns when all are done.
void mwk_each(int64_t pieces, void (*piece)(void *context, int64_t i), void *context);

#endif
