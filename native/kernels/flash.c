// Attention and its gradient, without scores of all with all: those of some queries with all keys they see lie in a cache, are used up, and are made again for the gradient (Dao et al. 2022). Scores lie with
// the keys first, so that lanes go along queries: a query's maximum and sum are taken of every lane by itself, and none of the keys and values is turned over. Which numbers are added in which order hangs on sizes alone.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "call.h"
#include "pool.h"
#include "stored.h"
#include "tiles.h"

// Queries that are computed with at a time, whole vectors of them; and what a query is to a key that it does not see.
enum { QUERIES = 32, ENOUGH = 16 };
static const float unseen = -1e9f;

// Queries, each of which lies `group` times, see the keys and values of their batch and head; sizes of a key and of a value as they are and up to whole vectors.
typedef struct {
  const FfiBuffer *q, *k, *v, *change;
  const uint8_t *mask;
  float *result, *dq, *dk, *dv;
  int64_t batch, queries, heads, group, keys, size, value, padded_size, padded_value, mask_step;
  int64_t rows, blocks, parts; // of a head: queries with their groups, how many at a time make them, and in how many parts they are done
  float *partial;
  int causal;
  atomic_int *failed;
} Flash;

static int64_t up_to(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

// Memory of a thread's own, kept for its next piece.
static pthread_key_t kept;
static pthread_once_t once = PTHREAD_ONCE_INIT;
typedef struct {
  size_t size;
  float *floats;
} Room;
static void leave(void *room) {
  free(((Room *)room)->floats);
  free(room);
}
static void make_key(void) { pthread_key_create(&kept, leave); }
static float *room_of(size_t floats) {
  pthread_once(&once, make_key);
  Room *room = pthread_getspecific(kept);
  if (room == NULL) {
    room = calloc(1, sizeof *room);
    if (room == NULL || pthread_setspecific(kept, room) != 0) return NULL;
  }
  if (room->size < floats) {
    free(room->floats);
    room->floats = aligned_alloc(64, (size_t)up_to((int64_t)(floats * sizeof(float)), 64));
    room->size = room->floats == NULL ? 0 : floats;
  }
  return room->floats;
}

// `count` numbers from `at` on as f32, and zeros up to `padded`: no more is written.
static inline void widened(float *to, const FfiBuffer *from, int64_t at, int64_t count, int64_t padded) {
  const char *p = (const char *)from->data + at * bytes_of(from->dtype);
  const int64_t whole = count / LANES * LANES;
  widen(p, whole, from->dtype, to);
  if (whole < count) {
    float rest[LANES];
    widen(p + whole * bytes_of(from->dtype), count - whole, from->dtype, rest);
    memcpy(to + whole, rest, (size_t)(count - whole) * sizeof(float));
  }
  for (int64_t i = count; i < padded; i++) to[i] = 0;
}

// Where a query's numbers begin, of `size` each, and those of a key.
static inline int64_t query_at(const Flash *f, int64_t b, int64_t h, int64_t row, int64_t size) { return (((b * f->queries + row / f->group) * f->heads + h) * f->group + row % f->group) * size; }
static inline int64_t key_at(const Flash *f, int64_t b, int64_t h, int64_t key, int64_t size) { return ((b * f->keys + key) * f->heads + h) * size; }

// [QUERIES, size] as [size, QUERIES]; whole fours of both.
typedef float Four __attribute__((vector_size(16)));
static inline Four four_at(const float *p) {
  Four v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void turned(float *to, const float *from, int64_t size) {
  for (int64_t r = 0; r < QUERIES; r += 4)
    for (int64_t i = 0; i < size; i += 4) {
      const Four a = four_at(from + r * size + i), b = four_at(from + (r + 1) * size + i), c = four_at(from + (r + 2) * size + i), d = four_at(from + (r + 3) * size + i);
      const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5), ba = __builtin_shufflevector(a, b, 2, 6, 3, 7), dc = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const Four columns[] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7), __builtin_shufflevector(ba, dc, 0, 1, 4, 5), __builtin_shufflevector(ba, dc, 2, 3, 6, 7)};
      for (int j = 0; j < 4; j++) memcpy(to + (i + j) * QUERIES + r, &columns[j], sizeof columns[j]);
    }
}

