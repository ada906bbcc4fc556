// Sixteen numbers at a time, whatever the width of the machine's registers: so that every machine sums in one order.
#ifndef MESHWORK_LANES_H
#define MESHWORK_LANES_H

#include <stdint.h>
#include <string.h>
#if defined(__AVX512BW__) || (defined(__AVX2__) && defined(__F16C__))
#include <immintrin.h>
#endif
#if defined(__AVX2__) && defined(__F16C__) && !defined(__AVX512F__)
#define MESHWORK_EIGHTS
#endif

// A vector that is wider than registers the compiler moves by way of memory, sixteen bytes at a time, and mixes number by number. So where registers hold eight there are two of them.
#if defined(MESHWORK_EIGHTS)
enum { LANES = 16, PART_LANES = 8 };
typedef float Part __attribute__((vector_size(32)));
typedef float LoosePart __attribute__((vector_size(32), aligned(4)));
typedef int32_t WholePart __attribute__((vector_size(32)));
#else
enum { LANES = 16, PART_LANES = 16 };
typedef float Part __attribute__((vector_size(64)));
typedef float LoosePart __attribute__((vector_size(64), aligned(4)));
typedef int32_t WholePart __attribute__((vector_size(64)));
#endif
enum { PARTS = LANES / PART_LANES };
typedef struct { Part part[PARTS]; } Vec;
// How many of four vectors' sums with each of `rows` rows stay in registers at once: where a vector takes two of sixteen registers, eight sums do.
static inline __attribute__((always_inline)) int fitting(int rows) { return PARTS == 1 || rows == 1 ? 4 : rows == 2 ? 2 : 1; }

#define EACH_PART for (int part = 0; part < PARTS; part++)
#define OF_PARTS(name, given, number) \
  static inline __attribute__((always_inline)) Vec name given { \
    Vec v; \
    EACH_PART v.part[part] = number; \
    return v; \
  }
OF_PARTS(zeros, (void), (Part){0})
OF_PARTS(all, (float x), x - (Part){0})
OF_PARTS(plus, (Vec a, Vec b), a.part[part] + b.part[part])
OF_PARTS(times, (Vec a, Vec b), a.part[part] * b.part[part])
OF_PARTS(over, (Vec a, Vec b), a.part[part] / b.part[part])
// In one step, where the machine has one.
OF_PARTS(plus_product, (Vec sum, Vec a, Vec b), sum.part[part] + a.part[part] * b.part[part])
OF_PARTS(load_f32, (const char *p), (Part)*(const LoosePart *)(const void *)(p + 4 * PART_LANES * part))
static inline __attribute__((always_inline)) void store_f32(float *p, Vec v) { EACH_PART *(LoosePart *)(void *)(p + PART_LANES * part) = (LoosePart)v.part[part]; }

#if defined(MESHWORK_EIGHTS)
static inline Part widened_bf16(const char *p) { return (Part)_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16)); }
static inline Part widened_f16(const char *p) { return (Part)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
static inline Part widened_i8(__m128i bytes) { return (Part)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }
static inline Vec vec_of(__m128i bytes) { return (Vec){{widened_i8(bytes), widened_i8(_mm_srli_si128(bytes, 8))}}; }
#else
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2)));
static inline Part widened_bf16(const char *p) { return (Part)(__builtin_convertvector(*(const Halves *)(const void *)p, Words) << 16); }
// Halves below the normal ones come out right by the power of two that moves the exponent; so do none that are infinite or no number.
static inline Part widened_f16(const char *p) {
#if defined(__F16C__) && defined(__AVX512F__)
  typedef int64_t Raw __attribute__((vector_size(32), aligned(2)));
  return (Part)__builtin_ia32_vcvtph2ps512_mask((short __attribute__((vector_size(32))))(*(const Raw *)(const void *)p), (Part){0}, (uint16_t)-1, 4);
#else
  const Words h = __builtin_convertvector(*(const Halves *)(const void *)p, Words);
  const Part size = (Part)((h & 0x7fff) << 13) * 0x1p112f;
  const Words special = ((h & 0x7c00) == 0x7c00) & 0x7f800000;
  return (Part)((Words)size | special | (h & 0x8000) << 16);
#endif
}
#if defined(__AVX512BW__)
static inline Vec vec_of(__m128i bytes) { return (Vec){{(Part)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))}}; }
#endif
#endif
OF_PARTS(load_bf16, (const char *p), widened_bf16(p + 2 * PART_LANES * part))
OF_PARTS(load_f16, (const char *p), widened_f16(p + 2 * PART_LANES * part))

