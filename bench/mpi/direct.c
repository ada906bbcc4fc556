// What our collectives are measured against: the same ones by direct calls of MPI, as lines.h says.
#include "lines.h"

static void direct(const char *op, float *in, float *out, int bytes) {
  const int n = bytes / 4, part = n / size;
  if (strcmp(op, "allreduce") == 0) MPI_Allreduce(in, out, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  else if (strcmp(op, "allgather") == 0) MPI_Allgather(in, part, MPI_FLOAT, out, part, MPI_FLOAT, MPI_COMM_WORLD);
  else if (strcmp(op, "reduce_scatter") == 0) MPI_Reduce_scatter_block(in, out, part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  else if (strcmp(op, "alltoall") == 0) MPI_Alltoall(in, part, MPI_FLOAT, out, part, MPI_FLOAT, MPI_COMM_WORLD);
  else if (strcmp(op, "sendrecv") == 0) MPI_Sendrecv(in, n, MPI_FLOAT, (rank + 1) % size, 0, out, n, MPI_FLOAT, (rank + size - 1) % size, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  else MPI_Abort(MPI_COMM_WORLD, 2);
}

int main(int argc, char **argv) {
  // The thread level that a Node process needs costs a little by itself: `single` shows how much.
  int level = argc > 1 && strcmp(argv[1], "single") == 0 ? MPI_THREAD_SINGLE : MPI_THREAD_MULTIPLE;
  MPI_Init_thread(&argc, &argv, level, &level);
  serve(direct);
  MPI_Finalize();
  return 0;
}
