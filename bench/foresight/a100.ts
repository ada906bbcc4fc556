/** An A100 under Megatron as a machine with open constants: what is specified is fixed, and bounds what is fitted. */
import type { Machine, Points } from '../../src/machine/machine.ts'
import { machineOf } from '../../src/machine/read.ts'
import type { Constant, Constants } from './fit.ts'

const [GB, TB, TFLOP] = [1e9, 1e12, 1e12]

/** Of one device and within a host. */
export const ofDevice: readonly Constant[] = [
  { name: 'product', least: 150 * TFLOP, most: 312 * TFLOP, start: 260 * TFLOP },
  { name: 'halfProduct', least: 1e7, most: 3e10, start: 2e9 },
  { name: 'narrow', least: 0.1, most: 1, start: 0.6 },
  { name: 'bandwidth', least: 0.5 * TB, most: 2.039 * TB, start: 1.5 * TB },
  { name: 'halfBytes', least: 1e5, most: 1e8, start: 3e6 },
  { name: 'kernelUs', least: 0.1, most: 20, start: 3 },
  { name: 'launchUs', least: 1, most: 200, start: 30 },
  { name: 'stepUs', least: 100, most: 60_000, start: 5000 },
  { name: 'among2Us', least: 5, most: 1000, start: 40 },
  { name: 'among4Us', least: 5, most: 1000, start: 50 },
  { name: 'among8Us', least: 5, most: 1000, start: 200 },
  { name: 'share', least: 0.1, most: 1, start: 0.6 },
  { name: 'sendShare', least: 0.02, most: 1, start: 0.4 },
]
/** Between hosts. */
export const ofHosts: readonly Constant[] = [
  { name: 'latencyBetweenUs', least: 1, most: 400, start: 20 },
  { name: 'shareBetween', least: 0.05, most: 1, start: 0.6 },
  { name: 'sendShareBetween', least: 0.02, most: 1, start: 0.5 },
]

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
