// Products of large matrices, as they lie. A tile of sums stays in registers, a strip of the right operand in the first cache and the rows of the left one in the second, both packed so that what is multiplied next
// lies next: words of 32 bits, a number of f32 or, where the machine multiplies such pairs, two of bf16 that follow one another along what is contracted; what is packed after them is fetched meanwhile. Every sum is made in one order, part by part along what is contracted: no bit depends on how the product is cut, or on how many threads compute it.
#include "call.h"
#include "pairs.h"
#include "product.h"
#include "share.h"
#include "taps.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

// Registers hold TALL × WIDE of sums, one row of a strip, and one number of the left operand. EACH does something for every row of sums, EACH_OF for every register of one. TURNS of the innermost loop are
// written out: where a turn is of few multiplications, what counts it takes as long as a part of them. Rows take EIGHTHS of the second cache. LATE: what is packed next is fetched beside the last tiles, not the first.
#if defined(__AVX512F__)
enum { WIDTH = 16, TALL = 14, WIDE = 2, TURNS = 1, EIGHTHS = 3, LATE = 0 };
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12) DO(13)
#define EACH_OF(r, DO) DO(r, 0) DO(r, 1)
#elif defined(__AVX2__)
enum { WIDTH = 8, TALL = 6, WIDE = 2, TURNS = 4, EIGHTHS = 6, LATE = 1 };
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define EACH_OF(r, DO) DO(r, 0) DO(r, 1)
#elif defined(__aarch64__)
enum { WIDTH = 4, TALL = 6, WIDE = 4, TURNS = 1, EIGHTHS = 3, LATE = 0 };
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define EACH_OF(r, DO) DO(r, 0) DO(r, 1) DO(r, 2) DO(r, 3)
#else
enum { WIDTH = 4, TALL = 2, WIDE = 4, TURNS = 1, EIGHTHS = 3, LATE = 0 };
#define EACH(DO) DO(0) DO(1)
#define EACH_OF(r, DO) DO(r, 0) DO(r, 1) DO(r, 2) DO(r, 3)
#endif
typedef float Register __attribute__((vector_size(4 * WIDTH)));
typedef float LooseRegister __attribute__((vector_size(4 * WIDTH), aligned(4)));
// DEEP words of what is contracted at a time; a strip is STRIP columns wide. FIRST strips are packed before the rows are, beside which they are then computed. Rows that lie FAR or more apart share few places
// of the caches. Of a tile's rows, where they are packed, numbers of one row lie together and rows APART, or those of one column, each column BEHIND the last one; a tile has a PLACE.
enum { STRIP = WIDE * WIDTH, DEEP = 256, FIRST = 3, MOST_COLUMNS = 1024, MOST_ROWS = 512, FAR = 512, APART = DEEP + LANES, BEHIND = TALL > 8 ? 16 : TALL, PLACE = (TALL * APART > DEEP * BEHIND ? TALL * APART : DEEP * BEHIND) + 2 * LANES, LINE = 64 };
// Multiplications of a piece that is worth a thread.
static const int64_t worth = 4 << 20;

// Memory of a thread, kept for its next call.
typedef struct {
  float strips[FIRST * DEEP * STRIP];
  float rows[(MOST_ROWS / TALL + 1) * PLACE]; // the left operand's, tile by tile
  float columns[STRIP * APART];               // the right operand's of a strip, where they lie together
  float sums[MOST_ROWS * (MOST_COLUMNS + LANES)];
} Room;

static pthread_key_t kept;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void make_key(void) { pthread_key_create(&kept, free); }
static Room *room(void) {
  pthread_once(&once, make_key);
  Room *found = pthread_getspecific(kept);
  if (found != NULL) return found;
  void *made = NULL;
  if (posix_memalign(&made, 64, sizeof(Room)) != 0) return NULL;
  pthread_setspecific(kept, made);
  return made;
}

