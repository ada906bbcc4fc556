/** The problem that optimizers are judged on: the parameters and gradients of test/oracle/optimizers.py, and what was found for them there. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sizeOf, type Dim } from '../../src/core/dim.ts'
import { dims, input, param, type Tensor } from '../../src/engine/index.ts'

export const d = dims({ layers: 2, in: 4, out: 6, wide: 2, three: 3, large: 128, larger: 256, odd: 127 })
const shapes = {
  small: { s: [], b: [d.three], w: [d.in, d.out], k: [d.layers, d.in, d.wide] },
  large: { w: [d.large, d.larger], v: [d.odd, d.larger] },
} as const
export type Size = keyof typeof shapes
export type Named<T> = { readonly [name: string]: T }
export const shapesOf = (size: Size): Named<readonly Dim[]> => shapes[size]

const values = (n: number, shape: readonly Dim[], phase: number, step: number): Float64Array =>
  Float64Array.from({ length: sizeOf(shape) }, (_, i) => Math.cos(phase + 1.7 * n + 2.1 * i + 0.37 * i * i % 17 + 0.8 * step))
const each = <T>(size: Size, f: (shape: readonly Dim[], n: number, name: string) => T): Named<T> =>
  Object.fromEntries(Object.entries<readonly Dim[]>(shapes[size]).map(([name, shape], n) => [name, f(shape, n, name)]))

export const firstValues = (size: Size): Named<Float64Array> => each(size, (shape, n) => values(n, shape, 0.2, 0).map(x => 0.5 * x))
/** Nothing at the fourth step, and never anything for the first number of b. */
export const gradientsAt = (size: Size, step: number): Named<Float64Array> => each(size, (shape, n, name) =>
  values(n, shape, 1.3, step).map((x, i) => (name === 'b' && i === 0 ? 0 : (step === 3 ? 0 : 1 + 0.25 * step) * x)))

/** Matrices decay, as they do in the oracle. */
export const parameters = (size: Size): Named<Tensor<string>> => each(size, (shape, _, name) => param(name, shape, { decays: shape.length > 1 }) as Tensor<string>)
export const gradientInputs = (size: Size): Named<Tensor<string>> => each(size, (shape, _, name) => input(`gradient.${name}`, shape) as Tensor<string>)

interface Step { readonly params: Named<string>; readonly slots: Named<Named<string>> }
interface Judged { readonly judges: Named<string>; readonly optimizers: Named<readonly Step[]>; readonly schedules: Named<readonly (readonly [step: number, rate: number])[]> }
export const judged = JSON.parse(readFileSync(fileURLToPath(new URL('../oracle/optimizers.json', import.meta.url)), 'utf8')) as Judged

/** At most 64 numbers at equal distances, as the file has them. */
export const kept = (x: ArrayLike<number>): number[] => {
  const every = Math.max(1, Math.ceil(x.length / 64))
  return Array.from({ length: Math.ceil(x.length / every) }, (_, i) => Number(x[i * every]))
}
const unpacked = (text: string): number[] => [...new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer)]
/** What a judge has after a step, by the paths of our state: `params.w`, `slots.first.w`. */
export const expectedOf = ({ params, slots }: Step): ReadonlyMap<string, number[]> => new Map([
  ...Object.entries(params).map(([name, x]) => [`params.${name}`, unpacked(x)] as const),
  ...Object.entries(slots).flatMap(([slot, of]) => Object.entries(of).map(([name, x]) => [`slots.${slot}.${name}`, unpacked(x)] as const)),
])

/** ‖a − b‖ / ‖b‖; against zeros, ‖a‖. */
export function distance(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Infinity
  const norm = (x: readonly number[]): number => Math.hypot(...x)
  const size = norm(b)
  const found = norm(a.map((x, i) => x - (b[i] ?? NaN))) / (size > 1e-20 ? size : 1)
  return Number.isNaN(found) ? Infinity : found
}
