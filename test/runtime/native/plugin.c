// A PJRT plugin that computes nothing: it shows what it was told, and does what the environment says, so that a test knows exactly when a
// program is done and how it failed. Offsets come from header.gen.ts, as fields.h.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"

#define EXPORT __attribute__((visibility("default")))
#define AT(args, field, type) (*(type *)((char *)(args) + (field)))

typedef struct {
  int code;
  char text[256];
} Error;

// Ready when its program is: programs are done when the test says so.
typedef struct Event {
  int program; // 0: ready from the start
} Event;

typedef struct {
  int program;
  int deleted;
  float value;
} Buffer;

typedef struct {
  int outputs;
} Executable;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int launched, done, refused; // programs launched; those up to `done` are done; launches that are refused
static int failing[1024];           // programs that fail
static int live_buffers, live_events;
static char options[2048];
static int pretended = 1;

// Calls that are to be refused, and in what words; a failing program fails in them, too.
enum { CREATE, COMPILE, EXECUTE, CALLS };
static struct {
  int times, code;
  char text[256];
} refusals[CALLS];
static char compile_options[2 * 65536 + 1]; // as hexadecimal digits

static Error *fail(int code, const char *text) {
  Error *e = calloc(1, sizeof *e);
  e->code = code;
  snprintf(e->text, sizeof e->text, "%s", text);
  return e;
}

static Error *refusal(int call) {
  if (refusals[call].times == 0) return NULL;
  refusals[call].times--;
  return fail(refusals[call].code, refusals[call].text);
}

// What the test asks and says.
EXPORT void fake_words(int call, int times, int code, const char *text) {
  refusals[call].times = times;
  refusals[call].code = code;
  snprintf(refusals[call].text, sizeof refusals[call].text, "%s", text);
}
EXPORT const char *fake_compile_options(void) { return compile_options; }
EXPORT void fake_finish(int up_to) {
  pthread_mutex_lock(&lock);
  if (up_to > done) done = up_to;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}
EXPORT void fake_fail(int program) { failing[program] = 1; }
EXPORT void fake_refuse(int launches) { refused = launches; }
EXPORT int fake_launched(void) { return launched; }
EXPORT int fake_live_buffers(void) { return live_buffers; }
EXPORT int fake_live_events(void) { return live_events; }
EXPORT const char *fake_options(void) { return options; }

static void *error_destroy(void *a) { free(AT(a, ERROR_DESTROY_ERROR, void *)); return NULL; }
static void *error_message(void *a) {
  Error *e = AT(a, ERROR_MESSAGE_ERROR, Error *);
  AT(a, ERROR_MESSAGE_MESSAGE, const char *) = e->text;
  AT(a, ERROR_MESSAGE_SIZE, size_t) = strlen(e->text);
  return NULL;
}
static void *error_code(void *a) {
  AT(a, ERROR_CODE_CODE, int) = AT(a, ERROR_CODE_ERROR, Error *)->code;
  return NULL;
}

static Event *event_of(int program) {
  Event *e = calloc(1, sizeof *e);
  e->program = program;
  __atomic_add_fetch(&live_events, 1, __ATOMIC_SEQ_CST);
  return e;
}
static void *event_destroy(void *a) {
  free(AT(a, EVENT_DESTROY_EVENT, void *));
  __atomic_sub_fetch(&live_events, 1, __ATOMIC_SEQ_CST);
  return NULL;
}
static void *event_ready(void *a) {
  AT(a, EVENT_READY_IS_READY, char) = AT(a, EVENT_READY_EVENT, Event *)->program <= done;
  return NULL;
}
static void *event_error(void *a) {
  const int program = AT(a, EVENT_ERROR_EVENT, Event *)->program;
  char text[64];
  snprintf(text, sizeof text, "program %d went wrong", program);
  if (!failing[program]) return NULL;
  Error *said = refusal(EXECUTE);
  return said != NULL ? said : fail(13, text);
}
static void *event_await(void *a) {
  Event *e = AT(a, EVENT_AWAIT_EVENT, Event *);
  pthread_mutex_lock(&lock);
  while (e->program > done) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  return event_error(a);
}

