/** Layouts: rules that lay a tensor's dims on mesh axes, and their legality. */
import type { Dim } from './dim.ts'
import { formatShape } from './dim.ts'
import { LayoutError, type Site } from './errors.ts'
import { axisOf, formatMesh, partsOf, type Mesh } from './mesh.ts'
import { didYouMean } from './nearest.ts'

/** Dim → the axis, or the axes with the major one first, that it is split over. */
export type Layout<D extends string = string, A extends string = string> = { readonly [K in D]?: A | readonly A[] | undefined }

/** What a tensor is for decides which rules lay it out. */
export type Role = 'compute' | 'params' | 'state'

export interface Layouts<D extends string = string, A extends string = string> {
  /** Activations, and parameters where they are used. */
  readonly layout: Layout<D, A>
  /** Parameters at rest, on top of `layout`: `{ embed: 'batch' }` is ZeRO-3, also called FSDP. */
  readonly params?: Layout<D, A>
  /** Optimizer slots, on top of `params`: `{ embed: 'batch' }` alone is ZeRO-1. */
  readonly state?: Layout<D, A>
}

/** How one tensor is sharded: dim name → axes. Dims that are not split over any axis are absent. */
export type Sharding = ReadonlyMap<string, readonly string[]>

/** A layout whose dims and axes the compiler checks: `layout(mesh, dims, { batch: 'batch' })`. */
export const layout = <const A extends string, const N extends string>(
  _mesh: Mesh<A>, _dims: { readonly [K in N]: Dim }, rules: { readonly [K in NoInfer<N>]?: NoInfer<A> | readonly NoInfer<A>[] },
): Layout<N, A> => rules

const axesOf = (rule: string | readonly string[] | undefined): readonly string[] =>
  rule === undefined ? [] : typeof rule === 'string' ? [rule] : rule

/** The rules of a role: each kind starts from the one before it. */
export function rulesOf(all: Layouts, role: Role): Layout {
  if (role === 'compute') return all.layout
  const params = { ...all.layout, ...all.params }
  return role === 'params' ? params : { ...params, ...all.state }
}

/**
 * How `rules` split a tensor of this shape. Dims that `derived` holds got their size from an op (a slice, a window): they
 * stay unsplit where their axes do not divide it.
 * @throws LayoutError when two dims of it lie on one axis, or an axis does not divide a size.
 */
export function shardingOf(rules: Layout, mesh: Mesh, shape: readonly Dim[], what: string, at?: Site, derived: (d: Dim) => boolean = () => false): Sharding {
  const sharding = new Map<string, readonly string[]>()
  const takenBy = new Map<string, string>()
  const problem = (code: string, text: string, fix: string): LayoutError => new LayoutError({
    code, what: `${what}: ${text}`, fix, at,
    details: {
      tensor: formatShape(shape), mesh: formatMesh(mesh),
      rules: shape.filter(d => axesOf(rules[d.name]).length > 0).map(d => `${d.name} → ${axesOf(rules[d.name]).join(', ')}`).join(', '),
    },
  })
  for (const d of shape) {
    const axes = axesOf(rules[d.name]).filter(a => axisOf(mesh, a).size > 1)
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
 * Checks a layout against the mesh and every dim name that it may speak of, before anything is compiled.
 * @throws LayoutError for an unknown dim or axis, with the nearest name, or an axis twice in a dim.
 */
export function checkLayout(
  rules: Layout, mesh: Mesh, dimNames: Iterable<string>, { what, owner, at }: { readonly what: string; readonly owner: string; readonly at?: Site | undefined },
): void {
  const known = new Set(dimNames)
  for (const [dim, rule] of Object.entries(rules)) {
    if (!known.has(dim)) {
      throw new LayoutError({ code: 'unknown-dim', what: `${what} names dim "${dim}", which ${owner} does not have`, fix: didYouMean(dim, known), at })
    }
    if (rule !== undefined && typeof rule !== 'string' && !Array.isArray(rule)) {
      throw new LayoutError({ code: 'rule', what: `${what} lays dim "${dim}" on ${String(rule)}`, fix: 'name an axis of the mesh, or a list of axes', at })
    }
    const axes = axesOf(rule)
    for (const a of axes) axisOf(mesh, a, at)
    if (new Set(axes).size !== axes.length) {
      throw new LayoutError({ code: 'axis-twice-in-dim', what: `${what} gives dim "${dim}" an axis twice: ${axes.join(', ')}`, fix: 'name each axis once', at })
    }
  }
}

/** The shape that one device holds. */
export const localShape = (shape: readonly Dim[], sharding: Sharding, mesh: Mesh): Dim[] =>
  shape.map(d => ({ name: d.name, size: d.size / partsOf(mesh, sharding.get(d.name) ?? []) }))

/** Whether two shardings are the same. */
export const sameSharding = (a: Sharding, b: Sharding): boolean =>
  a.size === b.size && [...a].every(([name, axes]) => axes.join() === (b.get(name) ?? []).join())
