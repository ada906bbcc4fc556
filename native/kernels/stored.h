// Numbers as they are stored, f32 or a half of two kinds, and as they are computed with.
#ifndef MESHWORK_STORED_H
#define MESHWORK_STORED_H

#include "../ffi.h"
#include "lanes.h"

static inline __attribute__((always_inline)) int64_t bytes_of(int dtype) { return dtype == FFI_F32 ? 4 : 2; }
static inline __attribute__((always_inline)) Vec load_stored(const char *p, int dtype) { return dtype == FFI_F32 ? load_f32(p) : dtype == FFI_F16 ? load_f16(p) : load_bf16(p); }
static inline void store_f32(float *p, Vec v) { *(Loose *)(void *)p = (Loose)v; }

// `count` numbers that lie together, as f32. What is written behind them, up to a whole vector, is zero.
static inline void widen(const char *from, int64_t count, int dtype, float *into) {
  const int64_t whole = count / LANES * LANES, bytes = bytes_of(dtype);
  for (int64_t i = 0; i < whole; i += LANES) store_f32(into + i, load_stored(from + i * bytes, dtype));
  if (whole == count) return;
  char rest[4 * LANES] = {0};
  memcpy(rest, from + whole * bytes, (size_t)((count - whole) * bytes));
  store_f32(into + whole, load_stored(rest, dtype));
}

#endif
