// Leaving MPI at the end. MPICH before 4.2 waits in MPI_Finalize for its launcher without driving UCX, which other ranks may still need
// to get there: over a network that can take for ever (pmodels/mpich PR 6596). There the last two things that it tells its
// launcher, in PMI-1's words, are told here, with UCX driven while it waits; then the process may simply end.
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#if defined(MPICH_NUMVERSION) && MPICH_NUMVERSION < 40200000

// One line there and one back. 0: answered as expected.
static int told(int launcher, const char *line, const char *expected) {
  char answer[256] = "";
  size_t length = 0;
  if (write(launcher, line, strlen(line)) != (ssize_t)strlen(line)) return 1;
  while (length < sizeof answer - 1 && memchr(answer, '\n', length) == NULL) {
    struct pollfd ready = {.fd = launcher, .events = POLLIN};
    int flag = 0;
    if (poll(&ready, 1, 1) > 0) {
      const ssize_t got = read(launcher, answer + length, sizeof answer - 1 - length);
      if (got <= 0) return 1;
      length += (size_t)got;
    }
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, mw_life.world, &flag, MPI_STATUS_IGNORE);
  }
  return strncmp(answer, expected, strlen(expected)) != 0;
}

int mw_leave(void) {
  const char *launcher = getenv("PMI_FD");
  if (launcher == NULL || mw_life.local_size == mw_life.size) return mw_check(MPI_Finalize(), "MPI_Finalize");
  const int fd = atoi(launcher);
  if (told(fd, "cmd=barrier_in\n", "cmd=barrier_out") || told(fd, "cmd=finalize\n", "cmd=finalize_ack")) return mw_fail("the launcher did not answer at the end");
  return 0;
}

#else

int mw_leave(void) { return mw_check(MPI_Finalize(), "MPI_Finalize"); }

#endif