// Sixteen numbers, or as many as there are before the matrix ends.
static inline Vec load_within(const Matrix *x, int64_t at) {
  const int64_t bytes = bytes_of(x->dtype), there = x->count - at;
  if (there >= LANES) return load_stored(x->data + at * bytes, x->dtype);
  char rest[4 * LANES] = {0};
  memcpy(rest, x->data + at * bytes, (size_t)(there * bytes));
  return load_stored(rest, x->dtype);
}

typedef float Four __attribute__((vector_size(16)));
typedef float LooseFour __attribute__((vector_size(16), aligned(4)));
typedef float Eight __attribute__((vector_size(32)));
typedef float LooseEight __attribute__((vector_size(32), aligned(4)));
// Of eight rows four numbers each become four rows of eight.
static inline void turn(const float *from, int64_t apart, float *into, int64_t into_apart) {
  Eight r[4], s[4];
  for (int i = 0; i < 4; i++) {
    const Four low = (Four)*(const LooseFour *)(const void *)(from + i * apart), high = (Four)*(const LooseFour *)(const void *)(from + (i + 4) * apart);
    r[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
  }
  s[0] = __builtin_shufflevector(r[0], r[1], 0, 8, 1, 9, 4, 12, 5, 13), s[1] = __builtin_shufflevector(r[0], r[1], 2, 10, 3, 11, 6, 14, 7, 15);
  s[2] = __builtin_shufflevector(r[2], r[3], 0, 8, 1, 9, 4, 12, 5, 13), s[3] = __builtin_shufflevector(r[2], r[3], 2, 10, 3, 11, 6, 14, 7, 15);
  *(LooseEight *)(void *)into = (LooseEight)__builtin_shufflevector(s[0], s[2], 0, 1, 8, 9, 4, 5, 12, 13);
  *(LooseEight *)(void *)(into + into_apart) = (LooseEight)__builtin_shufflevector(s[0], s[2], 2, 3, 10, 11, 6, 7, 14, 15);
  *(LooseEight *)(void *)(into + 2 * into_apart) = (LooseEight)__builtin_shufflevector(s[1], s[3], 0, 1, 8, 9, 4, 5, 12, 13);
  *(LooseEight *)(void *)(into + 3 * into_apart) = (LooseEight)__builtin_shufflevector(s[1], s[3], 2, 3, 10, 11, 6, 7, 14, 15);
}

#if defined(PAIRS)
static inline const char *halves_within(const Matrix *x, int64_t at, char *rest) {
  const int64_t there = x->count - at;
  if (there >= LANES) return x->data + at * 2;
  memset(rest, 0, 2 * LANES);
  memcpy(rest, x->data + at * 2, (size_t)(there * 2));
  return rest;
}
static void strip_of_pairs(const Matrix *b, int64_t k, int64_t numbers, int64_t n, int64_t end, float *into) {
  for (int64_t i = 0; i < numbers; i += 2) {
    const char *from[2] = {b->data + ((k + i) * b->down + n) * 2, i + 1 < numbers ? b->data + ((k + i + 1) * b->down + n) * 2 : NULL};
    float *to = into + i / 2 * STRIP;
    int64_t left = end - n;
    for (; left >= STRIP; left -= STRIP, to += STRIP * ((numbers + 1) / 2))
      for (int v = 0; v < STRIP; v += LANES) {
        pair(from[0], from[1], to + v);
        from[0] += 2 * LANES;
        if (from[1] != NULL) from[1] += 2 * LANES;
      }
    if (left == 0) continue;
    char rest[2][2 * STRIP] = {{0}};
    for (int j = 0; j < 2; j++) if (from[j] != NULL) memcpy(rest[j], from[j], (size_t)left * 2);
    for (int v = 0; v < STRIP; v += LANES) pair(rest[0] + 2 * v, rest[1] + 2 * v, to + v);
  }
}
#endif

// Strips of the right operand: of `numbers` rows from `k` on the columns from `n` to `end`, strip behind strip, in each row behind row of words, and zeros where the last one is wider.
static void strips(const Matrix *b, int64_t k, int64_t numbers, int64_t n, int64_t end, int pairs, float *columns, float *into) {
  const int64_t bytes = bytes_of(b->dtype), deep = pairs ? (numbers + 1) / 2 : numbers;
#if defined(PAIRS)
  if (b->along == 1 && pairs) {
    strip_of_pairs(b, k, numbers, n, end, into);
    return;
  }
#endif
  if (b->along == 1) {
    // Row by row, as they lie, into all strips.
    for (int64_t i = 0; i < deep; i++) {
      const char *from = b->data + ((k + i) * b->down + n) * bytes;
      float *to = into + i * STRIP;
      int64_t left = end - n;
      for (; left >= STRIP; left -= STRIP, from += STRIP * bytes, to += STRIP * deep)
        for (int v = 0; v < STRIP; v += LANES) store_f32(to + v, load_stored(from + v * bytes, b->dtype));
      if (left > 0) memset(to, 0, STRIP * sizeof(float)), widen(from, left, b->dtype, to);
    }
    return;
  }
  const int64_t fours = (deep + 3) / 4 * 4;
  for (; n < end; n += STRIP, into += STRIP * deep) {
    const int64_t count = lesser(STRIP, end - n);
    const float *from = columns;
    int64_t apart = APART;
    // Columns of words are read where they are, if they are all there, to the last four.
    const int whole = pairs ? numbers % 2 == 0 && b->along % 2 == 0 : b->dtype == FFI_F32;
    if (whole && count == STRIP && fours == deep) from = (const float *)(const void *)(b->data + (n * b->along + k) * bytes), apart = pairs ? b->along / 2 : b->along;
    else
      for (int64_t j = 0; j < STRIP; j++) {
#if defined(PAIRS)
        if (j < count && pairs) {
          memset(columns + j * APART + deep, 0, (size_t)(fours - deep) * sizeof(float));
          pairs_of(b->data + ((n + j) * b->along + k) * 2, numbers, columns + j * APART);
          continue;
        }
#endif
        if (j < count) widen(b->data + ((n + j) * b->along + k) * bytes, deep, b->dtype, columns + j * APART);
        else memset(columns + j * APART, 0, (size_t)fours * sizeof(float));
      }
    float last[4 * STRIP];
    for (int64_t i = 0; i < fours; i += 4) {
      const int fits = i + 4 <= deep;
      for (int64_t j = 0; j < STRIP; j += 8) turn(from + j * apart + i, apart, (fits ? into + i * STRIP : last) + j, STRIP);
      if (!fits) memcpy(into + i * STRIP, last, (size_t)(deep - i) * STRIP * sizeof(float));
    }
  }
}

// What comes nearer while a tile is computed: so many lines in each of sixteen turns, `step` from one to the next, and `hop` from those of one turn to those of the next; and the sums of another tile.
typedef struct {
  const char *from;
  int64_t hop, step, lines;
  const float *out;
} Ahead;

// A row of sums lies in two lines, or in three where it is longer than one.
#define FETCH_SUMS(row) __builtin_prefetch(row, 1, 3), STRIP * 4 > LINE ? __builtin_prefetch(row + STRIP / 2, 1, 3) : (void)0, __builtin_prefetch(row + STRIP - 1, 1, 3)
// Sums of a tile of `rows`: as they are, or upon what there was of them. Each is a variable of its own: an array of them would go through memory.
static inline __attribute__((always_inline)) void tile(const float *a, int64_t down, int64_t along, const float *b, int64_t deep, float *out, int64_t apart, int64_t count, int first, const Ahead *ahead, int rows, int pairs) {
#define NONE_OF(r, v) Register sum_##r##_##v = {0};
#define NONE(r) EACH_OF(r, NONE_OF)
  EACH(NONE)
  (void)pairs; // which not all machines multiply
  const float *later = ahead->out;
  int64_t i = 0;
  for (int64_t row = 0; i < deep; row++) {
    // A few lines at a time, so that there is always room for what the tile itself reads.
    if (row < rows) FETCH_SUMS(later), later += apart;
    const char *from = ahead->from + row * ahead->hop;
    for (int64_t line = 0; line < ahead->lines; line++, from += ahead->step) __builtin_prefetch(from, 0, 2);
    const int64_t until = lesser(i + 16, deep);
#pragma GCC unroll TURNS
    for (; i < until; i++) {
      Register of[WIDE];
      for (int v = 0; v < WIDE; v++) of[v] = *(const Register *)(const void *)(b + i * STRIP + v * WIDTH);
#if defined(PAIRS)
#define ADD_OF(r, v) sum_##r##_##v = pairs ? (Register)_mm512_dpbf16_ps((__m512)sum_##r##_##v, (__m512bh)x, (__m512bh)of[v]) : sum_##r##_##v + x * of[v];
#else
#define ADD_OF(r, v) sum_##r##_##v += x * of[v];
#endif
#define ADD(r)                                                                           \
  if (r < rows) {                                                                        \
    const Register x = a[r * down + i * along] - (Register){0}; /* the same everywhere */ \
    EACH_OF(r, ADD_OF)                                                                   \
  }
      EACH(ADD)
    }
  }
  if (count == STRIP) {
#define STORE_OF(r, v)                                                          \
  {                                                                             \
    LooseRegister *at = (LooseRegister *)(void *)(out + r * apart + v * WIDTH); \
    *at = (LooseRegister)(first ? sum_##r##_##v : sum_##r##_##v + (Register)*at); \
  }
#define STORE(r) if (r < rows) { EACH_OF(r, STORE_OF) }
    EACH(STORE)
    return;
  }
  float found[TALL * STRIP];
#define KEEP_OF(r, v) memcpy(found + r * STRIP + v * WIDTH, &sum_##r##_##v, sizeof(Register));
#define KEEP(r) EACH_OF(r, KEEP_OF)
  EACH(KEEP)
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < count; j++) out[r * apart + j] = first ? found[r * STRIP + j] : out[r * apart + j] + found[r * STRIP + j];
}

typedef void Tile(const float *a, int64_t down, int64_t along, const float *b, int64_t deep, float *out, int64_t apart, int64_t count, int first, const Ahead *ahead);
// The compiler knows how many rows there are, and which way the left operand lies.
#define TILE(rows)                                                                                                                                                     \
  static void tile_##rows(const float *a, int64_t down, int64_t along, const float *b, int64_t deep, float *out, int64_t apart, int64_t count, int first, const Ahead *ahead) { \
    if (along == 1 && down == APART) tile(a, APART, 1, b, deep, out, apart, count, first, ahead, rows, 0);                                                             \
    else if (along == 1) tile(a, down, 1, b, deep, out, apart, count, first, ahead, rows, 0);                                                                          \
    else tile(a, 1, along, b, deep, out, apart, count, first, ahead, rows, 0);                                                                                         \
  }
