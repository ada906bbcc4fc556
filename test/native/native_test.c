// Checks the C library without XLA: every handler × dtype × kind × mesh against plain loops, and how a stuck job ends.
// mpirun -n 4 native_test all | some | threads | big | MODE RANK; `some` has a third of the dtypes on each mesh, in turn, wherever collectives are cut into pieces or ranks wait
// as they would not by themselves. Of MODE, that rank, after one collective, is
//   stuck (stopped), killed, absent (asleep), parted (in another collective), unclosed (stopped before mw_close): the job must end
//   aside (stopped while the others have one under way beside their program)
//   slow (within the limit), patient (asleep while others wait in a host-level barrier): it must end well
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "fake.h"

static void fail_at(int line, const char *text, const char *more) {
  fprintf(stderr, "native_test.c:%d: rank %d: %s %s\n", line, mw_rank(), text, more);
  mw_abort(1);
}
#define NEED(ok, text, more) do { if (!(ok)) fail_at(__LINE__, text, more); } while (0)

static const struct Dtype {
  const char *name;
  int32_t code;
  size_t bytes;
} dtypes[] = {{"f32", FFI_F32, 4}, {"f64", FFI_F64, 8}, {"bf16", FFI_BF16, 2}, {"f16", FFI_F16, 2}, {"s8", FFI_S8, 1}, {"s16", FFI_S16, 2}, {"s32", FFI_S32, 4},
              {"s64", FFI_S64, 8}, {"u8", FFI_U8, 1}, {"u16", FFI_U16, 2}, {"u32", FFI_U32, 4}, {"u64", FFI_U64, 8}, {"pred", FFI_PRED, 1}};
enum { DTYPES = sizeof dtypes / sizeof dtypes[0] };

// Slow conversions by arithmetic, written apart from the library's.
static double half_value(uint16_t h, int mantissa_bits, int bias) {
  const int exponent = (h >> mantissa_bits) & (0x7fff >> mantissa_bits), mantissa = h & ((1 << mantissa_bits) - 1), top = 0x7fff >> mantissa_bits;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == top) return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? ldexp(mantissa, 1 - bias - mantissa_bits) : ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits));
}
static uint16_t half_of(double v, int mantissa_bits, int bias) {
  const uint16_t sign = signbit(v) ? 0x8000 : 0, top = (uint16_t)((0x7fff >> mantissa_bits) << mantissa_bits);
  if (isnan(v)) return top | 1;
  if (v == 0) return sign;
  v = fabs(v);
  int exponent = 0;
  frexp(v, &exponent);
  if (exponent < 2 - bias) exponent = 2 - bias;
  const double rounded = nearbyint(ldexp(v, mantissa_bits + 1 - exponent));
  const double bits = rounded + (double)((int64_t)(exponent - 2 + bias) << mantissa_bits);
  return isinf(v) || bits >= top ? sign | top : sign | (uint16_t)bits;
}

static double get(const struct Dtype *t, const void *p, int64_t i) {
  switch (t->code) {
    case FFI_F32: return ((const float *)p)[i];
    case FFI_F64: return ((const double *)p)[i];
    case FFI_BF16: return half_value(((const uint16_t *)p)[i], 7, 127);
    case FFI_F16: return half_value(((const uint16_t *)p)[i], 10, 15);
    case FFI_S8: return ((const int8_t *)p)[i];
    case FFI_S16: return ((const int16_t *)p)[i];
    case FFI_S32: return ((const int32_t *)p)[i];
    case FFI_S64: return (double)((const int64_t *)p)[i];
    case FFI_U16: return ((const uint16_t *)p)[i];
    case FFI_U32: return ((const uint32_t *)p)[i];
    case FFI_U64: return (double)((const uint64_t *)p)[i];
    default: return ((const uint8_t *)p)[i];
  }
}
static void put(const struct Dtype *t, void *p, int64_t i, double v) {
  switch (t->code) {
    case FFI_F32: ((float *)p)[i] = (float)v; break;
    case FFI_F64: ((double *)p)[i] = v; break;
    case FFI_BF16: ((uint16_t *)p)[i] = half_of(v, 7, 127); break;
    case FFI_F16: ((uint16_t *)p)[i] = half_of(v, 10, 15); break;
    case FFI_S8: ((int8_t *)p)[i] = (int8_t)v; break;
    case FFI_S16: ((int16_t *)p)[i] = (int16_t)v; break;
    case FFI_S32: ((int32_t *)p)[i] = (int32_t)v; break;
    case FFI_S64: ((int64_t *)p)[i] = (int64_t)v; break;
    case FFI_U16: ((uint16_t *)p)[i] = (uint16_t)v; break;
    case FFI_U32: ((uint32_t *)p)[i] = (uint32_t)v; break;
    case FFI_U64: ((uint64_t *)p)[i] = (uint64_t)v; break;
    default: ((uint8_t *)p)[i] = (uint8_t)v;
  }
}

