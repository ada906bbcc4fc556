// The FFI handlers that XLA calls: answer the metadata call, read the frame, run the collective under the watchdog.
#include <stdio.h>
#include <string.h>

#include "internal.h"

static FfiError *error_of(const FfiFrame *frame, int32_t code, const char *what) {
  char text[1400];
  snprintf(text, sizeof text, "%s: %s", what, mw_error());
  if (frame->api == NULL || frame->api->size < FFI_SIZE(FfiApi, create_error) || frame->api->create_error == NULL) {
    // No way to fail is left, and going on would compute with wrong numbers.
    fprintf(stderr, "%s\n", text);
    mw_abort(1);
  }
  FfiErrorArgs args = {FFI_SIZE(FfiErrorArgs, code), NULL, text, code};
  return frame->api->create_error(&args);
}

// XLA drops a handler that answers a newer version than its own without a word: answer the plugin's own.
static int answered_metadata(const FfiFrame *frame) {
  for (const FfiExtension *e = frame->extensions; e != NULL; e = e->next) {
    if (e->type != FFI_EXTENSION_METADATA) continue;
    FfiMetadata *m = ((const FfiMetadataExtension *)(const void *)e)->metadata;
    if (m == NULL) return 1;
    const int known = frame->api != NULL && frame->api->size >= FFI_SIZE(FfiApi, version);
    m->version.major = known ? frame->api->version.major : 0;
    m->version.minor = known ? frame->api->version.minor : 1;
    m->traits = 0;
    return 1;
  }
  return 0;
}

static int is_ours(const FfiFrame *frame) { return frame != NULL && !answered_metadata(frame) && frame->stage == FFI_STAGE_EXECUTE; }

static int fits(const FfiFrame *frame) {
  if (frame->size < FFI_SIZE(FfiFrame, attributes)) return mw_fail("the call frame of this plugin has %zu bytes, %zu are needed", frame->size, FFI_SIZE(FfiFrame, attributes)), 0;
  if (!mw_life.open) return mw_fail("MPI is not open"), 0;
  return 1;
}

static FfiError *run(const FfiFrame *frame, const char *name, Collective *collective) {
  Call call;
  if (!is_ours(frame)) return NULL;
  if (!fits(frame)) return error_of(frame, FFI_CODE_INTERNAL, name);
  if (mw_read_call(frame, &call)) return error_of(frame, FFI_CODE_INVALID_ARGUMENT, name);
  if (call.what.length == 0) call.what = (FfiSpan){name, strlen(name)};
  mw_watch_enter(LANE_PROGRAM, call.what, call.at, 0);
  const Group *group = mw_group(call.mesh.items, call.mesh.count, call.axes.items, call.axes.count, LANE_PROGRAM);
  if (group != NULL) mw_meet(group->meeting, group->size);
  const int failed = group == NULL || collective(&call, group);
  mw_watch_leave(LANE_PROGRAM);
  return failed ? error_of(frame, FFI_CODE_INTERNAL, name) : NULL;
}

FfiError *mw_all_reduce(FfiFrame *frame) { return run(frame, "all-reduce", mw_do_all_reduce); }
FfiError *mw_all_gather(FfiFrame *frame) { return run(frame, "all-gather", mw_do_all_gather); }
FfiError *mw_reduce_scatter(FfiFrame *frame) { return run(frame, "reduce-scatter", mw_do_reduce_scatter); }
FfiError *mw_all_to_all(FfiFrame *frame) { return run(frame, "all-to-all", mw_do_all_to_all); }
FfiError *mw_permute(FfiFrame *frame) { return run(frame, "permute", mw_do_permute); }

// Begins a collective and gives the number by which `mw_await` hands out what came of it; 0 where it was not to begin.
FfiError *mw_start(FfiFrame *frame) {
  Call call;
  uint32_t *ticket = NULL;
  int wanted = 1;
  if (!is_ours(frame)) return NULL;
  if (!fits(frame)) return error_of(frame, FFI_CODE_INTERNAL, "start");
  if (mw_read_start(frame, &call, &ticket, &wanted)) return error_of(frame, FFI_CODE_INVALID_ARGUMENT, "start");
  *ticket = 0;
  if (!wanted) return NULL;
  if (call.what.length == 0) call.what = (FfiSpan){"start", strlen("start")};
  // Making the communicator waits for the others.
  mw_watch_enter(LANE_PROGRAM, call.what, call.at, 0);
  const Group *group = mw_group(call.mesh.items, call.mesh.count, call.axes.items, call.axes.count, LANE_BESIDE);
  mw_watch_leave(LANE_PROGRAM);
  return group == NULL || mw_beside_start(&call, group, ticket) ? error_of(frame, FFI_CODE_INTERNAL, "start") : NULL;
}

FfiError *mw_await(FfiFrame *frame) {
  uint32_t ticket = 0;
  Data out;
  if (!is_ours(frame)) return NULL;
  if (!fits(frame)) return error_of(frame, FFI_CODE_INTERNAL, "await");
  if (mw_read_wait(frame, &ticket, &out)) return error_of(frame, FFI_CODE_INVALID_ARGUMENT, "await");
  return mw_beside_wait(ticket, &out) ? error_of(frame, FFI_CODE_INTERNAL, "await") : NULL;
}

FfiError *mw_skip(FfiFrame *frame) {
  int64_t count = 0;
  if (!is_ours(frame)) return NULL;
  if (!fits(frame)) return error_of(frame, FFI_CODE_INTERNAL, "skip");
  if (mw_read_count(frame, &count)) return error_of(frame, FFI_CODE_INVALID_ARGUMENT, "skip");
  mw_watch_skip(LANE_PROGRAM, count);
  return NULL;
}

FfiError *mw_device(FfiFrame *frame) {
  Data out;
  if (!is_ours(frame)) return NULL;
  if (!fits(frame)) return error_of(frame, FFI_CODE_INTERNAL, "device");
  if (mw_read_result(frame, &out)) return error_of(frame, FFI_CODE_INVALID_ARGUMENT, "device");
  if (out.dtype != FFI_U32 || out.count != 1) {
    mw_fail("the result must be one u32");
    return error_of(frame, FFI_CODE_INVALID_ARGUMENT, "device");
  }
  *(uint32_t *)(void *)out.data = (uint32_t)mw_life.rank;
  return NULL;
}