TILE(1) TILE(2)
#if defined(__AVX512F__) || defined(__AVX2__) || defined(__aarch64__)
TILE(3) TILE(4) TILE(5) TILE(6)
#endif
#if defined(__AVX512F__)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
static Tile *const tiles[TALL + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6, tile_7, tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14};
#elif defined(__AVX2__) || defined(__aarch64__)
static Tile *const tiles[TALL + 1] = {NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6};
#else
static Tile *const tiles[TALL + 1] = {NULL, tile_1, tile_2};
#endif
#if defined(PAIRS)
// Of pairs, which are always packed.
#define PAIRS_TILE(rows)                                                                                                                                               \
  static void pairs_##rows(const float *a, int64_t down, int64_t along, const float *b, int64_t deep, float *out, int64_t apart, int64_t count, int first, const Ahead *ahead) { \
    (void)down;                                                                                                                                                        \
    if (along == 1) tile(a, APART, 1, b, deep, out, apart, count, first, ahead, rows, 1);                                                                              \
    else tile(a, 1, BEHIND, b, deep, out, apart, count, first, ahead, rows, 1);                                                                                        \
  }
PAIRS_TILE(1) PAIRS_TILE(2) PAIRS_TILE(3) PAIRS_TILE(4) PAIRS_TILE(5) PAIRS_TILE(6) PAIRS_TILE(7) PAIRS_TILE(8) PAIRS_TILE(9) PAIRS_TILE(10) PAIRS_TILE(11) PAIRS_TILE(12) PAIRS_TILE(13) PAIRS_TILE(14)
static Tile *const pair_tiles[TALL + 1] = {NULL, pairs_1, pairs_2, pairs_3, pairs_4, pairs_5, pairs_6, pairs_7, pairs_8, pairs_9, pairs_10, pairs_11, pairs_12, pairs_13, pairs_14};
#else
#define pair_tiles tiles
#endif

