// Large blocks of memory that are kept when they are freed. A program takes its temporaries with every run and frees them after it; the C library gives what is larger than 64 MiB back to the system at once, at
// least in all its heaps but the first, and the next run's pages are cleared and mapped anew. Here a block that is freed stays as it is for one of nearly its size. What is held, in use or not, is not
// much more than what was in use at its most lately: beyond that those go that nobody has wanted for longest.
#define _GNU_SOURCE
#include "blocks.h"
#include "call.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

// A whole number of these is a block. Its first bytes lie at another place of a page than its neighbours': loops that read several at once would find them all in the same places of the cache.
enum { UNIT = 1 << 16, LINE = 64, SHIFTS = 31 };
// So many blocks taken are what "lately" means, and this part of what was in use then may be held beyond it.
enum { WINDOW = 1024, SLACK = 8 };
// Bytes whose pages take a millisecond and more to be cleared, and are waited for as long; so many milliseconds at most.
enum { MILLISECOND = 1 << 25, MOST_MS = 999 };

// Pages of a block: in use, freed and kept as they are, or given back and free for any size.
typedef struct Block {
  char *at;
  size_t size;
  bool came_back; // was freed before
  struct Block *older, *newer; // of its list
} Block;
// By when they came there, the newest first.
typedef struct { Block *newest, *oldest; } List;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t freed; // by the clock that nobody sets
static char *base, *top, *end;
static List used, kept, gone;
static unsigned shift, taken;
static size_t live, held, most_now, most_before, fresh;

static void join(List *list, Block *b) {
  b->newer = NULL;
  b->older = list->newest;
  if (b->older != NULL) b->older->newer = b;
  list->newest = b;
  if (list->oldest == NULL) list->oldest = b;
}
static void leave(List *list, Block *b) {
  if (b->newer != NULL) b->newer->older = b->older; else list->newest = b->older;
  if (b->older != NULL) b->older->newer = b->newer; else list->oldest = b->newer;
}

// The least of a list that is large enough, and no larger than `most`.
static Block *fitting(const List *list, size_t least, size_t most) {
  Block *best = NULL;
  for (Block *b = list->newest; b != NULL; b = b->older) if (b->size >= least && b->size <= most && (best == NULL || b->size < best->size)) best = b;
  return best;
}

// The least that is kept and large enough, and not much larger.
static Block *kept_for(size_t size) { return fitting(&kept, size, size + size / 8); }

// The same, waited for where one is in use that comes back again and again, or the only one of its size, which may be of that kind: a run's temporaries are freed a moment after its results are there, when the
// next may have begun.
static Block *awaited(size_t size) {
  Block *b = kept_for(size);
  if (b != NULL || size < MILLISECOND) return b;
  int like = 0, back = 0;
  for (const Block *u = used.newest; u != NULL; u = u->older) if (u->size >= size && u->size <= size + size / 8) {
    like++;
    back += u->came_back;
  }
  if (like != 1 && back == 0) return NULL;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long)lesser((int64_t)(size / MILLISECOND), MOST_MS) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  while ((b = kept_for(size)) == NULL && pthread_cond_timedwait(&freed, &lock, &until) == 0);
  return b;
}

// Pages that nobody holds: of what was given back, or such as were never used.
static Block *pages(size_t size) {
  Block *b = fitting(&gone, size, SIZE_MAX);
  if (b == NULL) {
    if (size > (size_t)(end - top) || (b = malloc(sizeof *b)) == NULL) return NULL;
    *b = (Block){.at = top, .size = size};
    top += size;
    return b;
  }
  Block *rest = b->size > size ? malloc(sizeof *rest) : NULL;
  leave(&gone, b);
  b->came_back = false;
  if (rest == NULL) return b;
  *rest = (Block){.at = b->at + size, .size = b->size - size};
  b->size = size;
  join(&gone, rest);
  return b;
}

// Gives pages back, and joins them with those beside them.
static void give_back(Block *b) {
  madvise(b->at, b->size, MADV_DONTNEED);
  for (Block *other = gone.newest, *next; other != NULL; other = next) {
    next = other->older;
    if (other->at + other->size != b->at && b->at + b->size != other->at) continue;
    if (other->at < b->at) b->at = other->at;
    b->size += other->size;
    leave(&gone, other);
    free(other);
  }
  join(&gone, b);
}

bool blocks_begin(void) {
  if (base != NULL) return true;
  // Addresses are not memory: there are enough of them that what is given back never has to be moved together.
  const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE), room = 16 * memory;
  char *at = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return false;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&freed, &attributes);
  pthread_condattr_destroy(&attributes);
  madvise(at, room, MADV_HUGEPAGE);
  base = top = at;
  end = at + room;
  return true;
}

bool is_block(const void *at) { return (const char *)at >= base && (const char *)at < end; }

// Where its owner's bytes begin; before them stands whose they are.
static Block **header(const void *at) { return (Block **)((uintptr_t)at - sizeof(Block *)); }
size_t block_size(const void *at) {
  const Block *b = *header(at);
  return (size_t)(b->at + b->size - (const char *)at);
}

void *block_take(size_t size) {
  if (size > (size_t)(end - base)) return NULL;
  pthread_mutex_lock(&lock);
  const size_t before = LINE * (size_t)(1 + shift++ % SHIFTS);
  // The same for all of a size, wherever they begin: else one that was freed would not do for the next.
  const size_t whole = (size + LINE * SHIFTS + UNIT - 1) / UNIT * UNIT;
  Block *b = awaited(whole);
  if (b != NULL) leave(&kept, b);
  else if ((b = pages(whole)) != NULL) {
    held += b->size;
    fresh++;
  }
  if (b != NULL) {
    join(&used, b);
    live += b->size;
    if (++taken % WINDOW == 0) {
      most_before = most_now;
      most_now = 0;
    }
    if (live > most_now) most_now = live;
    const size_t most = most_now > most_before ? most_now : most_before;
    while (kept.oldest != NULL && held > most + most / SLACK) {
      Block *old = kept.oldest;
      leave(&kept, old);
      held -= old->size;
      give_back(old);
    }
  }
  pthread_mutex_unlock(&lock);
  if (b == NULL) return NULL;
  char *at = b->at + before;
  *header(at) = b;
  return at;
}

void block_free(void *at) {
  Block *b = *header(at);
  pthread_mutex_lock(&lock);
  live -= b->size;
  leave(&used, b);
  b->came_back = true;
  join(&kept, b);
  pthread_cond_broadcast(&freed);
  pthread_mutex_unlock(&lock);
}

// For tests.
MWK_EXPORT uint64_t mwk_block_take(uint64_t size) { return (uint64_t)(uintptr_t)block_take(size); }
MWK_EXPORT uint64_t mwk_block_size(uint64_t at) { return block_size((void *)(uintptr_t)at); }
MWK_EXPORT void mwk_block_free(uint64_t at) { block_free((void *)(uintptr_t)at); }

// Bytes in use, bytes held, and how many blocks were made of pages that nobody held.
MWK_EXPORT void mwk_blocks(int64_t *told) {
  pthread_mutex_lock(&lock);
  told[0] = (int64_t)live;
  told[1] = (int64_t)held;
  told[2] = (int64_t)fresh;
  pthread_mutex_unlock(&lock);
}
