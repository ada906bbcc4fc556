// What every file stands on: what a rank knows of itself and of the others, the text of the last error, the clock, and the way out.
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

Life mw_life = {.largest = INT64_C(1) << 30, .gentle = -1, .size = 1, .local_size = 1};

static char last_error[1024] = "";
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;

int mw_fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  pthread_mutex_lock(&error_lock);
  vsnprintf(last_error, sizeof last_error, format, list);
  pthread_mutex_unlock(&error_lock);
  va_end(list);
  return 1;
}

int mw_check(int code, const char *doing) {
  if (code == MPI_SUCCESS) return 0;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) snprintf(text, sizeof text, "MPI error %d", code);
  return mw_fail("%s: %s", doing, text);
}

const char *mw_error(void) { return last_error; }

const char *mw_library(void) {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (text[0] == 0) MPI_Get_library_version(text, &length);
  return text;
}

const char *mw_built(void) {
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#if defined(OMPI_MAJOR_VERSION)
  return "Open MPI " TEXT(OMPI_MAJOR_VERSION) "." TEXT(OMPI_MINOR_VERSION) "." TEXT(OMPI_RELEASE_VERSION);
#elif defined(I_MPI_VERSION)
  return "Intel MPI " I_MPI_VERSION;
#elif defined(MVAPICH2_VERSION)
  return "MVAPICH2 " MVAPICH2_VERSION;
#elif defined(MPICH_VERSION)
  return "MPICH " MPICH_VERSION;
#else
  return "MPI " TEXT(MPI_VERSION) "." TEXT(MPI_SUBVERSION);
#endif
}

int mw_rank(void) { return mw_life.rank; }
int mw_size(void) { return mw_life.size; }
int mw_local_rank(void) { return mw_life.local_rank; }
int mw_local_size(void) { return mw_life.local_size; }
const char *mw_host(int rank) { return mw_life.hosts == NULL || rank < 0 || rank >= mw_life.size ? "" : mw_life.hosts[rank]; }
void mw_set_largest(int64_t count) { mw_life.largest = count < 1 ? 1 : count > INT32_MAX ? INT32_MAX : count; }
void mw_set_gentle(int on) { mw_life.gentle = on; }

double mw_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void mw_abort(int code) {
  int on = 0, over = 0;
  MPI_Initialized(&on);
  MPI_Finalized(&over);
  if (on && !over) {
    // If MPI can't abort, dying by a signal still tells the launcher.
    signal(SIGALRM, SIG_DFL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    alarm(10);
    // MPICH's launcher drops what it has not passed on yet when the job is ended: give it time for the last words.
    usleep(300000);
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  _exit(code);
}
