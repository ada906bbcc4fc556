/** Figures as people read them, also where a unit ends. */
import { expect, test } from 'vitest'
import { formatBytes, formatCount, formatFlops, formatInteger, formatMs } from '../../src/core/quantities.ts'

test('three digits and a unit, and never powers of ten', () => {
  expect([0, 12, 12.4, 999.4, 999.6, 1234, 999_499, 999_600, 8.5e10, 3.2e13, 1.5e18, 2e22].map(formatBytes))
    .toEqual(['0 B', '12 B', '12 B', '999 B', '1.00 KB', '1.23 KB', '999 KB', '1.00 MB', '85.0 GB', '32.0 TB', '1.50 EB', '20,000 EB'])
  expect([0, 999, 9999, 9999.6, 12_345, 999_600, 1.24e8, 7.06e10, 1e12, 1.5e15].map(formatCount)).toEqual(['0', '999', '9999', '10.0 K', '12.3 K', '1.00 M', '124 M', '70.6 G', '1.00 T', '1,500 T'])
  expect([7, 12.3, 1.2e12, 5e24].map(formatFlops)).toEqual(['7 FLOP', '12 FLOP', '1.20 TFLOP', '5,000 ZFLOP'])
  expect([0, 1234567.4].map(formatInteger)).toEqual(['0', '1,234,567'])
})

test('times from microseconds to years', () => {
  expect([0, 0.0123, 0.99951, 1, 999.4, 999.6, 59_900, 999_400, 1_000_000, 35_900_000, 35_990_000, 36e6, 3.59e9, 3.599e9, 1e12].map(formatMs))
    .toEqual(['0', '12.3 µs', '1.00 ms', '1.00 ms', '999 ms', '1.00 s', '59.9 s', '999 s', '16.7 min', '598 min', '10.0 h', '10.0 h', '997 h', '1,000 h', '277,778 h'])
})