// Whether the left operand's rows are packed, as f32 and near one another: where they are not so already, or few strips are worth it.
static int is_packed(const Matrix *a, int64_t strips) {
  return a->dtype != FFI_F32 || ((a->along == 1 ? a->down : a->along) >= FAR && strips > 2);
}
static void pack(const Matrix *a, int64_t m, int64_t rows, int64_t k, int64_t deep, int pairs, float *into) {
#if defined(PAIRS)
  if (pairs) {
    if (a->along == 1)
      for (int64_t r = 0; r < rows; r++) pairs_of(a->data + ((m + r) * a->down + k) * 2, deep, into + r * APART);
    else
      for (int64_t i = 0; i < deep; i += 2) {
        char rest[2][2 * LANES];
        const int64_t at = m + (k + i) * a->along;
        pair(halves_within(a, at, rest[0]), i + 1 < deep ? halves_within(a, at + a->along, rest[1]) : NULL, into + i / 2 * BEHIND);
      }
    return;
  }
#endif
  (void)pairs;
  if (a->along == 1)
    for (int64_t r = 0; r < rows; r++) widen(a->data + ((m + r) * a->down + k) * bytes_of(a->dtype), deep, a->dtype, into + r * APART);
  else // Sixteen numbers are written, or a register of them, and what is too much of them by what comes next.
    for (int64_t i = 0; i < deep; i++) {
      const int64_t at = m + (k + i) * a->along;
      if (a->dtype == FFI_F32 && WIDTH >= TALL && a->count - at >= WIDTH) *(LooseRegister *)(void *)(into + i * BEHIND) = *(const LooseRegister *)(const void *)((const float *)(const void *)a->data + at);
      else store_f32(into + i * BEHIND, load_within(a, at));
    }
}

