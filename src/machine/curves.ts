/** Curves that published tables are turned into: rates by the size of what is done. */
import type { CollectiveTimes, Points } from './machine.ts'

/** A rate at sizes, each as a share of the best. */
export const shares = (best: number, at: readonly (readonly [size: number, share: number])[]): Points => at.map(([size, share]) => [size, best * share])

/** What products reach by their operations, as a share of the best: Isaev et al. 2023 (Calculon), systems/h100_80g_nvl8.json, which has 0.1 for the least, 0.6 at 1 GFLOP, 0.9 at 16, 0.95 at 128. */
export const productsBySize = (best: number): Points => shares(best, [[1e7, 0.1], [1e9, 0.6], [16e9, 0.9], [128e9, 0.95], [1e12, 1]])
/** Memory bandwidth by bytes: the same file, 0.3 for the least, 0.6 at 1 MB, 0.75 at 10, 0.9 at 100. */
export const memoryBySize = (best: number): Points => shares(best, [[1e5, 0.3], [1e6, 0.6], [1e7, 0.75], [1e8, 0.9], [1e9, 1]])

/** Bytes that enter on a device, at which curves have a point. */
const sizes = [2 ** 10, 2 ** 14, 2 ** 17, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26, 2 ** 28, 2 ** 30]
/** From a tenth at 128 KiB to nine tenths at 64 MiB, straight in the logarithm: NCCL 2.27's tables. */
const ramp = (bytes: number): number => Math.min(1, Math.max(0.1, 0.1 + 0.8 * Math.log2(bytes / 2 ** 17) / 9))

/** Times of a collective by its latency in µs, and by `rate`, bytes of its result a second when it is large; `result` is how many bytes come of one that enters. */
export const ramped = (among: number, latencyUs: number, rate: number, result = 1): CollectiveTimes =>
  ({ among, points: sizes.map((b): [number, number] => [b, latencyUs + 1e6 * b * result / (rate * ramp(b))]) })

/** Times of an all-reduce by bandwidth on the bus, as nccl-tests have it: 2 (n − 1)/n bytes pass it for each one. */
export const byBus = (among: number, at: readonly (readonly [bytes: number, rate: number])[]): CollectiveTimes =>
  ({ among, points: at.map(([b, rate]): [number, number] => [b, 1e6 * b * 2 * (among - 1) / among / rate]) })