// Small whole numbers, so that sums are exact in every dtype; the same on every rank that asks.
static double value(const struct Dtype *t, int rank, int64_t i) {
  const uint32_t mixed = (uint32_t)(i * 2654435761u) ^ (uint32_t)(rank * 40503u + 7u);
  const int x = (int)((mixed >> 7) % 25u);
  if (t->code == FFI_PRED) return x % 3 == 0;
  return t->name[0] == 'u' ? x : x - 12;
}
// Products of small numbers outgrow 8 and 16 bits, where they wrap around.
static double product(const struct Dtype *t, double a, double b) {
  if (t->code == FFI_S8) return (int8_t)(a * b);
  if (t->code == FFI_U8) return (uint8_t)(a * b);
  if (t->code == FFI_U16) return (uint16_t)(a * b);
  return a * b;
}
static double combine(const struct Dtype *t, int kind, double a, double b) {
  if (t->code == FFI_PRED) return kind >= 2 ? a * b : a + b > 0;
  if (kind == 3) return product(t, a, b);
  return kind == 0 ? a + b : kind == 1 ? (a > b ? a : b) : a < b ? a : b;
}

typedef struct {
  const char *name;
  int64_t mesh[3], axes[3];
  size_t mesh_count, axis_count;
} Layout;
static const Layout layouts[2][8] = {
    {{"2", {2}, {0}, 1, 1}, {"2,1 over 1", {2, 1}, {1}, 2, 1}, {"1,2 over 1,0", {1, 2}, {1, 0}, 2, 2}, {"2 over none", {2}, {0}, 1, 0}},
    {{"4", {4}, {0}, 1, 1}, {"2,2 over 0", {2, 2}, {0}, 2, 1}, {"2,2 over 1", {2, 2}, {1}, 2, 1}, {"2,2 over 0,1", {2, 2}, {0, 1}, 2, 2},
     {"2,2 over 1,0", {2, 2}, {1, 0}, 2, 2}, {"2,1,2 over 2,0", {2, 1, 2}, {2, 0}, 3, 2}, {"4,1 over 1", {4, 1}, {1}, 2, 1}, {"2,2 over none", {2, 2}, {0}, 2, 0}}};

// The ranks of my group by part, by trying every rank.
static int group_of(const Layout *l, int *ranks, int *part) {
  int size = 1, at[3], mine[3], left = mw_rank();
  for (size_t d = l->mesh_count; d-- > 0; left /= (int)l->mesh[d]) mine[d] = left % (int)l->mesh[d];
  for (size_t a = 0; a < l->axis_count; a++) size *= (int)l->mesh[l->axes[a]];
  for (int r = 0; r < mw_size(); r++) {
    int p = 0, same = 1, rest = r;
    for (size_t d = l->mesh_count; d-- > 0; rest /= (int)l->mesh[d]) at[d] = rest % (int)l->mesh[d];
    for (size_t d = 0; d < l->mesh_count; d++) {
      int over = 0;
      for (size_t a = 0; a < l->axis_count; a++) over |= l->axes[a] == (int64_t)d;
      if (!over && at[d] != mine[d]) same = 0;
    }
    for (size_t a = 0; a < l->axis_count; a++) p = p * (int)l->mesh[l->axes[a]] + at[l->axes[a]];
    if (!same) continue;
    ranks[p] = r;
    if (r == mw_rank()) *part = p;
  }
  return size;
}

