/** Updates as orthogonal matrices: Muon's direction (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"). */
import { formatShape, hiddenName, nameOf, sizeOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { loose } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import type { Stacked } from './clip.ts'
import { byParameterOr } from './description.ts'
import { average, type MomentumSlots } from './moments.ts'
import { transformation, type Transformation } from './optimizer.ts'
import { aFunction, checkOptions, count, kept, names, oneOf, truth, type Check } from './options.ts'
import { at, mapPaths, type Parameter } from './parameters.ts'
import { like } from './slots.ts'

/** The quintic of Keller Jordan's file: a + b + c is not 1, so that small singular values grow fast, and all end at about 0.7 to 1.2. */
const [a, b, c] = [3.4445, -4.775, 2.0315]

/**
 * A matrix with about the same singular vectors and singular values near 1, by Newton and Schulz's iteration: X = G / ‖G‖, then X = aX + (bA + cA²)X with A = XXᵀ. Rows and columns may each be
 * several dims; along all others lie other matrices. In the dtype it is given: f32 where Keller's file takes bf16, which is 7e-3 from exact.
 */
export function orthogonalized(g: Tensor<string>, rows: readonly string[], columns: readonly string[], iterations = 5): Tensor<string> {
  const size = (of: readonly string[]): number => sizeOf(g.shape.filter(d => of.includes(d.name)))
  // The square matrix is that of the shorter side.
  const [short, long] = size(rows) <= size(columns) ? [rows, columns] : [columns, rows]
  const renamed = (x: Tensor<string>, from: (d: string) => string, to: (d: string) => string): Tensor<string> => short.reduce((y, d) => y.rename(from(d), to(d)), x)
  const own = (d: string): string => d
  const once = (d: string): string => hiddenName(d, 'across')
  const twice = (d: string): string => hiddenName(d, 'beyond')
  let x = g.div(loose(g.square().sum(...rows, ...columns).sqrt().add(1e-7)))
  for (let i = 0; i < iterations; i++) {
    const across = renamed(x, own, once)
    const square = loose(x.dot(across, ...long))
    // A is its own transpose: A² is A with A under another name.
    const fourth = renamed(loose(square.dot(renamed(square, own, twice), ...short.map(once))), twice, once)
    x = loose(x.mul(a)).add(loose(loose(square.mul(b)).add(loose(fourth.mul(c))).dot(across, ...short.map(once))))
  }
  return x
}

export interface OrthogonalOptions extends Stacked {
  /** β of m = βm + (1 − β)g; 0.95 unless said. */
  readonly momentum?: number
  /** (1 − β)g + βm in place of m; true unless said. */
  readonly nesterov?: boolean
  /** 5 unless said. (Keras': 6.) */
  readonly iterations?: number
  /** Times √max(1, outputs / inputs), `original`, as Keller's file has it; or 0.2 √max(outputs, inputs), `match-rms-adamw`, so that AdamW's rates fit (Liu et al. 2025). */
  readonly adjust?: 'original' | 'match-rms-adamw'
  /** The dims of a parameter that what it is multiplied with is contracted over; all others, but stacked ones, are its outputs. Of two dims, the first unless said. */
  readonly inputs?: (parameter: Parameter) => readonly DimLike<string>[]
}
export const orthogonalChecks: { readonly [K in keyof OrthogonalOptions]-?: Check } = {
  momentum: kept, nesterov: truth, iterations: count, adjust: oneOf('original', 'match-rms-adamw'), inputs: aFunction, stacked: names,
}

/** Inputs and outputs of a matrix. @throws DimError where it is none, or nobody can say which dims are which */
function sidesOf(p: Parameter, { inputs, stacked = ['layers'] }: OrthogonalOptions): { readonly ins: readonly Dim[]; readonly outs: readonly Dim[] } {
  const own = p.shape.filter(d => !stacked.includes(d.name))
  const wrong = (what: string, fix: string): DimError => new DimError({ code: 'not-a-matrix', what: `muon: parameter "${p.path}" ${what}`, details: { parameter: formatShape(p.shape) }, fix, at: userSite() })
  if (own.length < 2) throw wrong('is no matrix', 'leave it to AdamW: do not choose it in `matrices`')
  if (inputs === undefined && own.length > 2) throw wrong(`has ${own.length} dims, of which some are inputs`, 'say which: { inputs: p => […] }')
  const ins = inputs === undefined ? own.slice(0, 1) : inputs(p).map(d => dimIn(own, nameOf(d), 'muon: inputs', userSite))
  const outs = own.filter(d => !ins.some(i => i.name === d.name))
  if (ins.length === 0 || outs.length === 0) throw wrong(`has ${ins.length === 0 ? 'no inputs' : 'nothing but inputs'}`, 'name some of its dims, not all')
  return { ins, outs }
}

/** The momentum of the gradient, orthogonalized, and scaled by the matrix's form; each stacked matrix by itself. @throws UsageError for options that cannot be; DimError for a parameter that is no matrix */
export function scaleByOrthogonal(options: OrthogonalOptions = {}): Transformation<MomentumSlots> {
  checkOptions('scaleByOrthogonal', options, orthogonalChecks)
  const { momentum = 0.95, nesterov = true, iterations = 5, adjust = 'original', stacked = ['layers'], inputs } = options
  const factor = (ins: number, outs: number): number => (adjust === 'original' ? Math.sqrt(Math.max(1, outs / ins)) : 0.2 * Math.sqrt(Math.max(outs, ins)))
  return transformation<MomentumSlots>({
    description: { name: 'scaleByOrthogonal', momentum, nesterov, iterations, adjust, stacked, ...inputs === undefined ? {} : { inputs: byParameterOr(inputs) } },
    declare: parameters => {
      for (const p of parameters) sidesOf(p, options)
      return { momentum: like(parameters) }
    },
    apply: (updates, slots, { parameters }) => {
      const sides = new Map(parameters.map(p => [p.path, sidesOf(p, options)]))
      const moving = mapPaths(updates, (g, path) => average(momentum, at(slots.momentum, path), g))
      const scaled = mapPaths(updates, (g, path) => {
        const m = at(moving, path)
        const { ins = [], outs = [] } = sides.get(path) ?? {}
        const name = (d: Dim): string => d.name
        return orthogonalized(nesterov ? average(momentum, m, g) : m, ins.map(name), outs.map(name), iterations).mul(factor(sizeOf(ins), sizeOf(outs)))
      })
      return { updates: scaled, slots: { momentum: moving } }
    },
  })
}