// What lies in a thread's room while a head is done.
typedef struct {
  float *keys, *values, *queries, *turned_queries, *scores, *result, *change, *turned_change, *slopes, *dk, *dv, *dq;
} Parts;
static int lay(const Flash *f, Parts *p, int gradient) {
  const int64_t k = f->keys * f->padded_size, v = f->keys * f->padded_value, s = f->keys * QUERIES, q = QUERIES * f->padded_size, o = QUERIES * f->padded_value;
  const int64_t sizes[] = {k, v, q, q, s, o, gradient ? o : 0, gradient ? o : 0, gradient ? s : 0, gradient ? k : 0, gradient ? v : 0, gradient ? q : 0};
  enum { COUNT = sizeof sizes / sizeof *sizes };
  int64_t all = 0;
  for (int i = 0; i < COUNT; i++) all += up_to(sizes[i], 16);
  float *at = room_of((size_t)all), **const to[COUNT] = {&p->keys, &p->values, &p->queries, &p->turned_queries, &p->scores, &p->result, &p->change, &p->turned_change, &p->slopes, &p->dk, &p->dv, &p->dq};
  if (at == NULL) {
    atomic_store(f->failed, 1);
    return 0;
  }
  for (int i = 0; i < COUNT; at += up_to(sizes[i], 16), i++) *to[i] = at;
  return 1;
}

static void take_keys(const Flash *f, const Parts *p, int64_t b, int64_t h) {
  for (int64_t t = 0; t < f->keys; t++) {
    widened(p->keys + t * f->padded_size, f->k, key_at(f, b, h, t, f->size), f->size, f->padded_size);
    widened(p->values + t * f->padded_value, f->v, key_at(f, b, h, t, f->value), f->value, f->padded_value);
  }
}

// The queries of a block: from `row` on so many, and as many keys as the last of them sees.
typedef struct {
  int64_t batch, head, row, count, seen, whole; // `whole`: keys that all of them see
} Block;
static Block block_of(const Flash *f, int64_t b, int64_t h, int64_t i) {
  Block of = {.batch = b, .head = h, .row = i * QUERIES, .count = lesser(QUERIES, f->rows - i * QUERIES), .seen = f->keys, .whole = f->keys};
  if (f->causal) of.whole = lesser(f->keys, of.row / f->group + 1), of.seen = lesser(f->keys, (of.row + of.count - 1) / f->group + 1);
  return of;
}

// At every key that the mask hides from a query.
static void hide(const Flash *f, const Block *of, float *numbers, float number) {
  if (f->mask == NULL) return;
  for (int64_t r = 0; r < of->count; r++) {
    const uint8_t *seen = f->mask + of->batch * f->mask_step + (of->row + r) / f->group * f->keys;
    for (int64_t t = 0; t < of->seen; t++)
      if (!seen[t]) numbers[t * QUERIES + r] = number;
  }
}

// Rows of a block of queries as they lie and turned over, with zeros where there are none.
static void take_rows(const Flash *f, const Block *of, const FfiBuffer *from, int64_t size, int64_t padded, float *rows, float *columns) {
  for (int64_t r = 0; r < of->count; r++) widened(rows + r * padded, from, query_at(f, of->batch, of->head, of->row + r, size), size, padded);
  memset(rows + of->count * padded, 0, (size_t)((QUERIES - of->count) * padded) * sizeof(float));
  turned(columns, rows, padded);
}