// How a collective is called: as one call, as one that writes where it reads, or begun and then waited for.
enum { PLAIN, IN_PLACE, BESIDE };
static FfiError *called(FfiError *(*handler)(FfiFrame *), int32_t dtype, char *in, int64_t in_count, char *out, int64_t out_count, int how, const Attributes *a) {
  static FfiError *(*const numbered[])(FfiFrame *) = {mw_all_reduce, mw_all_gather, mw_reduce_scatter, mw_all_to_all, mw_permute};
  static int turn;
  if (how != BESIDE) return fake_call(handler, dtype, in, in_count, out, out_count, a);
  int32_t number = 0;
  while (numbered[number] != handler) number++;
  uint32_t tickets[2];
  // Two are under way at once, and waited for in either order; what enters may be another thing by then. One that is not to begin has no number.
  FfiError *e = fake_start(number, dtype, in, in_count, turn % 2 - 1, &tickets[0], a);
  if (e == NULL && turn % 2) {
    NEED(tickets[0] == 0, a->what, "was begun, though it was not to be");
    e = fake_start(number, dtype, in, in_count, 1, &tickets[0], a);
  }
  if (e == NULL) e = fake_start(number, dtype, in, in_count, -1, &tickets[1], a);
  if (e != NULL) return e;
  const size_t bytes = (size_t)out_count * dtypes[0].bytes * 2;
  char *other = malloc(bytes + 1);
  memset(in, 0x33, 1);
  const int order = turn++ % 3 == 0;
  e = fake_await(tickets[order], dtype, order ? other : out, out_count);
  if (e == NULL) e = fake_await(tickets[!order], dtype, order ? out : other, out_count);
  size_t size = 0;
  for (int d = 0; d < DTYPES; d++) size = dtypes[d].code == dtype ? dtypes[d].bytes : size;
  NEED(e != NULL || memcmp(out, other, (size_t)out_count * size) == 0, a->what, "gave two things");
  free(other);
  return e;
}

static void run_one(const char *op, FfiError *(*handler)(FfiFrame *), const struct Dtype *t, const Layout *l, int kind, int64_t n, int how) {
  const int in_place = how == IN_PLACE;
  int ranks[8], part = 0;
  const int size = group_of(l, ranks, &part);
  char name[160], text[200];
  snprintf(name, sizeof name, "%s %s kind %d, mesh %s, %lld elements%s", op, t->name, kind, l->name, (long long)n, in_place ? ", in place" : how == BESIDE ? ", beside" : "");
  const int64_t wide = n * size;
  const int64_t in_count = op[0] == 'g' || op[0] == 'r' || op[0] == 'p' ? n : wide, out_count = op[0] == 's' || op[0] == 'r' || op[0] == 'p' ? n : wide;
  char *in = malloc((size_t)in_count * t->bytes + 1), *out = in_place ? in : malloc((size_t)out_count * t->bytes + 1);
  int64_t pairs[] = {0, 1 % size, 1 % size, size - 1}; // for 2: a swap; for 4: 0→1→3, and 0 and 2 get zeros
  const int pair_count = size == 1 ? 2 : size == 2 ? 4 : 4;
  if (size == 2) pairs[2] = 1, pairs[3] = 0;
  for (int64_t i = 0; i < in_count; i++) put(t, in, i, value(t, mw_rank(), i));
  memset(out, in_place ? in[0] : 0x55, in_place ? 1 : (size_t)out_count * t->bytes);
  const Attributes a = {l->mesh, l->axes, pairs, l->mesh_count, l->axis_count, (size_t)pair_count, kind, name, "x.ts:1:2"};
  FfiError *e = called(handler, t->code, in, in_count, out, out_count, how, &a);
  NEED(e == NULL, name, e == NULL ? "" : e->text);
  for (int64_t i = 0; i < out_count; i++) {
    double want = 0;
    if (op[0] == 'r' || op[0] == 's') {
      const int64_t place = op[0] == 'r' ? i : part * n + i;
      want = value(t, ranks[0], place);
      for (int p = 1; p < size; p++) want = combine(t, kind, want, value(t, ranks[p], place));
    } else if (op[0] == 'g') want = value(t, ranks[i / n], i % n);
    else if (op[0] == 'a') want = value(t, ranks[i / n], part * n + i % n);
    else
      for (int p = 0; p < pair_count; p += 2)
        if (pairs[p + 1] == part) want = value(t, ranks[pairs[p]], i);
    snprintf(text, sizeof text, "at %lld: got %g, want %g", (long long)i, get(t, out, i), want);
    // Halves are rounded after each product, in the order that MPI takes.
    const double most = kind == 3 && (t->code == FFI_BF16 || t->code == FFI_F16) ? (fabs(want) > 60000 ? INFINITY : 0.02 * fabs(want)) : 0;
    NEED(fabs(get(t, out, i) - want) <= most, name, text);
  }
  if (!in_place) free(out);
  free(in);
}

