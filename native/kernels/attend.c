// Attention of rows to what lies at places of a store: softmax of products with keys, and the mean of values by it. Nothing is copied, and what a row does not see is not read. Every number is summed in one order,
// by places: what else is computed changes no bit.
#include <stdatomic.h>
#include <stdlib.h>

#include "call.h"
#include "exp.h"
#include "pool.h"
#include "stored.h"

enum { ROWS = 4, STRIP = 16, MOST_DIMS = 256 };

// Rows of a head are `s` × `g`; those of one s see the same.
typedef struct {
  const float *q;
  const char *keys, *values;
  float *y;
  const int32_t *at;
  const uint8_t *own, *mask; // where there is anything; what is seen
  int64_t requests, heads, s, g, dims, entries, places, strips;
  int dtype; // of keys and values
  atomic_int *failed;
} Attention;

static const float nothing[MOST_DIMS];

EXP_OF(exp_of_part, Part, WholePart)
static inline Part larger_part(Part a, Part b) {
  const WholePart more = b > a;
  return (Part)(((WholePart)b & more) | ((WholePart)a & ~more));
}
OF_PARTS(exp_of_less, (Vec x, Vec top), exp_of_part(x.part[part] - top.part[part]))
OF_PARTS(larger, (Vec a, Vec b), larger_part(a.part[part], b.part[part]))

static inline int any_of(const uint8_t *seen, int64_t count) {
  int64_t i = 0;
  for (uint64_t eight; i + 8 <= count; i += 8) {
    memcpy(&eight, seen + i, sizeof eight);
    if (eight != 0) return 1;
  }
  for (; i < count; i++)
    if (seen[i]) return 1;
  return 0;
}

// Scores of some rows at sixteen places.
static inline __attribute__((always_inline)) void scores(const float *const *q, const char *const *keys, int64_t dims, int rows, int dtype, Vec *found) {
  const int cols = fitting(rows);
  Vec of[ROWS][LANES];
  for (int from = 0; from < LANES; from += cols) {
    Vec acc[ROWS * 4];
    for (int i = 0; i < rows * cols; i++) acc[i] = zeros();
    for (int64_t i = 0; i < dims; i += LANES) {
      Vec k[4];
      for (int c = 0; c < cols; c++) k[c] = load_stored(keys[from + c] + bytes_of(dtype) * i, dtype);
      for (int r = 0; r < rows; r++) {
        const Vec a = load_f32((const char *)(q[r] + i));
        for (int c = 0; c < cols; c++) acc[r * cols + c] = plus_product(acc[r * cols + c], a, k[c]);
      }
    }
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) of[r][from + c] = acc[r * cols + c];
  }
  for (int r = 0; r < rows; r++) found[r] = sums(of[r]);
}

// Adds values by their shares: sixteen places, `vecs` × sixteen dims of each, to sums of which each row has four.
static inline __attribute__((always_inline)) void means(const char *const *values, const float *const *shares, int rows, int vecs, int dtype, Vec *into) {
  Vec acc[ROWS * 4];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) acc[r * vecs + c] = into[r * 4 + c];
  for (int j = 0; j < LANES; j++) {
    Vec v[4];
    for (int c = 0; c < vecs; c++) v[c] = load_stored(values[j] + bytes_of(dtype) * c * LANES, dtype);
    for (int r = 0; r < rows; r++) {
      const Vec share = all(shares[r][j]);
      for (int c = 0; c < vecs; c++) acc[r * vecs + c] = plus_product(acc[r * vecs + c], share, v[c]);
    }
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) into[r * 4 + c] = acc[r * vecs + c];
}

