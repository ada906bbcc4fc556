// Where ranks outnumber a host's cores, those of a group come together before a collective, asleep until the last of them is there. One that polls takes
// the core from those that compute, and a kernel that spreads what runs over its cores takes it for one of them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

struct Meeting {
  _Atomic uint32_t come, round;
};

static Meeting *mapped(const char *name, int first) {
  const int file = shm_open(name, O_RDWR | (first ? O_CREAT | O_EXCL : 0), 0600);
  if (file < 0) return NULL;
  void *memory = first && ftruncate(file, sizeof(Meeting)) != 0 ? MAP_FAILED : mmap(NULL, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? NULL : memory;
}

// All ranks of the communicator get it or none, and where none does they wait as MPI has them wait. Its name is gone as soon as all have it.
int mw_meeting(MPI_Comm comm, Meeting **meeting) {
  static int made;
  char name[64] = "";
  int rank = 0, everyone = 0;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) {
    snprintf(name, sizeof name, "/meshwork-%d-%d", (int)getpid(), made++);
    *meeting = mapped(name, 1);
  }
  int failed = mw_check(MPI_Bcast(name, sizeof name, MPI_CHAR, 0, comm), "MPI_Bcast");
  if (rank != 0 && !failed) *meeting = mapped(name, 0);
  const int mine = *meeting != NULL;
  failed = failed || mw_check(MPI_Allreduce(&mine, &everyone, 1, MPI_INT, MPI_MIN, comm), "MPI_Allreduce");
  if (rank == 0) shm_unlink(name);
  if (!everyone) mw_meeting_free(meeting);
  return failed;
}

void mw_meeting_free(Meeting **meeting) {
  if (*meeting != NULL) munmap(*meeting, sizeof **meeting);
  *meeting = NULL;
}

static void futex(_Atomic uint32_t *at, int what, uint32_t value) { syscall(SYS_futex, (void *)at, what, value, NULL, NULL, 0); }

void mw_meet(Meeting *m, int size) {
  if (m == NULL || !mw_scarce()) return;
  const uint32_t round = m->round;
  if (++m->come == (uint32_t)size) {
    m->come = 0;
    m->round++;
    futex(&m->round, FUTEX_WAKE, INT32_MAX);
    return;
  }
  while (m->round == round) futex(&m->round, FUTEX_WAIT, round);
}
