// Collectives that are under way while the program goes on. One thread runs them, in the order in which they were begun, which is the same on
// all ranks; it reads and writes memory of its own, since XLA may give what a program holds to something else, or move it, between two calls.
//
// A thread and not MPI's own requests alone: these go on only while somebody calls MPI, and a program that computes does not.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef enum { FREE, TAKEN, ENDED, FAILED } State;
typedef struct Flight {
  Call call;
  const Group *group;
  State state;
  uint32_t ticket;
  size_t room[2]; // of what enters and what comes out; an all-reduce is in the first alone
  char *memory[2];
  char error[512];
  struct Flight *next, *queued;
} Flight;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static pthread_t thread;
static int running, ending;
static Flight *flights, *first, *last; // all of them; those that wait for their turn
static uint32_t tickets;

int mw_goes_beside(void) { return mw_life.open && mw_life.size > 1 && mw_life.threads == MPI_THREAD_MULTIPLE; }

static int fits(Flight *f, int side, size_t bytes) {
  if (f->room[side] >= bytes) return 1;
  free(f->memory[side]);
  f->room[side] = 0;
  // As XLA's own buffers: some of MPI's copies are faster then.
  f->memory[side] = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (f->memory[side] == NULL) return !mw_fail("out of memory for a collective of %zu bytes", bytes);
  f->room[side] = bytes;
  return 1;
}

// One that is free, of those the one whose memory suits best; or another.
static Flight *take(size_t in, size_t out) {
  Flight *best = NULL;
  for (Flight *f = flights; f != NULL; f = f->next) {
    if (f->state != FREE) continue;
    const int suits = f->room[0] >= in && f->room[1] >= out, suited = best != NULL && best->room[0] >= in && best->room[1] >= out;
    if (best == NULL || (suits && (!suited || f->room[0] + f->room[1] < best->room[0] + best->room[1]))) best = f;
  }
  if (best == NULL) {
    best = calloc(1, sizeof *best);
    if (best == NULL) return mw_fail("out of memory"), NULL;
    best->next = flights;
    flights = best;
  }
  return fits(best, 0, in) && fits(best, 1, out) ? best : NULL;
}

static void fly(Flight *f) {
  mw_watch_enter(LANE_BESIDE, f->call.what, f->call.at, 0);
  const int failed = mw_collectives[f->call.collective](&f->call, f->group);
  mw_watch_leave(LANE_BESIDE);
  if (failed) snprintf(f->error, sizeof f->error, "%.*s: %s", (int)f->call.what.length, f->call.what.text, mw_error());
  pthread_mutex_lock(&lock);
  f->state = failed ? FAILED : ENDED;
  pthread_cond_broadcast(&ended);
  pthread_mutex_unlock(&lock);
}

static void *runner(void *unused) {
  (void)unused;
  for (;;) {
    pthread_mutex_lock(&lock);
    while (first == NULL && !ending) pthread_cond_wait(&begun, &lock);
    Flight *f = first;
    if (f != NULL) first = f->queued;
    if (first == NULL) last = NULL;
    pthread_mutex_unlock(&lock);
    if (f == NULL) return NULL;
    fly(f);
  }
}

static int run_thread(void) {
  if (running) return 0;
  // Signals are for the threads that Node knows.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int code = pthread_create(&thread, NULL, runner, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (code != 0) return mw_fail("no thread for collectives: %s", strerror(code));
  running = 1;
  return 0;
}

int mw_beside_start(const Call *call, const Group *group, uint32_t *ticket) {
  int64_t count = 0;
  if (mw_result_count(call, group->size, &count)) return 1;
  const size_t in = (size_t)call->in.count * call->in.bytes, out = (size_t)count * call->in.bytes;
  const int in_place = mw_collectives[call->collective] == mw_do_all_reduce;
  const int beside = mw_goes_beside();
  pthread_mutex_lock(&lock);
  Flight *f = take(in, in_place ? 0 : out);
  if (f == NULL || (beside && run_thread())) {
    pthread_mutex_unlock(&lock);
    return 1;
  }
  f->state = TAKEN;
  f->ticket = ++tickets == 0 ? ++tickets : tickets;
  *ticket = f->ticket;
  pthread_mutex_unlock(&lock);
  f->call = *call;
  f->call.beside = beside;
  f->group = group;
  f->call.in.data = f->memory[0];
  f->call.out = (Data){call->in.dtype, call->in.bytes, count, f->memory[in_place ? 0 : 1]};
  if (in > 0) memcpy(f->memory[0], call->in.data, in);
  if (!beside) {
    fly(f);
    return 0;
  }
  pthread_mutex_lock(&lock);
  f->queued = NULL;
  if (last == NULL) first = f;
  else last->queued = f;
  last = f;
  pthread_cond_signal(&begun);
  pthread_mutex_unlock(&lock);
  return 0;
}

int mw_beside_wait(uint32_t ticket, const Data *out) {
  const size_t bytes = (size_t)out->count * out->bytes;
  // Nothing was begun, and nobody will read what this gives.
  if (ticket == 0) {
    if (bytes > 0) memset(out->data, 0, bytes);
    return 0;
  }
  pthread_mutex_lock(&lock);
  Flight *f = flights;
  while (f != NULL && (f->state == FREE || f->ticket != ticket)) f = f->next;
  mw_awaited++;
  while (f != NULL && f->state == TAKEN) pthread_cond_wait(&ended, &lock);
  mw_awaited--;
  pthread_mutex_unlock(&lock);
  if (f == NULL) return mw_fail("no collective was begun under number %u", ticket);
  const Data *got = &f->call.out;
  const int failed = f->state == FAILED ? mw_fail("%s", f->error) : got->count == out->count && got->dtype == out->dtype ? 0
    : mw_fail("%lld elements out, but %lld expected", (long long)out->count, (long long)got->count);
  if (!failed && bytes > 0) memcpy(out->data, got->data, bytes);
  pthread_mutex_lock(&lock);
  f->state = FREE;
  pthread_mutex_unlock(&lock);
  return failed;
}

// No program runs any more.
void mw_beside_end(void) {
  if (running) {
    pthread_mutex_lock(&lock);
    ending = 1;
    pthread_cond_signal(&begun);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    running = 0;
  }
  while (flights != NULL) {
    Flight *f = flights;
    flights = f->next;
    free(f->memory[0]);
    free(f->memory[1]);
    free(f);
  }
}
