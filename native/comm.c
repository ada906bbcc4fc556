// Groups: the communicator of each (mesh, axes) in each lane, made at first use, when every rank of the group comes by in the same order.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MOST_AXES = 16 };

typedef struct Entry {
  Group group;
  Lane lane;
  size_t mesh_count, axis_count;
  int near, asked; // all on this host; whether they have been asked for a meeting
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

// Whether all ranks of a group are on this host.
static int are_here(MPI_Group group, int *here) {
  MPI_Group local = MPI_GROUP_NULL, both = MPI_GROUP_NULL;
  int size = 0, ours = 0;
  if (mw_check(MPI_Comm_group(mw_life.local, &local), "MPI_Comm_group")) return 1;
  const int failed = mw_check(MPI_Group_intersection(group, local, &both), "MPI_Group_intersection");
  MPI_Group_free(&local);
  if (failed) return 1;
  MPI_Group_size(group, &size);
  MPI_Group_size(both, &ours);
  MPI_Group_free(&both);
  *here = ours == size;
  return 0;
}

// The ranks of this one's group in the order of their parts. Only they come by: ranks whose stage of a pipeline has nothing to do are in no collective of another's.
static int make_comm(Entry *e, const int *coords) {
  int stride[MOST_AXES], rank = 0, base = 0, step = 1;
  for (size_t i = e->mesh_count; i-- > 0; step *= e->mesh[i]) stride[i] = step, base += coords[i] * step;
  e->group.part = 0;
  for (size_t i = 0; i < e->axis_count; i++) {
    const int axis = e->axes[i];
    e->group.part = e->group.part * e->mesh[axis] + coords[axis];
    base -= coords[axis] * stride[axis];
  }
  if (e->group.size == 1) return 0;
  int *ranks = malloc((size_t)e->group.size * sizeof *ranks);
  if (ranks == NULL) return mw_fail("out of memory for a group of %d ranks", e->group.size);
  for (int part = 0; part < e->group.size; part++) {
    int left = part;
    ranks[part] = base;
    for (size_t i = e->axis_count; i-- > 0; left /= e->mesh[e->axes[i]]) ranks[part] += left % e->mesh[e->axes[i]] * stride[e->axes[i]];
  }
  MPI_Group all = MPI_GROUP_NULL, own = MPI_GROUP_NULL;
  int failed = mw_check(MPI_Comm_group(mw_life.world, &all), "MPI_Comm_group");
  if (!failed) {
    failed = mw_check(MPI_Group_incl(all, e->group.size, ranks, &own), "MPI_Group_incl");
    MPI_Group_free(&all);
  }
  free(ranks);
  if (failed) return 1;
  failed = mw_check(MPI_Comm_create_group(mw_life.world, own, (int)e->lane, &e->group.comm), "MPI_Comm_create_group");
  failed = failed || are_here(own, &e->near);
  MPI_Group_free(&own);
  if (failed) return 1;
  MPI_Comm_set_errhandler(e->group.comm, MPI_ERRORS_RETURN);
  MPI_Comm_rank(e->group.comm, &rank);
  return rank == e->group.part ? 0 : mw_fail("part %d of the group is rank %d of its communicator", e->group.part, rank);
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

// Asked for when the ranks first wait for each other where cores are scarce: all of them do then.
static const Group *met(Entry *e) {
  if (e->lane != LANE_PROGRAM || !e->near || e->asked || !mw_scarce()) return &e->group;
  e->asked = 1;
  return mw_meeting(e->group.comm, &e->group.meeting) ? NULL : &e->group;
}

const Group *mw_group(const int64_t *mesh, size_t mesh_count, const int64_t *axes, size_t axis_count, Lane lane) {
  for (Entry *e = entries; e != NULL; e = e->next)
    if (e->lane == lane && same(e->mesh, e->mesh_count, mesh, mesh_count) && same(e->axes, e->axis_count, axes, axis_count)) return met(e);
  Entry *e = calloc(1, sizeof *e);
  if (e == NULL) {
    mw_fail("out of memory");
    return NULL;
  }
  int coords[MOST_AXES] = {0}, left = mw_life.rank, failed = check(mesh, mesh_count, axes, axis_count, e);
  for (size_t i = failed ? 0 : mesh_count; i-- > 0; left /= e->mesh[i]) coords[i] = left % e->mesh[i];
  e->lane = lane;
  if (failed || make_comm(e, coords)) {
    free(e);
    return NULL;
  }
  e->next = entries;
  entries = e;
  return met(e);
}

void mw_groups_free(void) {
  while (entries != NULL) {
    Entry *e = entries;
    entries = e->next;
    mw_meeting_free(&e->group.meeting);
    if (e->group.comm != MPI_COMM_NULL) MPI_Comm_free(&e->group.comm);
    free(e);
  }
}
