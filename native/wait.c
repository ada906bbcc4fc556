// Waiting that leaves the core to others, and types of any size.
#include <sched.h>
#include <time.h>

#include "internal.h"

// Where ranks outnumber cores, a call that spins takes the core from the rank that is waited for. Open MPI's mpirun has its ranks
// yield then, and its blocking algorithms are the better ones: 4 ranks on 2 cores, 1 MiB all-reduce, 430 µs against 640.
int mw_scarce(void) { return mw_life.gentle < 0 ? mw_life.local_size > mw_life.cores : mw_life.gentle; }
int mw_crowded(void) {
#ifdef OPEN_MPI
  const int yields = 1;
#else
  const int yields = 0;
#endif
  return mw_life.gentle < 0 ? !yields && mw_scarce() : mw_life.gentle;
}

// How long a wait spins, then yields the core, and the naps that it takes from there on; seconds.
typedef struct {
  double spin, yield, first_nap, longest_nap;
} Patience;
// Node's own waits: over within microseconds, or long, and then nothing else may suffer.
static const Patience calm = {50e-6, 150e-6, 20e-6, 1e-3};
// A program's, where cores are short: yields pass the core round within a collective, naps end the round in long waits.
// 4 ranks, 2 cores, a step of 2 ms: MPICH 6 (blocking calls: 8 to 30), Open MPI 5 (5); of 0.2 ms: 0.7 (8 to 20) and 0.6 (0.6).
static const Patience crowd = {0, 3e-3, 5e-6, 100e-6};

// Beside a program the core is the program's: what is under way is looked after now and then.
static const Patience beside = {0, 0, 20e-6, 100e-6};

_Atomic int mw_awaited = 0;

int mw_wait(MPI_Request *request, Waiter waiter) {
  const Patience *const patiences[] = {[WAITS_NODE] = &calm, [WAITS_PROGRAM] = &crowd, [WAITS_BESIDE] = &beside};
  const double start = mw_now();
  double nap = patiences[waiter]->first_nap;
  for (;;) {
    int done = 0;
    // Once the program waits for it, it is the program's own wait.
    if (waiter == WAITS_BESIDE && mw_awaited > 0) waiter = WAITS_PROGRAM;
    const Patience *p = patiences[waiter];
    if (mw_check(MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test")) return 1;
    if (done) return 0;
    const double waited = mw_now() - start;
    if (waited < p->spin) continue;
    if (waited < p->yield) {
      sched_yield();
      continue;
    }
    nanosleep(&(struct timespec){.tv_nsec = (long)(nap * 1e9)}, NULL);
    nap = nap * 1.5 < p->longest_nap ? nap * 1.5 : p->longest_nap;
  }
}

// One element of any number of bytes, made of pieces that an int can count.
int mw_big_type(int64_t bytes, MPI_Datatype *type) {
  const int64_t unit = mw_life.largest, whole = bytes / unit, rest = bytes % unit;
  MPI_Datatype piece = MPI_DATATYPE_NULL, types[2];
  if (mw_check(MPI_Type_contiguous((int)unit, MPI_BYTE, &piece), "MPI_Type_contiguous")) return 1;
  int failed = mw_check(MPI_Type_contiguous((int)whole, piece, &types[0]), "MPI_Type_contiguous");
  MPI_Type_free(&piece);
  if (failed) return 1;
  types[1] = MPI_BYTE;
  const int counts[2] = {1, (int)rest};
  const MPI_Aint places[2] = {0, (MPI_Aint)(whole * unit)};
  failed = mw_check(MPI_Type_create_struct(2, counts, places, types, type), "MPI_Type_create_struct");
  MPI_Type_free(&types[0]);
  return failed || mw_check(MPI_Type_commit(type), "MPI_Type_commit");
}
