/** Pods of TPUs, by what is published of them. */
import { memoryBySize, productsBySize } from './curves.ts'
import type { MachineInput } from './machine.ts'

const [GB, TB, TFLOP] = [1e9, 1e12, 1e12]
const book = 'How to Scale Your Model (scaling-book, 0819a7d, 2025-02), tpus.md and sharding.md'
const cloud = 'Cloud TPU documentation'
const common = {
  overlap: 'that nine tenths of what nothing waits for can be beside computation, on engines of their own, is assumed', overhead: '1 µs for a kernel is assumed', 'memory.reserved': '1 GB is assumed',
  vector: 'a vector unit of 8 × 128 lanes, four operations a cycle: scaling-book',
}
const collectives = { 'all-gather': 0.85, 'reduce-scatter': 0.85, 'all-reduce': 0.85, 'all-to-all': 0.5, permute: 0.85 }

export const tpus: readonly MachineInput[] = [
  {
    name: 'v5p', platform: 'tpu', devicesPerHost: 4, domain: 8960, memory: { bytes: 95 * GB, reserved: GB },
    peak: { bf16: 459 * TFLOP, f32: 459 * TFLOP }, products: { bf16: [{ side: 1, points: productsBySize(413 * TFLOP) }], f32: [{ side: 1, points: productsBySize(413 * TFLOP) }] },
    bandwidth: { peak: 2.765 * TB, points: memoryBySize(2.35 * TB) }, vector: { rate: 7 * TFLOP }, overhead: { kernelUs: 1, turnUs: 2, stepUs: 200 }, overlap: { share: 0.9, slowdown: 1.05 },
    links: {
      within: { topology: 'torus', wrap: 4, dims: 3, perFlow: 180 * GB, perHost: 2160 * GB, latencyUs: 1, share: collectives },
      between: { topology: 'switch', perFlow: 6.25 * GB, perHost: 25 * GB, latencyUs: 30, share: { 'all-gather': 0.65, 'reduce-scatter': 0.65, 'all-reduce': 0.65, 'all-to-all': 0.5, permute: 0.65 } },
    },
    sources: {
      peak: `${cloud}, v5p`, products: 'as a share of the peak, 90 %, measured on v6e: AI-Hypercomputer/tpu-recipes, microbenchmarks; f32 is multiplied as bf16, as XLA computes it unless told otherwise', bandwidth: `2765 GB/s: ${cloud}, v5p; 85 % of it as measured on v6e`,
      'links.within': `3-D torus of 16 × 20 × 28, 90 GB/s a link one way, both directions of a ring, joined in multiples of 4, a hop 1 µs: ${book}; 34 MB gathered among 4 took 1.21 times what that says`, 'links.between': `50 Gb/s a chip: ${cloud}, v5p; that two thirds of it are reached is assumed`, ...common,
    },
  },
  {
    name: 'v6e', platform: 'tpu', devicesPerHost: 8, domain: 256, memory: { bytes: 32 * GB, reserved: GB },
    peak: { bf16: 918 * TFLOP, f32: 918 * TFLOP }, products: { bf16: [{ side: 1, points: productsBySize(827 * TFLOP) }], f32: [{ side: 1, points: productsBySize(827 * TFLOP) }] },
    bandwidth: { peak: 1.638 * TB, points: memoryBySize(1.36 * TB) }, vector: { rate: 7 * TFLOP }, overhead: { kernelUs: 1, turnUs: 2, stepUs: 200 }, overlap: { share: 0.9, slowdown: 1.05 },
    links: {
      within: { topology: 'torus', wrap: 16, dims: 2, perFlow: 180 * GB, perHost: 2880 * GB, latencyUs: 1, share: collectives },
      between: { topology: 'switch', perFlow: 12.5 * GB, perHost: 100 * GB, latencyUs: 30, share: { 'all-gather': 0.33, 'reduce-scatter': 0.33, 'all-reduce': 0.33, 'all-to-all': 0.25, permute: 0.33 } },
    },
    sources: {
      peak: `${cloud}, v6e`, products: '827 TFLOP/s at 8192³, 90 %: AI-Hypercomputer/tpu-recipes, microbenchmarks; f32 is multiplied as bf16, as XLA computes it unless told otherwise', bandwidth: `1638 GB/s: ${cloud}, v6e; 1.36 TB/s measured: tpu-recipes`,
      'links.within': `2-D torus of 16 × 16, 90 GB/s a link one way, both directions of a ring, joined where an axis has 16: ${book}`, 'links.between': `four adapters of 200 Gb/s a host of eight chips: ${cloud}, v6e; an all-reduce measured at 4.1 GB/s a chip: tpu-recipes, microbenchmarks/trillium/collectives`, ...common,
    },
  },
]
