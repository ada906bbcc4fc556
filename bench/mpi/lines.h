// The loop of a bench program: a line on stdin names a collective, its bytes and how often; rank 0 prints the time of one as JSON.
//
// "allreduce 1048576 20" → {"op":"allreduce","bytes":1048576,"times":20,"us":123.4}
// Bytes are those of the larger buffer of a rank: what allreduce and sendrecv take, what allgather makes, what
// reduce_scatter and alltoall take. They run one after another, as in a program. f32, sum.
#ifndef MESHWORK_LINES_H
#define MESHWORK_LINES_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int rank, size;
typedef void Run(const char *op, float *in, float *out, int bytes);

// Idle ranks sleep, so that another program can be measured in between.
static void hand_out(char *line, int length) {
  MPI_Request request;
  int done = 0;
  MPI_Ibcast(line, length, MPI_CHAR, 0, MPI_COMM_WORLD, &request);
  for (MPI_Test(&request, &done, MPI_STATUS_IGNORE); !done; MPI_Test(&request, &done, MPI_STATUS_IGNORE)) usleep(500);
}

static void time_one(Run *run, const char *op, int bytes, int times) {
  float *in = malloc((size_t)bytes + 64), *out = malloc((size_t)bytes + 64);
  if (in == NULL || out == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
  for (int i = 0; i < bytes / 4; i++) in[i] = (float)(i % 100), out[i] = 0;
  run(op, in, out, bytes);
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int i = 0; i < times; i++) run(op, in, out, bytes);
  const double mine = MPI_Wtime() - start;
  double slowest = 0;
  MPI_Reduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
  if (rank == 0) printf("{\"op\":\"%s\",\"bytes\":%d,\"times\":%d,\"us\":%.3f}\n", op, bytes, times, slowest * 1e6 / times), fflush(stdout);
  free(in), free(out);
}

static void serve(Run *run) {
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  for (;;) {
    char line[128] = "", op[32] = "";
    int bytes = 0, times = 0;
    if (rank == 0 && fgets(line, sizeof line, stdin) == NULL) strcpy(line, "end");
    hand_out(line, sizeof line);
    if (strcmp(line, "end") == 0) return;
    if (sscanf(line, "%31s %d %d", op, &bytes, &times) != 3 || times < 1 || bytes < 4 * size) {
      if (rank == 0) printf("{\"error\":\"not a line: OP BYTES TIMES\"}\n"), fflush(stdout);
      continue;
    }
    time_one(run, op, bytes - bytes % (4 * size), times);
  }
}

#endif
