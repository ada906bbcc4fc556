// What kernels make of sixteen numbers, by the bits, one line each: the same for registers of every width. Numbers come of a counter.
#include <stdio.h>

#include "kernels/stored.h"

static uint32_t counter = 1;
static uint32_t drawn(void) { return counter = counter * 1664525u + 1013904223u; }
static float number(void) { return (float)(int32_t)drawn() * 0x1p-30f; }

static void told(const char *what, const void *bytes, size_t count) {
  uint64_t hash = 1469598103934665603u;
  for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
  printf("%s %016llx\n", what, (unsigned long long)hash);
}

int main(void) {
  for (int round = 0; round < 50; round++) {
    float numbers[LANES][LANES], found[LANES];
    Vec v[LANES];
    for (int i = 0; i < LANES; i++) {
      for (int j = 0; j < LANES; j++) numbers[i][j] = number();
      v[i] = load_f32((const char *)numbers[i]);
    }
    store_f32(found, sums(v));
    told("sums", found, sizeof found);
    for (int i = 0; i < LANES; i++) found[i] = sum(v[i]);
    told("sum", found, sizeof found);
    store_f32(found, over(plus(v[0], times(v[1], v[2])), all(3)));
    told("arithmetic", found, sizeof found);
    unsigned char stored[2 * LANES];
    // Halves of any bits but those of none that is a number, which machines may make another one of.
    for (int i = 0; i < LANES; i++) {
      const uint16_t half = (uint16_t)(drawn() >> 16), kept = (half & 0x7c00) == 0x7c00 ? half & 0xfc00 : half;
      memcpy(stored + 2 * i, &kept, 2);
    }
    store_f32(found, load_f16((const char *)stored));
    told("f16", found, sizeof found);
    store_f32(found, load_bf16((const char *)stored));
    told("bf16", found, sizeof found);
    store_f32(found, load_i8((const char *)stored));
    told("i8", found, sizeof found);
    store_f32(found, load_u4((const char *)stored, 8));
    told("u4", found, sizeof found);
    store_bf16((char *)stored, v[3]);
    told("to bf16", stored, sizeof stored);
  }
  return 0;
}
