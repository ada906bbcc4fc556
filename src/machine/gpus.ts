/** Hosts of eight NVIDIA GPUs, by what is published of them. */
import { byBus, memoryBySize, productsBySize, ramped } from './curves.ts'
import type { CollectiveTimes, MachineInput } from './machine.ts'

const [GB, TB, TFLOP] = [1e9, 1e12, 1e12]
const KiB = 2 ** 10
const MiB = 2 ** 20

const gemms = 'best product of bf16: ml-engineering, compute/accelerator/benchmarks (744d01e, 2026-08)'
const bySize = 'by size: Calculon, systems/h100_80g_nvl8.json (2024-02)'
const nccl = 'NCCL 2.27.5 on H100: autoparallel, nccl_cost_model.py (a54c252, 2026-06); latency of a hop: NCCL, src/graph/tuning.cc (5067397, 2026-06)'
const overlap = { share: 0.9, slowdown: 1.189 }
const common = {
  overlap: 'computation beside collectives 18.9 % slower on average: arXiv 2507.03114 (2025-07); that nine tenths can be beside it is assumed',
  overhead: 'a launch of 3 µs and 10 µs for a turn of a loop are assumed; autoparallel has a floor of 7 µs for an op',
  'memory.reserved': 'CUDA context and buffers of NCCL, 4 GB: assumed',
}
const overhead = { kernelUs: 3, turnUs: 10, stepUs: 500 }

/** One GPU of each of so many hosts: [among, latency µs, GB/s of the result]. */
const acrossHosts: readonly (readonly [number, number, number])[] = [[2, 22, 96], [4, 50, 64], [8, 106, 55], [32, 442, 49.5]]
/** Scaled from 400 Gb/s a GPU. */
const across = (perGpu: number): CollectiveTimes[] => acrossHosts.map(([n, us, rate]) => ramped(n, us, rate * GB * perGpu / 50, n))
/** An all-reduce is both, but latency is a tree's: 2 log₂ n hops. */
const allReduceAcross = (perGpu: number): CollectiveTimes[] => acrossHosts.map(([n, , rate]) => ramped(n, 14 + 28 * Math.log2(n), rate * GB * perGpu / 50 * n / 2 / n))

const h100Within: { readonly [kind: string]: CollectiveTimes[] } = {
  'all-gather': [ramped(2, 8, 537 * GB, 2), ramped(4, 17, 434 * GB, 4), ramped(8, 30, 394 * GB, 8)],
  'reduce-scatter': [ramped(2, 8, 537 * GB), ramped(4, 17, 434 * GB), ramped(8, 30, 394 * GB)],
  'all-reduce': [ramped(2, 10, 324 * GB), ramped(4, 15, 236 * GB), ramped(8, 31, 267 * GB)],
  'all-to-all': [ramped(8, 50, 380 * GB)],
}

const between = (perGpu: number): MachineInput['links']['between'] => ({
  topology: 'switch', perFlow: perGpu * GB, perHost: 8 * perGpu * GB, latencyUs: 14, share: { permute: 0.9, 'all-to-all': 0.8 },
  times: { 'all-gather': across(perGpu), 'reduce-scatter': across(perGpu).map(t => ({ ...t, points: t.points.map(([b, us]): [number, number] => [b * t.among, us]) })), 'all-reduce': allReduceAcross(perGpu) },
})

