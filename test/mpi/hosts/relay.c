/* A switch whose links delay and lose packets, for kernels without netem: relay DELAY_MS LOSS_PERCENT PORT…
   Ends when its input does. Frames keep the kernel's notes on checksum and segments (PACKET_VNET_HDR): TCP's large ones count as one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ports_max = 64, queue_max = 16384, frame_max = sizeof(struct virtio_net_hdr) + ETH_HLEN + 65536 };
struct frame { double due; int from; ssize_t bytes; unsigned char *data; };

static int ports[ports_max], count;
static unsigned char macs[ports_max][ETH_ALEN];
static struct frame queue[queue_max]; /* the delay is the same for all, so the first in is the first due */
static unsigned head, tail;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int open_port(const char *name) {
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), one = 1, room = 8 << 20;
  struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex(name) };
  if (fd < 0 || at.sll_ifindex == 0) fail(name);
  if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one)) fail(name);
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one)) fail(name);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  if (bind(fd, (struct sockaddr *)&at, sizeof at)) fail(name);
  return fd;
}

static void take(int from, double delay, double loss) {
  static unsigned char data[frame_max];
  ssize_t bytes = recv(ports[from], data, sizeof data, MSG_DONTWAIT);
  if (bytes < (ssize_t)sizeof(struct virtio_net_hdr) + ETH_HLEN) return;
  memcpy(macs[from], data + sizeof(struct virtio_net_hdr) + ETH_ALEN, ETH_ALEN);
  if (drand48() * 100 < loss || tail - head == queue_max) return;
  struct frame f = { now() + delay, from, bytes, malloc(bytes) };
  if (f.data == NULL) fail("malloc");
  memcpy(f.data, data, bytes);
  queue[tail++ % queue_max] = f;
}

/* To the port behind which the address was last seen; to all others where it was not. */
static void deliver(struct frame f) {
  const unsigned char *to = f.data + sizeof(struct virtio_net_hdr);
  int known = -1;
  for (int i = 0; i < count; i++) if (memcmp(macs[i], to, ETH_ALEN) == 0) known = i;
  for (int i = 0; i < count; i++) {
    if (i != f.from && (known < 0 || known == i) && send(ports[i], f.data, f.bytes, 0) < 0) perror("send");
  }
  free(f.data);
}

int main(int argc, char **argv) {
  if (argc < 4 || argc - 3 > ports_max) return 2;
  double delay = atof(argv[1]) / 1000, loss = atof(argv[2]);
  struct pollfd watched[ports_max + 1] = { { .fd = 0, .events = POLLIN } };
  for (; count < argc - 3; count++) {
    ports[count] = open_port(argv[count + 3]);
    watched[count + 1] = (struct pollfd){ .fd = ports[count], .events = POLLIN };
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    double wait = head == tail ? -1 : queue[head % queue_max].due - now();
    struct timespec timeout = { 0, wait > 0 ? (long)(wait * 1e9) % 1000000000 : 0 };
    if (ppoll(watched, count + 1, head == tail ? NULL : &timeout, NULL) < 0) fail("poll");
    if (watched[0].revents != 0) return 0;
    for (int i = 0; i < count; i++) if (watched[i + 1].revents & POLLIN) take(i, delay, loss);
    for (; head != tail && queue[head % queue_max].due <= now(); head++) deliver(queue[head % queue_max]);
  }
}
