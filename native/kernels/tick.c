// When the parts of a program begin and end: what `meshwork profile` puts around each of them.
#include <stdatomic.h>
#include <time.h>
#include "call.h"

typedef struct {
  int32_t mark, device;
  int64_t ns;
} Tick;

// Room that the host lends while it listens; programs that run at other times leave no trace.
static Tick *_Atomic room;
static atomic_llong used;
static int64_t most;

// `memory` holds `count` ticks, and stays until `mwk_ticks_end`.
MWK_EXPORT void mwk_ticks_begin(void *memory, int64_t count) {
  most = count;
  atomic_store(&used, 0);
  atomic_store(&room, (Tick *)memory);
}

// How many there were: more than there was room for, where some are lost. No program may be running.
MWK_EXPORT int64_t mwk_ticks_end(void) {
  atomic_store(&room, NULL);
  return (int64_t)atomic_load(&used);
}

// The device's number, u32[], and `mark`: twice the number of a part, and one more at its end.
MWK_EXPORT FfiError *mwk_tick(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  Tick *ticks = atomic_load(&room);
  if (ticks == NULL) return NULL;
  if (frame->arguments.count != 1 || frame->attributes.count != 1 || frame->attributes.types[0] != FFI_ATTR_SCALAR) return refuse(frame, "tick takes a device and a mark");
  const FfiBuffer *device = frame->arguments.items[0];
  const FfiScalar *mark = frame->attributes.items[0];
  if (device->dtype != FFI_U32 || mark->dtype != FFI_S32) return refuse(frame, "tick takes a device and a mark");
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const long long i = atomic_fetch_add(&used, 1);
  if (i < most) ticks[i] = (Tick){*(const int32_t *)mark->value, (int32_t)*(const uint32_t *)device->data, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec};
  return NULL;
}
