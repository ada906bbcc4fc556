// Products with columns that lie side by side, each row's numbers together: lanes go along the columns, and what is contracted is added one by one.
#define ROW_KERNELS(name, bytes, load)                                                                                                  \
  static inline __attribute__((always_inline)) void rows_##name(const Product *p, const float *x, const char *w, float *y, int rows, int vecs) { \
    Vec acc[ROWS][COLUMNS];                                                                                                             \
    for (int r = 0; r < rows; r++)                                                                                                      \
      for (int c = 0; c < vecs; c++) acc[r][c] = zeros();                                                                               \
    for (int64_t i = 0; i < p->k; i++) {                                                                                                \
      Vec b[COLUMNS];                                                                                                                   \
      for (int c = 0; c < vecs; c++) b[c] = load(w + (i * p->n + c * LANES) * bytes);                                                   \
      for (int r = 0; r < rows; r++) {                                                                                                  \
        const Vec a = all(x[r * p->k + i]);                                                                                        \
        for (int c = 0; c < vecs; c++) acc[r][c] = plus_product(acc[r][c], a, b[c]);                                                    \
      }                                                                                                                                 \
    }                                                                                                                                   \
    for (int r = 0; r < rows; r++)                                                                                                      \
      for (int c = 0; c < vecs; c++) store_f32(y + r * p->n + c * LANES, acc[r][c]);                                                    \
  }                                                                                                                                     \
  static void rest_rows_##name(const Product *p, const float *x, const char *w, float *y, int rows, int count) {                        \
    Vec acc[ROWS];                                                                                                                      \
    for (int r = 0; r < rows; r++) acc[r] = zeros();                                                                                    \
    char rest[4 * LANES];                                                                                                               \
    memset(rest, 0, sizeof rest);                                                                                                       \
    for (int64_t i = 0; i < p->k; i++) {                                                                                                \
      memcpy(rest, w + i * p->n * bytes, (size_t)count * bytes);                                                                        \
      const Vec b = load(rest);                                                                                                         \
      for (int r = 0; r < rows; r++) acc[r] = plus_product(acc[r], all(x[r * p->k + i]), b);                                       \
    }                                                                                                                                   \
    for (int r = 0; r < rows; r++) memcpy(y + r * p->n, &acc[r], (size_t)count * 4);                                                    \
  }                                                                                                                                     \
  static void block_rows_##name(const Product *p, const float *x, const char *w, float *y, int64_t from, int64_t to) {                  \
    for (int64_t r = 0; r < p->m; r += ROWS) {                                                                                          \
      const int rows = p->m - r < ROWS ? (int)(p->m - r) : ROWS;                                                                        \
      const float *a = x + r * p->k;                                                                                                    \
      int64_t c = from;                                                                                                                 \
      for (; c + COLUMNS * LANES <= to; c += COLUMNS * LANES) {                                                                         \
        float *out = y + r * p->n + c;                                                                                                  \
        const char *b = w + c * bytes;                                                                                                  \
        if (rows == ROWS)                                                                                                               \
          for (int v = 0; v < COLUMNS; v += fitting(ROWS)) rows_##name(p, a, b + v * LANES * bytes, out + v * LANES, ROWS, fitting(ROWS));\
        else                                                                                                                            \
          for (int i = 0; i < rows; i++) rows_##name(p, a + i * p->k, b, out + i * p->n, 1, COLUMNS);                                   \
      }                                                                                                                                 \
      for (; c + LANES <= to; c += LANES)                                                                                               \
        for (int i = 0; i < rows; i++) rows_##name(p, a + i * p->k, w + c * bytes, y + (r + i) * p->n + c, 1, 1);                       \
      if (c < to) rest_rows_##name(p, a, w + c * bytes, y + r * p->n + c, rows, (int)(to - c));                                         \
    }                                                                                                                                   \
  }
