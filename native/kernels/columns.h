// Products with columns whose numbers lie together, for one kind of them: lanes go along what is contracted. Included once for each kind, which says NAME(of a function), READ(column, i, scale, offset), sixteen of
// its numbers, BITS of each, and whether they are SCALED and have an OFFSET. Sixteen sums are added up at once wherever there are so many, in the order in which one is.

// The numbers behind the last sixteen, and zeros.
static Vec NAME(rest)(const Product *p, const Column *column, int64_t from) {
  Column rest = *column;
  char bytes[sizeof(float) * LANES] = {0};
  const int64_t size = BITS * (p->k - from) / 8;
  memcpy(bytes, column->w + BITS * from / 8, (size_t)size);
  rest.w = bytes;
  const Vec scale = all(1), offset = zeros();
  (void)scale, (void)offset;
  return READ(&rest, 0, scale, offset);
}

// Sums of `rows` × `cols` products, lane by lane, those of a row with four columns side by side. Each `group` numbers of a column have a scale.
static inline __attribute__((always_inline)) void NAME(tile)(const Product *p, Vec *found, const float *const *x, const Column *column, int64_t group, int rows, int cols, int ahead) {
  // They stay in registers: what pointers lead to would not.
  Vec acc[ROWS * COLUMNS];
  for (int i = 0; i < rows * cols; i++) acc[i] = zeros();
  const int64_t k = p->k, whole = k / LANES * LANES;
  for (int64_t from = 0, g = 0; from < whole; from += group, g++) {
    Vec scale[COLUMNS], offset[COLUMNS];
    for (int c = 0; c < cols; c++) {
      scale[c] = all(SCALED ? column[c].scale[g] : 1);
      offset[c] = all(OFFSET ? column[c].offset[g] : 0);
      (void)scale[c], (void)offset[c];
    }
#pragma GCC unroll 2
    for (int64_t i = from; i < from + group; i += LANES) {
      Vec b[COLUMNS];
      for (int c = 0; c < cols; c++) b[c] = READ(&column[c], i, scale[c], offset[c]);
      // Columns lie one behind another: what comes next is fetched in the order in which it lies. Of one alone the machine itself sees what comes, and needs but little.
      if (ahead && i % (64 * 8 / BITS / cols) == 0)
        for (int64_t line = 0; line < cols * LANES * BITS / 8; line += 64) __builtin_prefetch(column[0].w + cols * i * BITS / 8 + line + (cols == 1 ? 1024 : cols * k * BITS / 8 + 4096), 0, 2);
      for (int r = 0; r < rows; r++) {
        const Vec a = load_f32((const char *)(x[r] + i));
        for (int c = 0; c < cols; c++) acc[r * cols + c] = plus_product(acc[r * cols + c], a, b[c]);
      }
    }
  }
  if (whole < k) {
    Vec b[COLUMNS];
    for (int c = 0; c < cols; c++) b[c] = NAME(rest)(p, &column[c], whole);
    for (int r = 0; r < rows; r++) {
      float rest[LANES] = {0};
      memcpy(rest, x[r] + whole, (size_t)(k - whole) * sizeof(float));
      const Vec a = load_f32((const char *)rest);
      for (int c = 0; c < cols; c++) acc[r * cols + c] = plus_product(acc[r * cols + c], a, b[c]);
    }
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) found[r * COLUMNS + c] = acc[r * cols + c];
}

static inline __attribute__((always_inline)) void NAME(tile_of)(const Product *p, Vec *acc, const float *const *x, const Column *column, int rows, int cols, int ahead) {
  // The usual sizes are known to the compiler.
  if (!SCALED) NAME(tile)(p, acc, x, column, p->k / LANES * LANES, rows, cols, ahead);
  else if (p->group == 32) NAME(tile)(p, acc, x, column, 32, rows, cols, ahead);
  else NAME(tile)(p, acc, x, column, p->group, rows, cols, ahead);
}

// One, two or four rows with as many columns as make sixteen sums, some at a time. A row alone goes through one column after another, as they lie, and so reads as fast as memory is; making numbers of few bits takes longer than
// that, and is best done of four at once.
static inline __attribute__((always_inline)) void NAME(sixteen)(const Product *p, const float *const *x, float *const *y, int64_t from, int rows, int ahead) {
  Vec of[LANES];
  const int cols = rows == 1 && !SCALED ? 1 : fitting(rows);
  float scales[SCALED ? 2 * MOST_SCALES : 1];
  const Columns all = columns_at(p, from, LANES / rows, BITS, SCALED, scales);
  for (int at = 0; at < LANES / rows; at += cols) {
    Column column[COLUMNS];
    for (int c = 0; c < cols; c++) column[c] = column_of(p, &all, at + c, BITS, SCALED);
    NAME(tile_of)(p, of + at / COLUMNS * rows * COLUMNS + at % COLUMNS, x, column, rows, cols, ahead);
  }
  const Vec found = sums(of);
  for (int g = 0; g < LANES / rows / COLUMNS; g++)
    for (int r = 0; r < rows; r++) memcpy(y[r] + from + g * COLUMNS, (const float *)&found + (g * rows + r) * COLUMNS, sizeof(float) * COLUMNS);
}

static void NAME(some)(const Product *p, const float *const *x, float *const *y, int64_t from, int64_t to, int rows, int ahead) {
  int64_t c = from;
  for (; c + LANES / rows <= to; c += LANES / rows) {
    if (rows == 1) NAME(sixteen)(p, x, y, c, 1, ahead);
    else if (rows == 2) NAME(sixteen)(p, x, y, c, 2, ahead);
    else NAME(sixteen)(p, x, y, c, 4, ahead);
  }
  for (; c < to; c++) {
    float scales[SCALED ? 2 * MOST_GROUPS : 1];
    const Columns one = columns_at(p, c, 1, BITS, SCALED, scales);
    const Column column = column_of(p, &one, 0, BITS, SCALED);
    for (int r = 0; r < rows; r++) {
      Vec acc;
      NAME(tile_of)(p, &acc, x + r, &column, 1, 1, 0);
      y[r][c] = sum(acc);
    }
  }
}

#if SCALED
// Columns as they are computed with, for many rows.
static void NAME(panel)(const Product *p, int64_t from, int count, float *into) {
  for (int c = 0; c < count; c++) {
    float scales[2 * MOST_GROUPS];
    const Columns one = columns_at(p, from + c, 1, BITS, SCALED, scales);
    const Column column = column_of(p, &one, 0, BITS, SCALED);
    for (int64_t i = 0; i < p->k; i += LANES) {
      const Vec scale = all(column.scale[i / p->group]), offset = all(OFFSET ? column.offset[i / p->group] : 0);
      const Vec v = READ(&column, i, scale, offset);
      (void)offset;
      memcpy(into + c * p->k + i, &v, sizeof v);
    }
  }
}

#endif
#undef NAME
#undef READ
#undef BITS
#undef SCALED
#undef OFFSET
