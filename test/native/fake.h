// Builds the call frames that XLA would, for the tests of the C library alone.
#ifndef MESHWORK_FAKE_H
#define MESHWORK_FAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/meshwork_mpi.h"

struct FfiError {
  char text[2048];
};
static FfiError *fake_error(FfiErrorArgs *args) {
  FfiError *e = calloc(1, sizeof *e);
  snprintf(e->text, sizeof e->text, "%s", args->message);
  return e;
}
static const FfiApi fake_api = {.size = sizeof fake_api, .version = {24, NULL, 0, 1}, .create_error = fake_error};

typedef struct {
  const int64_t *mesh, *axes, *pairs;
  size_t mesh_count, axis_count, pair_count;
  int32_t kind;
  const char *what, *at;
} Attributes;

// What a handler is called with: a data buffer of either side with a token beside it, and another argument where `more` is one.
static FfiError *fake_frame(FfiError *(*handler)(FfiFrame *), FfiBuffer *from, FfiBuffer *more, FfiBuffer *to, int32_t collective, const Attributes *a) {
  FfiBuffer token = {48, NULL, FFI_TOKEN, NULL, 0, NULL};
  int32_t buffers[3] = {FFI_BUFFER, FFI_BUFFER, FFI_BUFFER};
  void *arguments[3] = {from, &token, more}, *results[2] = {to, &token};
  FfiArray mesh = {FFI_S64, a->mesh_count, (void *)(uintptr_t)a->mesh}, axes = {FFI_S64, a->axis_count, (void *)(uintptr_t)a->axes}, pairs = {FFI_S64, a->pair_count, (void *)(uintptr_t)a->pairs};
  int32_t number = a->kind;
  FfiScalar kind = {FFI_S32, &number}, which = {FFI_S32, &collective};
  FfiSpan what = {a->what, strlen(a->what)}, at = {a->at, strlen(a->at)};
  FfiSpan names[7] = {{"at", 2}, {"axes", 4}, {"collective", 10}, {"kind", 4}, {"mesh", 4}, {"pairs", 5}, {"what", 4}};
  FfiSpan *name[7] = {&names[0], &names[1], &names[2], &names[3], &names[4], &names[5], &names[6]};
  void *values[7] = {&at, &axes, &which, &kind, &mesh, &pairs, &what};
  int32_t types[7] = {FFI_ATTR_STRING, FFI_ATTR_ARRAY, FFI_ATTR_SCALAR, FFI_ATTR_SCALAR, FFI_ATTR_ARRAY, FFI_ATTR_ARRAY, FFI_ATTR_STRING};
  FfiFrame frame = {FFI_SIZE(FfiFrame, attributes), NULL, &fake_api, NULL, FFI_STAGE_EXECUTE,
                    {40, NULL, from == NULL ? 0 : more == NULL ? 2 : 3, buffers, arguments}, {40, NULL, from == NULL ? 1 : 2, buffers, results}, {48, NULL, 7, types, name, values}, NULL};
  return handler(&frame);
}

// One data buffer of `in` and `out` elements (in < 0: no arguments), and a token beside each.
static FfiError *fake_call(FfiError *(*handler)(FfiFrame *), int32_t dtype, void *in, int64_t in_count, void *out, int64_t out_count, const Attributes *a) {
  FfiBuffer from = {48, NULL, dtype, in, 1, &in_count}, to = {48, NULL, dtype, out, 1, &out_count};
  return fake_frame(handler, in_count < 0 ? NULL : &from, NULL, &to, 0, a);
}

// The same collective, begun: `when` is 1, 0, or -1 for no such argument. Its number comes back.
static FfiError *fake_start(int32_t collective, int32_t dtype, void *in, int64_t in_count, int when, uint32_t *ticket, const Attributes *a) {
  uint8_t shall = (uint8_t)when;
  FfiBuffer from = {48, NULL, dtype, in, 1, &in_count}, whether = {48, NULL, FFI_PRED, &shall, 0, NULL}, to = {48, NULL, FFI_U32, ticket, 0, NULL};
  return fake_frame(mw_start, &from, when < 0 ? NULL : &whether, &to, collective, a);
}
// And waited for; what else is given is only there to be computed before.
static FfiError *fake_await(uint32_t ticket, int32_t dtype, void *out, int64_t out_count) {
  const Attributes none = {NULL, NULL, NULL, 0, 0, 0, 0, "", ""};
  float other[3] = {0};
  int64_t others = 3;
  FfiBuffer from = {48, NULL, FFI_U32, &ticket, 0, NULL}, more = {48, NULL, FFI_F32, other, 1, &others}, to = {48, NULL, dtype, out, 1, &out_count};
  return fake_frame(mw_await, &from, &more, &to, 0, &none);
}

// Tokens alone, and how many collectives of others are left out.
static FfiError *fake_skip(int64_t count) {
  FfiBuffer token = {48, NULL, FFI_TOKEN, NULL, 0, NULL};
  int32_t buffer = FFI_BUFFER, type = FFI_ATTR_SCALAR;
  void *items[1] = {&token};
  FfiScalar number = {FFI_S64, &count};
  FfiSpan name = {"count", 5}, *names[1] = {&name};
  void *values[1] = {&number};
  FfiFrame frame = {FFI_SIZE(FfiFrame, attributes), NULL, &fake_api, NULL, FFI_STAGE_EXECUTE, {40, NULL, 1, &buffer, items}, {40, NULL, 1, &buffer, items}, {48, NULL, 1, &type, names, values}, NULL};
  return mw_skip(&frame);
}

#endif