// Scores and from them e^(score − maximum), with 1 / the sum of a query's: what it does not see for being later is 0.
static void shares(const Flash *f, const Parts *p, const Block *of, float *sums) {
  take_rows(f, of, f->q, f->size, f->padded_size, p->queries, p->turned_queries);
  multiply(&(Factors){.left = p->keys, .row = f->padded_size, .inner = 1, .right = p->turned_queries, .right_row = QUERIES, .into = p->scores, .into_row = QUERIES, .contracted = f->size}, of->seen, QUERIES);
  hide(f, of, p->scores, unseen);
  for (int c = 0; c < QUERIES; c += WIDTH) {
    WideInts place;
    for (int i = 0; i < WIDTH; i++) place[i] = (int32_t)((of->row + lesser(c + i, of->count - 1)) / f->group);
    float *scores = p->scores + c;
    Wide most = wide_all(-__builtin_inff()), sum = {0};
    for (int64_t t = 0; t < of->whole; t++) most = wide_larger(most, wide_load(scores + t * QUERIES));
    for (int64_t t = of->whole; t < of->seen; t++) most = wide_where((int32_t)t <= place, wide_larger(most, wide_load(scores + t * QUERIES)), most);
    for (int64_t t = 0; t < of->whole; t++) {
      const Wide e = wide_exp(wide_load(scores + t * QUERIES) - most);
      sum += e;
      wide_store(scores + t * QUERIES, e);
    }
    for (int64_t t = of->whole; t < of->seen; t++) {
      const Wide e = wide_where((int32_t)t <= place, wide_exp(wide_load(scores + t * QUERIES) - most), (Wide){0});
      sum += e;
      wide_store(scores + t * QUERIES, e);
    }
    wide_store(sums + c, 1.0f / sum);
  }
}

static Factors with_values(const Flash *f, const Parts *p, const Block *of) {
  return (Factors){.left = p->scores, .row = 1, .inner = QUERIES, .right = p->values, .right_row = f->padded_value, .into = p->result, .into_row = f->padded_value, .contracted = of->seen};
}

static void forward_piece(void *context, int64_t i) {
  const Flash *f = context;
  const int64_t part = i % f->parts, h = i / f->parts % f->heads, b = i / f->parts / f->heads;
  Parts p;
  if (!lay(f, &p, 0)) return;
  take_keys(f, &p, b, h);
  for (int64_t at = part; at < f->blocks; at += f->parts) {
    const Block of = block_of(f, b, h, at);
    float sums[QUERIES];
    shares(f, &p, &of, sums);
    const Factors taken = with_values(f, &p, &of);
    multiply(&taken, of.count, f->padded_value);
    for (int64_t r = 0; r < of.count; r++) {
      float *y = f->result + query_at(f, b, h, of.row + r, f->value);
      for (int64_t c = 0; c < f->value; c++) y[c] = p.result[r * f->padded_value + c] * sums[r];
    }
  }
}

// From shares and the slopes of the shares those of the scores: share · (slope − the query's mean of them).
static void slopes(const Flash *f, const Parts *p, const Block *of, const float *sums) {
  for (int c = 0; c < QUERIES; c += WIDTH) {
    const Wide one = wide_load(sums + c);
    Wide mean = {0};
    for (int64_t t = 0; t < of->seen; t++) {
      const Wide share = wide_load(p->scores + t * QUERIES + c) * one;
      wide_store(p->scores + t * QUERIES + c, share);
      mean += share * wide_load(p->slopes + t * QUERIES + c);
    }
    for (int64_t t = 0; t < of->seen; t++) wide_store(p->slopes + t * QUERIES + c, wide_load(p->scores + t * QUERIES + c) * (wide_load(p->slopes + t * QUERIES + c) - mean));
  }
  hide(f, of, p->slopes, 0);
}