// `rows` rows from one on. `shares` has room for a number of each place and row.
static inline __attribute__((always_inline)) void attend(const Attention *a, int64_t batch, int64_t head, int64_t row, int rows, int dtype, float *shares, int64_t wide) {
  const int64_t replica = batch / a->requests, dims = a->dims, bytes = bytes_of(dtype), step = a->heads * dims * bytes;
  const char *keys = a->keys + replica * a->entries * step + head * dims * bytes, *values = a->values + replica * a->entries * step + head * dims * bytes;
  const int32_t *at = a->at + batch * a->places;
  const uint8_t *own = a->own + batch * a->places, *seen[ROWS];
  const float *q[ROWS];
  Vec top[ROWS], total[ROWS];
  int none[ROWS];
  for (int r = 0; r < rows; r++) {
    q[r] = a->q + ((batch * a->heads + head) * a->s * a->g + row + r) * dims;
    seen[r] = a->mask + (batch * a->s + (row + r) / a->g) * a->places;
    top[r] = all(-__builtin_inff()), total[r] = zeros();
    // Who sees nothing gets the mean of everything, as of scores that are all the same.
    none[r] = !any_of(seen[r], a->places);
  }
  const char *there[LANES];
  for (int64_t j = 0; j < a->places; j += LANES) {
    const int64_t count = a->places - j < LANES ? a->places - j : LANES;
    int some = 0;
    for (int r = 0; r < rows; r++) some |= none[r] || any_of(seen[r] + j, count);
    if (!some) continue;
    for (int64_t i = 0; i < LANES; i++) there[i] = i < count && own[j + i] && at[j + i] >= 0 && at[j + i] < a->entries ? keys + at[j + i] * step : (const char *)nothing;
    Vec found[ROWS];
    scores(q, there, dims, rows, dtype, found);
    for (int r = 0; r < rows; r++) {
      float s[LANES];
      memcpy(s, &found[r], sizeof s);
      for (int64_t i = 0; i < LANES; i++) s[i] = i < count && seen[r][j + i] ? s[i] : i < count && none[r] ? 0 : -__builtin_inff();
      memcpy(shares + r * wide + j, s, sizeof s);
      top[r] = larger(top[r], load_f32((const char *)s));
    }
  }
  for (int r = 0; r < rows; r++) {
    float of[LANES], most = -__builtin_inff();
    memcpy(of, &top[r], sizeof of);
    for (int i = 0; i < LANES; i++) most = of[i] > most ? of[i] : most;
    top[r] = all(most);
  }
  for (int64_t from = 0; from < dims; from += 4 * LANES) {
    const int vecs = dims - from < 4 * LANES ? (int)((dims - from) / LANES) : 4;
    Vec acc[ROWS * 4];
    for (int i = 0; i < rows * 4; i++) acc[i] = zeros();
    for (int64_t j = 0; j < a->places; j += LANES) {
      const int64_t count = a->places - j < LANES ? a->places - j : LANES;
      int some = 0;
      for (int r = 0; r < rows; r++) some |= none[r] || any_of(seen[r] + j, count);
      if (!some) continue;
      const float *own_shares[ROWS];
      for (int r = 0; r < rows; r++) {
        float *own_share = shares + r * wide + j;
        if (from == 0) {
          const Vec e = exp_of_less(load_f32((const char *)own_share), top[r]);
          total[r] = plus(total[r], e);
          memcpy(own_share, &e, sizeof e);
        }
        own_shares[r] = own_share;
      }
      for (int64_t i = 0; i < LANES; i++) there[i] = i < count && own[j + i] && at[j + i] >= 0 && at[j + i] < a->entries ? values + at[j + i] * step + from * bytes : (const char *)nothing;
      for (int c = 0; c < vecs; c += vecs == 4 ? fitting(rows) : 1) {
        const char *columns[LANES];
        for (int i = 0; i < LANES; i++) columns[i] = there[i] + bytes * c * LANES;
        if (vecs == 4) means(columns, own_shares, rows, fitting(rows), dtype, acc + c);
        else means(columns, own_shares, rows, 1, dtype, acc + c);
      }
    }
    for (int r = 0; r < rows; r++) {
      float *y = a->y + ((batch * a->heads + head) * a->s * a->g + row + r) * dims + from;
      const Vec whole = all(sum(total[r]));
      for (int c = 0; c < vecs; c++) {
        const Vec v = over(acc[r * 4 + c], whole);
        memcpy(y + c * LANES, &v, sizeof v);
      }
    }
  }
}

// A function for each of few counts and dtypes, which the compiler knows: GCC 12 took three times as long for all of them in one.
typedef void Rows(const Attention *, int64_t, int64_t, int64_t, float *, int64_t);
#define OF(dtype, rows) \
  static __attribute__((noinline)) void dtype##_##rows(const Attention *a, int64_t batch, int64_t head, int64_t row, float *shares, int64_t wide) { attend(a, batch, head, row, rows, dtype, shares, wide); }