// The same of what lies under windows.
static void pack_windows(const Product *p, int64_t m, int64_t rows, int64_t k, int64_t deep, float *into) {
  const Matrix *a = &p->left;
  const int64_t bytes = bytes_of(a->dtype);
  for (int64_t r = 0; r < rows; r++) {
    float *row = into + r * APART;
    if (a->dtype == FFI_F32 || p->pairs) {
      under_window(p->taps, a->data, bytes, m + r, k, deep, (char *)row);
      if (p->pairs && deep % 2 == 1) memset((char *)row + deep * bytes, 0, (size_t)bytes);
      continue;
    }
    char stored[2 * DEEP];
    under_window(p->taps, a->data, bytes, m + r, k, deep, stored);
    widen(stored, deep, a->dtype, row);
  }
}

// What the tile behind is packed of, in as many calls as there are parts: 1 where rows lie, and 2 of columns, of which sixteen numbers each are read.
static Ahead rows_ahead(const Matrix *a, int64_t m, int64_t k, int64_t part, int pairs) {
  const int64_t bytes = bytes_of(a->dtype), next = (a->along == 1 ? a->down : a->along) * bytes;
  const char *from = a->data + (m * a->down + k * a->along) * bytes;
  if (a->along == 1) return (Ahead){.from = from + part * 8 * LINE, .hop = next, .step = LINE, .lines = 8};
  if (pairs) return (Ahead){.from = from + part * 16 * next, .hop = 32 * next, .step = next, .lines = 16};
  return (Ahead){.from = from + part * (LINE - 4), .hop = 16 * next, .step = next, .lines = 16};
}
// What strips are packed of, in as many calls as there are parts: sixteen rows each, or of pairs twice as many where a line holds a row, or two columns.
static Ahead strips_ahead(const Matrix *b, int64_t k, int64_t deep, int64_t n, int64_t columns, int64_t part, int pairs) {
  const int64_t bytes = bytes_of(b->dtype), next = (b->along == 1 ? b->down : b->along) * bytes;
  const char *from = b->data + (k * b->down + n * b->along) * bytes;
  if (b->along == 1 && pairs && columns * bytes <= LINE) return (Ahead){.from = from + part * 32 * next, .hop = 2 * next, .step = next, .lines = part * 32 < deep ? 2 : 0};
  if (b->along == 1) return (Ahead){.from = from + part * 16 * next, .hop = next, .step = LINE, .lines = part * 16 < deep ? (columns * bytes + LINE - 1) / LINE : 0};
  return (Ahead){.from = from + part * 2 * next, .hop = LINE, .step = next, .lines = lesser(2, columns - part * 2)};
}