// Each option as name=value, by type.
static void note_options(void *a) {
  char *list = AT(a, CREATE_OPTIONS, char *);
  const size_t count = AT(a, CREATE_COUNT, size_t);
  options[0] = 0;
  for (size_t i = 0; i < count; i++, list += NAMED_SIZE) {
    char *to = options + strlen(options);
    const size_t left = sizeof options - strlen(options);
    int length = (int)AT(list, NAMED_NAME_SIZE, size_t);
    const char *name = AT(list, NAMED_NAME, const char *);
    size_t value = AT(list, NAMED_VALUE_SIZE, size_t);
    switch (AT(list, NAMED_TYPE, int)) {
      case 0: snprintf(to, left, "%.*s=\"%.*s\" ", length, name, (int)value, AT(list, NAMED_VALUE, const char *)); break;
      case 1: snprintf(to, left, "%.*s=%lld ", length, name, (long long)AT(list, NAMED_VALUE, int64_t)); break;
      case 2:
        snprintf(to, left, "%.*s=[", length, name);
        for (size_t k = 0; k < value; k++) sprintf(options + strlen(options), k ? ",%lld" : "%lld", (long long)AT(list, NAMED_VALUE, int64_t *)[k]);
        strcat(options, "] ");
        break;
      case 3: snprintf(to, left, "%.*s=%g ", length, name, AT(list, NAMED_VALUE, float)); break;
      default: snprintf(to, left, "%.*s=%s ", length, name, AT(list, NAMED_VALUE, char) ? "true" : "false");
    }
    if (length == 16 && memcmp(name, "cpu_device_count", 16) == 0) pretended = (int)AT(list, NAMED_VALUE, int64_t);
  }
}

// Through the key-value callbacks, as a client that spans hosts does: it tells the others where it is, and hears it of them; a second
// thread waits for what this one puts only later.
typedef void *Callback(void *);
static Error *callback_error(int code, const char *text, size_t size) {
  Error *e = fail(code, "");
  snprintf(e->text, sizeof e->text, "%.*s", (int)size, text);
  return e;
}
static Error *(*callback_error_at)(int, const char *, size_t) = callback_error;
// The callbacks' arguments as pjrt_c_api.h declares them; waiting for a key takes a time, a look for it does not.
typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  int timeout_in_ms;
  void *callback_error, *user_arg;
  char *value;
  size_t value_size;
  void (*deleter)(char *);
} Get;
typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  void *callback_error, *user_arg;
  char *value;
  size_t value_size;
  void (*deleter)(char *);
} TryGet;
typedef struct {
  size_t struct_size;
  void *extension;
  const char *key;
  size_t key_size;
  const char *value;
  size_t value_size;
  void *callback_error, *user_arg;
} Put;
static char *copy_of(char *value, size_t size, void (*deleter)(char *)) {
  char *copy = calloc(1, size + 1);
  memcpy(copy, value, size);
  deleter(value);
  return copy;
}
static char *get_value(Callback *get, const char *key, int timeout, Error **error) {
  Get g = {.struct_size = sizeof g, .key = key, .key_size = strlen(key), .timeout_in_ms = timeout, .callback_error = &callback_error_at};
  *error = get(&g);
  return *error == NULL ? copy_of(g.value, g.value_size, g.deleter) : NULL;
}
static char *look(Callback *peek, const char *key, Error **error) {
  TryGet g = {.struct_size = sizeof g, .key = key, .key_size = strlen(key), .callback_error = &callback_error_at};
  *error = peek(&g);
  return *error == NULL ? copy_of(g.value, g.value_size, g.deleter) : NULL;
}
static Error *put_value(Callback *put, const char *key, const char *value) {
  Put p = {.struct_size = sizeof p, .key = key, .key_size = strlen(key), .value = value, .value_size = strlen(value), .callback_error = &callback_error_at};
  return put(&p);
}
static void *late(void *a) {
  Error *error;
  return get_value(AT(a, CREATE_GET, Callback *), "late", 20000, &error);
}
static Error *talk(void *a) {
  Callback *get = AT(a, CREATE_GET, Callback *), *put = AT(a, CREATE_PUT, Callback *), *peek = AT(a, CREATE_TRY_GET, Callback *);
  if (get == NULL) return NULL;
  const int rank = atoi(getenv("FAKE_RANK")), count = atoi(getenv("FAKE_COUNT"));
  char key[64], value[64];
  Error *error = NULL;
  pthread_t thread;
  pthread_create(&thread, NULL, late, a);
  char *none = look(peek, "nowhere", &error);
  if (none != NULL || error->code != 5) return fail(13, "a key that nobody has put was found, or not as NOT_FOUND");
  free(error);
  snprintf(key, sizeof key, "node:%d", rank);
  snprintf(value, sizeof value, "host of %d", rank);
  if ((error = put_value(put, key, value)) != NULL) return error;
  for (int r = 0; r < count; r++) {
    snprintf(key, sizeof key, "node:%d", r);
    char *found = get_value(get, key, 20000, &error);
    if (found == NULL) return error;
    sprintf(options + strlen(options), "%s; ", found);
    free(found);
  }
  if (rank == count - 1 && (error = put_value(put, "late", "and last")) != NULL) return error;
  char *seen = look(peek, "node:0", &error);
  if (seen == NULL) return error;
  free(seen);
  char *last = NULL;
  pthread_join(thread, (void **)&last);
  sprintf(options + strlen(options), "%s", last == NULL ? "nothing" : last);
  free(last);
  if (get_value(get, "never", 50, &error) != NULL || error->code != 4) return fail(13, "waiting for a key that never comes does not end with DEADLINE_EXCEEDED");
  free(error);
  return NULL;
}

