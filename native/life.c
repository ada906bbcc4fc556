// Opening and closing MPI, what a rank knows of the others, and the text of the last error.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

Life mw_life = {.largest = INT64_C(1) << 30, .gentle = -1, .size = 1, .local_size = 1};

enum { HOST_NAME = 256 };
static char (*hosts)[HOST_NAME];
static int ours; // we have called MPI_Init_thread, so we finalise

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
const char *mw_host(int rank) { return hosts == NULL || rank < 0 || rank >= mw_life.size ? "" : hosts[rank]; }
void mw_set_largest(int64_t count) { mw_life.largest = count < 1 ? 1 : count > INT32_MAX ? INT32_MAX : count; }
void mw_set_gentle(int on) { mw_life.gentle = on; }

static int own_copy(MPI_Comm from, MPI_Comm *to) {
  return mw_check(MPI_Comm_dup(from, to), "MPI_Comm_dup") || mw_check(MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

// A launcher may bind each rank to a core of its own: only all masks together say how many there are.
static int count_cores(void) {
  cpu_set_t mine, all;
  CPU_ZERO(&mine);
  sched_getaffinity(0, sizeof mine, &mine);
  if (mw_check(MPI_Allreduce(&mine, &all, sizeof mine, MPI_BYTE, MPI_BOR, mw_life.local), "MPI_Allreduce")) return 1;
  mw_life.cores = CPU_COUNT(&all);
  return 0;
}

static int gather_hosts(void) {
  char name[MPI_MAX_PROCESSOR_NAME + HOST_NAME] = "";
  int length = 0;
  hosts = calloc((size_t)mw_life.size, HOST_NAME);
  if (hosts == NULL) return mw_fail("out of memory");
  if (mw_check(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name")) return 1;
  name[HOST_NAME - 1] = 0;
  return mw_check(MPI_Allgather(name, HOST_NAME, MPI_CHAR, hosts, HOST_NAME, MPI_CHAR, mw_life.world), "MPI_Allgather");
}

static const char *level_name(int level) {
  return level == MPI_THREAD_SINGLE ? "MPI_THREAD_SINGLE" : level == MPI_THREAD_FUNNELED ? "MPI_THREAD_FUNNELED" : level == MPI_THREAD_SERIALIZED ? "MPI_THREAD_SERIALIZED" : "MPI_THREAD_MULTIPLE";
}

int mw_open(double limit_seconds) {
  int on = 0, over = 0;
  if (mw_life.open) return mw_fail("mw_open: already open");
  if (mw_check(MPI_Initialized(&on), "MPI_Initialized") || mw_check(MPI_Finalized(&over), "MPI_Finalized")) return 1;
  if (over) return mw_fail("mw_open: MPI was closed before; a process can't open it twice");
  ours = !on;
  if (on ? mw_check(MPI_Query_thread(&mw_life.threads), "MPI_Query_thread")
         : mw_check(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &mw_life.threads), "MPI_Init_thread"))
    return 1;
  if (mw_life.threads < MPI_THREAD_SERIALIZED)
    return mw_fail("this MPI gives %s; calls from more than one thread need MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE", level_name(mw_life.threads));
  if (ours) {
    // Errors of calls without a communicator, such as those on types, are raised on these two.
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
  }
  if (own_copy(MPI_COMM_WORLD, &mw_life.world) || own_copy(MPI_COMM_WORLD, &mw_life.watch)) return 1;
  MPI_Comm_rank(mw_life.world, &mw_life.rank);
  MPI_Comm_size(mw_life.world, &mw_life.size);
  if (mw_check(MPI_Comm_split_type(mw_life.world, MPI_COMM_TYPE_SHARED, mw_life.rank, MPI_INFO_NULL, &mw_life.local), "MPI_Comm_split_type")) return 1;
  MPI_Comm_set_errhandler(mw_life.local, MPI_ERRORS_RETURN);
  MPI_Comm_rank(mw_life.local, &mw_life.local_rank);
  MPI_Comm_size(mw_life.local, &mw_life.local_size);
  if (count_cores() || gather_hosts()) return 1;
  mw_life.limit = limit_seconds;
  if (mw_watch_start()) return 1;
  mw_life.open = 1;
  return 0;
}

int mw_close(void) {
  if (!mw_life.open) return 0;
  // All are here before any monitor stops, and every ping is taken in before a peer finalises.
  int failed = mw_barrier(0, "close");
  failed |= mw_store_close();
  mw_watch_quiet();
  failed |= mw_watch_drain();
  mw_life.open = 0;
  mw_groups_free();
  mw_reductions_free();
  if (ours) failed |= mw_leave();
  mw_watch_end();
  free(hosts);
  hosts = NULL;
  return failed;
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
