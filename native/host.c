// The collectives that Node itself calls: they wait so that the core is left to others, under the watchdog.
#include <string.h>

#include "internal.h"

static int ready(const char *call) { return mw_life.open ? 0 : mw_fail("%s: MPI is not open", call); }

static void enter(const char *what) {
  if (what == NULL) what = "";
  mw_watch_enter(LANE_PROGRAM, (FfiSpan){what, strlen(what)}, (FfiSpan){"", 0}, 1);
}

int mw_allgather(const void *in, int64_t bytes, void *out, const char *what) {
  if (ready("mw_allgather")) return 1;
  if (bytes < 0) return mw_fail("mw_allgather: %lld bytes", (long long)bytes);
  MPI_Datatype type = MPI_BYTE;
  MPI_Request request;
  const int big = bytes > mw_life.largest;
  if (big && mw_big_type(bytes, &type)) return 1;
  enter(what);
  const int count = big ? 1 : (int)bytes;
  int failed = mw_check(MPI_Iallgather(in, count, type, out, count, type, mw_life.world, &request), "MPI_Iallgather") || mw_wait(&request, WAITS_NODE);
  mw_watch_leave(LANE_PROGRAM);
  if (big) MPI_Type_free(&type);
  return failed;
}

int mw_bcast(void *data, int64_t bytes, int root, const char *what) {
  if (ready("mw_bcast")) return 1;
  if (bytes < 0 || root < 0 || root >= mw_life.size) return mw_fail("mw_bcast: %lld bytes from rank %d", (long long)bytes, root);
  int failed = 0;
  enter(what);
  for (int64_t done = 0; done < bytes && !failed; done += mw_life.largest) {
    const int64_t left = bytes - done;
    MPI_Request request;
    failed = mw_check(MPI_Ibcast((char *)data + done, (int)(left < mw_life.largest ? left : mw_life.largest), MPI_BYTE, root, mw_life.world, &request), "MPI_Ibcast") || mw_wait(&request, WAITS_NODE);
  }
  mw_watch_leave(LANE_PROGRAM);
  return failed;
}

int mw_barrier(int on_host, const char *what) {
  if (ready("mw_barrier")) return 1;
  enter(what);
  MPI_Request request;
  int failed = mw_check(MPI_Ibarrier(on_host ? mw_life.local : mw_life.world, &request), "MPI_Ibarrier") || mw_wait(&request, WAITS_NODE);
  mw_watch_leave(LANE_PROGRAM);
  return failed;
}
