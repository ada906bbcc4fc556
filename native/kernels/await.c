// Waiting for work of the process's other threads: turning as long as that is cheaper than to sleep, then asleep.
#include "await.h"
#include "pause.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

// Nanoseconds before a thread sleeps, many times what it takes to be woken: a thread that has a core is mostly done by then, and one that waits for its turn on a core takes longer. And turns between looks at the clock.
enum { PATIENCE = 1000000, TURNS = 64 };

static atomic_int asleep;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void mwk_await(int (*is)(const void *), const void *of) {
  // Most have nothing left to wait for.
  if (is(of)) return;
  const int64_t until = now() + PATIENCE;
  do {
    for (int i = 0; i < TURNS; i++) {
      if (is(of)) return;
      pause_briefly();
    }
  } while (now() < until);
  // Whoever ends it looks for sleepers afterwards, so one of the two sees the other.
  atomic_fetch_add(&asleep, 1);
  pthread_mutex_lock(&lock);
  while (!is(of)) pthread_cond_wait(&ended, &lock);
  pthread_mutex_unlock(&lock);
  atomic_fetch_sub(&asleep, 1);
}

void mwk_ended(void) {
  if (atomic_load(&asleep) == 0) return;
  pthread_mutex_lock(&lock);
  pthread_cond_broadcast(&ended);
  pthread_mutex_unlock(&lock);
}
