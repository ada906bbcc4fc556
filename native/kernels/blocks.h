// Large blocks of memory that are kept when they are freed, for whoever takes as much again.
#ifndef MESHWORK_BLOCKS_H
#define MESHWORK_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

// Less than this is left to the C library: it keeps what small blocks lie in.
enum { LEAST_BLOCK = 1 << 20 };

// Whether there is room for blocks: called before all others, by one thread at a time.
bool blocks_begin(void);
// At least `size` bytes at a multiple of 64, with whatever they hold; NULL where there is no room.
void *block_take(size_t size);
// Whether it is one of these blocks.
bool is_block(const void *at);
// Bytes from there on that its owner may use.
size_t block_size(const void *at);
void block_free(void *at);

#endif
