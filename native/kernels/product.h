// Products of large matrices: what is multiplied, and where the result goes.
#ifndef MESHWORK_PRODUCT_H
#define MESHWORK_PRODUCT_H

#include <stdatomic.h>
#include <stdint.h>

#include "../ffi.h"

// A matrix of numbers: the place of [i, j] is i × `down` + j × `along`, of which one is 1. Behind `count` numbers nothing is read.
typedef struct {
  const char *data;
  int64_t down, along, count;
  int dtype;
} Matrix;

typedef struct {
  Matrix left, right;       // [m, k] and [k, n], the first of as many as there are
  int64_t left_next, right_next; // numbers from one to the next
  char *out;
  int64_t m, n, k;
  int out_dtype, pairs;
  int64_t down, across, tall, wide; // how it is cut: so many pieces, of so many rows and columns at most
  const struct Taps *taps;  // where what lies under windows of `left` is its rows
  atomic_int *failed;
} Product;

// Whether the kernel has the dtype.
int mwk_multiplies(int dtype);
// `batch` products, on all threads that there are. What was wrong, or NULL.
FfiError *mwk_multiply(const FfiFrame *frame, Product *p, int64_t batch);

#endif
