// Reads a call frame of XLA's and checks it at the door; what follows trusts it.
#include <string.h>

#include "internal.h"

// The first buffers beside tokens, as many as `most`; `more` may follow.
static int read_buffers(const FfiBuffers *list, const char *side, Data *outs, int most, int more, int *found_out) {
  int found = 0;
  for (int64_t i = 0; i < list->count; i++) {
    if (list->types == NULL || list->items == NULL || list->types[i] != FFI_BUFFER || list->items[i] == NULL) return mw_fail("%s %lld is no buffer", side, (long long)i);
    const FfiBuffer *b = list->items[i];
    if (b->dtype == FFI_TOKEN) continue;
    if (found == most && more) break;
    if (found == most) return mw_fail("more than one %s beside the token", side);
    Data *const out = &outs[found++];
    out->dtype = b->dtype;
    out->bytes = mw_dtype_bytes(b->dtype);
    if (out->bytes == 0) return mw_fail("%s: no collective for XLA dtype %d", side, b->dtype);
    out->count = 1;
    out->data = b->data;
    if (b->rank < 0 || (b->rank > 0 && b->dims == NULL)) return mw_fail("%s has no shape", side);
    for (int64_t d = 0; d < b->rank; d++) {
      if (b->dims[d] < 0) return mw_fail("%s has a dim of size %lld", side, (long long)b->dims[d]);
      out->count *= b->dims[d];
    }
    if (out->data == NULL && out->count > 0) return mw_fail("%s has no data", side);
  }
  *found_out = found;
  return found ? 0 : mw_fail("no %s", side);
}

static int read_data(const FfiBuffers *list, const char *side, Data *out) {
  int found;
  return read_buffers(list, side, out, 1, 0, &found);
}

int mw_read_result(const FfiFrame *frame, Data *out) { return read_data(&frame->results, "result", out); }

static int find(const FfiAttributes *list, const char *name, int64_t *index) {
  const size_t length = strlen(name);
  if (list->types == NULL || list->names == NULL || list->items == NULL) return 0;
  for (int64_t i = 0; i < list->count; i++) {
    const FfiSpan *n = list->names[i];
    if (n != NULL && n->length == length && memcmp(n->text, name, length) == 0 && list->items[i] != NULL) {
      *index = i;
      return 1;
    }
  }
  return 0;
}

// An array of one number may come as a scalar.
static int read_numbers(const FfiAttributes *list, const char *name, Numbers *out) {
  int64_t i;
  if (!find(list, name, &i)) return 0;
  if (list->types[i] == FFI_ATTR_SCALAR) {
    const FfiScalar *s = list->items[i];
    if (s->dtype != FFI_S64 || s->value == NULL) return mw_fail("attribute %s must be of i64", name);
    *out = (Numbers){s->value, 1};
    return 0;
  }
  if (list->types[i] != FFI_ATTR_ARRAY) return mw_fail("attribute %s must be an array", name);
  const FfiArray *a = list->items[i];
  if (a->count > 0 && (a->dtype != FFI_S64 || a->data == NULL)) return mw_fail("attribute %s must be of i64", name);
  *out = (Numbers){a->data, a->count};
  return 0;
}

static int read_number(const FfiAttributes *list, const char *name, int64_t *out) {
  int64_t i;
  if (!find(list, name, &i)) return 0;
  int32_t dtype = 0;
  const void *value = NULL;
  if (list->types[i] == FFI_ATTR_SCALAR) {
    const FfiScalar *s = list->items[i];
    dtype = s->dtype;
    value = s->value;
  } else if (list->types[i] == FFI_ATTR_ARRAY && ((const FfiArray *)list->items[i])->count == 1) {
    const FfiArray *a = list->items[i];
    dtype = a->dtype;
    value = a->data;
  }
  if (value != NULL && dtype == FFI_S32) *out = *(const int32_t *)value;
  else if (value != NULL && dtype == FFI_S64) *out = *(const int64_t *)value;
  else return mw_fail("attribute %s must be an i32 or i64", name);
  return 0;
}

static int read_text(const FfiAttributes *list, const char *name, FfiSpan *out) {
  int64_t i;
  if (!find(list, name, &i)) return 0;
  if (list->types[i] != FFI_ATTR_STRING) return mw_fail("attribute %s must be a string", name);
  *out = *(const FfiSpan *)list->items[i];
  if (out->text == NULL) out->length = 0;
  return 0;
}

static int read_attributes(const FfiAttributes *list, Call *call) {
  return read_numbers(list, "mesh", &call->mesh) || read_numbers(list, "axes", &call->axes) || read_numbers(list, "pairs", &call->pairs) ||
         read_number(list, "kind", &call->kind) || read_number(list, "collective", &call->collective) || read_text(list, "what", &call->what) || read_text(list, "at", &call->at);
}

int mw_read_count(const FfiFrame *frame, int64_t *count) {
  *count = 0;
  if (read_number(&frame->attributes, "count", count)) return 1;
  return *count > 0 ? 0 : mw_fail("attribute count must be positive");
}

int mw_read_call(const FfiFrame *frame, Call *call) {
  memset(call, 0, sizeof *call);
  if (read_data(&frame->arguments, "argument", &call->in) || mw_read_result(frame, &call->out)) return 1;
  if (call->in.dtype != call->out.dtype) return mw_fail("argument and result differ in dtype");
  return read_attributes(&frame->attributes, call);
}

int mw_read_start(const FfiFrame *frame, Call *call, uint32_t **ticket, int *wanted) {
  Data in[2], out;
  int found = 0;
  memset(call, 0, sizeof *call);
  if (read_buffers(&frame->arguments, "argument", in, 2, 0, &found) || mw_read_result(frame, &out) || read_attributes(&frame->attributes, call)) return 1;
  if (out.dtype != FFI_U32 || out.count != 1) return mw_fail("the result must be one u32");
  if (found == 2 && (in[1].dtype != FFI_PRED || in[1].count != 1)) return mw_fail("whether to start must be one truth value");
  if (call->collective < 0 || call->collective >= COLLECTIVES) return mw_fail("no collective has number %lld", (long long)call->collective);
  call->in = in[0];
  call->beside = 1;
  *ticket = (uint32_t *)(void *)out.data;
  *wanted = found < 2 || *in[1].data != 0;
  return 0;
}

// What follows the ticket is only there to be computed before.
int mw_read_wait(const FfiFrame *frame, uint32_t *ticket, Data *out) {
  Data in;
  int found = 0;
  if (read_buffers(&frame->arguments, "argument", &in, 1, 1, &found) || mw_read_result(frame, out)) return 1;
  if (in.dtype != FFI_U32 || in.count != 1) return mw_fail("the ticket must be one u32");
  *ticket = *(const uint32_t *)(const void *)in.data;
  return 0;
}
