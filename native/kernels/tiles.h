// Products of small matrices of f32 that lie in caches, in vectors as wide as the machine's registers.
#ifndef MESHWORK_TILES_H
#define MESHWORK_TILES_H

#include <stdint.h>
#include <string.h>

#include "exp.h"

// How many rows and vectors of sums registers hold beside what is multiplied.
#if defined(__AVX512F__)
enum { WIDTH = 16, TILE_ROWS = 8 };
#elif defined(__AVX__)
enum { WIDTH = 8, TILE_ROWS = 6 };
#elif defined(__aarch64__)
enum { WIDTH = 4, TILE_ROWS = 8 };
#else
enum { WIDTH = 4, TILE_ROWS = 4 };
#endif
enum { TILE_VECTORS = 2 };

// Keeps a vector from being read anew for every row: where a core multiplies as often as it reads, that is what a tile waits for.
#if defined(__AVX__) && !defined(__AVX512F__)
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

typedef float Wide __attribute__((vector_size(4 * WIDTH)));
typedef float WideLoose __attribute__((vector_size(4 * WIDTH), aligned(4)));
typedef int32_t WideInts __attribute__((vector_size(4 * WIDTH)));

static inline Wide wide_load(const float *p) { return (Wide)*(const WideLoose *)(const void *)p; }
static inline void wide_store(float *p, Wide v) { *(WideLoose *)(void *)p = (WideLoose)v; }
static inline Wide wide_all(float x) { return x - (Wide){0}; }
static inline Wide wide_where(WideInts mask, Wide yes, Wide no) { return (Wide)(((WideInts)yes & mask) | ((WideInts)no & ~mask)); }
// NaN is none: where it matters, what is computed from the numbers themselves has it.
static inline Wide wide_larger(Wide a, Wide b) { return wide_where(a > b, a, b); }

EXP_OF(wide_exp, Wide, WideInts)

// The left factor's number of row r and contracted place i is left[r * row + i * inner].
typedef struct {
  const float *left, *right;
  float *into;
  int64_t row, inner, right_row, into_row, contracted;
} Factors;

static inline __attribute__((always_inline)) void tile(const Factors *f, int64_t from, int64_t column, int rows, int vectors, int add) {
  Wide sums[TILE_ROWS * TILE_VECTORS];
  float *into = f->into + from * f->into_row + column;
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vectors; c++) sums[r * vectors + c] = add ? wide_load(into + r * f->into_row + c * WIDTH) : (Wide){0};
  const float *left = f->left + from * f->row, *right = f->right + column;
  const int64_t row = f->row, inner = f->inner, right_row = f->right_row, contracted = f->contracted;
  for (int64_t i = 0; i < contracted; i++, left += inner, right += right_row) {
    Wide b[TILE_VECTORS];
    for (int c = 0; c < vectors; c++) {
      b[c] = wide_load(right + c * WIDTH);
      IN_REGISTER(b[c]);
    }
    for (int r = 0; r < rows; r++) {
      const Wide a = wide_all(left[r * row]);
      for (int c = 0; c < vectors; c++) sums[r * vectors + c] += a * b[c];
    }
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vectors; c++) wide_store(into + r * f->into_row + c * WIDTH, sums[r * vectors + c]);
}

static inline __attribute__((always_inline)) void strip(const Factors *f, int64_t rows, int64_t column, int vectors, int add) {
  int64_t r = 0;
  // Two rows behind sixes are done as two fours with six of them: single rows wait for their own sums.
  const int64_t whole = TILE_ROWS == 6 && rows % 6 == 2 && rows > 2 ? rows - 8 : rows - rows % TILE_ROWS;
  for (; r < whole; r += TILE_ROWS) tile(f, r, column, TILE_ROWS, vectors, add);
  for (; r + 4 <= rows; r += 4) tile(f, r, column, 4, vectors, add);
  for (; r < rows; r++) tile(f, r, column, 1, vectors, add);
}

// rows × columns, which are whole vectors; added to what is there, or in its place.
static inline __attribute__((always_inline)) void product(const Factors *f, int64_t rows, int64_t columns, int add) {
  int64_t c = 0;
  for (; c + TILE_VECTORS * WIDTH <= columns; c += TILE_VECTORS * WIDTH) strip(f, rows, c, TILE_VECTORS, add);
  for (; c < columns; c += WIDTH) strip(f, rows, c, 1, add);
}
static __attribute__((noinline)) void multiply(const Factors *f, int64_t rows, int64_t columns) { product(f, rows, columns, 0); }
static __attribute__((noinline)) void multiply_add(const Factors *f, int64_t rows, int64_t columns) { product(f, rows, columns, 1); }

#endif
