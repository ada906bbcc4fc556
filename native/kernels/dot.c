// Products of rows with a matrix, every number of which is summed in one order, however many rows there are and on however many threads: what is
// computed of a row does not depend on the others. Weights may be of 16 bits, of 8 or 4 with scales, and one of a stack.
#include "call.h"
#include "pool.h"
#include "stored.h"

// For MANY rows, numbers are made of all columns of a block first, which has no more than MOST_PANEL.
enum { ROWS = 4, COLUMNS = 4, BLOCK = 32, MANY = 12, MOST_GROUPS = 512, MOST_SCALES = 16 * MOST_GROUPS, MOST_PANEL = 131072 };

typedef struct Product Product;
typedef void Some(const Product *p, const float *const *x, float *const *y, int64_t from, int64_t to, int rows, int ahead);
typedef void Panel(const Product *p, int64_t from, int count, float *into);
typedef void Rows(const Product *p, const float *x, const char *w, float *y, int64_t from, int64_t to);

// Of `batch` products one.
struct Product {
  const float *x;
  const char *w, *scale, *offset; // scale and offset where weights are of few bits
  float *y;
  int64_t m, n, k;
  int64_t w_batch;      // 0 where all products have the same second operand
  int64_t blocks;       // of columns, of one product
  int64_t group;        // numbers that share a scale
  int bits, scale_dtype;
  int by_rows;          // how the second operand lies: each row's numbers together, or each column's
  Some *some;
  Panel *panel;         // where weights are of few bits
  Rows *rows;
};

typedef struct {
  const char *w;
  const float *scale, *offset;
} Column;

// Some columns that lie side by side, and all of their scales and offsets.
typedef struct {
  const char *w;
  const float *scale, *offset;
  int64_t groups;
} Columns;

// `scales` has room for their scales, and as many offsets, and for as many more as make whole vectors.
static inline __attribute__((always_inline)) Columns columns_at(const Product *p, int64_t from, int count, int bits, int scaled, float *scales) {
  Columns columns = {p->w + bits * from * p->k / 8, NULL, NULL, 0};
  if (!scaled) return columns;
  const int64_t groups = p->k / p->group, bytes = bytes_of(p->scale_dtype);
  columns.groups = groups;
  widen(p->scale + bytes * from * groups, count * groups, p->scale_dtype, scales);
  columns.scale = scales;
  if (p->offset == NULL) return columns;
  float *offsets = scales + (count * groups + LANES - 1) / LANES * LANES;
  widen(p->offset + bytes * from * groups, count * groups, p->scale_dtype, offsets);
  columns.offset = offsets;
  return columns;
}
static inline __attribute__((always_inline)) Column column_of(const Product *p, const Columns *all, int c, int bits, int scaled) {
  return (Column){all->w + bits * c * p->k / 8, scaled ? all->scale + c * all->groups : NULL, scaled && all->offset != NULL ? all->offset + c * all->groups : NULL};
}

#define NAME(function) function##_f32
#define BITS 32
#define OFFSET 0
#define READ(column, i, scale, offset) load_f32((column)->w + 4 * (i))
#define SCALED 0
#include "columns.h"
#define NAME(function) function##_bf16
#define BITS 16
#define OFFSET 0
#define READ(column, i, scale, offset) load_bf16((column)->w + 2 * (i))
#define SCALED 0
#include "columns.h"
#define NAME(function) function##_f16
#define BITS 16
#define OFFSET 0
#define READ(column, i, scale, offset) load_f16((column)->w + 2 * (i))
#define SCALED 0
#include "columns.h"
#define NAME(function) function##_i8
#define BITS 8
#define OFFSET 0
#define READ(column, i, scale, offset) times(load_i8((column)->w + (i)), scale)
#define SCALED 1
#include "columns.h"
#define NAME(function) function##_i8_offset
#define BITS 8
#define OFFSET 1
#define READ(column, i, scale, offset) plus_product(offset, load_i8((column)->w + (i)), scale)
#define SCALED 1
#include "columns.h"
#define NAME(function) function##_u4
#define BITS 4
#define OFFSET 0
#define READ(column, i, scale, offset) times(load_u4((column)->w + (i) / 2, 8), scale)
#define SCALED 1
#include "columns.h"
#define NAME(function) function##_u4_offset
#define BITS 4
#define OFFSET 1
#define READ(column, i, scale, offset) plus_product(offset, load_u4((column)->w + (i) / 2, 0), scale)
#define SCALED 1
#include "columns.h"

