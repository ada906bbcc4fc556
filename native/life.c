// Opening and closing MPI: what every other file needs is started and ended here, so this one stands on all of them.
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>

#include "internal.h"

static int ours; // we have called MPI_Init_thread, so we finalise

static int own_copy(MPI_Comm from, MPI_Comm *to) {
  return mw_check(MPI_Comm_dup(from, to), "MPI_Comm_dup") || mw_check(MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

// A launcher may bind each rank to a core of its own: only all masks together say how many there are.
static int count_cores(void) {
  cpu_set_t mine, all;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof mine, &mine);
  if (mw_check(MPI_Allreduce(&mine, &all, sizeof mine, MPI_BYTE, MPI_BOR, mw_life.local), "MPI_Allreduce")) return 1;
  mw_life.cores = CPU_COUNT(&all);
  return 0;
}

static int gather_hosts(void) {
  char name[MPI_MAX_PROCESSOR_NAME + HOST_NAME] = "";
  int length = 0;
  mw_life.hosts = calloc((size_t)mw_life.size, HOST_NAME);
  if (mw_life.hosts == NULL) return mw_fail("out of memory");
  if (mw_check(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name")) return 1;
  name[HOST_NAME - 1] = 0;
  return mw_check(MPI_Allgather(name, HOST_NAME, MPI_CHAR, mw_life.hosts, HOST_NAME, MPI_CHAR, mw_life.world), "MPI_Allgather");
}

static const char *level_name(int level) {
  return level == MPI_THREAD_SINGLE ? "MPI_THREAD_SINGLE" : level == MPI_THREAD_FUNNELED ? "MPI_THREAD_FUNNELED" : level == MPI_THREAD_SERIALIZED ? "MPI_THREAD_SERIALIZED" : "MPI_THREAD_MULTIPLE";
}

int mw_open(double limit_seconds) {
  int on = 0, over = 0;
  if (mw_life.open) return mw_fail("mw_open: already open");
  if (mw_check(MPI_Initialized(&on), "MPI_Initialized") || mw_check(MPI_Finalized(&over), "MPI_Finalized")) return 1;
  if (over) return mw_fail("mw_open: MPI was closed before; a process can't open it twice");
  ours = !on;
  if (on ? mw_check(MPI_Query_thread(&mw_life.threads), "MPI_Query_thread")
         : mw_check(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &mw_life.threads), "MPI_Init_thread"))
    return 1;
  if (mw_life.threads < MPI_THREAD_SERIALIZED)
    return mw_fail("this MPI gives %s; calls from more than one thread need MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE", level_name(mw_life.threads));
  if (ours) {
    // Errors of calls without a communicator, such as those on types, are raised on these two.
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  }
  if (own_copy(MPI_COMM_WORLD, &mw_life.world) || own_copy(MPI_COMM_WORLD, &mw_life.watch)) return 1;
  MPI_Comm_rank(mw_life.world, &mw_life.rank);
  MPI_Comm_size(mw_life.world, &mw_life.size);
  if (mw_check(MPI_Comm_split_type(mw_life.world, MPI_COMM_TYPE_SHARED, mw_life.rank, MPI_INFO_NULL, &mw_life.local), "MPI_Comm_split_type")) return 1;
  MPI_Comm_set_errhandler(mw_life.local, MPI_ERRORS_RETURN);
  MPI_Comm_rank(mw_life.local, &mw_life.local_rank);
  MPI_Comm_size(mw_life.local, &mw_life.local_size);
  if (count_cores() || gather_hosts()) return 1;
  mw_life.limit = limit_seconds;
  if (mw_watch_start()) return 1;
  mw_life.open = 1;
  return 0;
}

int mw_close(void) {
  if (!mw_life.open) return 0;
  mw_beside_end();
  // All are here before any monitor stops, and every ping is taken in before a peer finalises.
  int failed = mw_barrier(0, "close");
  failed |= mw_store_close();
  mw_watch_quiet();
  failed |= mw_watch_drain();
  mw_life.open = 0;
  mw_groups_free();
  mw_reductions_free();
  if (ours) failed |= mw_leave();
  mw_watch_end();
  free(mw_life.hosts);
  mw_life.hosts = NULL;
  return failed;
}
