// Questions and answers between the monitors, on a communicator of their own; only monitor threads come here.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { PING = 1, ANSWER = 2 };
typedef struct {
  int64_t ping;
  Status answer, heard;
  double heard_at;
  int known; // heard is of this round
  MPI_Request ping_sent, answer_sent;
} Peer;
static Peer *peers;
static int64_t *sent; // messages to each rank: closing waits until all have been taken in
static int64_t taken, round_now;

int mw_pings_start(void) {
  peers = calloc((size_t)mw_life.size, sizeof *peers);
  sent = calloc((size_t)mw_life.size, sizeof *sent);
  if (peers == NULL || sent == NULL) return mw_fail("out of memory");
  for (int r = 0; r < mw_life.size; r++) peers[r].ping_sent = peers[r].answer_sent = MPI_REQUEST_NULL;
  return 0;
}

// A peer that takes nothing in gets nothing more: monitors never wait.
static void send(int rank, int tag, const void *data, size_t bytes, MPI_Request *request) {
  if (MPI_Isend(data, (int)bytes, MPI_BYTE, rank, tag, mw_life.watch, request) == MPI_SUCCESS) sent[rank]++;
}
static int is_free(MPI_Request *request) {
  int done = 0;
  return MPI_Test(request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done;
}

static int take(const Status *own) {
  int there = 0;
  MPI_Status status;
  if (MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, mw_life.watch, &there, &status) != MPI_SUCCESS || !there) return 0;
  Peer *p = &peers[status.MPI_SOURCE];
  int64_t asked = 0;
  Status heard;
  const int is_ping = status.MPI_TAG == PING;
  if (MPI_Recv(is_ping ? (void *)&asked : (void *)&heard, is_ping ? (int)sizeof asked : (int)sizeof heard, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, mw_life.watch, MPI_STATUS_IGNORE) != MPI_SUCCESS) return 0;
  taken++;
  if (is_ping && own != NULL && is_free(&p->answer_sent)) {
    p->answer = *own;
    p->answer.round = asked;
    send(status.MPI_SOURCE, ANSWER, &p->answer, sizeof p->answer, &p->answer_sent);
  } else if (!is_ping && heard.round == round_now) {
    p->heard = heard;
    p->heard_at = mw_now();
    p->known = 1;
  }
  return 1;
}

void mw_pings_serve(const Status *own) {
  while (take(own)) continue;
}

void mw_pings_ask(void) {
  round_now++;
  for (int r = 0; r < mw_life.size; r++) {
    Peer *p = &peers[r];
    p->known = 0;
    if (r == mw_life.rank || !is_free(&p->ping_sent)) continue;
    p->ping = round_now;
    send(r, PING, &p->ping, sizeof p->ping, &p->ping_sent);
  }
}

int mw_pings_missing(void) {
  int missing = 0;
  for (int r = 0; r < mw_life.size; r++) missing += r != mw_life.rank && !peers[r].known;
  return missing;
}

const Status *mw_pings_answer(int rank, double *age) {
  if (!peers[rank].known) return NULL;
  *age = mw_now() - peers[rank].heard_at;
  return &peers[rank].heard;
}

int mw_pings_drain(void) {
  MPI_Request request;
  int64_t expected = 0;
  if (mw_check(MPI_Ireduce_scatter_block(sent, &expected, 1, MPI_INT64_T, MPI_SUM, mw_life.watch, &request), "MPI_Ireduce_scatter_block") || mw_wait(&request, WAITS_NODE)) return 1;
  const double start = mw_now();
  while (taken < expected && mw_now() - start < 5) take(NULL);
  for (int r = 0; r < mw_life.size; r++) {
    MPI_Request *both[2] = {&peers[r].ping_sent, &peers[r].answer_sent};
    for (int i = 0; i < 2; i++)
      while (!is_free(both[i]))
        if (mw_now() - start > 5) {
          MPI_Cancel(both[i]);
          MPI_Request_free(both[i]);
          break;
        }
  }
  return 0;
}

void mw_pings_end(void) {
  free(peers);
  free(sent);
  peers = NULL;
  sent = NULL;
}
