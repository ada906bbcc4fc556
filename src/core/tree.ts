/** Trees of leaves: nested objects and arrays, as parameters and batches come. Leaves are told apart by a predicate. */
import { DimError } from './errors.ts'
import { shown } from './shown.ts'
import { userSite } from './site.ts'

export type TreeOf<T> = T | readonly TreeOf<T>[] | { readonly [key: string]: TreeOf<T> }

/** What trees of one form have in common, keys and lengths: it reads and makes such trees again and again, without paths. */
export type TreeForm = { readonly keys?: readonly string[]; readonly under: readonly TreeForm[] } | undefined

export interface TreeOps<T> {
  /** Leaves with their paths (`blocks.q`), object keys in insertion order. */
  flatten(tree: unknown): { readonly path: string; readonly leaf: T }[]
  /** A tree of the same form, each leaf replaced; `f` sees the path too. */
  map<U>(tree: unknown, f: (leaf: T, path: string) => U): unknown
  /** A tree of the same form with these leaves, in `flatten`'s order. */
  rebuild<U>(tree: unknown, leaves: readonly U[]): unknown
  /** @throws DimError as the others, for what is neither a leaf nor holds such. */
  formOf(tree: unknown): TreeForm
  /** The leaves in the form's order, whatever order the keys have; undefined where the tree is of another form. */
  read(form: TreeForm, tree: unknown): T[] | undefined
}

/** A tree of the form with these leaves. */
export const build = <U>(form: TreeForm, leaves: readonly U[]): unknown => buildFrom(form, { leaves, next: 0 })

/** Objects with the keys of a form and nothing in them. A copy of one has its place for each key, which is faster than to add one key after another: each step builds the tree of its results. */
const empty = new WeakMap<object, { readonly [key: string]: unknown }>()
function emptyOf(form: NonNullable<TreeForm>, keys: readonly string[]): { readonly [key: string]: unknown } {
  const known = empty.get(form)
  if (known !== undefined) return known
  // `fromEntries` defines keys, also the one that would be the object's prototype if it were assigned.
  const made = Object.fromEntries(keys.map(key => [key, undefined]))
  empty.set(form, made)
  return made
}

function buildFrom(form: TreeForm, from: { readonly leaves: readonly unknown[]; next: number }): unknown {
  if (form === undefined) return from.leaves[from.next++]
  const { keys, under } = form
  if (keys === undefined) return under.map(f => buildFrom(f, from))
  const made: Record<string, unknown> = { ...emptyOf(form, keys) }
  for (let i = 0; i < keys.length; i++) made[keys[i] as string] = buildFrom(under[i], from)
  return made
}

/**
 * Leaves in the order of `paths`, which they may have in any: keys of an object have no order that means anything. Undefined where the
 * paths are not the same ones. Leaves of one path (a key may hold a ".") keep their order.
 */
export function inOrderOf<L extends { readonly path: string }>(leaves: readonly L[], paths: readonly string[]): readonly L[] | undefined {
  if (leaves.length !== paths.length) return undefined
  if (leaves.every((leaf, i) => leaf.path === paths[i])) return leaves
  const left = new Map<string, L[]>()
  for (const leaf of leaves) {
    const known = left.get(leaf.path)
    if (known === undefined) left.set(leaf.path, [leaf])
    else known.push(leaf)
  }
  const found = paths.map(path => left.get(path)?.shift())
  return found.every(leaf => leaf !== undefined) ? found : undefined
}

const join = (path: string, key: string | number): string => (path === '' ? `${key}` : `${path}.${key}`)

export function treeOps<T>(isLeaf: (x: unknown) => x is T, describe: string): TreeOps<T> {
  const notALeaf = (found: unknown, path: string): DimError =>
    new DimError({ code: 'not-a-leaf', what: `expected ${describe}${path === '' ? '' : ` at "${path}"`}, found ${shown(found)}`, fix: 'give such leaves, in objects and arrays', at: userSite() })
  const map = <U>(tree: unknown, f: (leaf: T, path: string) => U, path = ''): unknown => {
    if (isLeaf(tree)) return f(tree, path)
    if (Array.isArray(tree)) return tree.map((t, i) => map(t, f, join(path, i)))
    if (typeof tree === 'object' && tree !== null) {
      return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, map(t, f, join(path, k))]))
    }
    throw notALeaf(tree, path)
  }
  const formOf = (tree: unknown, path = ''): TreeForm => {
    if (isLeaf(tree)) return undefined
    if (Array.isArray(tree)) return { under: tree.map((t, i) => formOf(t, join(path, i))) }
    if (typeof tree !== 'object' || tree === null) throw notALeaf(tree, path)
    const entries = Object.entries(tree)
    return { keys: entries.map(([k]) => k), under: entries.map(([k, t]) => formOf(t, join(path, k))) }
  }
  const reads = (form: TreeForm, tree: unknown, found: T[]): boolean => {
    if (isLeaf(tree)) return form === undefined && found.push(tree) > 0
    if (form === undefined || typeof tree !== 'object' || tree === null) return false
    const { keys, under } = form
    if (Array.isArray(tree)) return keys === undefined && tree.length === under.length && under.every((f, i) => reads(f, tree[i], found))
    const own = Object.keys(tree)
    if (keys === undefined || own.length !== keys.length) return false
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i] as string
      // Mostly they are in the form's order.
      if ((own[i] !== key && !Object.hasOwn(tree, key)) || !reads(under[i], (tree as Record<string, unknown>)[key], found)) return false
    }
    return true
  }
  return {
    map: (tree, f) => map(tree, f),
    formOf: tree => formOf(tree),
    read(form, tree) {
      const found: T[] = []
      return reads(form, tree, found) ? found : undefined
    },
    flatten(tree) {
      const found: { path: string; leaf: T }[] = []
      map(tree, (leaf, path) => { found.push({ path, leaf }) })
      return found
    },
    rebuild: (tree, leaves) => build(formOf(tree), leaves),
  }
}
