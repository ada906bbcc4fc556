// The watchdog: one monitor thread a rank, which ends the job when a collective can't end, and says who holds it up.
//
// A rank past its limit asks all others for their state (ping.c) and judges by the answers (blame.c). The lowest rank
// past its limit speaks and aborts; the others do it themselves only if they are still there three seconds later.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_t thread;
static enum { OFF, RUN, QUIET, END } phase = OFF;
static int settled; // the monitor has seen QUIET and makes no more MPI calls
static Status own;
static double since[LANES];

static void label(char *into, FfiSpan text) {
  const size_t length = text.length < LABEL ? text.length : LABEL - 1;
  if (length > 0) memcpy(into, text.text, length);
  into[length] = 0;
}

void mw_watch_enter(Lane lane, FfiSpan what, FfiSpan at, int patient) {
  pthread_mutex_lock(&lock);
  Doing *doing = &own.lanes[lane];
  doing->sequence++;
  doing->inside = 1;
  doing->patient = patient;
  label(doing->what, what);
  label(doing->at, at);
  since[lane] = mw_now();
  pthread_mutex_unlock(&lock);
}

void mw_watch_leave(Lane lane) {
  pthread_mutex_lock(&lock);
  own.lanes[lane].inside = 0;
  pthread_mutex_unlock(&lock);
}

void mw_watch_skip(Lane lane, int64_t count) {
  pthread_mutex_lock(&lock);
  own.lanes[lane].sequence += count;
  pthread_mutex_unlock(&lock);
}

static Status snapshot(void) {
  pthread_mutex_lock(&lock);
  Status s = own;
  for (int l = 0; l < LANES; l++) s.lanes[l].elapsed = s.lanes[l].inside ? mw_now() - since[l] : 0;
  pthread_mutex_unlock(&lock);
  return s;
}

static void end_job(const char *text) {
  // One write, so that lines of other ranks don't come in between.
  if (write(STDERR_FILENO, text, strlen(text)) < 0) fputs(text, stderr);
  mw_abort(1);
}

static double window(void) { return mw_life.limit < 2 ? 2 : mw_life.limit > 5 ? 5 : mw_life.limit; }

static int is_first(void) {
  for (int r = 0; r < mw_life.rank; r++) {
    double age = 0;
    const Status *a = mw_pings_answer(r, &age);
    for (int l = 0; a != NULL && l < LANES; l++)
      if (a->lanes[l].inside && a->lanes[l].elapsed + age > mw_life.limit) return 0;
  }
  return 1;
}

// The lane that has been in its collective for longest.
static Lane slowest(const Status *s) { return s->lanes[LANE_BESIDE].elapsed > s->lanes[LANE_PROGRAM].elapsed ? LANE_BESIDE : LANE_PROGRAM; }

static void look(void) {
  static enum { CALM, ASKED, RESTING, TURN } stage = CALM;
  static double until;
  static int64_t about;
  static Lane about_lane;
  static char text[2048];
  const Status s = snapshot();
  const Lane lane = slowest(&s);
  const Doing *doing = &s.lanes[lane];
  const double now = mw_now();
  const int pings = mw_life.threads == MPI_THREAD_MULTIPLE;
  if (pings) mw_pings_serve(&s);
  if (mw_life.limit <= 0 || !doing->inside || doing->elapsed <= mw_life.limit) {
    stage = CALM;
    return;
  }
  if (doing->sequence != about || lane != about_lane || (stage == RESTING && now >= until)) stage = CALM;
  about = doing->sequence;
  about_lane = lane;
  if (!pings) {
    if (mw_blame(&s, lane, 0, text, sizeof text)) end_job(text);
    return;
  }
  if (stage == CALM) {
    mw_pings_ask();
    stage = ASKED;
    until = now + window();
  } else if (stage == ASKED && (now >= until || mw_pings_missing() == 0)) {
    const int found = mw_blame(&s, lane, 1, text, sizeof text);
    if (found && is_first()) end_job(text);
    stage = found ? TURN : RESTING;
    until = now + (found ? 3 : window());
  } else if (stage == TURN && now >= until) end_job(text);
}

static void nap(double seconds) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_nsec += (long)(seconds * 1e9);
  if (t.tv_nsec >= 1000000000) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000;
  }
  pthread_cond_timedwait(&changed, &lock, &t);
}

static void *monitor(void *unused) {
  (void)unused;
  pthread_mutex_lock(&lock);
  while (phase == RUN) {
    pthread_mutex_unlock(&lock);
    look();
    pthread_mutex_lock(&lock);
    if (phase == RUN) nap(0.1);
  }
  settled = 1;
  pthread_cond_broadcast(&changed);
  const double start = mw_now();
  while (phase == QUIET) {
    nap(0.1);
    if (phase != QUIET || mw_life.limit <= 0 || mw_now() - start < mw_life.limit + window()) continue;
    char text[512];
    snprintf(text, sizeof text,
             "JobError[stuck-collective] rank %d can't close MPI: another rank is stopped, or its host is gone\n"
             "  fix      look at the hosts; a longer limit: MESHWORK_MPI_TIMEOUT=SECONDS\n", mw_life.rank);
    end_job(text);
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

int mw_watch_start(void) {
  if (mw_life.size == 1) return 0;
  if (mw_pings_start()) return 1;
  pthread_condattr_t how;
  pthread_condattr_init(&how);
  pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &how);
  pthread_condattr_destroy(&how);
  phase = RUN;
  // Signals are for the threads that Node knows.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int code = pthread_create(&thread, NULL, monitor, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (code == 0) return 0;
  phase = OFF;
  return mw_fail("no thread for the watchdog: %s", strerror(code));
}

void mw_watch_quiet(void) {
  if (phase != RUN) return;
  pthread_mutex_lock(&lock);
  phase = QUIET;
  pthread_cond_broadcast(&changed);
  while (!settled) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}

int mw_watch_drain(void) { return phase == QUIET ? mw_pings_drain() : 0; }

void mw_watch_end(void) {
  if (phase != QUIET) return;
  pthread_mutex_lock(&lock);
  phase = END;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
  pthread_join(thread, NULL);
  pthread_cond_destroy(&changed);
  mw_pings_end();
}
