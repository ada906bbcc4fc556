// The collectives themselves, over blocking MPI calls, with elements beyond what one call may count.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// A blocking call is the fastest, and spins. Where ranks outnumber cores it takes the core from the rank that is waited
// for (MPICH's never yields: a step of 2 ms took 30): there the nonblocking call is polled.
// Beside a program it would take the core from that.
#define CALL(blocking, nonblocking, ...) \
  (c->beside || mw_crowded() ? mw_check(nonblocking(__VA_ARGS__, &request), #nonblocking) || mw_wait(&request, waiter(c)) : mw_check(blocking(__VA_ARGS__), #blocking))

static Waiter waiter(const Call *c) { return c->beside ? WAITS_BESIDE : WAITS_PROGRAM; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static int copied(const Call *c) {
  if (c->in.data != c->out.data && c->in.count > 0) memcpy(c->out.data, c->in.data, (size_t)c->in.count * c->in.bytes);
  return 0;
}

static int sizes(const Call *c, int64_t in, int64_t out) {
  if (c->in.count == in && c->out.count == out) return 0;
  return mw_fail("%lld elements in and %lld out, but %lld and %lld expected", (long long)c->in.count, (long long)c->out.count, (long long)in, (long long)out);
}

int mw_do_all_reduce(const Call *c, const Group *g) {
  Reduction r;
  MPI_Request request;
  if (sizes(c, c->in.count, c->in.count) || mw_reduction(c->in.dtype, c->kind, &r)) return 1;
  if (g->size == 1) return copied(c);
  for (int64_t done = 0; done < c->in.count; done += mw_life.largest) {
    const size_t place = (size_t)done * c->in.bytes;
    const void *from = c->in.data == c->out.data ? MPI_IN_PLACE : c->in.data + place;
    if (CALL(MPI_Allreduce, MPI_Iallreduce, from, c->out.data + place, (int)least(c->in.count - done, mw_life.largest), r.type, r.op, g->comm)) return 1;
  }
  return 0;
}

// Bytes as MPI counts them: plain, by eights, or one element of a type of that size. The total of a group counts too: some
// algorithms of the libraries multiply it out in an int.
typedef struct {
  MPI_Datatype type;
  int count, big;
} Bytes;
static int bytes_for(int64_t bytes, int parts, Bytes *out) {
  // Open MPI copies eight bytes at a time an eighth faster than single ones.
  const int wide = bytes % 8 == 0;
  *out = (Bytes){wide ? MPI_INT64_T : MPI_BYTE, (int)(wide ? bytes / 8 : bytes), bytes > mw_life.largest / parts};
  if (!out->big) return 0;
  out->count = 1;
  return mw_big_type(bytes, &out->type);
}
static int bytes_done(Bytes *b, int failed) {
  if (b->big) MPI_Type_free(&b->type);
  return failed;
}

int mw_do_all_gather(const Call *c, const Group *g) {
  Bytes b;
  MPI_Request request;
  if (sizes(c, c->in.count, c->in.count * g->size)) return 1;
  if (g->size == 1) return copied(c);
  if (c->in.count == 0) return 0;
  if (bytes_for(c->in.count * (int64_t)c->in.bytes, g->size, &b)) return 1;
  return bytes_done(&b, CALL(MPI_Allgather, MPI_Iallgather, c->in.data, b.count, b.type, c->out.data, b.count, b.type, g->comm));
}

int mw_do_all_to_all(const Call *c, const Group *g) {
  Bytes b;
  MPI_Request request;
  if (sizes(c, c->in.count, c->in.count)) return 1;
  if (c->in.count % g->size != 0) return mw_fail("%lld elements don't split over %d parts", (long long)c->in.count, g->size);
  if (g->size == 1) return copied(c);
  if (c->in.count == 0) return 0;
  if (bytes_for(c->in.count / g->size * (int64_t)c->in.bytes, g->size, &b)) return 1;
  return bytes_done(&b, CALL(MPI_Alltoall, MPI_Ialltoall, c->in.data, b.count, b.type, c->out.data, b.count, b.type, g->comm));
}

int mw_do_reduce_scatter(const Call *c, const Group *g) {
  Reduction r;
  MPI_Request request;
  const int64_t n = c->out.count, step = mw_life.largest / g->size > 0 ? mw_life.largest / g->size : 1;
  if (sizes(c, n * g->size, n) || mw_reduction(c->in.dtype, c->kind, &r)) return 1;
  if (g->size == 1) return copied(c);
  if (n == 0) return 0;
  if (n <= step) return CALL(MPI_Reduce_scatter_block, MPI_Ireduce_scatter_block, c->in.data, c->out.data, (int)n, r.type, r.op, g->comm);
  // A chunk of each part lies apart from the next: packed first.
  const size_t size = c->in.bytes;
  char *packed = malloc((size_t)step * (size_t)g->size * size);
  if (packed == NULL) return mw_fail("out of memory for a chunk of %lld elements", (long long)(step * g->size));
  int failed = 0;
  for (int64_t done = 0; done < n && !failed; done += step) {
    const int64_t now = least(n - done, step);
    for (int p = 0; p < g->size; p++) memcpy(packed + (size_t)(p * now) * size, c->in.data + (size_t)(p * n + done) * size, (size_t)now * size);
    failed = CALL(MPI_Reduce_scatter_block, MPI_Ireduce_scatter_block, packed, c->out.data + (size_t)done * size, (int)now, r.type, r.op, g->comm);
  }
  free(packed);
  return failed;
}

static int exchange(const Call *c, const Group *g, const Bytes *b, int from, int to) {
  MPI_Request got, gone;
  if (!c->beside && !mw_crowded()) return mw_check(MPI_Sendrecv(c->in.data, b->count, b->type, to, 0, c->out.data, b->count, b->type, from, 0, g->comm, MPI_STATUS_IGNORE), "MPI_Sendrecv");
  return mw_check(MPI_Irecv(c->out.data, b->count, b->type, from, 0, g->comm, &got), "MPI_Irecv") ||
         mw_check(MPI_Isend(c->in.data, b->count, b->type, to, 0, g->comm, &gone), "MPI_Isend") || mw_wait(&got, waiter(c)) || mw_wait(&gone, waiter(c));
}

int mw_do_permute(const Call *c, const Group *g) {
  int from = MPI_PROC_NULL, to = MPI_PROC_NULL;
  if (sizes(c, c->in.count, c->in.count)) return 1;
  if (c->pairs.count % 2 != 0) return mw_fail("pairs hold %zu numbers", c->pairs.count);
  for (size_t i = 0; i < c->pairs.count; i += 2) {
    const int64_t source = c->pairs.items[i], target = c->pairs.items[i + 1];
    if (source < 0 || source >= g->size || target < 0 || target >= g->size) return mw_fail("pair %lld to %lld in a group of %d", (long long)source, (long long)target, g->size);
    if ((source == g->part && to != MPI_PROC_NULL) || (target == g->part && from != MPI_PROC_NULL)) return mw_fail("part %d sends or receives twice", g->part);
    if (source == g->part) to = (int)target;
    if (target == g->part) from = (int)source;
  }
  if (from == g->part) return copied(c);
  if (c->in.count == 0) return 0;
  const int64_t bytes = c->in.count * (int64_t)c->in.bytes;
  int failed = 0;
  if (from != MPI_PROC_NULL || to != MPI_PROC_NULL) {
    Bytes b;
    if (bytes_for(bytes, 1, &b)) return 1;
    failed = bytes_done(&b, exchange(c, g, &b, from, to));
  }
  if (from == MPI_PROC_NULL) memset(c->out.data, 0, (size_t)bytes);
  return failed;
}

Collective *const mw_collectives[COLLECTIVES] = {mw_do_all_reduce, mw_do_all_gather, mw_do_reduce_scatter, mw_do_all_to_all, mw_do_permute};

int mw_result_count(const Call *c, int parts, int64_t *count) {
  Collective *const does = mw_collectives[c->collective];
  if (does == mw_do_reduce_scatter && c->in.count % parts != 0) return mw_fail("%lld elements don't split over %d parts", (long long)c->in.count, parts);
  *count = does == mw_do_all_gather ? c->in.count * parts : does == mw_do_reduce_scatter ? c->in.count / parts : c->in.count;
  return 0;
}
