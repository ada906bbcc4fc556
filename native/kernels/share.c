// Pieces of one call on XLA's own threads. Whoever asks does what nobody else does, so that it waits for nothing but pieces that are being done.
#include "await.h"
#include "share.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct {
  void (*piece)(void *, int64_t);
  void *context;
  int64_t pieces;
  atomic_llong next, done;
  atomic_int users; // who may still look at it: the last one frees it, which may be a task that came too late
} Shared;

static void leave(Shared *s) {
  if (atomic_fetch_sub(&s->users, 1) == 1) free(s);
}

static void some(Shared *s) {
  for (long long i; (i = atomic_fetch_add(&s->next, 1)) < s->pieces;) {
    s->piece(s->context, i);
    if (atomic_fetch_add(&s->done, 1) + 1 == s->pieces) mwk_ended();
  }
}

static int all_done(const void *of) {
  const Shared *s = of;
  return atomic_load(&s->done) == s->pieces;
}

static void task(void *data) {
  some(data);
  leave(data);
}

// XLA's answer: whether it was no error, which is freed.
static int went(const FfiApi *api, FfiError *error) {
  if (error == NULL) return 1;
  FfiDestroyArgs args = {FFI_SIZE(FfiDestroyArgs, error), NULL, error};
  api->destroy_error(&args);
  return 0;
}

// Devices of a process have XLA's threads together, and each one of its own beside them: where they are as many as the cores, one that waits for another's piece turns on a core that the piece is waiting for.
static atomic_int most = INT_MAX;
__attribute__((visibility("default"))) void mwk_sharing(int threads) { atomic_store(&most, threads < 1 ? 1 : threads); }

int64_t mwk_threads(const FfiFrame *frame) {
  const FfiApi *api = frame->api;
  // An older plugin has no such functions.
  if (api->size < FFI_SIZE(FfiApi, threads) || api->schedule == NULL || api->threads == NULL) return 1;
  int64_t count = 1;
  FfiThreadsArgs args = {FFI_SIZE(FfiThreadsArgs, threads), NULL, frame->context, &count};
  if (!went(api, api->threads(&args)) || count < 1) return 1;
  const int64_t fair = atomic_load(&most);
  return count < fair ? count : fair;
}

void mwk_share(const FfiFrame *frame, int64_t pieces, void (*piece)(void *, int64_t), void *context) {
  const int64_t threads = pieces > 1 ? mwk_threads(frame) : 1;
  Shared *s = threads > 1 ? malloc(sizeof *s) : NULL;
  if (s == NULL) {
    for (int64_t i = 0; i < pieces; i++) piece(context, i);
    return;
  }
  const int helpers = (int)(threads < pieces ? threads : pieces) - 1;
  *s = (Shared){.piece = piece, .context = context, .pieces = pieces};
  atomic_store(&s->users, helpers + 1);
  for (int i = 0; i < helpers; i++) {
    FfiScheduleArgs args = {FFI_SIZE(FfiScheduleArgs, data), NULL, frame->context, task, s};
    if (!went(frame->api, frame->api->schedule(&args))) leave(s);
  }
  some(s);
  mwk_await(all_done, s);
  leave(s);
}