export const gpus: readonly MachineInput[] = [
  {
    name: '8xh100', platform: 'cuda', devicesPerHost: 8, memory: { bytes: 80 * GB, reserved: 4 * GB }, power: '700 W',
    peak: { bf16: 989 * TFLOP, f16: 989 * TFLOP, f32: 494 * TFLOP, f64: 67 * TFLOP },
    products: { bf16: [{ side: 1, points: productsBySize(794 * TFLOP) }], f16: [{ side: 1, points: productsBySize(794 * TFLOP) }], f32: [{ side: 1, points: productsBySize(395 * TFLOP) }], f64: [{ side: 1, points: productsBySize(52 * TFLOP) }] },
    bandwidth: { peak: 3.35 * TB, points: memoryBySize(2.5 * TB) }, vector: { rate: 33 * TFLOP }, overhead, overlap,
    links: { within: { topology: 'switch', perFlow: 450 * GB, perHost: 3600 * GB, latencyUs: 3.4, share: { permute: 0.83 }, times: h100Within }, between: between(50) },
    sources: {
      peak: 'H100 SXM5 data sheet, without sparsity', products: `${gemms}: 794 TFLOP/s, 80 % of the peak; ${bySize}; f32 in TF32, as XLA computes it, and f64 at the same share of their peaks: assumed`, bandwidth: `3.35 TB/s by data sheet, 2.5 measured: ml-engineering; ${bySize}`,
      vector: 'half of the f32 peak of its cores, in which a fused multiply-add counts twice', 'links.within': `NVLink 4, 450 GB/s one way, 376 measured from one to another: ml-engineering; ${nccl}`, 'links.between': `eight adapters of 400 Gb/s; ${nccl}`, ...common,
    },
  },
  {
    name: '8xh200', platform: 'cuda', devicesPerHost: 8, memory: { bytes: 141 * GB, reserved: 4 * GB }, power: '700 W',
    peak: { bf16: 989 * TFLOP, f16: 989 * TFLOP, f32: 494 * TFLOP, f64: 67 * TFLOP },
    products: { bf16: [{ side: 1, points: productsBySize(794 * TFLOP) }], f16: [{ side: 1, points: productsBySize(794 * TFLOP) }], f32: [{ side: 1, points: productsBySize(395 * TFLOP) }], f64: [{ side: 1, points: productsBySize(52 * TFLOP) }] },
    bandwidth: { peak: 4.8 * TB, points: memoryBySize(3.6 * TB) }, vector: { rate: 33 * TFLOP }, overhead, overlap,
    links: {
      within: {
        topology: 'switch', perFlow: 450 * GB, perHost: 3600 * GB, latencyUs: 3.4, share: { permute: 0.88 },
        times: { ...h100Within, 'all-reduce': [ramped(2, 10, 324 * GB), ramped(4, 15, 236 * GB), byBus(8, [[32 * KiB, 1.4 * GB], [MiB, 40 * GB], [16 * MiB, 220 * GB], [256 * MiB, 436 * GB], [16384 * MiB, 482 * GB]])] },
      },
      between: between(50),
    },
    sources: {
      peak: 'H200 SXM data sheet, without sparsity', products: `${gemms}: 794 TFLOP/s; ${bySize}; f32 in TF32, as XLA computes it, and f64 at the same share of their peaks: assumed`, bandwidth: `4.8 TB/s by data sheet; measured as a share of it as of an H100; ${bySize}`, vector: 'half of the f32 peak of its cores',
      'links.within': `NVLink 4, 450 GB/s one way, 396 measured; all-reduce among 8 with NVLS: ml-engineering, network/benchmarks; ${nccl}`, 'links.between': `eight adapters of 400 Gb/s; ${nccl}`, ...common,
    },
  },
  {
    name: '8xb200', platform: 'cuda', devicesPerHost: 8, memory: { bytes: 180 * GB, reserved: 4 * GB }, power: '1000 W',
    peak: { bf16: 2250 * TFLOP, f16: 2250 * TFLOP, f32: 1125 * TFLOP, f64: 40 * TFLOP },
    products: { bf16: [{ side: 1, points: productsBySize(1745 * TFLOP) }], f16: [{ side: 1, points: productsBySize(1745 * TFLOP) }], f32: [{ side: 1, points: productsBySize(870 * TFLOP) }], f64: [{ side: 1, points: productsBySize(31 * TFLOP) }] },
    bandwidth: { peak: 8 * TB, points: memoryBySize(5.8 * TB) }, vector: { rate: 40 * TFLOP }, overhead, overlap,
    links: {
      within: {
        topology: 'switch', perFlow: 900 * GB, perHost: 7200 * GB, latencyUs: 3.4, share: { permute: 0.83 },
        times: {
          'all-gather': [ramped(2, 8, 1074 * GB, 2), ramped(4, 17, 868 * GB, 4), ramped(8, 30, 779 * GB, 8)], 'reduce-scatter': [ramped(2, 8, 1074 * GB), ramped(4, 17, 868 * GB), ramped(8, 30, 779 * GB)],
          'all-reduce': [ramped(2, 10, 648 * GB), ramped(4, 15, 472 * GB), ramped(8, 31, 483 * GB)], 'all-to-all': [ramped(8, 50, 760 * GB)],
        },
      },
      between: between(50),
    },
    sources: {
      peak: 'B200 data sheet, without sparsity', products: `${gemms}: 1745 TFLOP/s, 78 % of the peak; ${bySize}; f32 in TF32, as XLA computes it, and f64 at the same share of their peaks: assumed`, bandwidth: `8 TB/s by data sheet, 5.8 measured on a GB200: ml-engineering; ${bySize}`, vector: 'half of the f32 peak of its cores',
      'links.within': 'NVLink 5, 900 GB/s one way; all-reduce 846 GB/s on the bus with NVLS, 682 by rings: ml-engineering, network/benchmarks; latencies as of an H100', 'links.between': `eight adapters of 400 Gb/s; ${nccl}`, ...common,
    },
  },
  ...([['8xa100', 80, 2.039, 1.57], ['8xa100-40', 40, 1.555, 1.2]] as const).map(([name, memory, specified, measured]): MachineInput => ({
    name, platform: 'cuda', devicesPerHost: 8, memory: { bytes: memory * GB, reserved: 3 * GB }, power: '400 W',
    peak: { bf16: 312 * TFLOP, f16: 312 * TFLOP, f32: 156 * TFLOP, f64: 19.5 * TFLOP },
    products: { bf16: [{ side: 1, points: productsBySize(271 * TFLOP) }], f16: [{ side: 1, points: productsBySize(271 * TFLOP) }], f32: [{ side: 1, points: productsBySize(135 * TFLOP) }], f64: [{ side: 1, points: productsBySize(17 * TFLOP) }] },
    bandwidth: { peak: specified * TB, points: memoryBySize(measured * TB) }, vector: { rate: 9.7 * TFLOP }, overhead, overlap,
    links: {
      within: {
        topology: 'switch', perFlow: 300 * GB, perHost: 2400 * GB, latencyUs: 3.4, share: { permute: 0.9, 'all-to-all': 0.75, 'all-gather': 0.78, 'reduce-scatter': 0.78 },
        times: { 'all-reduce': [byBus(8, [[32 * KiB, 1.3 * GB], [MiB, 18.2 * GB], [4 * MiB, 72.7 * GB], [64 * MiB, 180 * GB], [1024 * MiB, 225 * GB], [16384 * MiB, 235 * GB]])] },
      },
      between: between(25),
    },
    sources: {
      peak: 'A100 SXM data sheet, without sparsity', products: `${gemms}: 271 TFLOP/s, 87 % of the peak; ${bySize}; f32 in TF32, as XLA computes it, and f64 at the same share of their peaks: assumed`, bandwidth: `by data sheet ${specified} TB/s, of which 77 % measured (1.55 to 1.59 of 2.0): ml-engineering; ${bySize}`, vector: 'half of the f32 peak of its cores',
      'links.within': 'NVLink 3, 300 GB/s one way, 274 measured; all-reduce 44 µs at 32 KiB, 101 µs from 1 to 4 MiB, 235 GB/s on the bus at 16 GiB: ml-engineering, network/benchmarks; between these drawn', 'links.between': `eight adapters of 200 Gb/s; ${nccl}, scaled`, ...common,
    },
  })),
]
