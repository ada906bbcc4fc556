// What every kernel does with a call of XLA's before it computes.
#ifndef MESHWORK_CALL_H
#define MESHWORK_CALL_H

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

#endif
