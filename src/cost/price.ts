/** What one thing takes on a machine, in milliseconds: a product, bytes that are read and written, elementwise operations. The plan of a step adds these up, and so do the tables of a search. */
import { dtypes, isFloat, type DType } from '../core/dtype.ts'
import type { ConvolutionRates, Figures, Machine, Points, ProductRates } from '../machine/machine.ts'
import { at, between } from './curve.ts'

/** A contraction as a device computes it: `batch` products of m × k by k × n. */
export interface Product {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly batch: number
  readonly dtype: DType
  /** Of a convolution, the least of its channels that go in, those that come out, and its examples: its smallest side, were it a product of matrices. */
  readonly convolved?: number | undefined
  /** Of products inside a kernel that attends, the size of a head. */
  readonly attended?: number | undefined
}

/** Dtypes of products from the narrowest: one that a machine says nothing of is computed as the next that it does. */
const wider: readonly DType[] = ['i8', 'u8', 'f8e4m3fn', 'f8e5m2', 'bf16', 'f16', 'f32', 'i32', 'u32', 'f64', 'i64']

function ratesOf(figures: Figures, machine: Machine, dtype: DType): { readonly rates: readonly ProductRates[]; readonly peak: number } {
  const [known, peaks] = [figures.products, machine.peak]
  const from = Math.max(0, wider.indexOf(dtype))
  const found = [...wider.slice(from), ...wider.slice(0, from).reverse()].find(d => known[d] !== undefined)
  if (found === undefined) throw new Error(`machine ${machine.name} has no rates of products`)
  return { rates: known[found] ?? [], peak: peaks[found] ?? Infinity }
}

/** Of classes by their smallest side, between the two that this one lies between. */
function rateOf(rates: readonly ProductRates[], side: number, flops: number): number {
  const sorted = [...rates].sort((a, b) => a.side - b.side)
  const above = sorted.findIndex(r => r.side > side)
  const [low, high] = above < 0 ? [sorted.at(-1), undefined] : [sorted[above - 1] ?? sorted[0], sorted[above]]
  if (low === undefined) throw new Error('products have no rates')
  const slow = at(low.points, flops)
  if (high === undefined || side <= low.side) return slow
  return between(Math.log(side / low.side) / Math.log(high.side / low.side), slow, at(high.points, flops))
}

/** Of convolutions by their depth, between the two that this one lies between: that of a gradient of weights is as large as all pictures together. */
function convolvedRate(rates: readonly ConvolutionRates[], depth: number, side: number, flops: number): number {
  const depths = [...new Set(rates.map(r => r.depth))].sort((a, b) => a - b)
  const above = depths.findIndex(d => d > depth)
  const [low, high] = above < 0 ? [depths.at(-1), undefined] : [depths[above - 1] ?? depths[0], depths[above]]
  const of = (d: number | undefined): number => rateOf(rates.filter(r => r.depth === d), side, flops)
  if (low === undefined || high === undefined || depth <= low) return of(low)
  return between(Math.log(depth / low) / Math.log(high / low), of(low), of(high))
}

export const productFlops = ({ m, n, k, batch }: Omit<Product, 'dtype'>): number => 2 * m * n * k * batch
const productBytes = ({ m, n, k, batch, dtype }: Product): number => batch * (m * k + k * n + m * n) * dtypes[dtype].bytes

/** How fast a device is where so many of its host compute at once: the machine's figures for as many, or nearly. */
export function figuresAt(machine: Machine, onHost: number): Figures {
  const far = (devices: number): number => Math.abs(Math.log(devices / onHost))
  return machine.crowded.reduce<{ readonly devices: number; readonly figures: Figures }>((best, c) => (far(c.devices) < far(best.devices) ? { devices: c.devices, figures: c } : best), { devices: 1, figures: machine }).figures
}
/** A kernel before it does anything. */
export const kernelMs = (machine: Machine, onHost = 1): number => figuresAt(machine, onHost).overhead.kernelUs / 1000

/**
 * A product: its operations by the rate of its shape, never above the specified peak, or the bytes of its operands and result by the bandwidth, whichever takes longer (Williams et al.
 * 2009, the roofline); both, where operands are packed before they are multiplied (Goto and van de Geijn 2008). `onHost`: devices of a host that compute at once.
 */
export function contractionMs(machine: Machine, product: Product, onHost = 1): number {
  const figures = figuresAt(machine, onHost)
  const flops = productFlops(product)
  const attention = figures.attention[product.dtype] ?? figures.attention.f32
  // Its rates hold what it reads.
  if (product.attended !== undefined && attention !== undefined) return figures.overhead.kernelUs / 1000 + 1000 * flops / rateOf(attention, product.attended, flops)
  const { rates, peak } = ratesOf(figures, machine, product.dtype)
  const convolutions = product.convolved === undefined ? undefined : figures.convolutions[product.dtype] ?? figures.convolutions.f32
  const rate = Math.min(peak, convolutions === undefined || product.convolved === undefined ? rateOf(rates, Math.min(product.m, product.n, product.k), flops) : convolvedRate(convolutions, product.k, product.convolved, flops))
  const [computed, read] = [1000 * flops / rate, streamMs(figures, productBytes(product))]
  return figures.overhead.kernelUs / 1000 + (machine.operands === 'before' ? computed + read : Math.max(computed, read))
}

/** What a copy does beside reading and writing in order: it turns a matrix over, or lays the parts of devices side by side. */
export type Turned = boolean | 'parts'
const curveOf = ({ points, turned = points, parts = turned }: Figures['bandwidth'], how: Turned): Points => (how === 'parts' ? parts : how ? turned : points)
const streamMs = ({ bandwidth }: Figures, bytes: number, turned: Turned = false): number => (bytes === 0 ? 0 : 1000 * bytes / Math.min(bandwidth.peak, at(curveOf(bandwidth, turned), bytes)))

/** A kernel that reads and writes so many bytes, and does so many simple operations with them: whichever takes longer. */
export function memoryMs(machine: Machine, bytes: number, operations = 0, onHost = 1, turned: Turned = false): number {
  const figures = figuresAt(machine, onHost)
  return figures.overhead.kernelUs / 1000 + Math.max(streamMs(figures, bytes, turned), 1000 * operations / figures.vector.rate)
}

/** What an elementwise operation costs, in simple ones; whole numbers are divided as floats are. */
export const operationCost = (machine: Machine, op: string, dtype: DType): number => {
  const costs = machine.vector.costs
  const cost = costs[alike[op] ?? op] ?? 1
  return isFloat(dtype) || !floats.has(alike[op] ?? op) ? cost : 1
}
/** Functions that are computed alike. */
const alike: { readonly [fn: string]: string } = {
  expm1: 'exp', exp2: 'exp', logistic: 'exp', log1p: 'log', log2: 'log', rsqrt: 'sqrt', cbrt: 'pow', cos: 'sin', tan: 'sin', erfc: 'erf', erfInv: 'erf', atan2: 'pow', rem: 'div',
}
const floats: ReadonlySet<string> = new Set(['exp', 'log', 'tanh', 'sqrt', 'pow', 'sin', 'erf'])
