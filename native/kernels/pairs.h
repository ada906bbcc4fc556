// Pairs of bf16 as words of 32 bits, on machines that multiply such pairs.
#ifndef MESHWORK_PAIRS_H
#define MESHWORK_PAIRS_H

#include "stored.h"

// Whether pairs of bf16 are multiplied as such: two products of each number of a register, added to its sum one after the other, each rounded as a sum of f32 is (what is below the normal numbers counts as 0).
// AMD's cores do so at the rate of f32's instructions, which have one; an Intel core was seen to need four times as long for it, and gains nothing. By its maker and not by a clock: ranks that chose otherwise would have other numbers.
#if defined(__AVX512BF16__)
#define PAIRS
static inline int has_pairs(void) { return __builtin_cpu_is("amd"); }
#else
static inline int has_pairs(void) { return 0; }
#endif

#if defined(PAIRS)
static inline __m512i halves(const char *p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)); }
// Of two lines sixteen numbers each, as pairs. There is no second one behind the last of an odd number of lines.
static inline void pair(const char *first, const char *second, float *into) {
  const __m512i high = second == NULL ? _mm512_setzero_si512() : _mm512_slli_epi32(halves(second), 16);
  _mm512_storeu_si512(into, _mm512_or_si512(halves(first), high));
}
// So many numbers that lie together: they are pairs as they are.
static inline void pairs_of(const char *from, int64_t numbers, float *into) {
  const uint16_t none = 0;
  memcpy(into, from, (size_t)numbers * 2);
  if (numbers % 2 == 1) memcpy((char *)into + numbers * 2, &none, 2);
}
#endif

#endif
