// The key-value callbacks of pjrt_c_api.h: their arguments and the codes of their errors. A callback_error points at a function that makes
// an error of a code and a text.
#ifndef MESHWORK_PJRT_STORE_H
#define MESHWORK_PJRT_STORE_H

#include <stddef.h>

enum { STORE_DEADLINE_EXCEEDED = 4, STORE_NOT_FOUND = 5, STORE_ALREADY_EXISTS = 6, STORE_INTERNAL = 13 };

typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  int timeout_in_ms;
  void *callback_error, *user_arg;
  char *value; // out, as what follows; the caller hands it to the deleter
  size_t value_size;
  void (*deleter)(char *value);
} StoreGet;

typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  void *callback_error, *user_arg;
  char *value;
  size_t value_size;
  void (*deleter)(char *value);
} StoreTryGet;

typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  const char *value;
  size_t value_size;
  void *callback_error, *user_arg;
} StorePut;

#endif