// Every `of`-th dtype, from a place on that moves from call to call, so that each has its turn on some mesh. Two such calls a mesh, and three places: no two of them keep step.
static int run_layout(const Layout *l, int64_t n, int of) {
  static int turn;
  int calls = 0;
  for (int d = of == 1 ? 0 : turn++ % of; d < DTYPES; d += of) {
    for (int kind = 0; kind < 4; kind++, calls++) run_one("reduce", mw_all_reduce, &dtypes[d], l, kind, n, IN_PLACE);
    for (int how = PLAIN; how <= BESIDE; how += BESIDE - PLAIN) {
      for (int kind = 0; kind < 4; kind++, calls += 2) {
        run_one("reduce", mw_all_reduce, &dtypes[d], l, kind, n, how);
        run_one("scatter", mw_reduce_scatter, &dtypes[d], l, kind, n, how);
      }
      run_one("gather", mw_all_gather, &dtypes[d], l, 0, n, how);
      run_one("all-to-all", mw_all_to_all, &dtypes[d], l, 0, n, how);
      run_one("permute", mw_permute, &dtypes[d], l, 0, n, how);
      calls += 3;
    }
  }
  return calls;
}

// Every pair of halves that differ in all ways: rank 0 has x, the last rank y, the others nothing to add.
static void check_halves(const Layout *l) {
  enum { N = 65536 };
  static uint16_t in[N], out[N];
  static const int bits[2] = {7, 10}, bias[2] = {127, 15}, code[2] = {FFI_BF16, FFI_F16};
  for (int h = 0; h < 2; h++)
    for (int kind = 0; kind < 3; kind++) {
      for (int i = 0; i < N; i++) {
        const uint16_t y = (uint16_t)(i * 40503u + 11u), none = kind == 0 ? 0x8000 : half_of(kind == 1 ? -INFINITY : INFINITY, bits[h], bias[h]);
        in[i] = mw_rank() == 0 ? (uint16_t)i : mw_rank() == mw_size() - 1 ? y : none;
      }
      const Attributes a = {l->mesh, l->axes, NULL, l->mesh_count, l->axis_count, 0, kind, "halves", ""};
      FfiError *e = fake_call(mw_all_reduce, code[h], in, N, out, N, &a);
      NEED(e == NULL, "halves", e == NULL ? "" : e->text);
      for (int i = 0; i < N; i++) {
        const double x = half_value((uint16_t)i, bits[h], bias[h]), y = half_value((uint16_t)(i * 40503u + 11u), bits[h], bias[h]);
        // bf16 is added in f32 and rounded from there; the test's own rounding starts at the f32 sum too.
        const double v = isnan(x) || isnan(y) ? NAN : kind == 0 ? (double)((float)x + (float)y) : kind == 1 ? fmax(x, y) : fmin(x, y);
        const double want = half_value(half_of(v, bits[h], bias[h]), bits[h], bias[h]), got = half_value(out[i], bits[h], bias[h]);
        char text[160];
        snprintf(text, sizeof text, "%s kind %d: %a with %a gave %a, want %a", h ? "f16" : "bf16", kind, x, y, got, want);
        NEED(got == want || (isnan(got) && isnan(want)), "halves:", text);
      }
    }
}

