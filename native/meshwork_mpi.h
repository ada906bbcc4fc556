// What libmeshwork_mpi.so exports: to Node through koffi, and to XLA as FFI handlers. int results: 0, or failed (mw_error says why).
#ifndef MESHWORK_MPI_H
#define MESHWORK_MPI_H

#include <stdint.h>

#include "ffi.h"
#include "pjrt_store.h"

#pragma GCC visibility push(default)

// These two answer before mw_open too.
const char *mw_library(void);
const char *mw_built(void);
const char *mw_error(void);

// Limit: seconds in one collective before the watchdog looks for a culprit; 0 or less turns that off.
int mw_open(double limit_seconds);
int mw_close(void);
void mw_abort(int code);

int mw_rank(void);
int mw_size(void);
int mw_local_rank(void);
int mw_local_size(void);
const char *mw_host(int rank);

// Host-level collectives: all ranks, any thread, never while a program runs. They wait without keeping a core busy.
int mw_allgather(const void *in, int64_t bytes, void *out, const char *what);
int mw_bcast(void *data, int64_t bytes, int root, const char *what);
int mw_barrier(int on_host, const char *what);

// The store of all ranks that a plugin's client is made with; every rank opens it. The others are the plugin's callbacks, for any thread.
int mw_store_open(void);
void *mw_store_get(StoreGet *args);
void *mw_store_try_get(StoreTryGet *args);
void *mw_store_put(StorePut *args);

// The largest element count given to one MPI call.
void mw_set_largest(int64_t count);
// Whether collectives can be under way while a program goes on: 1 where MPI may be called by several threads at once.
int mw_goes_beside(void);
// Whether a program's collectives yield the core while they wait: 1, 0, or -1 for "where ranks outnumber cores".
void mw_set_gentle(int on);

FfiError *mw_all_reduce(FfiFrame *frame);
FfiError *mw_all_gather(FfiFrame *frame);
FfiError *mw_reduce_scatter(FfiFrame *frame);
FfiError *mw_all_to_all(FfiFrame *frame);
FfiError *mw_permute(FfiFrame *frame);
// The same in two: one call begins it, and the other waits for it. All ranks begin them in one order.
FfiError *mw_start(FfiFrame *frame);
FfiError *mw_await(FfiFrame *frame);
// Counts on by collectives that other ranks run in a branch which this one does not take.
FfiError *mw_skip(FfiFrame *frame);
FfiError *mw_device(FfiFrame *frame);

#pragma GCC visibility pop

#endif
