/** Einsum over names: contract everything that the result does not name, in the order that costs least. */
import { nameOf, names, sizeOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { dimIn } from './infer/checks.ts'
import { dotNode, sumNode } from './half-precision.ts'
import { broadcastTo } from './make.ts'
import { shapeOf, type Node } from './node.ts'
import { userSite } from '../core/site.ts'
import { tensor } from './tensor.ts'
import type { AnyTensor, DimsOf, Tensor } from './types.ts'

type Shape = readonly Dim[]
/** How operands are multiplied: one of them, or two products. */
type Tree = number | readonly [Tree, Tree]
interface Product { readonly tree: Tree; readonly shape: Shape; readonly cost: number }

/** With more operands than this, the cheapest pair is multiplied first, again and again, instead of trying every order. */
const exhaustive = 8

const union = (a: Shape, b: Shape): Shape => [...a, ...b.filter(d => !names(a).includes(d.name))]
/** Two products as one; only the dims that something outside needs are left. */
function joined(a: Product, b: Product, needed: ReadonlySet<string>): Product {
  const all = union(a.shape, b.shape)
  return { tree: [a.tree, b.tree], shape: all.filter(d => needed.has(d.name)), cost: a.cost + b.cost + sizeOf(all) }
}
const neededOutside = (inside: readonly number[], shapes: readonly Shape[], kept: readonly string[]): ReadonlySet<string> =>
  new Set([...kept, ...shapes.flatMap((s, i) => (inside.includes(i) ? [] : names(s)))])

/** The order with the fewest multiplications, found by dynamic programming: the best order for a set of operands follows from the best ones for every way to cut it in two. */
function best(shapes: readonly Shape[], kept: readonly string[]): Tree {
  const found: (Product | undefined)[] = []
  const members = (set: number): number[] => shapes.map((_, i) => i).filter(i => (set >> i) % 2 === 1)
  for (let set = 1; set < 2 ** shapes.length; set++) {
    const inside = members(set)
    const needed = neededOutside(inside, shapes, kept)
    const [first] = inside
    if (inside.length === 1 && first !== undefined) {
      found[set] = { tree: first, shape: (shapes[first] ?? []).filter(d => needed.has(d.name)), cost: 0 }
      continue
    }
    for (let part = (set - 1) & set; part > 0; part = (part - 1) & set) {
      const [a, b] = [found[part], found[set ^ part]]
      // Every way to cut the set in two is tried once.
      if (part < (set ^ part) || a === undefined || b === undefined) continue
      const product = joined(b, a, needed)
      if (product.cost < (found[set]?.cost ?? Infinity)) found[set] = product
    }
  }
  return found.at(-1)?.tree ?? 0
}

/** The pair whose product costs least, until one is left. */
function greedy(shapes: readonly Shape[], kept: readonly string[]): Tree {
  let left = shapes.map((shape, i) => ({ product: { tree: i, shape, cost: 0 } as Product, inside: [i] }))
  while (left.length > 1) {
    const pairs = left.flatMap((a, i) => left.slice(i + 1).map(b => {
      const inside = [...a.inside, ...b.inside]
      const own = { ...a.product, cost: 0 }
      return { a, b, inside, product: joined(own, { ...b.product, cost: 0 }, neededOutside(inside, shapes, kept)) }
    }))
    const cheapest = pairs.reduce((x, y) => (y.product.cost < x.product.cost ? y : x))
    left = [...left.filter(l => l !== cheapest.a && l !== cheapest.b), cheapest]
  }
  return left[0]?.product.tree ?? 0
}

const sumOver = (n: Node, over: readonly string[]): Node => (over.length === 0 ? n : sumNode(n, over))
const leaves = (tree: Tree): number[] => (typeof tree === 'number' ? [tree] : tree.flatMap(leaves))

/**
 * The product of all operands, summed over every dim that `out` lacks. Of many operands the cheapest are multiplied first.
 * @throws DimError when no operand has a dim of `out`, or sizes differ
 */
export function einsum<const Ts extends readonly AnyTensor[], O extends DimsOf<Ts[number]>>(operands: Ts, out: readonly DimLike<O>[]): Tensor<O> {
  const nodes = operands.map(t => t.node)
  if (nodes.length === 0) throw new DimError({ code: 'no-operands', what: 'einsum has no operands', fix: 'give at least one', at: userSite() })
  const kept = out.map(nameOf) as string[]
  const shapes = nodes.map(shapeOf)
  const tree = nodes.length <= exhaustive ? best(shapes, kept) : greedy(shapes, kept)
  const product = (t: Tree): Node => {
    const needed = neededOutside(leaves(t), shapes, kept)
    const own = (n: Node, other: Node): string[] => names(shapeOf(n)).filter(d => !needed.has(d) && !names(shapeOf(other)).includes(d))
    if (typeof t === 'number') return nodes[t] ?? tensorless()
    const [l, r] = [product(t[0]), product(t[1])]
    const [a, b] = [sumOver(l, own(l, r)), sumOver(r, own(r, l))]
    return dotNode(a, b, names(shapeOf(a)).filter(d => names(shapeOf(b)).includes(d) && !needed.has(d)))
  }
  const all = product(tree)
  const summed = sumOver(all, names(shapeOf(all)).filter(d => !kept.includes(d)))
  const shape = kept.map(name => dimIn(shapeOf(summed), name, 'einsum', userSite))
  return tensor(broadcastTo(summed, shape))
}
const tensorless = (): never => { throw new Error('an operand is missing') }
