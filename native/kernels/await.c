// Waiting for work of the process's other threads: turning as long as that is cheaper than to sleep, then asleep.
#include "await.h"
#include "pause.h"

#include <pthread.h>

// Turns before a thread sleeps, as a helper's that looks for work: about what it takes to be woken.
enum { TURNS = 4000 };

static atomic_int asleep;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

void mwk_await(int (*is)(const void *), const void *of) {
  for (int i = 0; i < TURNS; i++) {
    if (is(of)) return;
    pause_briefly();
  }
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
