// Threads that help whoever has work. Several devices of a process may have some at once: a helper takes what it finds.
#include "pool.h"
#include "await.h"
#include "pause.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { JOBS = 64, MOST_THREADS = 256 };

typedef struct {
  void (*piece)(void *, int64_t);
  void *context;
  int64_t pieces;
  atomic_llong next, done;
  atomic_int owned, open; // whether somebody's work is there, and whether helpers may come to it
  atomic_int users;       // helpers that look at it, who must have left before it is somebody else's
} Job;

// Places for jobs, which stay: a helper that comes late finds its job's place closed, or another job there.
static Job jobs[JOBS];
static atomic_int sleepers, stamp;
static int helpers;       // threads that there are
static atomic_int wanted; // of them those that help
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, more = PTHREAD_COND_INITIALIZER;

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

// Whether a job is open, which is held then so that it does not end meanwhile.
static int take(Job *job) {
  if (!atomic_load(&job->open)) return 0;
  atomic_fetch_add(&job->users, 1);
  // Its owner closes the place first and then waits for users: a job that is still open may be used.
  if (atomic_load(&job->open) && atomic_load(&job->next) < job->pieces) return 1;
  leave(job);
  return 0;
}

static int help_any(void) {
  int found = 0;
  for (int at = 0; at < JOBS; at++) {
    if (!take(&jobs[at])) continue;
    help(&jobs[at]);
    leave(&jobs[at]);
    found = 1;
  }
  return found;
}

static void *helper(void *which) {
  const int number = (int)(intptr_t)which;
  for (;;) {
    if (number >= atomic_load(&wanted)) {
      pthread_mutex_lock(&lock);
      while (number >= atomic_load(&wanted)) pthread_cond_wait(&more, &lock);
      pthread_mutex_unlock(&lock);
    }
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

// So many threads help from now on, beside those that ask.
__attribute__((visibility("default"))) void mwk_helpers(int count) {
  pthread_mutex_lock(&lock);
  atomic_store(&wanted, count);
  pthread_cond_broadcast(&more);
  while (helpers < count && helpers < MOST_THREADS) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, helper, (void *)(intptr_t)helpers) != 0) break;
    pthread_detach(thread);
    helpers++;
  }
  pthread_mutex_unlock(&lock);
}

// A place of one's own; NULL where all are taken.
static Job *place(void) {
  for (int at = 0; at < JOBS; at++) {
    int free = 0;
    if (atomic_compare_exchange_strong(&jobs[at].owned, &free, 1)) return &jobs[at];
  }
  return NULL;
}

void mwk_each(int64_t pieces, void (*piece)(void *, int64_t), void *context) {
  Job *job = pieces > 1 && atomic_load(&wanted) > 0 ? place() : NULL;
  if (job == NULL) {
    for (int64_t i = 0; i < pieces; i++) piece(context, i);
    return;
  }
  job->piece = piece, job->context = context, job->pieces = pieces;
  atomic_store(&job->next, 0);
  atomic_store(&job->done, 0);
  atomic_store(&job->open, 1);
  atomic_fetch_add(&stamp, 1);
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&work);
    pthread_mutex_unlock(&lock);
  }
  help(job);
  atomic_store(&job->open, 0);
  mwk_await(is_over, job);
  atomic_store(&job->owned, 0);
}
