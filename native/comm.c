// Groups: the communicator of each (mesh, axes) in each lane, made at first use, when every rank comes by in the same order.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MOST_AXES = 16 };

typedef struct Entry {
  Group group;
  Lane lane;
  size_t mesh_count, axis_count;
  int mesh[MOST_AXES], axes[MOST_AXES];
  struct Entry *next;
} Entry;
static Entry *entries;

static int same(const int *kept, size_t kept_count, const int64_t *asked, size_t count) {
  if (kept_count != count) return 0;
  for (size_t i = 0; i < count; i++)
    if (kept[i] != asked[i]) return 0;
  return 1;
}

static int make_comm(Entry *e, const int *coords) {
  int periodic[MOST_AXES] = {0}, kept[MOST_AXES] = {0}, rank = 0, part = 0, ordered = 1;
  MPI_Comm grid = MPI_COMM_NULL;
  for (size_t i = 0; i < e->axis_count; i++) {
    kept[e->axes[i]] = 1;
    part = part * e->mesh[e->axes[i]] + coords[e->axes[i]];
    if (i > 0 && e->axes[i] < e->axes[i - 1]) ordered = 0;
  }
  e->group.part = part;
  if (e->group.size == 1) return 0;
  if (mw_check(MPI_Cart_create(mw_life.world, (int)e->mesh_count, e->mesh, periodic, 0, &grid), "MPI_Cart_create")) return 1;
  int failed = mw_check(MPI_Cart_sub(grid, kept, &e->group.comm), "MPI_Cart_sub");
  MPI_Comm_free(&grid);
  if (!failed && !ordered) {
    MPI_Comm by_mesh = e->group.comm;
    failed = mw_check(MPI_Comm_split(by_mesh, 0, part, &e->group.comm), "MPI_Comm_split");
    MPI_Comm_free(&by_mesh);
  }
  if (failed) return 1;
  MPI_Comm_set_errhandler(e->group.comm, MPI_ERRORS_RETURN);
  MPI_Comm_rank(e->group.comm, &rank);
  return rank == part ? 0 : mw_fail("part %d of the group is rank %d of its communicator", part, rank);
}

static int check(const int64_t *mesh, size_t mesh_count, const int64_t *axes, size_t axis_count, Entry *e) {
  int64_t product = 1, group = 1;
  if (mesh_count > MOST_AXES || axis_count > mesh_count) return mw_fail("a mesh of %zu axes, a collective over %zu", mesh_count, axis_count);
  for (size_t i = 0; i < mesh_count; i++) {
    if (mesh[i] < 1 || mesh[i] > INT32_MAX / product) return mw_fail("mesh axis %zu has size %lld", i, (long long)mesh[i]);
    product *= mesh[i];
    e->mesh[i] = (int)mesh[i];
  }
  if (product != mw_life.size) return mw_fail("the program is for %lld devices, but there are %d ranks", (long long)product, mw_life.size);
  for (size_t i = 0; i < axis_count; i++) {
    if (axes[i] < 0 || axes[i] >= (int64_t)mesh_count) return mw_fail("the mesh has no axis %lld", (long long)axes[i]);
    for (size_t j = 0; j < i; j++)
      if (axes[j] == axes[i]) return mw_fail("mesh axis %lld is named twice", (long long)axes[i]);
    e->axes[i] = (int)axes[i];
    group *= mesh[axes[i]];
  }
  e->mesh_count = mesh_count;
  e->axis_count = axis_count;
  e->group.size = (int)group;
  e->group.comm = MPI_COMM_NULL;
  return 0;
}

const Group *mw_group(const int64_t *mesh, size_t mesh_count, const int64_t *axes, size_t axis_count, Lane lane) {
  for (Entry *e = entries; e != NULL; e = e->next)
    if (e->lane == lane && same(e->mesh, e->mesh_count, mesh, mesh_count) && same(e->axes, e->axis_count, axes, axis_count)) return &e->group;
  Entry *e = calloc(1, sizeof *e);
  if (e == NULL) {
    mw_fail("out of memory");
    return NULL;
  }
  int coords[MOST_AXES] = {0}, left = mw_life.rank, failed = check(mesh, mesh_count, axes, axis_count, e);
  for (size_t i = failed ? 0 : mesh_count; i-- > 0; left /= e->mesh[i]) coords[i] = left % e->mesh[i];
  if (failed || make_comm(e, coords)) {
    free(e);
    return NULL;
  }
  e->lane = lane;
  e->next = entries;
  entries = e;
  return &e->group;
}

void mw_groups_free(void) {
  while (entries != NULL) {
    Entry *e = entries;
    entries = e->next;
    if (e->group.comm != MPI_COMM_NULL) MPI_Comm_free(&e->group.comm);
    free(e);
  }
}