static void piece(void *context, int64_t i) {
  const Product *p = context;
  Room *r = room();
  if (r == NULL) {
    atomic_store(p->failed, 1);
    return;
  }
  const int64_t batch = i / (p->down * p->across), row = i / p->across % p->down, column = i % p->across;
  const int64_t m0 = row * p->tall, m1 = lesser(m0 + p->tall, p->m), n0 = column * p->wide, n1 = lesser(n0 + p->wide, p->n);
  Matrix a = p->left, b = p->right;
  a.data += batch * p->left_next * bytes_of(a.dtype), b.data += batch * p->right_next * bytes_of(b.dtype);
  // Halves whose sums are made in one part are rounded tile by tile; of others the sums wait until they are whole.
  const int pairs = p->pairs, whole = p->out_dtype == FFI_F32, once = !whole && p->k <= DEEP << pairs;
  char *out = p->out + (batch * p->m * p->n + m0 * p->n + n0) * bytes_of(p->out_dtype);
  float *sums = whole ? (float *)(void *)out : r->sums;
  const int64_t apart = whole ? p->n : once ? STRIP : MOST_COLUMNS + LANES, count = (m1 - m0 + TALL - 1) / TALL;
  const int packed = pairs || p->taps != NULL || is_packed(&a, (n1 - n0 + STRIP - 1) / STRIP);
  const int64_t early = LATE && count > 16 ? count - 16 : 0; // tiles before what comes next is fetched
  const int64_t down = packed ? APART : a.down, along = a.along == 1 ? 1 : packed ? BEHIND : a.along;
  for (int64_t k = 0; k < p->k; k += DEEP << pairs) {
    const int64_t numbers = lesser(DEEP << pairs, p->k - k), deep = pairs ? (numbers + 1) / 2 : numbers;
    for (int64_t n = n0, end; n < n1; n = end) {
      end = lesser(n + (n == n0 ? FIRST : 1) * STRIP, n1);
      strips(&b, k, numbers, n, end, pairs, r->columns, r->strips);
      // What is packed after them: the strip behind, or those that the next part of what is contracted begins with.
      const int more = end < n1;
      const int64_t next = more ? end : n0, next_k = more ? k : k + numbers, next_deep = more ? numbers : lesser(DEEP << pairs, p->k - next_k), next_end = lesser(next + (more ? 1 : FIRST) * STRIP, n1);
      // Tiles of nearly as many rows each: one of few would wait for its own sums.
      for (int64_t t = 0; t < count; t++) {
        const int64_t from = (m1 - m0) * t / count, to = (m1 - m0) * (t + 1) / count;
        float *near = r->rows + t * PLACE;
        if (n == n0 && p->taps != NULL) pack_windows(p, m0 + from, to - from, k, numbers, near);
        else if (packed && n == n0) pack(&a, m0 + from, to - from, k, numbers, pairs, near);
        const float *x = packed ? near : (const float *)(const void *)a.data + (m0 + from) * a.down + k * a.along;
        for (int64_t s = n; s < end; s += STRIP) {
          const int64_t part = (s - n) / STRIP;
          Ahead ahead = n == n0 && part < 2 && t + 1 < count && p->taps == NULL ? rows_ahead(&a, m0 + to, k, part, pairs) : s + STRIP >= end && t >= early ? strips_ahead(&b, next_k, next_deep, next, next_end - next, t - early, pairs) : (Ahead){.from = (const char *)x};
          ahead.out = once ? sums : sums + (s + STRIP < end ? from * apart + s + STRIP - n0 : t + 1 < count ? to * apart + n - n0 : next - n0);
          const int64_t columns = lesser(STRIP, n1 - s);
          (pairs ? pair_tiles : tiles)[to - from](x, down, along, r->strips + (s - n) * deep, deep, once ? sums : sums + from * apart + s - n0, apart, columns, k == 0, &ahead);
          for (int64_t j = from; once && j < to; j++) narrow(sums + (j - from) * STRIP, columns, p->out_dtype, out + (j * p->n + s - n0) * 2);
        }
      }
    }
  }
  if (!whole && !once)
    for (int64_t j = 0; j < m1 - m0; j++) narrow(sums + j * apart, n1 - n0, p->out_dtype, out + j * p->n * 2);
}

