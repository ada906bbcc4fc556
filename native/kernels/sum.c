// Sums of rows, each in one order, however many rows there are; zeros behind a row's numbers change no bit.
#include "call.h"
#include "lanes.h"
#include "pool.h"

enum { ROWS_AT_ONCE = 16 };
typedef struct {
  const float *x;
  float *y;
  int64_t rows, k;
} Sums;

static void piece(void *context, int64_t i) {
  const Sums *s = context;
  const int64_t end = (i + 1) * ROWS_AT_ONCE < s->rows ? (i + 1) * ROWS_AT_ONCE : s->rows, whole = s->k / LANES * LANES;
  for (int64_t row = i * ROWS_AT_ONCE; row < end; row++) {
    const float *x = s->x + row * s->k;
    Vec found = zeros();
    for (int64_t k = 0; k < whole; k += LANES) found = plus(found, load_f32((const char *)(x + k)));
    float rest[LANES] = {0};
    memcpy(rest, x + whole, (size_t)(s->k - whole) * sizeof(float));
    s->y[row] = sum(plus(found, load_f32((const char *)rest)));
  }
}

// [rows, k] gives [rows].
MWK_EXPORT FfiError *mwk_sum(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  if (frame->arguments.count != 1 || frame->results.count != 1) return refuse(frame, "sum takes one operand");
  const FfiBuffer *x = frame->arguments.items[0], *y = frame->results.items[0];
  if (x->rank != 2 || y->rank != 1 || x->dtype != FFI_F32 || y->dtype != FFI_F32 || x->dims[0] != y->dims[0]) return refuse(frame, "sum takes rows of f32");
  Sums s = {.x = x->data, .y = y->data, .rows = x->dims[0], .k = x->dims[1]};
  // Helpers are called only for what takes longer than calling them.
  const int64_t pieces = (s.rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  if (s.rows * s.k > 65536) mwk_each(pieces, piece, &s);
  else
    for (int64_t i = 0; i < pieces; i++) piece(&s, i);
  return NULL;
}