#define ATTEND(dtype) OF(dtype, 1) OF(dtype, 2) OF(dtype, 3) OF(dtype, 4) static Rows *const dtype##_rows[ROWS] = {dtype##_1, dtype##_2, dtype##_3, dtype##_4};
ATTEND(FFI_F32)
ATTEND(FFI_BF16)
ATTEND(FFI_F16)

static void piece(void *context, int64_t i) {
  const Attention *a = context;
  const int64_t strip = i % a->strips, head = i / a->strips % a->heads, batch = i / a->strips / a->heads;
  const int64_t all_rows = a->s * a->g, end = (strip + 1) * STRIP < all_rows ? (strip + 1) * STRIP : all_rows;
  const int64_t wide = (a->places + LANES - 1) / LANES * LANES;
  float *shares = malloc((size_t)(ROWS * wide) * sizeof(float));
  if (shares == NULL) {
    atomic_store(a->failed, 1);
    return;
  }
  Rows *const *by_count = a->dtype == FFI_F32 ? FFI_F32_rows : a->dtype == FFI_BF16 ? FFI_BF16_rows : FFI_F16_rows;
  for (int64_t row = strip * STRIP; row < end; row += ROWS) by_count[(end - row < ROWS ? end - row : ROWS) - 1](a, batch, head, row, shares, wide);
  free(shares);
}

// Queries [r, q, h, s, g, d], keys and values [r, e, h, d] of 32 or 16 bits, places [r, q, l] among the e, whether anything is there [r, q, l], and what is seen [r, q, s, l], give [r, q, h, s, g, d].
MWK_EXPORT FfiError *mwk_attend(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments;
  if (in->count != 6 || frame->results.count != 1) return refuse(frame, "attend takes queries, keys, values, places, where there is anything, and what is seen");
  const FfiBuffer *q = in->items[0], *k = in->items[1], *v = in->items[2], *at = in->items[3], *own = in->items[4], *mask = in->items[5], *y = frame->results.items[0];
  if (q->rank != 6 || k->rank != 4 || v->rank != 4 || at->rank != 3 || own->rank != 3 || mask->rank != 4 || y->rank != 6) return refuse(frame, "attend: other dims");
  if (q->dtype != FFI_F32 || (k->dtype != FFI_F32 && k->dtype != FFI_BF16 && k->dtype != FFI_F16) || v->dtype != k->dtype || y->dtype != FFI_F32 || at->dtype != FFI_S32 || own->dtype != FFI_PRED || mask->dtype != FFI_PRED) return refuse(frame, "attend: no such dtypes");
  const int64_t *d = q->dims, places = at->dims[2];
  for (int i = 0; i < 6; i++) if (y->dims[i] != d[i]) return refuse(frame, "attend: shapes do not fit");
  for (int i = 0; i < 4; i++) if (k->dims[i] != v->dims[i]) return refuse(frame, "attend: shapes do not fit");
  for (int i = 0; i < 3; i++) if (own->dims[i] != at->dims[i]) return refuse(frame, "attend: shapes do not fit");
  if (k->dims[0] != d[0] || k->dims[2] != d[2] || k->dims[3] != d[5] || at->dims[0] != d[0] || at->dims[1] != d[1] || mask->dims[0] != d[0] || mask->dims[1] != d[1] || mask->dims[2] != d[3] || mask->dims[3] != places) return refuse(frame, "attend: shapes do not fit");
  if (d[5] % LANES != 0 || d[5] > MOST_DIMS) return refuse(frame, "attend: no such heads");
  atomic_int failed = 0;
  Attention a = {
    .q = q->data, .keys = k->data, .values = v->data, .y = y->data, .at = at->data, .own = own->data, .mask = mask->data,
    .requests = d[1], .heads = d[2], .s = d[3], .g = d[4], .dims = d[5], .entries = k->dims[1], .places = places, .strips = (d[3] * d[4] + STRIP - 1) / STRIP, .dtype = k->dtype, .failed = &failed,
  };
  mwk_each(d[0] * d[1] * d[2] * a.strips, piece, &a);
  return atomic_load(&failed) ? refuse(frame, "attend: there is no memory for scores") : NULL;
}