static void *client_create(void *a) {
  note_options(a);
  Error *error = refusal(CREATE);
  if (error == NULL) error = talk(a);
  if (error != NULL) return error;
  AT(a, CREATE_CLIENT, void *) = calloc(1, 8);
  return NULL;
}
static void *client_destroy(void *a) { free(AT(a, DESTROY_CLIENT, void *)); return NULL; }
static void *name(void *a) {
  AT(a, NAME_NAME, const char *) = "fake";
  AT(a, NAME_SIZE, size_t) = 4;
  return NULL;
}
static int device[64];
static void *devices[64];
static void *client_devices(void *a) {
  for (int i = 0; i < pretended; i++) devices[i] = &device[i];
  AT(a, DEVICES_LIST, void *) = devices;
  AT(a, DEVICES_COUNT, size_t) = (size_t)pretended;
  return NULL;
}

static void *compile(void *a) {
  Error *error = refusal(COMPILE);
  if (error != NULL) return error;
  const unsigned char *bytes = AT(a, COMPILE_OPTIONS, unsigned char *);
  const size_t size = AT(a, COMPILE_OPTIONS_SIZE, size_t);
  compile_options[0] = 0;
  for (size_t i = 0; i < size && i < 65536; i++) sprintf(compile_options + 2 * i, "%02x", bytes[i]);
  AT(a, COMPILE_EXECUTABLE, void *) = calloc(1, sizeof(Executable));
  return NULL;
}
static void *get_executable(void *a) { AT(a, UNLOADED_EXECUTABLE, void *) = AT(a, UNLOADED_LOADED, void *); return NULL; }
static void *nothing(void *a) { (void)a; return NULL; }
static void *loaded_destroy(void *a) { free(AT(a, LOADED_DESTROY, void *)); return NULL; }
static int float_type[] = {F32};
static int64_t no_sizes[1];
static size_t ranks[] = {0};
static void *output_types(void *a) {
  AT(a, TYPES_LIST, void *) = float_type;
  AT(a, TYPES_COUNT, size_t) = 1;
  return NULL;
}
static void *output_dims(void *a) {
  AT(a, DIMS_COUNT, size_t) = 1;
  AT(a, DIMS_LIST, void *) = no_sizes;
  AT(a, DIMS_RANKS, void *) = ranks;
  return NULL;
}

