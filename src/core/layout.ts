/** Layouts: rules that lay a tensor's dims on mesh axes, and their legality. */
import type { Dim } from './dim.ts'
import { formatShape } from './dim.ts'
import { LayoutError, type Site } from './errors.ts'
import { shown } from './shown.ts'
import { axisOf, formatMesh, partsOf, type Mesh } from './mesh.ts'
import { didYouMean } from './nearest.ts'

/** Dim → the axis, or the axes with the major one first, that it is split over. */
export type Layout<D extends string = string, A extends string = string> = { readonly [K in D]?: A | readonly A[] | undefined }

/** The layouts that every program has: of activations, of parameters at rest, of optimizer slots, of gradients while those of microbatches are summed. A model may name others. */
export type Role = 'compute' | 'params' | 'state' | 'gradients'

/** Rules on top of those of another layout, which `from` names; `undefined` takes a rule back. */
export type LayoutFrom<D extends string = string, A extends string = string, N extends string = string> = Layout<D, A> & { readonly from?: Role | N }

/** The layouts that a model names, and what each starts from unless a recipe says otherwise: `{ residual: 'compute' }`. */
export type LayoutNames<N extends string = string> = { readonly [K in N]: string }

/** What a program's tensors lie by; N are the names that its model uses. */
export interface Layouts<D extends string = string, A extends string = string, N extends string = string> {
  /** The layout `compute`: activations, and parameters where they are used. */
  readonly layout: Layout<D, A>
  /** Parameters at rest, on top of `layout`: `{ embed: 'batch' }` is ZeRO-3, also called FSDP. */
  readonly params?: LayoutFrom<D, A, NoInfer<N>>
  /** Optimizer slots, on top of `params`: `{ embed: 'batch' }` alone is ZeRO-1. */
  readonly state?: LayoutFrom<D, A, NoInfer<N>>
  /** Sums of microbatches' gradients, on top of `params`: `{ from: 'state' }` is ZeRO-2, each microbatch's gradients reduce-scattered. */
  readonly gradients?: LayoutFrom<D, A, NoInfer<N>>
  /** The layouts that the model names: `{ residual: { from: 'compute', seq: 'model' } }`. */
  readonly layouts?: { readonly [K in NoInfer<N>]?: LayoutFrom<D, A, NoInfer<N>> }
  /** The names that the model uses, besides those that this program does: another program of the same model has them. */
  readonly uses?: LayoutNames<N>
}

/** How one tensor is sharded: dim name → axes. Dims that are not split over any axis are absent. */
export type Sharding = ReadonlyMap<string, readonly string[]>

/** A layout whose dims and axes the compiler checks: `layout(mesh, dims, { batch: 'batch' })`. */
export const layout = <const A extends string, const N extends string>(
  _mesh: Mesh<A>, _dims: { readonly [K in N]: Dim }, rules: { readonly [K in NoInfer<N>]?: NoInfer<A> | readonly NoInfer<A>[] },
): Layout<N, A> => rules

/** In errors, which layout they are about: none is said where it is `compute`. */
const layoutDetail = (name: string): { readonly layout?: string } => (name === 'compute' ? {} : { layout: name })

/** The rule of a dim; a dim may have the name of something that every object has. */
const ruleOf = (rules: Layout, dim: string): Layout[string] => (Object.hasOwn(rules, dim) ? rules[dim] : undefined)
const axesOf = (rule: string | readonly string[] | undefined): readonly string[] =>
  rule === undefined ? [] : typeof rule === 'string' ? [rule] : rule

/** The rules, but for those of other dims that have an axis of this one. */
export function leavingTo(first: string, rules: Layout): Layout {
  const own = axesOf(ruleOf(rules, first))
  return Object.fromEntries(Object.entries(rules).filter(([name, rule]) => name === first || !axesOf(rule).some(a => own.includes(a))))
}

/**
 * How `rules` split a tensor of this shape. Dims that `derived` holds got their size from an op (a slice, a window): they
 * stay unsplit where their axes do not divide it. `layout` names the rules in errors, where they are not those of `compute`.
 * @throws LayoutError when two dims of it lie on one axis, or an axis does not divide a size.
 */
