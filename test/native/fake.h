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
static const FfiApi fake_api = {sizeof fake_api, NULL, {24, NULL, 0, 1}, NULL, fake_error};

typedef struct {
  const int64_t *mesh, *axes, *pairs;
  size_t mesh_count, axis_count, pair_count;
  int32_t kind;
  const char *what, *at;
} Attributes;

// One data buffer of `in` and `out` elements (in < 0: no arguments), and a token beside each.
static FfiError *fake_call(FfiError *(*handler)(FfiFrame *), int32_t dtype, void *in, int64_t in_count, void *out, int64_t out_count, const Attributes *a) {
  FfiBuffer token = {48, NULL, FFI_TOKEN, NULL, 0, NULL}, from = {48, NULL, dtype, in, 1, &in_count}, to = {48, NULL, dtype, out, 1, &out_count};
  int32_t buffers[2] = {FFI_BUFFER, FFI_BUFFER};
  void *arguments[2] = {&from, &token}, *results[2] = {&to, &token};
  FfiArray mesh = {FFI_S64, a->mesh_count, (void *)(uintptr_t)a->mesh}, axes = {FFI_S64, a->axis_count, (void *)(uintptr_t)a->axes}, pairs = {FFI_S64, a->pair_count, (void *)(uintptr_t)a->pairs};
  int32_t number = a->kind;
  FfiScalar kind = {FFI_S32, &number};
  FfiSpan what = {a->what, strlen(a->what)}, at = {a->at, strlen(a->at)};
  FfiSpan names[6] = {{"at", 2}, {"axes", 4}, {"kind", 4}, {"mesh", 4}, {"pairs", 5}, {"what", 4}};
  FfiSpan *name[6] = {&names[0], &names[1], &names[2], &names[3], &names[4], &names[5]};
  void *values[6] = {&at, &axes, &kind, &mesh, &pairs, &what};
  int32_t types[6] = {FFI_ATTR_STRING, FFI_ATTR_ARRAY, FFI_ATTR_SCALAR, FFI_ATTR_ARRAY, FFI_ATTR_ARRAY, FFI_ATTR_STRING};
  FfiFrame frame = {FFI_SIZE(FfiFrame, attributes), NULL, &fake_api, NULL, FFI_STAGE_EXECUTE,
                    {40, NULL, in_count < 0 ? 0 : 2, buffers, arguments}, {40, NULL, in_count < 0 ? 1 : 2, buffers, results}, {48, NULL, 6, types, name, values}, NULL};
  return handler(&frame);
}

#endif
