// Convolutions over one or two dims as products (Chellapilla et al. 2006): what lies under each window, gathered while it is packed, with all kernels at once.
#include "call.h"
#include "product.h"
#include "taps.h"

// [batch, height, width, channels] and [rows × columns × channels, features] give [batch, tall, wide, features]. The call says `rows` and `columns` of a window, and of either dim by how much it begins before the
// image (`low_rows`), how far its places (`stride_rows`) and its taps (`dilation_rows`) lie apart.
MWK_EXPORT FfiError *mwk_conv(const FfiFrame *frame) {
  if (!is_call(frame)) return NULL;
  const FfiBuffers *in = &frame->arguments, *out = &frame->results;
  if (in->count != 2 || out->count != 1) return refuse(frame, "conv takes two operands");
  const FfiBuffer *x = in->items[0], *w = in->items[1], *y = out->items[0];
  if (x->rank != 4 || w->rank != 2 || y->rank != 4) return refuse(frame, "conv takes images of four dims and kernels of two");
  const Taps taps = {
    .height = x->dims[1], .width = x->dims[2], .channels = x->dims[3], .rows = number(frame, "rows"), .columns = number(frame, "columns"), .tall = y->dims[1], .wide = y->dims[2],
    .low = {number(frame, "low_rows"), number(frame, "low_columns")}, .stride = {number(frame, "stride_rows"), number(frame, "stride_columns")}, .dilation = {number(frame, "dilation_rows"), number(frame, "dilation_columns")},
  };
  const int64_t k = taps.rows * taps.columns * taps.channels, m = y->dims[0] * taps.tall * taps.wide, n = w->dims[1];
  if (y->dims[0] != x->dims[0] || w->dims[0] != k || y->dims[3] != n) return refuse(frame, "conv: shapes do not fit");
  if (!mwk_multiplies(x->dtype) || !mwk_multiplies(w->dtype) || !mwk_multiplies(y->dtype)) return refuse(frame, "conv: no such dtypes");
  Product p = {
    .left = {.data = x->data, .down = k, .along = 1, .dtype = x->dtype}, .right = {.data = w->data, .down = n, .along = 1, .count = k * n, .dtype = w->dtype},
    .out = y->data, .m = m, .n = n, .k = k, .out_dtype = y->dtype, .taps = &taps,
  };
  return mwk_multiply(frame, &p, 1);
}
