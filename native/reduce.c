// How each dtype is reduced: MPI's own operations where they are right, ours for half floats and for maxima that keep NaN.
#include <pthread.h>
#include <string.h>

#include "internal.h"

// The build is for any x86-64; the loops below pick the wider instructions of the machine that they run on.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDE
#endif

static inline uint32_t bits_of(float f) {
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}
static inline float float_of(uint32_t u) {
  float f;
  memcpy(&f, &u, sizeof f);
  return f;
}

static inline float from_bf16(uint16_t h) { return float_of((uint32_t)h << 16); }
static inline uint16_t to_bf16(float f) {
  uint32_t u = bits_of(f), even = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16, nan = (u >> 16) | 0x40u;
  return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? nan : even);
}

// Subnormals go through integers: XLA's threads may flush them in float arithmetic.
static inline float from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;
  uint32_t normal = (rest << 13) + 0x38000000u, special = (rest << 13) | 0x7f800000u;
  uint32_t tiny = bits_of((float)(int32_t)rest * 0x1p-24f);
  return float_of(sign | (rest < 0x400u ? tiny : rest >= 0x7c00u ? special : normal));
}
static inline uint16_t to_f16(float f) {
  uint32_t u = bits_of(f), a = u & 0x7fffffffu;
  uint32_t normal = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
  // A float near one half has the spacing of f16's subnormals, so the addition rounds.
  uint32_t tiny = bits_of(float_of(a) + 0.5f) - 0x3f000000u;
  uint32_t special = a > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return (uint16_t)((u >> 16 & 0x8000u) | (a < 0x38800000u ? tiny : a >= 0x47800000u ? special : normal));
}

static inline float sum_of(float a, float b) { return a + b; }
static inline float prod_of(float a, float b) { return a * b; }
static inline float max_of(float a, float b) { return (a > b) | (a != a) ? a : b; }
static inline float min_of(float a, float b) { return (a < b) | (a != a) ? a : b; }
static inline double max_of_f64(double a, double b) { return (a > b) | (a != a) ? a : b; }
static inline double min_of_f64(double a, double b) { return (a < b) | (a != a) ? a : b; }
#define SAME(x) (x)

#define OPERATION(name, T, from, to, combine)                             \
  WIDE static void name(void *in, void *into, int *count, MPI_Datatype *type) { \
    const T *restrict a = in;                                             \
    T *restrict b = into;                                                 \
    (void)type;                                                           \
    for (int i = 0, n = *count; i < n; i++) b[i] = to(combine(from(a[i]), from(b[i]))); \
  }
OPERATION(bf16_sum, uint16_t, from_bf16, to_bf16, sum_of)
OPERATION(bf16_max, uint16_t, from_bf16, to_bf16, max_of)
OPERATION(bf16_min, uint16_t, from_bf16, to_bf16, min_of)
OPERATION(bf16_prod, uint16_t, from_bf16, to_bf16, prod_of)
OPERATION(f16_prod, uint16_t, from_f16, to_f16, prod_of)
OPERATION(f16_sum, uint16_t, from_f16, to_f16, sum_of)
OPERATION(f16_max, uint16_t, from_f16, to_f16, max_of)
OPERATION(f16_min, uint16_t, from_f16, to_f16, min_of)
OPERATION(f32_max, float, SAME, SAME, max_of)
OPERATION(f32_min, float, SAME, SAME, min_of)
OPERATION(f64_max, double, SAME, SAME, max_of_f64)
OPERATION(f64_min, double, SAME, SAME, min_of_f64)

enum { BF16, F16, F32, F64, FLOATS };
static MPI_User_function *const functions[FLOATS][KINDS] = {
    {bf16_sum, bf16_max, bf16_min, bf16_prod}, {f16_sum, f16_max, f16_min, f16_prod}, {NULL, f32_max, f32_min, NULL}, {NULL, f64_max, f64_min, NULL}};
static MPI_Op made[FLOATS][KINDS];
static int is_made[FLOATS][KINDS];

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static int own(int type, int kind, MPI_Op *op) {
  pthread_mutex_lock(&making);
  if (!is_made[type][kind]) is_made[type][kind] = !mw_check(MPI_Op_create(functions[type][kind], 1, &made[type][kind]), "MPI_Op_create");
  const int there = is_made[type][kind];
  *op = made[type][kind];
  pthread_mutex_unlock(&making);
  return !there;
}

void mw_reductions_free(void) {
  for (int t = 0; t < FLOATS; t++)
    for (int k = 0; k < KINDS; k++)
      if (is_made[t][k]) {
        MPI_Op_free(&made[t][k]);
        is_made[t][k] = 0;
      }
}

size_t mw_dtype_bytes(int32_t dtype) {
  switch (dtype) {
    case FFI_PRED: case FFI_S8: case FFI_U8: case FFI_F8E5M2: case FFI_F8E4M3FN: return 1;
    case FFI_S16: case FFI_U16: case FFI_F16: case FFI_BF16: return 2;
    case FFI_S32: case FFI_U32: case FFI_F32: return 4;
    case FFI_S64: case FFI_U64: case FFI_F64: return 8;
    default: return 0;
  }
}

int mw_reduction(int32_t dtype, int64_t kind, Reduction *out) {
  if (kind < 0 || kind >= KINDS) return mw_fail("no reduction has kind %lld", (long long)kind);
  out->op = kind == KIND_SUM ? MPI_SUM : kind == KIND_MAX ? MPI_MAX : kind == KIND_MIN ? MPI_MIN : MPI_PROD;
  switch (dtype) {
    case FFI_PRED:
      out->type = MPI_UINT8_T;
      out->op = kind == KIND_MIN || kind == KIND_PROD ? MPI_BAND : MPI_BOR;
      return 0;
    case FFI_S8: out->type = MPI_INT8_T; return 0;
    case FFI_S16: out->type = MPI_INT16_T; return 0;
    case FFI_S32: out->type = MPI_INT32_T; return 0;
    case FFI_S64: out->type = MPI_INT64_T; return 0;
    case FFI_U8: out->type = MPI_UINT8_T; return 0;
    case FFI_U16: out->type = MPI_UINT16_T; return 0;
    case FFI_U32: out->type = MPI_UINT32_T; return 0;
    case FFI_U64: out->type = MPI_UINT64_T; return 0;
    case FFI_F32: out->type = MPI_FLOAT; return functions[F32][kind] == NULL ? 0 : own(F32, (int)kind, &out->op);
    case FFI_F64: out->type = MPI_DOUBLE; return functions[F64][kind] == NULL ? 0 : own(F64, (int)kind, &out->op);
    // MPI 3 has no half floats: their bits travel as 2-byte integers, which only our own operations touch.
    case FFI_F16: out->type = MPI_UINT16_T; return own(F16, (int)kind, &out->op);
    case FFI_BF16: out->type = MPI_UINT16_T; return own(BF16, (int)kind, &out->op);
    default: return mw_fail("no reduction for dtype %d", dtype);
  }
}
