// Room for a result that others write, whole, before anyone reads it: XLA knows no array without numbers.
#include "call.h"

// What it is given is not read: memory is taken no sooner than that is there.
MWK_EXPORT FfiError *mwk_unwritten(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  return frame->results.count == 1 ? NULL : refuse(frame, "unwritten has one result");
}
