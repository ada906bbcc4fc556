// What lies under the windows of a convolution, gathered row by row as a product packs it: nothing is laid out beforehand.
#ifndef MESHWORK_TAPS_H
#define MESHWORK_TAPS_H

#include "call.h"
#include "stored.h"

// Of images [batch, height, width, channels] the windows of rows × columns taps at tall × wide places. A window begins `low` before the image, its places are `stride` apart and its taps `dilation`; [0] of each is of
// the height. Beyond the image are zeros.
typedef struct Taps {
  int64_t height, width, channels, rows, columns, tall, wide;
  int64_t low[2], stride[2], dilation[2];
} Taps;

// `count` numbers of a window's row that begin at `from`, which may be before the row or behind its end: `length` numbers of `bytes` each from `line` on.
static inline void copy_within(const char *line, int64_t length, int64_t from, int64_t count, int64_t bytes, char *into) {
  const int64_t before = from >= 0 ? 0 : lesser(-from, count), rest = length - from, there = rest <= before ? before : lesser(rest, count);
  if (before > 0) memset(into, 0, (size_t)(before * bytes));
  if (there > before) memcpy(into + before * bytes, line + (from + before) * bytes, (size_t)((there - before) * bytes));
  if (count > there) memset(into + there * bytes, 0, (size_t)((count - there) * bytes));
}

// The numbers from `k` to `k` + `numbers` of what lies under the window at a place, as they are stored. Taps of a line that follow one another lie together.
static inline void under_window(const Taps *t, const char *data, int64_t bytes, int64_t place, int64_t k, int64_t numbers, char *into) {
  const int64_t run = t->dilation[1] == 1 ? t->columns * t->channels : t->channels, each = t->dilation[1] == 1 ? 1 : t->columns, length = t->width * t->channels;
  const int64_t x = place % t->wide * t->stride[1] - t->low[1], y = place / t->wide % t->tall * t->stride[0] - t->low[0], image = place / (t->wide * t->tall);
  int64_t tap = k / run, off = k % run;
  for (int64_t at = 0, count; at < numbers; at += count, tap++, off = 0) {
    count = lesser(run - off, numbers - at);
    const int64_t line = y + tap / each * t->dilation[0], from = (x + tap % each * t->dilation[1]) * t->channels + off;
    const int inside = line >= 0 && line < t->height;
    copy_within(data + (inside ? (image * t->height + line) * length * bytes : 0), inside ? length : 0, inside ? from : 0, count, bytes, into + at * bytes);
  }
}

#endif