int mwk_multiplies(int dtype) { return dtype == FFI_F32 || dtype == FFI_BF16 || dtype == FFI_F16; }

// So many rows leave the second cache room for what is read and written beside them.
static int64_t tallest(void) {
  const long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
  const int64_t fit = (cache <= 0 ? 1 << 20 : cache) * EIGHTHS / 8 / (DEEP * (int64_t)sizeof(float));
  return fit < 96 ? 96 : lesser(fit, MOST_ROWS);
}
// Into how many pieces of at most so many.
static int64_t parts_of(int64_t n, int64_t most) { return (n + most - 1) / most; }
// Two pieces a thread, as alike as they can be, unless they would be worth no thread or not fit the cache: each packs its operands by itself, so small pieces pack them again and again.
static void cut(Product *p, int64_t threads) {
  int64_t down = parts_of(p->m, tallest()), across = parts_of(p->n, MOST_COLUMNS);
  const int64_t wanted = threads > 1 ? threads * 2 : 1;
  while (down * across < wanted && p->m * p->n / (down * across) * p->k > 2 * worth) {
    const int64_t tall = p->m / down, wide = p->n / across;
    if (wide >= tall && wide >= 2 * STRIP) across++;
    else if (tall >= 2 * TALL) down++;
    else break;
  }
  while (threads > 1 && down * across > threads && down * across % threads != 0) across++;
  p->tall = parts_of(p->m, down), p->wide = parts_of(parts_of(p->n, across), STRIP) * STRIP;
  p->down = parts_of(p->m, p->tall), p->across = parts_of(p->n, p->wide);
}

FfiError *mwk_multiply(const FfiFrame *frame, Product *p, int64_t batch) {
  if (batch * p->m * p->n == 0) return NULL;
  if (p->k == 0) return memset(p->out, 0, (size_t)(batch * p->m * p->n * bytes_of(p->out_dtype))), NULL;
  atomic_int failed = 0;
  p->failed = &failed;
  p->pairs = has_pairs() && p->left.dtype == FFI_BF16 && p->right.dtype == FFI_BF16;
  cut(p, mwk_threads(frame));
  mwk_share(frame, batch * p->down * p->across, piece, p);
  return atomic_load(&failed) ? refuse(frame, "product: out of memory") : NULL;
}

