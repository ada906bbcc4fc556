// Sixteen numbers at a time, whatever the width of the machine's registers: so that every machine sums in one order.
#ifndef MESHWORK_LANES_H
#define MESHWORK_LANES_H

#include <stdint.h>
#include <string.h>

enum { LANES = 16 };
typedef float Vec __attribute__((vector_size(4 * LANES)));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2)));
typedef int32_t Whole __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));
typedef uint8_t Pairs __attribute__((vector_size(LANES / 2), aligned(1)));
typedef uint16_t Parted __attribute__((vector_size(LANES)));

static inline Vec zeros(void) { return (Vec){0}; }
static inline Vec all(float x) { return (Vec){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
#if defined(__AVX2__) && defined(__F16C__) && !defined(__AVX512F__)
#define MESHWORK_EIGHTS
#include <immintrin.h>
// Vectors of sixteen whose numbers are of another size are made of two of eight: the compiler makes them one by one, or in memory.
static inline Vec two(__m256 low, __m256 high) {
  Vec v;
  memcpy(&v, &low, sizeof low);
  memcpy((char *)&v + sizeof low, &high, sizeof high);
  return v;
}
static inline __m256 widened_bf16(const char *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16)); }
static inline __m256 widened_f16(const char *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
#endif

static inline Vec load_f32(const char *p) { return (Vec)*(const Loose *)(const void *)p; }
static inline Vec load_bf16(const char *p) {
#if defined(MESHWORK_EIGHTS)
  return two(widened_bf16(p), widened_bf16(p + 16));
#else
  return (Vec)(__builtin_convertvector(*(const Halves *)(const void *)p, Words) << 16);
#endif
}
// Halves below the normal ones come out right by the power of two that moves the exponent; so do none that are infinite or no number.
static inline Vec load_f16(const char *p) {
#if defined(__F16C__) && defined(__AVX512F__)
  typedef int64_t Raw __attribute__((vector_size(32), aligned(2)));
  return (Vec)__builtin_ia32_vcvtph2ps512_mask((short __attribute__((vector_size(32))))(*(const Raw *)(const void *)p), zeros(), (uint16_t)-1, 4);
#elif defined(MESHWORK_EIGHTS)
  return two(widened_f16(p), widened_f16(p + 16));
#else
  const Words h = __builtin_convertvector(*(const Halves *)(const void *)p, Words);
  const Vec size = (Vec)((h & 0x7fff) << 13) * 0x1p112f;
  const Words special = ((h & 0x7c00) == 0x7c00) & 0x7f800000;
  return (Vec)((Words)size | special | (h & 0x8000) << 16);
#endif
}

#if defined(__AVX512BW__)
#include <immintrin.h>
static inline Vec vec_of(__m128i bytes) { return (Vec)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }
#elif defined(MESHWORK_EIGHTS)
static inline Vec vec_of(__m128i bytes) { return two(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))); }
#endif
#if defined(__AVX512BW__) || defined(MESHWORK_EIGHTS)
static inline Vec load_i8(const char *p) { return vec_of(_mm_loadu_si128((const __m128i *)(const void *)p)); }
// Two numbers to a byte, the first in its low half, `more` than they are.
static inline Vec load_u4(const char *p, int more) {
  const __m128i pairs = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
  return vec_of(_mm_sub_epi8(_mm_and_si128(_mm_or_si128(pairs, _mm_slli_epi16(pairs, 4)), _mm_set1_epi8(15)), _mm_set1_epi8((char)more)));
}
#else
static inline Vec load_i8(const char *p) { return __builtin_convertvector(__builtin_convertvector(*(const Bytes *)(const void *)p, Whole), Vec); }
static inline Vec load_u4(const char *p, int more) {
  const Parted pairs = __builtin_convertvector(*(const Pairs *)(const void *)p, Parted);
  return __builtin_convertvector(__builtin_convertvector((Bytes)((pairs | pairs << 4) & 0x0f0f) - (int8_t)more, Whole), Vec);
}
#endif

// Sums in pairs that lie apart: one order for all.
static inline float sum(Vec v) {
  float a[LANES];
  memcpy(a, &v, sizeof a);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
}

// The sums of sixteen at once, in that very order: each fold halves two vectors into one.
#define FOLD(a, b, low, high) (__builtin_shufflevector(a, b, low) + __builtin_shufflevector(a, b, high))
#define EIGHTS_LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define EIGHTS_HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define FOURS_LOW 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define FOURS_HIGH 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define TWOS_LOW 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define TWOS_HIGH 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define ONES_LOW 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ONES_HIGH 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
static inline __attribute__((always_inline)) Vec sums(Vec v[LANES]) {
  Vec t[8];
  for (int i = 0; i < 8; i++) t[i] = FOLD(v[2 * i], v[2 * i + 1], EIGHTS_LOW, EIGHTS_HIGH);
  for (int i = 0; i < 4; i++) t[i] = FOLD(t[2 * i], t[2 * i + 1], FOURS_LOW, FOURS_HIGH);
  for (int i = 0; i < 2; i++) t[i] = FOLD(t[2 * i], t[2 * i + 1], TWOS_LOW, TWOS_HIGH);
  return FOLD(t[0], t[1], ONES_LOW, ONES_HIGH);
}

#endif