static void check_nan(const Layout *l) {
  for (int d = 0; d < 4; d++)
    for (int kind = 0; kind < 3; kind++)
      for (int holder = 0; holder < mw_size(); holder++) {
        double in[40], out[40];
        for (int i = 0; i < 37; i++) put(&dtypes[d], in, i, i % 5 == 2 && mw_rank() == holder ? NAN : mw_rank() + i);
        const Attributes a = {l->mesh, l->axes, NULL, l->mesh_count, l->axis_count, 0, kind, "nan", ""};
        NEED(fake_call(mw_all_reduce, dtypes[d].code, in, 37, out, 37, &a) == NULL, "nan", mw_error());
        for (int i = 0; i < 37; i++) NEED(isnan(get(&dtypes[d], out, i)) == (i % 5 == 2), dtypes[d].name, "loses or makes a NaN");
      }
}

static void refused(FfiError *e, const char *part) {
  NEED(e != NULL, "a bad call was taken:", part);
  NEED(strstr(e->text, part) != NULL, e->text, part);
  free(e);
}

static void check_bad(const Layout *l) {
  float in[8] = {0}, out[8] = {0};
  const int64_t other[1] = {7}, bad_axis[1] = {3}, pairs[4] = {0, 9}, odd[1] = {0};
  Attributes a = {l->mesh, l->axes, NULL, l->mesh_count, l->axis_count, 0, 0, "bad", ""};
  refused(fake_call(mw_all_reduce, FFI_F32, in, 4, out, 5, &a), "expected");
  refused(fake_call(mw_all_reduce, 21, in, 4, out, 4, &a), "dtype 21");
  refused(fake_call(mw_all_reduce, FFI_F32, NULL, 4, out, 4, &a), "no data");
  refused(fake_call(mw_all_reduce, FFI_F32, in, -1, out, 4, &a), "no argument");
  a.kind = 9;
  refused(fake_call(mw_all_reduce, FFI_F32, in, 4, out, 4, &a), "kind 9");
  a.kind = 0, a.pairs = pairs, a.pair_count = 2;
  refused(fake_call(mw_permute, FFI_F32, in, 4, out, 4, &a), "pair 0 to 9");
  a.pairs = odd, a.pair_count = 1;
  refused(fake_call(mw_permute, FFI_F32, in, 4, out, 4, &a), "pairs hold 1");
  a.pair_count = 0, a.axes = bad_axis;
  refused(fake_call(mw_all_reduce, FFI_F32, in, 4, out, 4, &a), "no axis 3");
  a.axes = l->axes, a.mesh = other;
  refused(fake_call(mw_all_reduce, FFI_F32, in, 4, out, 4, &a), "7 devices");
  a.mesh = l->mesh;
  uint32_t ticket = 0;
  refused(fake_start(7, FFI_F32, in, 4, -1, &ticket, &a), "number 7");
  refused(fake_start(2, FFI_F32, in, 3, -1, &ticket, &a), "don't split");
  refused(fake_await(4000000000u, FFI_F32, out, 4), "number 4000000000");
  NEED(fake_start(0, FFI_F32, in, 4, -1, &ticket, &a) == NULL, "a start", mw_error());
  refused(fake_await(ticket, FFI_F32, out, 5), "5 elements out, but 4");
  refused(fake_await(ticket, FFI_F32, out, 4), "no collective");
  out[1] = 5;
  NEED(fake_await(0, FFI_F32, out, 4) == NULL && out[1] == 0, "nothing begun", "is no zeros");
  FfiFrame frame = {FFI_SIZE(FfiFrame, attributes), NULL, &fake_api, NULL, FFI_STAGE_EXECUTE, {0}, {0}, {0}, NULL};
  refused(mw_start(&frame), "no argument");
  refused(mw_await(&frame), "no argument");
  refused(mw_all_gather(&frame), "no argument");
  refused(mw_device(&frame), "no result");
  refused(mw_skip(&frame), "count must be positive");
  refused(fake_skip(-1), "count must be positive");
  NEED(fake_skip(3) == NULL, "a skip", mw_error());
  frame.size = 64;
  refused(mw_all_gather(&frame), "64 bytes");
  frame.size = FFI_SIZE(FfiFrame, attributes);
  frame.stage = 1;
  NEED(mw_all_reduce(&frame) == NULL && mw_all_reduce(NULL) == NULL, "a stage that is not ours", "");
  FfiMetadata data = {0};
  FfiMetadataExtension extension = {{32, FFI_EXTENSION_METADATA, NULL}, &data};
  frame.extensions = &extension.base, frame.api = NULL, frame.stage = 0;
  NEED(mw_permute(&frame) == NULL && data.version.major == 0 && data.version.minor == 1, "metadata", "");
}

