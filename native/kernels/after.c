// Nothing but an order: what comes of it is its first operand as it lies, once all others are computed.
#include "call.h"

// Any operands give the first one, in its place.
MWK_EXPORT FfiError *mwk_after(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  if (in->count < 2 || out->count != 1) return refuse(frame, "after takes what waits, and what it waits for");
  const FfiBuffer *x = in->items[0], *y = out->items[0];
  return x->data == y->data ? NULL : refuse(frame, "after: the result does not lie in the place of the first operand");
}
