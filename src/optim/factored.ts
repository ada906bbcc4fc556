/** Second moments of matrices as two vectors (Adafactor: Shazeer and Stern 2018), and what goes with them. Each stacked parameter counts by itself. */
import type { Dim } from '../core/dim.ts'
import { loose } from '../graph/tensor.ts'
import type { Scalar, Tensor } from '../graph/types.ts'
import { stateless } from './chain.ts'
import type { Stacked } from './clip.ts'
import { transformation, type Transformation } from './optimizer.ts'
import { checkOptions, count, names, notNegative, oneOf, positive, type Check } from './options.ts'
import { apart, at, mapPaths, meanOver, type ByPath, type Parameter } from './parameters.ts'
import { like } from './slots.ts'

export interface FactoredOptions extends Stacked {
  /** Which two dims: the `largest` two, as Mesh-TF and optax do, where both have at least `atLeast`; or always the `last` two, as torch, transformers and Keras do. */
  readonly dims?: 'largest' | 'last'
  /** 128 unless said. Smaller parameters keep a full second moment, which is another optimizer: set 1 to factor all. */
  readonly atLeast?: number
  /** κ of β₂ₜ = 1 − t^−κ; 0.8 unless said. At the first step v is g². */
  readonly exponent?: number
  /** ε₁, added to g²; 1e-30 unless said. (torch has the dtype's epsilon instead, as a bound from below.) */
  readonly epsilon?: number
}
export const factoredChecks: { readonly [K in keyof FactoredOptions]-?: Check } = { dims: oneOf('largest', 'last'), atLeast: count, exponent: positive, epsilon: notNegative, stacked: names }
/** `row` lacks the larger dim (or the last one), `column` the other; what is not factored is in `second`. */
export type FactoredSlots = { readonly row: ByPath; readonly column: ByPath; readonly second: ByPath }

/** The dims that `row` and `column` lack; of equal sizes the later dim counts as the larger. */
export function factoredDims(shape: readonly Dim[], { dims = 'largest', atLeast = 128, stacked = ['layers'] }: FactoredOptions): readonly [string, string] | undefined {
  const own = shape.filter(d => !stacked.includes(d.name))
  const [first, second] = (dims === 'last' ? own : own.map((d, i) => ({ ...d, i })).sort((a, b) => a.size - b.size || a.i - b.i)).slice(-2)
  if (first === undefined || second === undefined || (dims === 'largest' && first.size < atLeast)) return undefined
  return [second.name, first.name]
}

/** 1 − t^−κ without loss of digits: −expm1(−κ log t). */
const keeps = (step: Scalar, exponent: number): Scalar => step.add(1).log().mul(-exponent).expm1().neg()

/**
 * g / √v, v = R · C / mean R of the averages R and C of g² + ε₁ over each of the two dims; of what is not factored, v the average itself.
 * @throws UsageError for options that cannot be
 */
export function scaleByFactoredRms(options: FactoredOptions = {}): Transformation<FactoredSlots> {
  checkOptions('scaleByFactoredRms', options, factoredChecks)
  const { dims = 'largest', atLeast = 128, exponent = 0.8, epsilon = 1e-30, stacked = ['layers'] } = options
  const of = (shape: readonly Dim[]): readonly [string, string] | undefined => factoredDims(shape, options)
  const lacking = (parameters: readonly Parameter[], which: 0 | 1): Parameter[] =>
    parameters.flatMap(({ path, dtype, shape }) => { const lost = of(shape)?.[which]; return lost === undefined ? [] : [{ path, dtype, shape: shape.filter(d => d.name !== lost), decays: false }] })
  return transformation<FactoredSlots>({
    description: { name: 'scaleByFactoredRms', dims, ...(dims === 'largest' ? { atLeast } : {}), exponent, epsilon, stacked },
    declare: parameters => ({ row: like(lacking(parameters, 0)), column: like(lacking(parameters, 1)), second: like(parameters.filter(p => of(p.shape) === undefined)) }),
    apply: (updates, slots, { step, dtype, params }) => {
      const [row, column, second]: [{ [path: string]: Tensor<string> }, { [path: string]: Tensor<string> }, { [path: string]: Tensor<string> }] = [{}, {}, {}]
      const keep = keeps(step, exponent).cast(dtype)
      // (1 − β) as it is, t^−κ, not as what is left of 1.
      const take = step.add(1).log().mul(-exponent).exp().cast(dtype)
      const next = (v: Tensor<string>, x: Tensor<string>): Tensor<string> => loose(v.mul(keep)).add(loose(x.mul(take)))
      const scaled = mapPaths(updates, (g, path) => {
        const squares = g.square().add(epsilon)
        const factored = of(at(params, path).shape)
        if (factored === undefined) {
          const v = second[path] = next(at(slots.second, path), squares)
          return g.mul(v.rsqrt())
        }
        const [larger, smaller] = factored
        const r = row[path] = next(at(slots.row, path), squares.mean(larger))
        const c = column[path] = next(at(slots.column, path), squares.mean(smaller))
        // One root after the other: the product of two small means would underflow.
        return g.mul(loose(r.div(loose(r.mean(smaller)))).rsqrt()).mul(loose(c.rsqrt()))
      })
      return { updates: scaled, slots: { row, column, second } }
    },
  })
}

export interface ParameterScale extends Stacked {
  /** ε₂, the least that a parameter counts as; 1e-3 unless said. */
  readonly floor?: number
}
/** Each update times max(ε₂, rms(p)), so that rates are relative to the size of what they change. @throws UsageError for options that cannot be */
export function scaleByParameterRms(options: ParameterScale = {}): Transformation<Readonly<Record<never, never>>> {
  checkOptions('scaleByParameterRms', options, { floor: notNegative, stacked: names })
  const { floor = 1e-3, stacked = ['layers'] } = options
  return stateless({ name: 'scaleByParameterRms', floor, stacked }, (updates, { params }) =>
    mapPaths(updates, (u, path) => { const p = at(params, path); return u.mul(meanOver(p.square(), apart(p.shape, stacked)).sqrt().maximum(floor)) }))
}
