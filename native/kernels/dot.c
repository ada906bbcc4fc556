// Products of rows with a matrix, every number of which is summed in one order, however many rows there are and on however many threads: what is
// computed of a row does not depend on the others. Weights may be of 16 bits, and one of a stack.
#include "call.h"
#include "lanes.h"
#include "pool.h"

enum { ROWS = 4, COLUMNS = 4, BLOCK = 32 };

// How the second operand lies: each column's numbers together, or each row's.
typedef struct {
  const float *x;
  const char *w;
  float *y;
  int64_t m, n, k;    // of one of `batch` products
  int64_t w_batch;    // 0 where all products have the same second operand
  int64_t blocks;     // of columns, of one product
  int dtype, by_rows;
} Product;

#define KERNELS(name, bytes, load)                                                                                                      \
  /* Columns lie together: lanes go along what is contracted. */                                                                       \
  static inline __attribute__((always_inline)) void columns_##name(const Product *p, const float *x, const char *w, float *y, int rows, int cols) { \
    Vec acc[ROWS][COLUMNS];                                                                                                             \
    for (int r = 0; r < rows; r++)                                                                                                      \
      for (int c = 0; c < cols; c++) acc[r][c] = zeros();                                                                               \
    const int64_t k = p->k, whole = k / LANES * LANES;                                                                                  \
    for (int64_t i = 0; i < whole; i += LANES) {                                                                                        \
      Vec b[COLUMNS];                                                                                                                   \
      for (int c = 0; c < cols; c++) b[c] = load(w + (c * k + i) * bytes);                                                              \
      for (int r = 0; r < rows; r++) {                                                                                                  \
        const Vec a = load_f32((const char *)(x + r * k + i));                                                                          \
        for (int c = 0; c < cols; c++) acc[r][c] += a * b[c];                                                                           \
      }                                                                                                                                 \
    }                                                                                                                                   \
    if (whole < k) {                                                                                                                    \
      char rest[4 * LANES];                                                                                                             \
      Vec b[COLUMNS];                                                                                                                   \
      for (int c = 0; c < cols; c++) {                                                                                                  \
        memset(rest, 0, sizeof rest);                                                                                                   \
        memcpy(rest, w + (c * k + whole) * bytes, (size_t)(k - whole) * bytes);                                                         \
        b[c] = load(rest);                                                                                                              \
      }                                                                                                                                 \
      for (int r = 0; r < rows; r++) {                                                                                                  \
        memset(rest, 0, sizeof rest);                                                                                                   \
        memcpy(rest, x + r * k + whole, (size_t)(k - whole) * 4);                                                                       \
        const Vec a = load_f32(rest);                                                                                                   \
        for (int c = 0; c < cols; c++) acc[r][c] += a * b[c];                                                                           \
      }                                                                                                                                 \
    }                                                                                                                                   \
    if (rows == ROWS && cols == COLUMNS) {                                                                                              \
      Vec all[LANES];                                                                                                                   \
      for (int r = 0; r < ROWS; r++)                                                                                                    \
        for (int c = 0; c < COLUMNS; c++) all[r * COLUMNS + c] = acc[r][c];                                                             \
      const Vec found = sums(all);                                                                                                      \
      for (int r = 0; r < ROWS; r++) memcpy(y + r * p->n, (const float *)&found + r * COLUMNS, 4 * COLUMNS);                            \
    } else {                                                                                                                            \
      for (int r = 0; r < rows; r++)                                                                                                    \
        for (int c = 0; c < cols; c++) y[r * p->n + c] = sum(acc[r][c]);                                                                \
    }                                                                                                                                   \
  }                                                                                                                                     \
  static void block_columns_##name(const Product *p, const float *x, const char *w, float *y, int64_t from, int64_t to) {               \
    for (int64_t r = 0; r < p->m; r += ROWS) {                                                                                          \
      const int rows = p->m - r < ROWS ? (int)(p->m - r) : ROWS;                                                                        \
      for (int64_t c = from; c < to; c += COLUMNS) {                                                                                    \
        const int cols = to - c < COLUMNS ? (int)(to - c) : COLUMNS;                                                                    \
        const float *a = x + r * p->k;                                                                                                  \
        const char *b = w + c * p->k * bytes;                                                                                           \
        float *out = y + r * p->n + c;                                                                                                  \
        if (cols == COLUMNS && rows == ROWS) columns_##name(p, a, b, out, ROWS, COLUMNS);                                               \
        else if (cols == COLUMNS && rows == 1) columns_##name(p, a, b, out, 1, COLUMNS);                                                \
        else if (cols == COLUMNS && rows == 2) columns_##name(p, a, b, out, 2, COLUMNS);                                                \
        else if (cols == COLUMNS && rows == 3) columns_##name(p, a, b, out, 3, COLUMNS);                                                \
        else                                                                                                                            \
          for (int i = 0; i < rows; i++)                                                                                                \
            for (int j = 0; j < cols; j++) columns_##name(p, a + i * p->k, b + j * p->k * bytes, out + i * p->n + j, 1, 1);             \
      }                                                                                                                                 \
    }                                                                                                                                   \
  }                                                                                                                                     \
  /* Rows lie together: lanes go along the columns. */                                                                                  \
  static inline __attribute__((always_inline)) void rows_##name(const Product *p, const float *x, const char *w, float *y, int rows, int vecs) { \
    Vec acc[ROWS][COLUMNS];                                                                                                             \
    for (int r = 0; r < rows; r++)                                                                                                      \
      for (int c = 0; c < vecs; c++) acc[r][c] = zeros();                                                                               \
    for (int64_t i = 0; i < p->k; i++) {                                                                                                \
      Vec b[COLUMNS];                                                                                                                   \
      for (int c = 0; c < vecs; c++) b[c] = load(w + (i * p->n + c * LANES) * bytes);                                                   \
      for (int r = 0; r < rows; r++) {                                                                                                  \
        const Vec a = zeros() + x[r * p->k + i];                                                                                        \
        for (int c = 0; c < vecs; c++) acc[r][c] += a * b[c];                                                                           \
      }                                                                                                                                 \
    }                                                                                                                                   \
    for (int r = 0; r < rows; r++)                                                                                                      \
      for (int c = 0; c < vecs; c++) *(Loose *)(void *)(y + r * p->n + c * LANES) = (Loose)acc[r][c];                                   \
  }                                                                                                                                     \
  static void rest_rows_##name(const Product *p, const float *x, const char *w, float *y, int rows, int count) {                        \
    Vec acc[ROWS];                                                                                                                      \
    for (int r = 0; r < rows; r++) acc[r] = zeros();                                                                                    \
    char rest[4 * LANES];                                                                                                               \
    memset(rest, 0, sizeof rest);                                                                                                       \
    for (int64_t i = 0; i < p->k; i++) {                                                                                                \
      memcpy(rest, w + i * p->n * bytes, (size_t)count * bytes);                                                                        \
      const Vec b = load(rest);                                                                                                         \
      for (int r = 0; r < rows; r++) acc[r] += (zeros() + x[r * p->k + i]) * b;                                                         \
    }                                                                                                                                   \
    for (int r = 0; r < rows; r++) memcpy(y + r * p->n, &acc[r], (size_t)count * 4);                                                    \
  }                                                                                                                                     \
  static void block_rows_##name(const Product *p, const float *x, const char *w, float *y, int64_t from, int64_t to) {                  \
    for (int64_t r = 0; r < p->m; r += ROWS) {                                                                                          \
      const int rows = p->m - r < ROWS ? (int)(p->m - r) : ROWS;                                                                        \
      const float *a = x + r * p->k;                                                                                                    \
      int64_t c = from;                                                                                                                 \
      for (; c + COLUMNS * LANES <= to; c += COLUMNS * LANES) {                                                                         \
        float *out = y + r * p->n + c;                                                                                                  \
        const char *b = w + c * bytes;                                                                                                  \
        if (rows == ROWS) rows_##name(p, a, b, out, ROWS, COLUMNS);                                                                     \
        else                                                                                                                            \
          for (int i = 0; i < rows; i++) rows_##name(p, a + i * p->k, b, out + i * p->n, 1, COLUMNS);                                   \
      }                                                                                                                                 \
      for (; c + LANES <= to; c += LANES)                                                                                               \
        for (int i = 0; i < rows; i++) rows_##name(p, a + i * p->k, w + c * bytes, y + (r + i) * p->n + c, 1, 1);                       \
      if (c < to) rest_rows_##name(p, a, w + c * bytes, y + r * p->n + c, rows, (int)(to - c));                                         \
    }                                                                                                                                   \
  }

