/** Hosts of processors, by what is published of them: what `meshwork calibrate` measures is better. */
import { shares } from './curves.ts'
import type { MachineInput } from './machine.ts'

const GB = 1e9
const peak = 6.35e12

export const cpus: readonly MachineInput[] = [
  {
    name: 'cpu-25gbe', devicesPerHost: 1, memory: { bytes: 384 * GB, reserved: 8 * GB }, power: '360 W',
    peak: { f32: peak, f64: peak / 2 },
    products: { f32: [{ side: 1, points: shares(peak, [[1e6, 0.02], [1e8, 0.3], [1e10, 0.7], [1e12, 0.8]]) }], f64: [{ side: 1, points: shares(peak / 2, [[1e6, 0.02], [1e8, 0.3], [1e10, 0.7], [1e12, 0.8]]) }] },
    bandwidth: { peak: 460.8 * GB, points: shares(460.8 * GB, [[1e6, 0.5], [1e8, 0.8]]) },
    vector: { rate: peak / 4 }, overhead: { kernelUs: 5, turnUs: 5, stepUs: 500 },
    links: {
      within: { topology: 'ring', perFlow: 100 * GB, perHost: 100 * GB, latencyUs: 2 },
      between: { topology: 'switch', perFlow: 3.1 * GB, perHost: 3.1 * GB, latencyUs: 30, share: { 'all-gather': 0.9, 'reduce-scatter': 0.9, 'all-reduce': 0.9, 'all-to-all': 0.8, permute: 0.9 } },
    },
    sources: {
      peak: 'EPYC 9554: 64 cores at 3.1 GHz, 32 operations of f32 a cycle, by data sheet', products: 'large ones at 80 %: docs/measured.md has 102 to 108 of 117 GFlop/s a core; by size assumed', bandwidth: '12 channels of DDR5-4800 by data sheet; 80 % of it assumed',
      vector: 'one instruction of 8 lanes a cycle', 'links.between': '25 GbE: 3.1 GB/s, as Amazon EC2 gives a flow with ENA Express (1.25 in a placement group, 0.6 else); a message by kernel TCP 15 to 50 µs', 'links.within': 'one device a host: not used', overhead: 'assumed',
    },
  },
]
