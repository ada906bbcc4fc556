// Threads that help whoever has work. Several devices of a process may have some at once: a helper takes what it finds.
#include "pool.h"
#include "await.h"
#include "pause.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum { JOBS = 64, MOST_THREADS = 256 };

typedef struct {
  void (*piece)(void *, int64_t);
  void *context;
  int64_t pieces;
  atomic_llong next, done;
  atomic_int users; // helpers that look at it, who must have left before it ends
} Job;

static _Atomic(Job *) jobs[JOBS];
static atomic_int sleepers, helpers, stamp;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;

static void help(Job *job) {
  for (long long i; (i = atomic_fetch_add(&job->next, 1)) < job->pieces;) {
    job->piece(job->context, i);
    atomic_fetch_add(&job->done, 1);
  }
}

// Whoever asked may go on when all is done and no helper looks at it.
static int is_over(const void *of) {
  const Job *job = of;
  return atomic_load(&job->done) == job->pieces && atomic_load(&job->users) == 0;
}
static void leave(Job *job) {
  atomic_fetch_sub(&job->users, 1);
  mwk_ended();
}

// The job of a place, held so that it does not end meanwhile.
static Job *take(int at) {
  Job *job = atomic_load(&jobs[at]);
  if (job == NULL) return NULL;
  atomic_fetch_add(&job->users, 1);
  // Its owner clears the place first and then waits for users: a job that still stands there may be used.
  if (atomic_load(&jobs[at]) == job && atomic_load(&job->next) < job->pieces) return job;
  leave(job);
  return NULL;
}

static int help_any(void) {
  int found = 0;
  for (int at = 0; at < JOBS; at++) {
    Job *job = take(at);
    if (job == NULL) continue;
    help(job);
    leave(job);
    found = 1;
  }
  return found;
}

static void *helper(void *unused) {
  (void)unused;
  for (;;) {
    const int seen = atomic_load(&stamp);
    if (help_any()) continue;
    // A step has hundreds of calls, one behind another: the next one comes soon.
    int idle = 0;
    while (idle < 4000 && atomic_load(&stamp) == seen) idle++, pause_briefly();
    if (atomic_load(&stamp) != seen) continue;
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&sleepers, 1);
    while (atomic_load(&stamp) == seen) pthread_cond_wait(&work, &lock);
    atomic_fetch_sub(&sleepers, 1);
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

// So many threads help from now on, beside those that ask; they are never fewer again.
__attribute__((visibility("default"))) void mwk_helpers(int wanted) {
  pthread_mutex_lock(&lock);
  while (atomic_load(&helpers) < wanted && atomic_load(&helpers) < MOST_THREADS) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, helper, NULL) != 0) break;
    pthread_detach(thread);
    atomic_fetch_add(&helpers, 1);
  }
  pthread_mutex_unlock(&lock);
}

void mwk_each(int64_t pieces, void (*piece)(void *, int64_t), void *context) {
  int at = 0;
  Job job = {.piece = piece, .context = context, .pieces = pieces};
  if (pieces > 1 && atomic_load(&helpers) > 0) {
    for (at = 0; at < JOBS; at++) {
      Job *none = NULL;
      if (atomic_compare_exchange_strong(&jobs[at], &none, &job)) break;
    }
    if (at < JOBS) {
      atomic_fetch_add(&stamp, 1);
      if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&work);
        pthread_mutex_unlock(&lock);
      }
      help(&job);
      atomic_store(&jobs[at], NULL);
      mwk_await(is_over, &job);
      return;
    }
  }
  for (int64_t i = 0; i < pieces; i++) piece(context, i);
}
