/** Trees of leaves: nested objects and arrays, as parameters and batches come. Leaves are told apart by a predicate. */
import { DimError } from './errors.ts'
import { shown } from './shown.ts'
import { userSite } from './site.ts'

export type TreeOf<T> = T | readonly TreeOf<T>[] | { readonly [key: string]: TreeOf<T> }

export interface TreeOps<T> {
  /** Leaves with their paths (`blocks.q`), object keys in insertion order. */
  flatten(tree: unknown): { readonly path: string; readonly leaf: T }[]
  /** A tree of the same form, each leaf replaced; `f` sees the path too. */
  map<U>(tree: unknown, f: (leaf: T, path: string) => U): unknown
  /** A tree of the same form with these leaves, in `flatten`'s order. */
  rebuild<U>(tree: unknown, leaves: readonly U[]): unknown
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
  const map = <U>(tree: unknown, f: (leaf: T, path: string) => U, path = ''): unknown => {
    if (isLeaf(tree)) return f(tree, path)
    if (Array.isArray(tree)) return tree.map((t, i) => map(t, f, join(path, i)))
    if (typeof tree === 'object' && tree !== null) {
      return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, map(t, f, join(path, k))]))
    }
    throw new DimError({ code: 'not-a-leaf', what: `expected ${describe}${path === '' ? '' : ` at "${path}"`}, found ${shown(tree)}`, fix: 'give such leaves, in objects and arrays', at: userSite() })
  }
  return {
    map: (tree, f) => map(tree, f),
    flatten(tree) {
      const found: { path: string; leaf: T }[] = []
      map(tree, (leaf, path) => { found.push({ path, leaf }) })
      return found
    },
    rebuild(tree, leaves) {
      let i = 0
      return map(tree, () => leaves[i++])
    },
  }
}