static void backward_piece(void *context, int64_t i) {
  const Flash *f = context;
  const int64_t part = i % f->parts, h = i / f->parts % f->heads, b = i / f->parts / f->heads;
  const int64_t d = f->padded_size, e = f->padded_value;
  Parts p;
  if (!lay(f, &p, 1)) return;
  take_keys(f, &p, b, h);
  float *dk = p.dk, *dv = p.dv;
  if (f->partial != NULL) dk = f->partial + i * f->keys * (d + e), dv = dk + f->keys * d;
  memset(dk, 0, (size_t)(f->keys * d) * sizeof(float));
  memset(dv, 0, (size_t)(f->keys * e) * sizeof(float));
  for (int64_t at = part; at < f->blocks; at += f->parts) {
    const Block of = block_of(f, b, h, at);
    float sums[QUERIES];
    shares(f, &p, &of, sums);
    take_rows(f, &of, f->change, f->value, e, p.change, p.turned_change);
    multiply(&(Factors){.left = p.values, .row = e, .inner = 1, .right = p.turned_change, .right_row = QUERIES, .into = p.slopes, .into_row = QUERIES, .contracted = f->value}, of.seen, QUERIES);
    slopes(f, &p, &of, sums);
    multiply_add(&(Factors){.left = p.scores, .row = QUERIES, .inner = 1, .right = p.change, .right_row = e, .into = dv, .into_row = e, .contracted = of.count}, of.seen, e);
    multiply_add(&(Factors){.left = p.slopes, .row = QUERIES, .inner = 1, .right = p.queries, .right_row = d, .into = dk, .into_row = d, .contracted = of.count}, of.seen, d);
    multiply(&(Factors){.left = p.slopes, .row = 1, .inner = QUERIES, .right = p.keys, .right_row = d, .into = p.dq, .into_row = d, .contracted = of.seen}, of.count, d);
    const Factors taken = with_values(f, &p, &of);
    if (f->result != NULL) multiply(&taken, of.count, e);
    for (int64_t r = 0; r < of.count; r++) {
      memcpy(f->dq + query_at(f, b, h, of.row + r, f->size), p.dq + r * d, (size_t)f->size * sizeof(float));
      if (f->result != NULL) memcpy(f->result + query_at(f, b, h, of.row + r, f->value), p.result + r * e, (size_t)f->value * sizeof(float));
    }
  }
  if (f->partial != NULL) return;
  for (int64_t t = 0; t < f->keys; t++) {
    memcpy(f->dk + key_at(f, b, h, t, f->size), dk + t * d, (size_t)f->size * sizeof(float));
    memcpy(f->dv + key_at(f, b, h, t, f->value), dv + t * e, (size_t)f->value * sizeof(float));
  }
}

// What the parts of a head have found, in their order.
static void join_piece(void *context, int64_t i) {
  const Flash *f = context;
  const int64_t t = i % f->keys, h = i / f->keys % f->heads, b = i / f->keys / f->heads, whole = f->keys * (f->padded_size + f->padded_value);
  const float *from = f->partial + (b * f->heads + h) * f->parts * whole;
  float *dk = f->dk + key_at(f, b, h, t, f->size), *dv = f->dv + key_at(f, b, h, t, f->value);
  for (int64_t c = 0; c < f->size; c++) {
    float sum = 0;
    for (int64_t part = 0; part < f->parts; part++) sum += from[part * whole + t * f->padded_size + c];
    dk[c] = sum;
  }
  for (int64_t c = 0; c < f->value; c++) {
    float sum = 0;
    for (int64_t part = 0; part < f->parts; part++) sum += from[part * whole + f->keys * f->padded_size + t * f->padded_value + c];
    dv[c] = sum;
  }
}

static int like(const FfiBuffer *x, const FfiBuffer *of, int64_t last) {
  if (x->rank != of->rank || x->dims[x->rank - 1] != last) return 0;
  for (int i = 0; i < x->rank - 1; i++)
    if (x->dims[i] != of->dims[i]) return 0;
  return 1;
}