static Buffer *buffer_of(int program, float value) {
  Buffer *b = calloc(1, sizeof *b);
  b->program = program;
  b->value = value;
  __atomic_add_fetch(&live_buffers, 1, __ATOMIC_SEQ_CST);
  return b;
}
// Its result is its argument and one.
static void *execute(void *a) {
  const size_t count = AT(a, EXECUTE_DEVICES, size_t);
  if (refused > 0) {
    refused--;
    return fail(8, "there is no room for the results");
  }
  pthread_mutex_lock(&lock);
  const int program = ++launched;
  pthread_mutex_unlock(&lock);
  for (size_t d = 0; d < count; d++) {
    Buffer *in = AT(a, EXECUTE_ARGUMENTS, Buffer ***)[d][0];
    if (failing[in->program]) failing[program] = 1;
    AT(a, EXECUTE_OUTPUTS, Buffer ***)[d][0] = buffer_of(program, in->value + 1);
    AT(a, EXECUTE_EVENTS, Event **)[d] = event_of(program);
  }
  return NULL;
}
// Two memories a device: its own, and the host's for it.
static char memories[2][8] = {"device", "pinned"};
static void *memory_list[2] = {memories[0], memories[1]};
static int host_puts, has_pinned = 1;
EXPORT int fake_host_puts(void) { return host_puts; }
EXPORT void fake_pinned(int has) { has_pinned = has; }
static void *device_memories(void *a) {
  AT(a, MEMORIES_LIST, void **) = memory_list;
  AT(a, MEMORIES_COUNT, size_t) = has_pinned ? 2 : 1;
  return NULL;
}
static void *memory_kind(void *a) {
  const char *kind = AT(a, KIND_MEMORY, void *) == memories[1] ? "pinned_host" : "device";
  AT(a, KIND_KIND, const char *) = kind;
  AT(a, KIND_SIZE, size_t) = strlen(kind);
  return NULL;
}
static void *from_host(void *a) {
  if (AT(a, HOST_MEMORY, void *) == memories[1]) host_puts++;
  AT(a, HOST_BUFFER, void *) = buffer_of(0, *AT(a, HOST_DATA, float *));
  AT(a, HOST_EVENT, void *) = event_of(0);
  return NULL;
}
static void *to_host(void *a) {
  Buffer *b = AT(a, READ_SOURCE, Buffer *);
  *AT(a, READ_TARGET, float *) = b->value;
  AT(a, READ_EVENT, void *) = event_of(b->program);
  return NULL;
}
static void *buffer_destroy(void *a) {
  free(AT(a, BUFFER_DESTROY, void *));
  __atomic_sub_fetch(&live_buffers, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static char api[TABLE_SIZE];
EXPORT void *GetPjrtApi(void) {
  AT(api, 0, size_t) = sizeof api;
  AT(api, 36, int) = 81;
#define SLOT(slot, function) AT(api, slot, void *) = (void *)(function)
  SLOT(SLOT_ERROR_DESTROY, error_destroy);
  SLOT(SLOT_ERROR_MESSAGE, error_message);
  SLOT(SLOT_ERROR_CODE, error_code);
  SLOT(SLOT_EVENT_DESTROY, event_destroy);
  SLOT(SLOT_EVENT_READY, event_ready);
  SLOT(SLOT_EVENT_ERROR, event_error);
  SLOT(SLOT_EVENT_AWAIT, event_await);
  SLOT(SLOT_CREATE, client_create);
  SLOT(SLOT_DESTROY, client_destroy);
  SLOT(SLOT_NAME, name);
  SLOT(SLOT_VERSION, name);
  SLOT(SLOT_DEVICES, client_devices);
  SLOT(SLOT_COMPILE, compile);
  SLOT(SLOT_HOST, from_host);
  SLOT(SLOT_MEMORIES, device_memories);
  SLOT(SLOT_KIND, memory_kind);
  SLOT(SLOT_UNLOADED_DESTROY, nothing);
  SLOT(SLOT_TYPES, output_types);
  SLOT(SLOT_DIMS, output_dims);
  SLOT(SLOT_LOADED_DESTROY, loaded_destroy);
  SLOT(SLOT_UNLOADED, get_executable);
  SLOT(SLOT_EXECUTE, execute);
  SLOT(SLOT_BUFFER_DESTROY, buffer_destroy);
  SLOT(SLOT_READ, to_host);
  return api;
}