#if defined(__AVX512BW__) || defined(MESHWORK_EIGHTS)
static inline Vec load_i8(const char *p) { return vec_of(_mm_loadu_si128((const __m128i *)(const void *)p)); }
// Two numbers to a byte, the first in its low half, `more` than they are.
static inline Vec load_u4(const char *p, int more) {
  const __m128i pairs = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
  return vec_of(_mm_sub_epi8(_mm_and_si128(_mm_or_si128(pairs, _mm_slli_epi16(pairs, 4)), _mm_set1_epi8(15)), _mm_set1_epi8((char)more)));
}
#else
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1)));
typedef uint8_t Pairs __attribute__((vector_size(LANES / 2), aligned(1)));
typedef uint16_t Parted __attribute__((vector_size(LANES)));
static inline Vec load_i8(const char *p) { return (Vec){{__builtin_convertvector(__builtin_convertvector(*(const Bytes *)(const void *)p, WholePart), Part)}}; }
static inline Vec load_u4(const char *p, int more) {
  const Parted pairs = __builtin_convertvector(*(const Pairs *)(const void *)p, Parted);
  return (Vec){{__builtin_convertvector(__builtin_convertvector((Bytes)((pairs | pairs << 4) & 0x0f0f) - (int8_t)more, WholePart), Part)}};
}
#endif

// Sums in pairs that lie apart: one order for all.
static inline float sum(Vec v) {
#if defined(MESHWORK_EIGHTS)
  const __m256 eights = (__m256)(v.part[0] + v.part[1]);
  const __m128 fours = _mm_add_ps(_mm256_castps256_ps128(eights), _mm256_extractf128_ps(eights, 1)), twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
  return _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)));
#else
  float a[LANES];
  memcpy(a, &v, sizeof a);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) a[i] += a[i + half];
  return a[0];
#endif
}

// The sums of sixteen at once, in that very order: each fold halves two vectors into one.
#if defined(MESHWORK_EIGHTS)
static inline Part eights_of(Vec v) { return v.part[0] + v.part[1]; }
static inline Part fours_of(Part a, Part b) { return (Part)_mm256_permute2f128_ps(a, b, 0x20) + (Part)_mm256_permute2f128_ps(a, b, 0x31); }
// Instructions mix within halves of a register: what they give is put into order once it is added.
static inline Part in_order(Part v) { return (Part)_mm256_permute4x64_pd((__m256d)v, 0xd8); }
static inline Part twos_of(Part a, Part b) { return in_order((Part)_mm256_unpacklo_pd((__m256d)a, (__m256d)b) + (Part)_mm256_unpackhi_pd((__m256d)a, (__m256d)b)); }
static inline Part ones_of(Part a, Part b) { return in_order((Part)_mm256_shuffle_ps(a, b, 0x88) + (Part)_mm256_shuffle_ps(a, b, 0xdd)); }
static inline __attribute__((always_inline)) Vec sums(const Vec v[LANES]) {
  Vec found;
  for (int part = 0; part < PARTS; part++, v += PART_LANES) {
    Part fours[4], twos[2];
    for (int i = 0; i < 4; i++) fours[i] = fours_of(eights_of(v[2 * i]), eights_of(v[2 * i + 1]));
    for (int i = 0; i < 2; i++) twos[i] = twos_of(fours[2 * i], fours[2 * i + 1]);
    found.part[part] = ones_of(twos[0], twos[1]);
  }
  return found;
}
#else
#define FOLD(a, b, low, high) (__builtin_shufflevector(a, b, low) + __builtin_shufflevector(a, b, high))
#define EIGHTS_LOW 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define EIGHTS_HIGH 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define FOURS_LOW 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define FOURS_HIGH 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define TWOS_LOW 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define TWOS_HIGH 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define ONES_LOW 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ONES_HIGH 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
static inline __attribute__((always_inline)) Vec sums(const Vec v[LANES]) {
  Part t[8];
  for (int i = 0; i < 8; i++) t[i] = FOLD(v[2 * i].part[0], v[2 * i + 1].part[0], EIGHTS_LOW, EIGHTS_HIGH);
  for (int i = 0; i < 4; i++) t[i] = FOLD(t[2 * i], t[2 * i + 1], FOURS_LOW, FOURS_HIGH);
  for (int i = 0; i < 2; i++) t[i] = FOLD(t[2 * i], t[2 * i + 1], TWOS_LOW, TWOS_HIGH);
  return (Vec){{FOLD(t[0], t[1], ONES_LOW, ONES_HIGH)}};
}
#endif

#endif