KERNELS(f32, 4, load_f32)
KERNELS(bf16, 2, load_bf16)
KERNELS(f16, 2, load_f16)

static int bytes_of(int dtype) { return dtype == FFI_F32 ? 4 : 2; }

static void piece(void *context, int64_t i) {
  const Product *p = context;
  const int64_t batch = i / p->blocks, block = i % p->blocks;
  // Lanes along the columns want as many as they are wide.
  const int64_t wide = p->by_rows ? COLUMNS * LANES : BLOCK;
  const int64_t from = block * wide, to = from + wide < p->n ? from + wide : p->n;
  const float *x = p->x + batch * p->m * p->k;
  const char *w = p->w + batch * p->w_batch * p->n * p->k * bytes_of(p->dtype);
  float *y = p->y + batch * p->m * p->n;
  if (p->dtype == FFI_F32) (p->by_rows ? block_rows_f32 : block_columns_f32)(p, x, w, y, from, to);
  else if (p->dtype == FFI_BF16) (p->by_rows ? block_rows_bf16 : block_columns_bf16)(p, x, w, y, from, to);
  else (p->by_rows ? block_rows_f16 : block_columns_f16)(p, x, w, y, from, to);
}

static FfiError *dot(const FfiFrame *frame, int by_rows) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  if ((in->count != 2 && in->count != 3) || out->count != 1) return refuse(frame, "dot takes two operands, and may take the place in a stack");
  const FfiBuffer *x = in->items[0], *w = in->items[1], *y = out->items[0];
  if (x->rank != 3 || y->rank != 3 || w->rank != 3) return refuse(frame, "dot takes three dims");
  if (x->dtype != FFI_F32 || y->dtype != FFI_F32 || (w->dtype != FFI_F32 && w->dtype != FFI_BF16 && w->dtype != FFI_F16)) return refuse(frame, "dot: no such dtypes");
  Product p = {.x = x->data, .w = w->data, .y = y->data, .m = x->dims[1], .k = x->dims[2], .n = y->dims[2], .dtype = w->dtype, .by_rows = by_rows};
  const int64_t batch = x->dims[0];
  if (y->dims[0] != batch || y->dims[1] != p.m || w->dims[by_rows ? 1 : 2] != p.k || w->dims[by_rows ? 2 : 1] != p.n) return refuse(frame, "dot: shapes do not fit");
  if (in->count == 3) {
    const FfiBuffer *index = in->items[2];
    if (index->dtype != FFI_S32) return refuse(frame, "dot: the place in a stack is no i32");
    int64_t at = *(const int32_t *)index->data;
    at = at < 0 ? 0 : at >= w->dims[0] ? w->dims[0] - 1 : at;
    p.w += at * p.n * p.k * bytes_of(w->dtype);
  } else {
    if (w->dims[0] != batch && w->dims[0] != 1) return refuse(frame, "dot: shapes do not fit");
    p.w_batch = w->dims[0] == 1 ? 0 : 1;
  }
  const int64_t wide = by_rows ? COLUMNS * LANES : BLOCK;
  p.blocks = (p.n + wide - 1) / wide;
  if (p.m > 0 && p.n > 0) mwk_each(batch * p.blocks, piece, &p);
  return NULL;
}

// [b, m, k] and [b, n, k], or [b, k, n], give [b, m, n]; with a third operand the second is a stack of which it names one.
MWK_EXPORT FfiError *mwk_dot_columns(const FfiFrame *frame) { return dot(frame, 0); }
MWK_EXPORT FfiError *mwk_dot_rows(const FfiFrame *frame) { return dot(frame, 1); }