static void check_host(void) {
  const char *const host = mw_host(mw_rank());
  NEED(host[0] != 0 && mw_host(-1)[0] == 0 && mw_host(mw_size())[0] == 0, "hosts", host);
  NEED(mw_local_size() >= 1 && mw_local_rank() < mw_local_size(), "local ranks", "");
  for (int64_t n = 0; n < 3000; n = n * 3 + 1) {
    uint8_t *in = malloc((size_t)n + 1), *all = malloc((size_t)(n * mw_size()) + 1);
    memset(in, mw_rank() + 1, (size_t)n);
    NEED(mw_allgather(in, n, all, "gather of bytes") == 0, "mw_allgather", mw_error());
    for (int64_t i = 0; i < n * mw_size(); i++) NEED(all[i] == i / n + 1, "mw_allgather", "gave wrong bytes");
    NEED(mw_bcast(in, n, mw_size() - 1, "bytes of the last") == 0, "mw_bcast", mw_error());
    for (int64_t i = 0; i < n; i++) NEED(in[i] == mw_size(), "mw_bcast", "gave wrong bytes");
    free(in), free(all);
  }
  NEED(mw_bcast(NULL, 4, 99, "x") == 1 && strstr(mw_error(), "rank 99") != NULL, "mw_bcast", "took a bad root");
  NEED(mw_barrier(0, "all") == 0 && mw_barrier(1, "host") == 0, "mw_barrier", mw_error());
  uint32_t device = 99;
  const Attributes none = {NULL, NULL, NULL, 0, 0, 0, 0, "", ""};
  NEED(fake_call(mw_device, FFI_U32, NULL, -1, &device, 1, &none) == NULL && device == (uint32_t)mw_rank(), "mw_device", "");
}

static long resident(void) {
  long all = 0, held = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  NEED(f != NULL && fscanf(f, "%ld %ld", &all, &held) == 2, "statm", "cannot be read");
  fclose(f);
  return held * (sysconf(_SC_PAGESIZE) / 1024);
}

// Of each of 200 steps three collectives are under way at once, of sizes that differ from step to step: what they took is taken again.
static void check_flat(const Layout *l) {
  enum { ROUNDS = 200, ROOM = 40000 };
  static float in[ROOM], out[4 * ROOM];
  const Attributes a = {l->mesh, l->axes, NULL, l->mesh_count, l->axis_count, 0, 0, "steps", ""};
  int64_t group = 1;
  for (size_t i = 0; i < l->axis_count; i++) group *= l->mesh[l->axes[i]];
  long before = 0;
  for (int round = 0; round < ROUNDS; round++) {
    const int64_t n = ROOM - round % 7 * 4000;
    uint32_t tickets[3];
    for (int k = 0; k < 3; k++) NEED(fake_start(k % 2, FFI_F32, in, n, -1, &tickets[k], &a) == NULL, "a start", mw_error());
    for (int k = 0; k < 3; k++) NEED(fake_await(tickets[k], FFI_F32, out, k % 2 == 0 ? n : n * group) == NULL, "an await", mw_error());
    if (round == ROUNDS / 4) before = resident();
  }
  const long more = resident() - before;
  char text[80];
  snprintf(text, sizeof text, "%ld KiB more", more);
  // One that is left over a step would be 20 MB.
  NEED(more < 4096, "memory of collectives under way:", text);
}

