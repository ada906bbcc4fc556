// What the files of the library share; none of it is exported.
#ifndef MESHWORK_INTERNAL_H
#define MESHWORK_INTERNAL_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "ffi.h"
#include "meshwork_mpi.h"

#pragma GCC visibility push(hidden)

// The files come from the bottom up: each calls only those that stand before it here.

enum { HOST_NAME = 256 };

// base.c
typedef struct {
  int open;
  int rank, size, local_rank, local_size;
  int cores;        // that the ranks of this host may use together
  int threads;      // the thread level that MPI gives
  int gentle;       // as mw_set_gentle
  int64_t largest;  // as mw_set_largest
  double limit;
  MPI_Comm world;   // host-level collectives, and the parent of every group
  MPI_Comm local;   // the ranks of this host
  MPI_Comm watch;   // the watchdogs' own
  char (*hosts)[HOST_NAME]; // of each rank; null while MPI is not open
} Life;
extern Life mw_life;
double mw_now(void);
int mw_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int mw_check(int code, const char *doing);

// wait.c
int mw_scarce(void);  // more ranks than cores on this host
int mw_crowded(void); // and calls that wait keep a core from those that compute
// Who waits: Node, a program's own thread, or the thread that runs collectives beside a program.
typedef enum { WAITS_NODE, WAITS_PROGRAM, WAITS_BESIDE } Waiter;
int mw_wait(MPI_Request *request, Waiter waiter);
extern _Atomic int mw_awaited; // threads of a program that wait for what is under way beside it
int mw_big_type(int64_t bytes, MPI_Datatype *type);

// meet.c: ranks of one host that sleep until all of them have come
typedef struct Meeting Meeting;
int mw_meeting(MPI_Comm comm, Meeting **meeting);
void mw_meeting_free(Meeting **meeting);
void mw_meet(Meeting *meeting, int size);

// comm.c: the ranks that one collective joins, numbered as the dim takes them.
// Each lane has communicators of its own: what goes on in one of them is in no order with the other.
typedef enum { LANE_PROGRAM, LANE_BESIDE, LANES } Lane;
typedef struct {
  int size, part;
  MPI_Comm comm; // null where the size is 1
  Meeting *meeting; // null where they have none
} Group;
const Group *mw_group(const int64_t *mesh, size_t mesh_count, const int64_t *axes, size_t axis_count, Lane lane);
void mw_groups_free(void);

// store.c
int mw_store_close(void);

// reduce.c
enum { KIND_SUM, KIND_MAX, KIND_MIN, KIND_PROD, KINDS };
typedef struct {
  MPI_Datatype type;
  MPI_Op op;
} Reduction;
size_t mw_dtype_bytes(int32_t dtype); // 0: not one of ours
int mw_reduction(int32_t dtype, int64_t kind, Reduction *out);
void mw_reductions_free(void);

// frame.c: a call frame, read and checked.
typedef struct {
  int32_t dtype;
  size_t bytes; // of one element
  int64_t count;
  char *data;
} Data;
typedef struct {
  const int64_t *items;
  size_t count;
} Numbers;
typedef struct {
  Data in, out;
  Numbers mesh, axes, pairs;
  int64_t kind, collective;
  FfiSpan what, at;
  int beside; // run while the program goes on
} Call;
int mw_read_call(const FfiFrame *frame, Call *call);
int mw_read_start(const FfiFrame *frame, Call *call, uint32_t **ticket, int *wanted); // without its result; `wanted`: whether it shall run at all
int mw_read_wait(const FfiFrame *frame, uint32_t *ticket, Data *out);
int mw_read_count(const FfiFrame *frame, int64_t *count);
int mw_read_result(const FfiFrame *frame, Data *out);

// collect.c
typedef int Collective(const Call *call, const Group *group);
Collective mw_do_all_reduce, mw_do_all_gather, mw_do_reduce_scatter, mw_do_all_to_all, mw_do_permute;
enum { COLLECTIVES = 5 };
extern Collective *const mw_collectives[COLLECTIVES]; // by the number that a start names them with
int mw_result_count(const Call *call, int parts, int64_t *count);

// ping.c: the monitors' questions and answers
enum { LABEL = 128 };
typedef struct {
  int64_t sequence;
  int32_t inside, patient;
  double elapsed;
  char what[LABEL], at[LABEL];
} Doing; // in one lane
typedef struct {
  int64_t round;
  Doing lanes[LANES];
} Status; // of one rank, as it answers a ping
int mw_pings_start(void);
void mw_pings_serve(const Status *own);
void mw_pings_ask(void);
int mw_pings_missing(void);
const Status *mw_pings_answer(int rank, double *age); // null: none in this round
int mw_pings_drain(void);
void mw_pings_end(void);

// blame.c: who holds a collective up, as one message; 0 where no one does
int mw_blame(const Status *own, Lane lane, int asked, char *text, size_t size);

// watch.c
int mw_watch_start(void);
void mw_watch_enter(Lane lane, FfiSpan what, FfiSpan at, int patient);
void mw_watch_leave(Lane lane);
void mw_watch_skip(Lane lane, int64_t count);
void mw_watch_quiet(void); // no more MPI calls by the monitor; it still sees to it that closing ends
int mw_watch_drain(void);  // then: takes in what the other monitors have sent
void mw_watch_end(void);

// beside.c: collectives that are under way while the program goes on
int mw_beside_start(const Call *call, const Group *group, uint32_t *ticket);
int mw_beside_wait(uint32_t ticket, const Data *out);
void mw_beside_end(void);

// leave.c
int mw_leave(void);

#pragma GCC visibility pop

#endif
