// The few C structs of XLA's FFI (API 0.x) that our handlers read: our own declarations, their layout checked below.
#ifndef MESHWORK_FFI_H
#define MESHWORK_FFI_H

#include <stddef.h>
#include <stdint.h>

typedef struct FfiExtension {
  size_t size;
  int32_t type;
  struct FfiExtension *next;
} FfiExtension;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  int32_t major, minor;
} FfiVersion;

// What XLA asks a handler once, before any other call.
typedef struct {
  size_t size;
  FfiVersion version;
  uint32_t traits;
} FfiMetadata;

typedef struct {
  FfiExtension base;
  FfiMetadata *metadata;
} FfiMetadataExtension;

typedef struct FfiError FfiError;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  const char *message;
  int32_t code;
} FfiErrorArgs;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  FfiError *error;
} FfiDestroyArgs;

// Work for a thread of XLA's, some time: task(data).
typedef struct {
  size_t size;
  FfiExtension *extensions;
  void *context;
  void (*task)(void *);
  void *data;
} FfiScheduleArgs;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  void *context;
  int64_t *threads;
} FfiThreadsArgs;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  FfiVersion version;
  const void *internal;
  FfiError *(*create_error)(FfiErrorArgs *);
  const void *error_message;
  void (*destroy_error)(FfiDestroyArgs *);
  const void *between[8]; // nothing that we call
  FfiError *(*schedule)(FfiScheduleArgs *);
  FfiError *(*threads)(FfiThreadsArgs *);
} FfiApi;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  int32_t dtype;
  void *data;
  int64_t rank;
  int64_t *dims;
} FfiBuffer;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  int64_t count;
  int32_t *types;
  void **items;
} FfiBuffers; // arguments and results alike

typedef struct {
  const char *text;
  size_t length;
} FfiSpan;

typedef struct {
  int32_t dtype;
  void *value;
} FfiScalar;

typedef struct {
  int32_t dtype;
  size_t count;
  void *data;
} FfiArray;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  int64_t count;
  int32_t *types;
  FfiSpan **names;
  void **items;
} FfiAttributes;

typedef struct {
  size_t size;
  FfiExtension *extensions;
  const FfiApi *api;
  void *context;
  int32_t stage;
  FfiBuffers arguments, results;
  FfiAttributes attributes;
  void *future;
} FfiFrame;

enum { FFI_EXTENSION_METADATA = 1 };
enum { FFI_STAGE_EXECUTE = 3 };
enum { FFI_BUFFER = 1 };
enum { FFI_ATTR_ARRAY = 1, FFI_ATTR_SCALAR = 3, FFI_ATTR_STRING = 4 };
enum { FFI_CODE_INVALID_ARGUMENT = 3, FFI_CODE_INTERNAL = 13 };
enum {
  FFI_PRED = 1, FFI_S8 = 2, FFI_S16 = 3, FFI_S32 = 4, FFI_S64 = 5, FFI_U8 = 6, FFI_U16 = 7, FFI_U32 = 8, FFI_U64 = 9,
  FFI_F16 = 10, FFI_F32 = 11, FFI_F64 = 12, FFI_BF16 = 16, FFI_TOKEN = 17,
  FFI_F8E5M2 = 19, FFI_F8E4M3FN = 20
};

// XLA counts a struct up to the end of its last field, without the padding.
#define FFI_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

#define FFI_AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field " is misplaced")
FFI_AT(FfiExtension, type, 8);
FFI_AT(FfiExtension, next, 16);
FFI_AT(FfiVersion, major, 16);
FFI_AT(FfiVersion, minor, 20);
FFI_AT(FfiMetadata, version, 8);
FFI_AT(FfiMetadata, traits, 32);
FFI_AT(FfiMetadataExtension, metadata, 24);
FFI_AT(FfiErrorArgs, message, 16);
FFI_AT(FfiErrorArgs, code, 24);
FFI_AT(FfiApi, version, 16);
FFI_AT(FfiApi, internal, 40);
FFI_AT(FfiApi, create_error, 48);
FFI_AT(FfiApi, destroy_error, 64);
FFI_AT(FfiApi, schedule, 136);
FFI_AT(FfiApi, threads, 144);
FFI_AT(FfiDestroyArgs, error, 16);
FFI_AT(FfiScheduleArgs, context, 16);
FFI_AT(FfiScheduleArgs, data, 32);
FFI_AT(FfiThreadsArgs, threads, 24);
FFI_AT(FfiBuffer, dtype, 16);
FFI_AT(FfiBuffer, data, 24);
FFI_AT(FfiBuffer, rank, 32);
FFI_AT(FfiBuffer, dims, 40);
FFI_AT(FfiBuffers, count, 16);
FFI_AT(FfiBuffers, types, 24);
FFI_AT(FfiBuffers, items, 32);
FFI_AT(FfiScalar, value, 8);
FFI_AT(FfiArray, count, 8);
FFI_AT(FfiArray, data, 16);
FFI_AT(FfiAttributes, types, 24);
FFI_AT(FfiAttributes, names, 32);
FFI_AT(FfiAttributes, items, 40);
FFI_AT(FfiFrame, api, 16);
FFI_AT(FfiFrame, stage, 32);
FFI_AT(FfiFrame, arguments, 40);
FFI_AT(FfiFrame, results, 80);
FFI_AT(FfiFrame, attributes, 120);
FFI_AT(FfiFrame, future, 168);

#endif