// What both calls take; undefined sizes are refused. `others` operands stand between the values and the mask, if there is one.
static const char *taken(const FfiFrame *frame, Flash *f, int others) {
  const FfiBuffers *in = &frame->arguments;
  if (in->count != 3 + others && in->count != 4 + others) return "flash attention takes queries, keys, values, for the gradient a change, and at most a mask";
  f->q = in->items[0], f->k = in->items[1], f->v = in->items[2], f->change = others > 0 ? in->items[3] : NULL;
  const FfiBuffer *mask = in->count == 4 + others ? in->items[3 + others] : NULL;
  for (int i = 0; i < 3 + others; i++) {
    const int dtype = ((const FfiBuffer *)in->items[i])->dtype;
    if (dtype != FFI_F32 && dtype != FFI_BF16 && dtype != FFI_F16) return "flash attention: no such dtypes";
  }
  if (f->q->rank != 5 || f->k->rank != 4 || f->v->rank != 4) return "flash attention: other dims";
  const int64_t *d = f->q->dims;
  f->batch = d[0], f->queries = d[1], f->heads = d[2], f->group = d[3], f->size = d[4], f->keys = f->k->dims[1], f->value = f->v->dims[3];
  if (f->k->dims[0] != d[0] || f->k->dims[2] != d[2] || f->k->dims[3] != d[4] || !like(f->v, f->k, f->value) || (f->change != NULL && !like(f->change, f->q, f->value))) return "flash attention: shapes do not fit";
  if (mask != NULL) {
    if (mask->dtype != FFI_PRED || mask->rank != 3 || (mask->dims[0] != 1 && mask->dims[0] != d[0]) || mask->dims[1] != d[1] || mask->dims[2] != f->keys) return "flash attention: the mask does not fit";
    f->mask = mask->data, f->mask_step = mask->dims[0] == 1 ? 0 : d[1] * f->keys;
  }
  f->causal = says(frame, "causal");
  f->padded_size = up_to(f->size, WIDTH), f->padded_value = up_to(f->value, WIDTH);
  f->rows = f->queries * f->group, f->blocks = (f->rows + QUERIES - 1) / QUERIES;
  const int64_t whole = f->batch * f->heads;
  // Few heads are done in parts, whatever threads there are.
  f->parts = whole == 0 || whole >= ENOUGH || f->blocks < 4 ? 1 : lesser((ENOUGH + whole - 1) / whole, f->blocks / 2);
  return NULL;
}

// Queries [b, s, h, g, d], keys [b, t, h, d] and values [b, t, h, e] of 32 or 16 bits, and what is seen [b or 1, s, t], give [b, s, h, g, e] of f32. The queries are scaled already.
MWK_EXPORT FfiError *mwk_flash_forward(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  atomic_int failed = 0;
  Flash f = {.failed = &failed};
  const char *wrong = taken(frame, &f, 0);
  if (wrong != NULL) return refuse(frame, wrong);
  const FfiBuffer *y = frame->results.count == 1 ? frame->results.items[0] : NULL;
  if (y == NULL || y->dtype != FFI_F32 || !like(y, f.q, f.value)) return refuse(frame, "flash attention: results do not fit");
  f.result = y->data;
  mwk_each(f.batch * f.heads * f.parts, forward_piece, &f);
  return atomic_load(&failed) ? refuse(frame, "flash attention: there is no memory for scores") : NULL;
}

// The same, and the cotangent [b, s, h, g, e] of what they gave: cotangents of queries, keys and values, and what they gave, where that is asked for.
MWK_EXPORT FfiError *mwk_flash_backward(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  atomic_int failed = 0;
  Flash f = {.failed = &failed};
  const char *wrong = taken(frame, &f, 1);
  if (wrong != NULL) return refuse(frame, wrong);
  const FfiBuffers *out = &frame->results;
  const FfiBuffer *const like_these[] = {f.q, f.k, f.v, f.q};
  const int64_t lasts[] = {f.size, f.size, f.value, f.value};
  if (out->count != 3 && out->count != 4) return refuse(frame, "flash attention: results do not fit");
  for (int i = 0; i < out->count; i++)
    if (((const FfiBuffer *)out->items[i])->dtype != FFI_F32 || !like(out->items[i], like_these[i], lasts[i])) return refuse(frame, "flash attention: results do not fit");
  f.dq = ((const FfiBuffer *)out->items[0])->data, f.dk = ((const FfiBuffer *)out->items[1])->data, f.dv = ((const FfiBuffer *)out->items[2])->data;
  f.result = out->count == 4 ? ((const FfiBuffer *)out->items[3])->data : NULL;
  const int64_t pieces = f.batch * f.heads * f.parts;
  if (f.parts > 1) {
    f.partial = malloc((size_t)(pieces * f.keys * (f.padded_size + f.padded_value)) * sizeof(float));
    if (f.partial == NULL) return refuse(frame, "flash attention: there is no memory for parts");
  }
  mwk_each(pieces, backward_piece, &f);
  if (f.partial != NULL) mwk_each(f.batch * f.heads * f.keys, join_piece, &f);
  free(f.partial);
  return atomic_load(&failed) ? refuse(frame, "flash attention: there is no memory for scores") : NULL;
}
