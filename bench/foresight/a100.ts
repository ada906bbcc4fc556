/** An A100 under Megatron as a machine with open constants: what is specified is fixed, and bounds what is fitted. */
import type { Machine, Points } from '../../src/machine/machine.ts'
import { machineOf } from '../../src/machine/read.ts'
import type { Believed, Constants } from './fit.ts'

const [GB, TB, TFLOP] = [1e9, 1e12, 1e12]

/** A constant that is known before anything is fitted, but for so wide a spread of its logarithm: `start` is what is published of it, or usual. */
const known = (name: string, least: number, most: number, start: number, spread: number): Believed => ({ name, least, most, start, spread })

/**
 * Of one device and within a host. What products and memory reach: measured by ml-engineering (744d01e), as `8xa100` has it. All-reduces: 78 % of a link, and some tens of microseconds that are not spread wider than by
 * three times. What Python takes for a kernel, a launch and a step is guessed.
 */
export const ofDevice: readonly Believed[] = [
  known('product', 150 * TFLOP, 312 * TFLOP, 260 * TFLOP, 0.1), known('halfProduct', 1e7, 3e10, 2e9, 1), known('narrow', 0.1, 1, 0.6, 0.5),
  known('bandwidth', 0.5 * TB, 2.039 * TB, 1.5 * TB, 0.2), known('halfBytes', 1e5, 1e8, 3e6, 1),
  known('kernelUs', 0.1, 20, 3, 1), known('launchUs', 1, 200, 30, 0.7), known('stepUs', 100, 60_000, 5000, 1.5),
  known('among2Us', 5, 1000, 30, 1), known('among4Us', 5, 1000, 40, 1), known('among8Us', 5, 1000, 60, 1), known('share', 0.1, 1, 0.78, 0.3), known('sendShare', 0.02, 1, 0.8, 0.5),
]
/** Between hosts: a hop of 14 µs is NCCL's own (src/graph/tuning.cc), and 60 % of a link usual. Ten rows hardly tell them apart, so that what is believed decides. */
export const ofHosts: readonly Believed[] = [known('latencyBetweenUs', 1, 400, 14, 0.5), known('shareBetween', 0.05, 1, 0.6, 0.3), known('sendShareBetween', 0.02, 1, 0.6, 0.5)]

const decades = (from: number, to: number): number[] => Array.from({ length: 2 * (to - from) + 1 }, (_, i) => 10 ** (from + i / 2))
/** What reaches half of the best at some size, as a pipeline that has to be filled (Hockney 1994, r∞ and n½). */
const filling = (best: number, half: number, at: readonly number[]): Points => at.map((x): [number, number] => [x, best * x / (x + half)])

/** 8 × A100 80 GB, NVLink 3, 800 Gb/s for all of a host. */
export function a100(values: Constants): Machine {
  const of = (name: string): number => {
    const value = values[name]
    if (value === undefined) throw new Error(`the machine needs ${name}`)
    return value
  }
  const products = filling(of('product'), of('halfProduct'), decades(6, 14))
  const shares = (all: number, sent: number) => ({ 'all-reduce': all, 'all-gather': all, 'reduce-scatter': all, 'all-to-all': all, permute: sent })
  const allReduce = ([2, 4, 8] as const).map(n => ({ among: n, points: decades(3, 11).map((b): [number, number] => [b, of(`among${n}Us`) + 1e6 * b * 2 * (n - 1) / n / (300 * GB * of('share'))]) }))
  return machineOf({
    name: '8xa100-megatron', devicesPerHost: 8, memory: { bytes: 80 * GB }, peak: { bf16: 312 * TFLOP }, fusion: 'rows',
    products: { bf16: [{ side: 64, points: products.map(([x, y]) => [x, y * of('narrow')]) }, { side: 1024, points: products }] },
    bandwidth: { peak: 2.039 * TB, points: filling(of('bandwidth'), of('halfBytes'), decades(3, 11)) }, vector: { rate: 19.5 * TFLOP },
    overhead: { kernelUs: of('kernelUs'), launchUs: of('launchUs'), turnUs: 0, stepUs: of('stepUs') },
    links: {
      within: { topology: 'switch', perFlow: 300 * GB, perHost: 2400 * GB, latencyUs: of('among2Us') / 2, share: shares(of('share'), of('sendShare')), times: { 'all-reduce': allReduce } },
      between: { topology: 'switch', perFlow: 25 * GB, perHost: 100 * GB, latencyUs: of('latencyBetweenUs'), share: shares(of('shareBetween'), of('sendShareBetween')) },
    },
    sources: { peak: 'A100 SXM data sheet', bandwidth: 'A100 80 GB data sheet', links: 'NVLink 3; 800 Gb/s a host: vTrain, arXiv 2312.12391', others: 'fitted' },
  }, 'the fitted machine')
}