#include "rows.h"
ROW_KERNELS(f32, 4, load_f32)
ROW_KERNELS(bf16, 2, load_bf16)
ROW_KERNELS(f16, 2, load_f16)

// All rows with some columns: four rows at a time, or two, or one. What the first of them read is near for the others.
static void block_columns(const Product *p, const float *x, float *y, int64_t from, int64_t to, int ahead) {
  const float *in[ROWS];
  float *out[ROWS];
  for (int64_t row = 0, rows; row < p->m; row += rows) {
    rows = p->m - row >= 4 ? 4 : p->m - row >= 2 ? 2 : 1;
    for (int r = 0; r < rows; r++) in[r] = x + (row + r) * p->k, out[r] = y + (row + r) * p->n;
    p->some(p, in, out, from, to, (int)rows, ahead && row == 0);
  }
}

// The same for many rows, of the numbers that the weights stand for.
static void block_panel(const Product *p, const float *x, float *y, int64_t from, int64_t to) {
  float numbers[MOST_PANEL] __attribute__((aligned(64)));
  p->panel(p, from, (int)(to - from), numbers);
  Product whole = *p;
  whole.w = (const char *)numbers, whole.some = some_f32;
  block_columns(&whole, x, y + from, 0, to - from, 0);
}

static void piece(void *context, int64_t i) {
  Product p = *(const Product *)context;
  const int64_t batch = i / p.blocks, block = i % p.blocks;
  // Lanes along the columns want as many as they are wide.
  const int64_t wide = p.by_rows ? COLUMNS * LANES : BLOCK;
  const int64_t from = block * wide, to = from + wide < p.n ? from + wide : p.n;
  const float *x = p.x + batch * p.m * p.k;
  float *y = p.y + batch * p.m * p.n;
  p.w += batch * p.w_batch * p.n * p.k * p.bits / 8;
  if (p.by_rows) p.rows(&p, x, p.w, y, from, to);
  else if (p.panel != NULL && p.m >= MANY && p.k <= MOST_PANEL / BLOCK) block_panel(&p, x, y, from, to);
  else block_columns(&p, x, y, from, to, 1);
}

static int kind(Product *p, int dtype) {
  const struct { int dtype, bits; Some *some; Rows *rows; } kinds[] = {
    {FFI_F32, 32, some_f32, block_rows_f32}, {FFI_BF16, 16, some_bf16, block_rows_bf16}, {FFI_F16, 16, some_f16, block_rows_f16},
  };
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (kinds[i].dtype == dtype) return p->bits = kinds[i].bits, p->some = kinds[i].some, p->rows = kinds[i].rows, 1;
  return 0;
}

static int64_t place(const FfiBuffer *index, int64_t count) {
  const int64_t at = *(const int32_t *)index->data;
  return at < 0 ? 0 : at >= count ? count - 1 : at;
}

static void compute(Product *p, int64_t batch) {
  const int64_t wide = p->by_rows ? COLUMNS * LANES : BLOCK;
  p->blocks = (p->n + wide - 1) / wide;
  if (p->m > 0 && p->n > 0) mwk_each(batch * p->blocks, piece, p);
}