static void all(int of) {
  int calls = 0;
  const Layout *table = layouts[mw_size() == 4];
  NEED(mw_size() == 2 || mw_size() == 4, "run it with", "2 or 4 ranks");
  for (int gentle = -1; gentle < 2; gentle++) {
    mw_set_gentle(gentle);
    // MPICH's blocking calls take a slice of the scheduler's each where ranks outnumber cores: one mesh shows that they are right.
    const int most = gentle == 0 && mw_size() > 2 ? 1 : 8;
    for (int l = 0; l < most && table[l].mesh_count > 0; l++) {
      mw_set_largest(INT64_C(1) << 30);
      calls += run_layout(&table[l], gentle < 0 ? 257 : 17, gentle < 0 ? 1 : of);
      mw_set_largest(7);
      calls += run_layout(&table[l], 40, of);
      mw_set_largest(1);
      calls += gentle < 0 ? run_layout(&table[l], 5, of) : 0;
    }
  }
  mw_set_gentle(-1);
  mw_set_largest(5);
  check_host();
  mw_set_largest(INT64_C(1) << 30);
  check_host();
  check_halves(&table[0]);
  check_nan(&table[0]);
  check_bad(&table[0]);
  check_flat(&table[0]);
  if (mw_rank() == 0) printf("native_test: %d calls right on %d ranks, %s\n", calls, mw_size(), mw_built());
}

static const int64_t whole[1] = {4}, pair[1] = {2}, first_axis[1] = {0};
static void one_reduce(const char *at) {
  float in[1024] = {1};
  const Attributes a = {mw_size() == 4 ? whole : pair, first_axis, NULL, 1, 1, 0, 0, "all-reduce sum along model", at};
  FfiError *e = fake_call(mw_all_reduce, FFI_F32, in, 1024, in, 1024, &a);
  NEED(e == NULL, "all-reduce", e == NULL ? "" : e->text);
}

static void one_beside(const char *at) {
  float in[1024] = {1};
  uint32_t ticket = 0;
  const Attributes a = {mw_size() == 4 ? whole : pair, first_axis, NULL, 1, 1, 0, 0, "all-reduce sum along data", at};
  NEED(fake_start(0, FFI_F32, in, 1024, -1, &ticket, &a) == NULL, "start", mw_error());
  FfiError *e = fake_await(ticket, FFI_F32, in, 1024);
  NEED(e == NULL, "await", e == NULL ? "" : e->text);
}

// XLA calls from whichever thread of its pool is free.
static void *on_thread(void *unused) {
  (void)unused;
  one_reduce("thread.ts:1:1");
  return NULL;
}
static void threads(void) {
  for (int i = 0; i < 200; i++) {
    pthread_t t;
    pthread_create(&t, NULL, on_thread, NULL);
    pthread_join(t, NULL);
  }
}

