// Numbers as they are stored, f32 or a half of two kinds, and as they are computed with.
#ifndef MESHWORK_STORED_H
#define MESHWORK_STORED_H

#include "../ffi.h"
#include "lanes.h"

static inline __attribute__((always_inline)) int64_t bytes_of(int dtype) { return dtype == FFI_F32 ? 4 : 2; }
static inline __attribute__((always_inline)) Vec load_stored(const char *p, int dtype) { return dtype == FFI_F32 ? load_f32(p) : dtype == FFI_F16 ? load_f16(p) : load_bf16(p); }

// `count` numbers that lie together, as f32. What is written behind them, up to a whole vector, is zero.
static inline void widen(const char *from, int64_t count, int dtype, float *into) {
  const int64_t whole = count / LANES * LANES, bytes = bytes_of(dtype);
  for (int64_t i = 0; i < whole; i += LANES) store_f32(into + i, load_stored(from + i * bytes, dtype));
  if (whole == count) return;
  char rest[4 * LANES] = {0};
  memcpy(rest, from + whole * bytes, (size_t)((count - whole) * bytes));
  store_f32(into + whole, load_stored(rest, dtype));
}

// As bf16: to the nearest, to the even one of two as near; no number stays none. (The machines' own instructions for it take what is below the normal numbers for 0.)
#if defined(MESHWORK_EIGHTS)
static inline __m256i rounded_bf16(__m256 v) {
  const __m256i w = _mm256_castps_si256(v), high = _mm256_srli_epi32(w, 16), odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(w, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  return _mm256_blendv_epi8(rounded, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}
static inline void store_bf16(char *p, Vec v) {
  // Packed within their own halves of registers, so that the middle ones have changed places.
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded_bf16((__m256)v.part[0]), rounded_bf16((__m256)v.part[1])), 0xd8);
  _mm256_storeu_si256((__m256i *)(void *)p, words);
}
#else
static inline void store_bf16(char *p, Vec v) {
  const Words w = (Words)v.part[0], none = (Words)(v.part[0] != v.part[0]);
  const Words rounded = (w + 0x7fff + (w >> 16 & 1)) >> 16, half = (none & (w >> 16 | 0x40)) | (~none & rounded);
  *(Halves *)(void *)p = __builtin_convertvector(half, Halves);
}
#endif
static inline void store_f16(char *p, Vec v) {
  for (int i = 0; i < LANES; i++) {
    const _Float16 half = (_Float16)v.part[i / PART_LANES][i % PART_LANES];
    memcpy(p + 2 * i, &half, 2);
  }
}
// `count` numbers that lie together, as halves of a kind.
static inline void narrow(const float *from, int64_t count, int dtype, char *into) {
  const int64_t whole = count / LANES * LANES;
  if (dtype == FFI_BF16) for (int64_t i = 0; i < whole; i += LANES) store_bf16(into + 2 * i, load_f32((const char *)(from + i)));
  else for (int64_t i = 0; i < whole; i += LANES) store_f16(into + 2 * i, load_f32((const char *)(from + i)));
  if (whole == count) return;
  float rest[LANES] = {0};
  char halves[2 * LANES];
  memcpy(rest, from + whole, (size_t)(count - whole) * sizeof(float));
  if (dtype == FFI_BF16) store_bf16(halves, load_f32((const char *)rest)); else store_f16(halves, load_f32((const char *)rest));
  memcpy(into + 2 * whole, halves, (size_t)(2 * (count - whole)));
}

#endif