static FfiError *dot(const FfiFrame *frame, int by_rows) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  if ((in->count != 2 && in->count != 3) || out->count != 1) return refuse(frame, "dot takes two operands, and may take the place in a stack");
  const FfiBuffer *x = in->items[0], *w = in->items[1], *y = out->items[0];
  if (x->rank != 3 || y->rank != 3 || w->rank != 3) return refuse(frame, "dot takes three dims");
  Product p = {.x = x->data, .w = w->data, .y = y->data, .m = x->dims[1], .k = x->dims[2], .n = y->dims[2], .by_rows = by_rows};
  if (x->dtype != FFI_F32 || y->dtype != FFI_F32 || !kind(&p, w->dtype)) return refuse(frame, "dot: no such dtypes");
  const int64_t batch = x->dims[0];
  if (y->dims[0] != batch || y->dims[1] != p.m || w->dims[by_rows ? 1 : 2] != p.k || w->dims[by_rows ? 2 : 1] != p.n) return refuse(frame, "dot: shapes do not fit");
  if (in->count == 3) {
    const FfiBuffer *index = in->items[2];
    if (index->dtype != FFI_S32) return refuse(frame, "dot: the place in a stack is no i32");
    p.w += place(index, w->dims[0]) * p.n * p.k * p.bits / 8;
  } else {
    if (w->dims[0] != batch && w->dims[0] != 1) return refuse(frame, "dot: shapes do not fit");
    p.w_batch = w->dims[0] == 1 ? 0 : 1;
  }
  compute(&p, batch);
  return NULL;
}

// [b, m, k] and [b, n, k], or [b, k, n], give [b, m, n]; with a third operand the second is a stack of which it names one.
MWK_EXPORT FfiError *mwk_dot_columns(const FfiFrame *frame) { return dot(frame, 0); }
MWK_EXPORT FfiError *mwk_dot_rows(const FfiFrame *frame) { return dot(frame, 1); }

// [m, k], and numbers [s, n, k] of 8 bits, or [s, n, k / 2] of two of 4 bits, with scales [s, n, k / group] and as many offsets where there are any, give [m, n]. The last operand names one of the s.
MWK_EXPORT FfiError *mwk_dot_few(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  if ((in->count != 4 && in->count != 5) || out->count != 1) return refuse(frame, "dot of few bits takes rows, numbers, scales, offsets where there are any, and a place");
  const FfiBuffer *x = in->items[0], *w = in->items[1], *scale = in->items[2], *offset = in->count == 5 ? in->items[3] : NULL, *index = in->items[in->count - 1], *y = out->items[0];
  const int bits = w->dtype == FFI_S8 ? 8 : w->dtype == FFI_U8 ? 4 : 0;
  if (x->dtype != FFI_F32 || y->dtype != FFI_F32 || bits == 0 || (scale->dtype != FFI_F32 && scale->dtype != FFI_F16 && scale->dtype != FFI_BF16) || (offset != NULL && offset->dtype != scale->dtype) || index->dtype != FFI_S32) return refuse(frame, "dot of few bits: no such dtypes");
  if (x->rank != 2 || y->rank != 2 || w->rank != 3 || scale->rank != 3 || (offset != NULL && offset->rank != 3)) return refuse(frame, "dot of few bits: other dims");
  const int64_t m = x->dims[0], k = x->dims[1], n = y->dims[1], stack = w->dims[0], groups = scale->dims[2];
  if (y->dims[0] != m || w->dims[1] != n || w->dims[2] != bits * k / 8 || scale->dims[0] != stack || scale->dims[1] != n || (offset != NULL && (offset->dims[0] != stack || offset->dims[1] != n || offset->dims[2] != groups))) return refuse(frame, "dot of few bits: shapes do not fit");
  if (groups < 1 || groups > MOST_GROUPS - LANES || k % groups != 0 || k / groups % LANES != 0) return refuse(frame, "dot of few bits: no such groups");
  const int64_t at = place(index, stack);
  Product p = {
    .x = x->data, .y = y->data, .m = m, .n = n, .k = k, .group = k / groups, .bits = bits, .scale_dtype = scale->dtype,
    .w = (const char *)w->data + at * n * k * bits / 8, .scale = (const char *)scale->data + at * n * groups * bytes_of(scale->dtype), .offset = offset == NULL ? NULL : (const char *)offset->data + at * n * groups * bytes_of(scale->dtype),
    .some = bits == 8 ? offset == NULL ? some_i8 : some_i8_offset : offset == NULL ? some_u4 : some_u4_offset,
    .panel = bits == 8 ? offset == NULL ? panel_i8 : panel_i8_offset : offset == NULL ? panel_u4 : panel_u4_offset,
  };
  compute(&p, 1);
  return NULL;
}
