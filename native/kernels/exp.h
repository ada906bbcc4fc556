// The exponential of numbers that are at most 0, for vectors of any width.
#ifndef MESHWORK_EXP_H
#define MESHWORK_EXP_H

// e^x within about an ulp; 0 where that is no normal number, and NaN of NaN. `Integers` are as wide as `Numbers`.
#define EXP_OF(name, Numbers, Integers) \
  static inline Numbers name(Numbers x) { \
    const Numbers n = (x * 1.44269504f + 12582912.0f) - 12582912.0f, r = (x - n * 0.693359375f) - n * -2.12194440e-4f; \
    Numbers e = 1.9875691500e-4f - (Numbers){0}; \
    e = e * r + 1.3981999507e-3f; \
    e = e * r + 8.3334519073e-3f; \
    e = e * r + 4.1665795894e-2f; \
    e = e * r + 1.6666665459e-1f; \
    e = e * r + 5.0000001201e-1f; \
    e = e * (r * r) + r + 1.0f; \
    const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23, none = x < -87.0f; \
    return (Numbers)((Integers)(e * (Numbers)power) & ~none); \
  }

#endif
