// A key-value store of all ranks, for plugins whose client spans them (PJRT_Client_Create's callbacks): a put goes to every rank, a get takes
// in what has come and waits for the rest. It never asks Node anything: a plugin calls it while Node waits for the client, from any thread.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "pjrt_store.h"

// One allocation: a key, then its value. The head is what travels before them.
typedef struct Pair {
  struct Pair *next;
  MPI_Request *sent; // to each rank; null for what came from another
  size_t bytes;      // of what travels
  uint64_t key_size, value_size;
  char text[];
} Pair;
static Pair *pairs;
static MPI_Comm comm = MPI_COMM_NULL;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t put_here, taken;
enum { HEAD = 2 * sizeof(uint64_t) };

static char *travels(Pair *p) { return (char *)&p->key_size; }

static Pair *new_pair(size_t bytes) {
  Pair *p = calloc(1, sizeof *p + bytes);
  if (p == NULL) return NULL;
  p->bytes = bytes;
  p->next = pairs;
  pairs = p;
  return p;
}

static Pair *find(const char *key, size_t size) {
  for (Pair *p = pairs; p != NULL; p = p->next)
    if (p->key_size == size && memcmp(p->text, key, size) == 0) return p;
  return NULL;
}

// Takes in what has come, without waiting.
static int take(void) {
  for (;;) {
    int there = 0, bytes = 0;
    MPI_Status status;
    if (mw_check(MPI_Iprobe(MPI_ANY_SOURCE, 0, comm, &there, &status), "MPI_Iprobe")) return 1;
    if (!there) return 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    Pair *p = new_pair((size_t)bytes);
    if (p == NULL) return mw_fail("out of memory");
    if (mw_check(MPI_Recv(travels(p), bytes, MPI_BYTE, status.MPI_SOURCE, 0, comm, MPI_STATUS_IGNORE), "MPI_Recv")) return 1;
    taken++;
  }
}

typedef void *Complain(int code, const char *text, size_t size);
static void *complain(void *callback, int code, const char *format, const char *key, size_t size) {
  char text[512];
  snprintf(text, sizeof text, format, (int)(size < 200 ? size : 200), key);
  return (*(Complain **)callback)(code, text, strlen(text));
}

static char *copy(const Pair *p) {
  char *value = malloc(p->value_size + 1);
  if (value == NULL) return NULL;
  memcpy(value, p->text + p->key_size, p->value_size);
  value[p->value_size] = 0;
  return value;
}
static void drop(char *value) { free(value); }

// A copy of the value; null where nobody has put it, or where MPI fails: then `failed` is set.
static char *look(const char *key, size_t key_size, size_t *value_size, int *failed) {
  pthread_mutex_lock(&lock);
  *failed = comm == MPI_COMM_NULL || take();
  const Pair *p = *failed ? NULL : find(key, key_size);
  char *value = p == NULL ? NULL : copy(p);
  if (p != NULL) *value_size = p->value_size;
  if (p != NULL && value == NULL) *failed = mw_fail("out of memory");
  pthread_mutex_unlock(&lock);
  return value;
}

void *mw_store_get(StoreGet *a) {
  const double start = mw_now();
  for (;;) {
    int failed = 0;
    a->value = look(a->key, a->key_size, &a->value_size, &failed);
    a->deleter = drop;
    if (a->value != NULL) return NULL;
    if (failed) return complain(a->callback_error, STORE_INTERNAL, "the store of the ranks failed at the key %.*s", a->key, a->key_size);
    if ((mw_now() - start) * 1000 > a->timeout_in_ms) return complain(a->callback_error, STORE_DEADLINE_EXCEEDED, "no rank has put the key %.*s in time", a->key, a->key_size);
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
  }
}

void *mw_store_try_get(StoreTryGet *a) {
  int failed = 0;
  a->value = look(a->key, a->key_size, &a->value_size, &failed);
  a->deleter = drop;
  if (a->value != NULL) return NULL;
  return complain(a->callback_error, failed ? STORE_INTERNAL : STORE_NOT_FOUND, failed ? "the store of the ranks failed at the key %.*s" : "no rank has put the key %.*s", a->key, a->key_size);
}

static int put(const StorePut *a) {
  Pair *p = new_pair(HEAD + a->key_size + a->value_size);
  if (p == NULL) return mw_fail("out of memory");
  p->key_size = a->key_size;
  p->value_size = a->value_size;
  memcpy(p->text, a->key, a->key_size);
  memcpy(p->text + a->key_size, a->value, a->value_size);
  p->sent = malloc((size_t)mw_life.size * sizeof *p->sent);
  if (p->sent == NULL) return mw_fail("out of memory");
  int failed = 0;
  put_here++;
  for (int r = 0; r < mw_life.size; r++) {
    p->sent[r] = MPI_REQUEST_NULL;
    if (r != mw_life.rank) failed |= mw_check(MPI_Isend(travels(p), (int)p->bytes, MPI_BYTE, r, 0, comm, &p->sent[r]), "MPI_Isend");
  }
  return failed;
}

void *mw_store_put(StorePut *a) {
  pthread_mutex_lock(&lock);
  const int failed = comm == MPI_COMM_NULL || take(), known = !failed && find(a->key, a->key_size) != NULL;
  const int wrong = failed || (!known && put(a));
  pthread_mutex_unlock(&lock);
  if (known) return complain(a->callback_error, STORE_ALREADY_EXISTS, "the key %.*s has been put before", a->key, a->key_size);
  return wrong ? complain(a->callback_error, STORE_INTERNAL, "the store of the ranks failed at the key %.*s", a->key, a->key_size) : NULL;
}

int mw_store_open(void) {
  if (!mw_life.open) return mw_fail("mw_store_open: MPI is not open");
  if (comm != MPI_COMM_NULL) return 0;
  // Plugins call it from threads of their own, while the watchdog and Node use MPI too.
  if (mw_life.threads != MPI_THREAD_MULTIPLE) return mw_fail("a client that spans hosts needs an MPI with MPI_THREAD_MULTIPLE");
  return mw_check(MPI_Comm_dup(mw_life.world, &comm), "MPI_Comm_dup") || mw_check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

// All ranks are here: what has been put is taken in by each before any of them leaves.
int mw_store_close(void) {
  if (comm == MPI_COMM_NULL) return 0;
  int64_t all = 0;
  int failed = mw_check(MPI_Allreduce(&put_here, &all, 1, MPI_INT64_T, MPI_SUM, mw_life.world), "MPI_Allreduce");
  while (!failed && taken < all - put_here) failed = take();
  while (pairs != NULL) {
    Pair *p = pairs;
    pairs = p->next;
    // One by one: GCC takes MPICH's MPI_STATUSES_IGNORE for an array that is too small.
    for (int i = 0; p->sent != NULL && i < mw_life.size; i++) failed |= mw_check(MPI_Wait(&p->sent[i], MPI_STATUS_IGNORE), "MPI_Wait");
    free(p->sent);
    free(p);
  }
  MPI_Comm_free(&comm);
  put_here = taken = 0;
  return failed;
}
