// Launches a program of a PJRT plugin, and frees behind it what it has taken over, on the thread that makes the call: a step takes over hundreds of buffers, and each call from Node costs more than what it does.
#include <stddef.h>
#include <stdint.h>

// A function of the plugin's table: an error, or null.
typedef void *(*call)(void *arguments);

struct launch {
  call execute;
  void *execute_arguments;
  call destroy;
  // Its struct, of which the handle lies `handle_at` bytes from the beginning.
  char *destroy_arguments;
  uint64_t handle_at;
  // What is to be freed, `count` handles; `freed` says how many were.
  const uint64_t *handles;
  uint64_t count;
  uint64_t freed;
  // Why one could not be.
  void *failure;
};

// The launch's error, or null. Where there is one nothing is freed.
__attribute__((visibility("default"))) void *mwl_launch(void *request) {
  struct launch *l = request;
  l->freed = 0;
  l->failure = NULL;
  void *error = l->execute(l->execute_arguments);
  if (error != NULL) return error;
  while (l->freed < l->count && l->failure == NULL) {
    *(uint64_t *)(l->destroy_arguments + l->handle_at) = l->handles[l->freed++];
    l->failure = l->destroy(l->destroy_arguments);
  }
  return NULL;
}
