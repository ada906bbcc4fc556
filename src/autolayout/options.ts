/** What one axis of a mesh does: the dims that it splits, in computation, at rest, and in the layouts that a model names. A layout is one such choice for each axis. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, type DType } from '../core/dtype.ts'
import type { Layout, Layouts } from '../core/layout.ts'
import { conflictsOf, maximalSets } from './roles.ts'
import type { Tensors } from './legal.ts'

type Dims = readonly string[]
export interface Option {
  readonly compute: Dims
  /** Beside these, of parameters and slots at rest; and of slots alone. */
  readonly params: Dims
  readonly state: Dims
  /** And of microbatches' gradients while they are summed. */
  readonly gradients: Dims
  /** By the name of a layout. */
  readonly named: { readonly [layout: string]: Dims }
}
export const idle: Option = { compute: [], params: [], state: [], gradients: [], named: {} }
export const optionKey = ({ compute, params, state, gradients, named }: Option): string => `${compute.join()} / ${params.join()} / ${state.join()} / ${gradients.join()} / ${Object.entries(named).map(([n, d]) => `${n} ${d.join()}`).join('; ')}`

export interface Weight { readonly shape: readonly Dim[]; readonly dtype: DType }
export interface OptionsGiven {
  readonly tensors: Tensors
  /** Dims that rules may name, with their sizes. */
  readonly dims: readonly Dim[]
  /** The layouts that the model names. */
  readonly names: readonly string[]
  readonly weights: readonly Weight[]
  /** Dims that loops walk over: to split them gathers all of what is walked over. */
  readonly walked: ReadonlySet<string>
  /** Dims that products have. */
  readonly multiplied: ReadonlySet<string>
}

/** Ways for weights to rest in parts that are worth a try: those that split most bytes. */
const mostRests = 2

/** Whether a program sums gradients of microbatches. */
export const sumsGradients = ({ asked }: Tensors): boolean => asked.some(a => a.layout === 'gradients')

/** Everything that an axis of this size may do. */
export function optionsFor(size: number, { tensors, dims, names, weights, walked, multiplied }: OptionsGiven): Option[] {
  // Each turn of a loop needs its part of what it walks over on every device.
  const divisible = dims.filter(d => d.size % size === 0 && !walked.has(d.name)).map(d => d.name)
  const conflicts = conflictsOf(tensors.asked, divisible, ['compute'])
  const atRest = conflictsOf(tensors.asked, divisible, ['params', 'state'])
  const inWeights = divisible.filter(d => weights.some(w => w.shape.some(e => e.name === d)))
  const bytesOf = (w: Weight): number => sizeOf(w.shape) * dtypes[w.dtype].bytes
  const covered = (set: Dims): number => weights.filter(w => w.shape.some(d => set.includes(d.name))).reduce((n, w) => n + bytesOf(w), 0)
  const rests = maximalSets(inWeights, atRest).map(set => ({ set, bytes: covered(set) })).sort((a, b) => b.bytes - a.bytes || (a.set.join() < b.set.join() ? -1 : 1))
  const sums = sumsGradients(tensors)
  const found: Option[] = []
  // What stacks weights and is in no product, as a pipeline's layers are, shortens nothing: it joins a set or not.
  const working = divisible.filter(d => multiplied.has(d))
  const sets = [...maximalSets(divisible, conflicts), ...(working.length < divisible.length ? maximalSets(working, conflicts) : [])]
  for (const compute of [[], ...new Map(sets.map(set => [set.join(), set])).values()]) {
    const whole = weights.filter(w => !w.shape.some(d => compute.includes(d.name))).reduce((n, w) => n + bytesOf(w), 0)
    const fits = (set: Dims): boolean => set.every(d => !compute.includes(d) && compute.every(e => atRest.get(d)?.has(e) !== true))
    // What computation splits anyway need not be split at rest.
    const useful = whole === 0 ? [] : rests.filter(r => fits(r.set) && r.bytes > whole / 2).slice(0, mostRests).map(r => r.set)
    const bases: Option[] = compute.length === 0 ? useful.map(params => ({ ...idle, params })) : [{ ...idle, compute }, ...useful.map(params => ({ ...idle, compute, params })), ...useful.slice(0, 1).flatMap(state => [{ ...idle, compute, state }, ...(sums ? [{ ...idle, compute, state, gradients: state }] : [])])]
    for (const base of bases) {
      found.push(base)
      if (base.params.length + base.state.length === 0) for (const name of names) for (const dim of placesFor(name, base, tensors, divisible)) found.push({ ...base, named: { [name]: [dim] } })
    }
  }
  return found
}

/** Dims that a named layout may split in place of what computation splits there, which is nothing of its tensors. */
function placesFor(name: string, { compute }: Option, tensors: Tensors, divisible: Dims): string[] {
  const shapes = tensors.asked.filter(a => a.layout === name)
  if (shapes.length === 0 || shapes.some(a => a.shape.some(d => compute.includes(d.name)))) return []
  const inAll = divisible.filter(d => shapes.every(a => a.shape.some(e => e.name === d)))
  return inAll.filter(d => !compute.includes(d))
}

/** The layouts that these choices make, the first axis the major one where several split a dim. */
export function layoutsFor(options: readonly { readonly axis: string; readonly option: Option }[], uses: Layouts['uses']): Layouts {
  const rules = (of: (o: Option) => Dims): Map<string, string[]> => {
    const found = new Map<string, string[]>()
    for (const { axis, option } of options) for (const d of of(option)) found.set(d, [...found.get(d) ?? [], axis])
    return found
  }
  const plain = (all: ReadonlyMap<string, readonly string[]>): Layout => Object.fromEntries([...all].map(([d, axes]) => [d, axes.length === 1 ? axes[0] ?? '' : axes]))
  const compute = rules(o => o.compute)
  // A rule on top of another takes its place: what computation splits is split at rest as well, first.
  const onTop = (below: ReadonlyMap<string, readonly string[]>, more: ReadonlyMap<string, readonly string[]>): Map<string, readonly string[]> => new Map([...more].map(([d, axes]) => [d, [...below.get(d) ?? [], ...axes]]))
  const params = onTop(compute, rules(o => o.params))
  const state = onTop(new Map([...compute, ...params]), rules(o => o.state))
  const gradients = onTop(new Map([...compute, ...params]), rules(o => o.gradients))
  const names = [...new Set(options.flatMap(({ option }) => Object.keys(option.named)))]
  return {
    layout: plain(compute), ...(params.size === 0 ? {} : { params: plain(params) }), ...(state.size === 0 ? {} : { state: plain(state) }), ...(gradients.size === 0 ? {} : { gradients: plain(gradients) }),
    ...(names.length === 0 ? {} : { layouts: Object.fromEntries(names.map(name => [name, plain(onTop(compute, rules(o => o.named[name] ?? [])))])) }), ...(uses === undefined ? {} : { uses }),
  }
}
