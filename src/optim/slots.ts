/** What optimizers remember: declared once, as trees of specifications, of which both a program's inputs and the first values are made. */
import { formatShape, type Dim } from '../core/dim.ts'
import { isFloat, type DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { treeOps } from '../core/tree.ts'
import { leavesOf, loose } from '../graph/tensor.ts'
import type { AnyTensor, Tensor, Tree } from '../graph/types.ts'
import type { ByPath, Parameter } from './parameters.ts'

/** One slot. Its dims say how it lies: by the rules of the layout `state`. */
export interface SlotSpec {
  readonly shape: readonly Dim[]
  readonly dtype: DType
  /** A number everywhere, or the first value of the parameter at a path. */
  readonly init: number | { readonly param: string }
}
/** What one transformation remembers, by name: a tensor for each of its parameters, one in all, or what those inside it remember. */
export type SlotSet = { readonly [name: string]: Tensor<string> | SlotSet }
/** The same before there are tensors. */
export type Specs<S> = S extends AnyTensor ? SlotSpec : { readonly [K in keyof S]: Specs<S[K]> }
/** As programs, states and checkpoints hold it: where there were paths, trees like the parameters', without those that have no slot. */
export type Held<S> = { readonly [K in keyof S]: Tree }

/** A slot like each parameter. */
export const like = (parameters: readonly Parameter[], init = 0): Specs<ByPath> => Object.fromEntries(parameters.map(({ path, shape, dtype }) => [path, { shape, dtype, init }]))

const isSpec = (x: unknown): x is SlotSpec => typeof x === 'object' && x !== null && 'init' in x && 'shape' in x && Array.isArray(x.shape)
const specs = treeOps(isSpec, 'a slot')
const pathOf = (path: string): string => path.replace(/\.$/, '')

/** The slots with their paths as leaves of a state: `first.blocks.query`. */
export const flatSpecs = (tree: unknown): { readonly path: string; readonly leaf: SlotSpec }[] => specs.flatten(tree).map(({ path, leaf }) => ({ path: pathOf(path), leaf }))
export const mapSpecs = (tree: unknown, f: (spec: SlotSpec) => SlotSpec): unknown => specs.map(tree, f)
/** A record like the specifications, of tensors in their order. */
export const flatSlots = <S>(tree: Specs<S>, leaves: Iterable<AnyTensor>): S => specs.rebuild(tree, [...leaves].map(loose)) as S

/** Objects where paths were: those of a parameter at the root stand for themselves. */
function nested(x: unknown): unknown {
  if (typeof x !== 'object' || x === null || 'node' in x) return x
  const entries = Object.entries(x)
  const [first] = entries
  if (entries.length === 1 && first?.[0] === '') return nested(first[1])
  const tree = new Map<string, unknown>()
  for (const [path, value] of entries) {
    const keys = path.split('.')
    let level = tree
    for (const key of keys.slice(0, -1)) {
      const inner = level.get(key)
      const next: Map<string, unknown> = inner instanceof Map ? inner as Map<string, unknown> : new Map<string, unknown>()
      level.set(key, next)
      level = next
    }
    level.set(keys.at(-1) ?? '', nested(value))
  }
  const plain = (m: Map<string, unknown>): unknown => Object.fromEntries([...m].map(([k, v]) => [k, v instanceof Map ? plain(v as Map<string, unknown>) : v]))
  return plain(tree)
}
/** A state's tree like the specifications, each leaf made of one. */
export const heldSlots = <S>(tree: Specs<S>, f: (spec: SlotSpec, path: string) => AnyTensor): Held<S> => nested(specs.map(tree, (spec, path) => f(spec, pathOf(path)))) as Held<S>

/** The leaves of a tree by their paths in a state. */
const byPath = (tree: Tree): Map<string, Tensor<string>> => new Map(leavesOf(tree).map(l => [pathOf(l.path), loose(l.leaf)]))

/** The leaves of a state's tree, or of what a rule returns, by path and in the order of the specifications. @throws DimError where it holds others, or of other dims */
export function leavesIn(what: string, tree: unknown, held: Tree): ReadonlyMap<string, Tensor<string>> {
  const found = byPath(held)
  const wanted = flatSpecs(tree)
  const absent = wanted.find(({ path }) => !found.has(path))?.path
  const extra = [...found.keys()].find(path => !wanted.some(w => w.path === path))
  if (absent !== undefined || extra !== undefined) {
    throw new DimError({
      code: 'other-slots', what: `${what}: the slots are not those of this optimizer for these parameters`, at: userSite(),
      details: { ...absent === undefined ? {} : { lacks: absent }, ...extra === undefined ? {} : { 'has too many': extra } }, fix: 'give what its slots(params) made, or its last update returned',
    })
  }
  return new Map(wanted.map(({ path, leaf: { shape } }) => {
    const slot = found.get(path) as Tensor<string>
    sameDims(`${what}: slot "${path}"`, slot, shape)
    return [path, slot]
  }))
}

/** @throws DimError where a tensor has other dims than it should */
export function sameDims(what: string, x: AnyTensor, shape: readonly Dim[]): void {
  if (x.shape.length === shape.length && shape.every(d => x.shape.some(e => e.name === d.name && e.size === d.size))) return
  throw new DimError({ code: 'unexpected-dims', what: `${what} has other dims than expected`, details: { expected: formatShape(shape), found: formatShape(x.shape) }, fix: 'give one of these dims', at: userSite() })
}

/** The specifications with all floats in another dtype. */
export const inDType = <S>(tree: Specs<S>, dtype: DType): Specs<S> => mapSpecs(tree, spec => (isFloat(spec.dtype) ? { ...spec, dtype } : spec)) as Specs<S>