// The place in a stack that the operand names; `count` where it is none.
static int64_t place(const FfiBuffer *index, int64_t count) {
  const int64_t at = *(const int32_t *)index->data;
  return at < 0 ? 0 : at >= count ? count - 1 : at;
}

// [b, m, k], or [b, k, m] where left_turned, and [b, k, n], or [b, n, k] where right_turned, give [b, m, n]. Of an operand that is a stack (left_stack, right_stack) a further one names the place, and b is 1. So it is
// where the result is written into a stack (out_stack): of two more operands the first one names the place, and the second one is the stack, which the result takes over. Its rows and columns may be several dims each:
// XLA would copy the whole of a stack that a reshape stands before.
MWK_EXPORT FfiError *mwk_product(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  const int64_t turned[2] = {says(frame, "left_turned"), says(frame, "right_turned")}, stack[2] = {says(frame, "left_stack"), says(frame, "right_stack")}, into = says(frame, "out_stack");
  if (in->count != 2 + stack[0] + stack[1] + 2 * into || out->count != 1) return refuse(frame, "product takes two operands, and a place for each that is a stack");
  const FfiBuffer *x = in->items[0], *w = in->items[1], *y = out->items[0];
  if (x->rank != 3 || w->rank != 3 || (into ? y->rank < 1 : y->rank != 3)) return refuse(frame, "product takes three dims");
  if (!mwk_multiplies(x->dtype) || !mwk_multiplies(w->dtype) || !mwk_multiplies(y->dtype)) return refuse(frame, "product: no such dtypes");
  const int64_t batch = into ? 1 : y->dims[0], m = x->dims[turned[0] ? 2 : 1], n = w->dims[turned[1] ? 1 : 2], k = x->dims[turned[0] ? 1 : 2];
  int64_t matrix = 1;
  for (int i = 1; i < y->rank; i++) matrix *= y->dims[i];
  if (w->dims[turned[1] ? 2 : 1] != k || matrix != m * n || (!into && y->dims[1] != m)) return refuse(frame, "product: shapes do not fit");
  Product p = {
    .left = {.data = x->data, .down = turned[0] ? 1 : k, .along = turned[0] ? m : 1, .count = m * k, .dtype = x->dtype},
    .right = {.data = w->data, .down = turned[1] ? 1 : n, .along = turned[1] ? k : 1, .count = k * n, .dtype = w->dtype},
    .left_next = m * k, .right_next = k * n, .out = y->data, .m = m, .n = n, .k = k, .out_dtype = y->dtype,
  };
  const FfiBuffer *operands[2] = {x, w};
  Matrix *matrices[2] = {&p.left, &p.right};
  for (int i = 0, next = 2; i < 2; i++) {
    if (!stack[i]) {
      if (operands[i]->dims[0] != batch) return refuse(frame, "product: shapes do not fit");
      continue;
    }
    const FfiBuffer *index = in->items[next++];
    if (batch != 1 || index->dtype != FFI_S32) return refuse(frame, "product: the place in a stack is no i32, or there are several products");
    matrices[i]->data += place(index, operands[i]->dims[0]) * matrices[i]->count * bytes_of(operands[i]->dtype);
  }
  if (into) {
    const FfiBuffer *index = in->items[in->count - 2], *filled = in->items[in->count - 1];
    if (index->dtype != FFI_S32 || filled->data != y->data) return refuse(frame, "product: the place in a stack is no i32, or the stack is not the result's");
    p.out += place(index, y->dims[0]) * m * n * bytes_of(y->dtype);
  }
  return mwk_multiply(frame, &p, batch);
}
