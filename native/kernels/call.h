// What every kernel does with a call of XLA's before it computes.
#ifndef MESHWORK_CALL_H
#define MESHWORK_CALL_H

#include <string.h>

#include "../ffi.h"

#define MWK_EXPORT __attribute__((visibility("default")))

static inline FfiError *refuse(const FfiFrame *frame, const char *what) {
  FfiErrorArgs args = {FFI_SIZE(FfiErrorArgs, code), NULL, what, FFI_CODE_INVALID_ARGUMENT};
  return frame->api->create_error(&args);
}

// XLA drops a handler that answers a newer version than its own without a word: answer the plugin's own.
static inline int answered_metadata(const FfiFrame *frame) {
  for (const FfiExtension *e = frame->extensions; e != NULL; e = e->next) {
    if (e->type != FFI_EXTENSION_METADATA) continue;
    FfiMetadata *m = ((const FfiMetadataExtension *)(const void *)e)->metadata;
    if (m == NULL) return 1;
    m->version.major = frame->api == NULL ? 0 : frame->api->version.major;
    m->version.minor = frame->api == NULL ? 1 : frame->api->version.minor;
    m->traits = 0;
    return 1;
  }
  return 0;
}

static inline int is_call(const FfiFrame *frame) { return frame != NULL && !answered_metadata(frame) && frame->stage == FFI_STAGE_EXECUTE; }

// What the call says of `name`, of this dtype; NULL where it does not mention it.
static inline const void *said(const FfiFrame *frame, const char *name, int32_t dtype) {
  const FfiAttributes *list = &frame->attributes;
  for (int64_t i = 0; i < list->count; i++) {
    const FfiSpan *at = list->names[i];
    if (at->length != strlen(name) || memcmp(at->text, name, at->length) != 0 || list->types[i] != FFI_ATTR_SCALAR) continue;
    const FfiScalar *scalar = list->items[i];
    return scalar->dtype == dtype ? scalar->value : NULL;
  }
  return NULL;
}
// A boolean; what is not mentioned is false.
static inline int says(const FfiFrame *frame, const char *name) {
  const uint8_t *value = said(frame, name, FFI_PRED);
  return value != NULL && *value != 0;
}
// A whole number; what is not mentioned is 0.
static inline int64_t number(const FfiFrame *frame, const char *name) {
  const int64_t *value = said(frame, name, FFI_S64);
  return value == NULL ? 0 : *value;
}

static inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

#endif