// More bytes, and elements, than an int counts; needs 4.5 GB a rank.
static void big(void) {
  const int64_t n = (INT64_C(1) << 31) + 12345;
  int64_t pairs[4] = {0, 1, 1, 0};
  const Attributes a = {pair, first_axis, pairs, 1, 1, 4, 1, "big", ""};
  const struct { const char *name; FfiError *(*handler)(FfiFrame *); int64_t in, out; } ops[] = {
      {"all-reduce", mw_all_reduce, n, n}, {"all-gather", mw_all_gather, n / 2 + 9, 2 * (n / 2 + 9)}, {"all-to-all", mw_all_to_all, 2 * (n / 2 + 9), 2 * (n / 2 + 9)},
      {"reduce-scatter", mw_reduce_scatter, 2 * (n / 2 + 9), n / 2 + 9}, {"permute", mw_permute, n, n}};
  for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++) {
    uint8_t *in = malloc((size_t)ops[o].in), *out = malloc((size_t)ops[o].out);
    const int64_t half = ops[o].in / 2;
    for (int64_t i = 0; i < ops[o].in; i++) in[i] = (uint8_t)(i % 251 + 2 * mw_rank());
    FfiError *e = fake_call(ops[o].handler, FFI_U8, in, ops[o].in, out, ops[o].out, &a);
    NEED(e == NULL, ops[o].name, e == NULL ? "" : e->text);
    for (int64_t i = 0; i < ops[o].out; i++) {
      const int64_t g = ops[o].in, r = mw_rank();
      const uint8_t want = (uint8_t)(o == 0 ? i % 251 + 2 : o == 1 ? i % g % 251 + 2 * (i / g) : o == 2 ? (r * half + i % half) % 251 + 2 * (i / half) : o == 3 ? (r * half + i) % 251 + 2 : i % 251 + 2 * (1 - r));
      NEED(out[i] == want, ops[o].name, "is wrong beyond an int");
    }
    free(in), free(out);
    if (mw_rank() == 0) printf("big %s right\n", ops[o].name), fflush(stdout);
  }
}

static void rest(double seconds) {
  struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&t, &t)) continue;
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "all";
  const int culprit = argc > 2 ? atoi(argv[2]) : 0;
  const double limit = getenv("LIMIT") ? atof(getenv("LIMIT")) : 2;
  if (mw_library()[0] == 0 || mw_built()[0] == 0) return fprintf(stderr, "no version\n"), 1;
  if (mw_barrier(0, "early") == 0) return fprintf(stderr, "a barrier before mw_open\n"), 1;
  const int every = strcmp(mode, "all") == 0, some = strcmp(mode, "some") == 0;
  if (mw_open(every || some || strcmp(mode, "big") == 0 ? 120 : limit)) return fprintf(stderr, "mw_open: %s\n", mw_error()), 1;
  const int mine = mw_rank() == culprit;
  if (argc > 3) mw_set_gentle(1); // ranks that wait sleep, as where they outnumber the cores
  if (every || some) all(some ? 3 : 1);
  else if (strcmp(mode, "threads") == 0) threads();
  else if (strcmp(mode, "big") == 0) big();
  else {
    one_reduce("gpt.ts:40:1");
    if (strcmp(mode, "aside") == 0) {
      one_beside("gpt.ts:50:3");
      if (mine) raise(SIGSTOP);
      one_beside("gpt.ts:51:7");
    }
    if (mine && strcmp(mode, "stuck") == 0) raise(SIGSTOP);
    else if (mine && strcmp(mode, "killed") == 0) raise(SIGKILL);
    else if (mine && strcmp(mode, "absent") == 0) rest(60);
    else if (mine && strcmp(mode, "slow") == 0) rest(limit * 0.8); // late, but within the limit
    else if (mine && strcmp(mode, "patient") == 0) rest(limit * 3); // others wait in a host-level barrier: no reason to end
    else if (mine && strcmp(mode, "unclosed") == 0) raise(SIGSTOP);
    if (strcmp(mode, "parted") == 0 && mine) mw_barrier(0, "the parameters' hash");
    else if (strcmp(mode, "patient") == 0) NEED(mw_barrier(0, "compile") == 0, "barrier", mw_error());
    else if (strcmp(mode, "unclosed") != 0) one_reduce("gpt.ts:41:12");
    if (mw_rank() == 0) printf("native_test: %s ended well\n", mode);
  }
  if (mw_close()) return fprintf(stderr, "mw_close: %s\n", mw_error()), 1;
  return 0;
}