export function shardingOf(rules: Layout, mesh: Mesh, shape: readonly Dim[], what: string, at?: Site, derived: (d: Dim) => boolean = () => false, layout = 'compute'): Sharding {
  const sharding = new Map<string, readonly string[]>()
  const takenBy = new Map<string, string>()
  const problem = (code: string, text: string, fix: string): LayoutError => new LayoutError({
    code, what: `${what}: ${text}`, fix, at,
    details: {
      tensor: formatShape(shape), mesh: formatMesh(mesh), ...layoutDetail(layout),
      rules: shape.filter(d => axesOf(ruleOf(rules, d.name)).length > 0).map(d => `${d.name} → ${axesOf(ruleOf(rules, d.name)).join(', ')}`).join(', '),
    },
  })
  for (const d of shape) {
    const axes = axesOf(ruleOf(rules, d.name)).filter(a => axisOf(mesh, a).size > 1)
    if (d.size % partsOf(mesh, axes) !== 0 && derived(d)) continue
    for (const a of axes) {
      const other = takenBy.get(a)
      if (other !== undefined) {
        throw problem('axis-used-twice', `two dims lie on mesh axis "${a}"`, `drop the rule of "${other}" or of "${d.name}", or rename one of them before this op`)
      }
      takenBy.set(a, d.name)
    }
    const parts = partsOf(mesh, axes)
    if (d.size % parts !== 0) {
      throw problem('does-not-divide', `dim "${d.name}" of size ${d.size} cannot be cut into ${parts} equal parts`,
        `make "${d.name}" a multiple of ${parts}, or use a smaller axis`)
    }
    if (axes.length > 0) sharding.set(d.name, axes)
  }
  return sharding
}

/**
 * Checks rules against the mesh and every dim name that they may speak of, before anything is compiled. `layout` is the name
 * that they have, where it is not `compute`.
 * @throws LayoutError for an unknown dim or axis, with the nearest name, or an axis twice in a dim.
 */
export function checkLayout(
  rules: Layout, mesh: Mesh, dimNames: Iterable<string>,
  { what, owner, layout = 'compute', at }: { readonly what: string; readonly owner: string; readonly layout?: string; readonly at?: Site | undefined },
): void {
  const known = new Set(dimNames)
  const details = layoutDetail(layout)
  for (const [dim, rule] of Object.entries(rules)) {
    if (!known.has(dim)) {
      throw new LayoutError({ code: 'unknown-dim', what: `${what} names dim "${dim}", which ${owner} does not have`, details, fix: didYouMean(dim, known), at })
    }
    if (rule !== undefined && typeof rule !== 'string' && !Array.isArray(rule)) {
      throw new LayoutError({ code: 'rule', what: `${what} lays dim "${dim}" on ${shown(rule)}`, details, fix: 'name an axis of the mesh, or a list of axes', at })
    }
    const axes = axesOf(rule)
    for (const a of axes) axisOf(mesh, a, at, layout === 'compute' ? {} : { ...details, rule: `${dim} → ${axes.join(', ')}` })
    if (new Set(axes).size !== axes.length) {
      throw new LayoutError({ code: 'axis-twice-in-dim', what: `${what} gives dim "${dim}" an axis twice: ${axes.join(', ')}`, details, fix: 'name each axis once', at })
    }
  }
}

/** The shape that one device holds. */
export const localShape = (shape: readonly Dim[], sharding: Sharding, mesh: Mesh): Dim[] =>
  shape.map(d => ({ name: d.name, size: d.size / partsOf(mesh, sharding.get(d.name) ?? []) }))

/** Whether two shardings are the same. */
export function sameSharding(a: Sharding, b: Sharding): boolean {
  if (a === b) return true
  if (a.size !== b.size) return false
  for (const [name, axes] of a) if (!sameAxes(axes, b.get(name) ?? [])) return false
  return true
}
/** Whether two dims lie on the same axes, in the same order. */
export const sameAxes = (a: readonly string[], b: readonly string[]): boolean => a === b || (a.length === b.length && a.every((x, i) => x === b[i]))
