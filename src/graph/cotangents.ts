/** What is given as the cotangent of a tree of tensors: a tree of the same form, with nothing where none flows. */
import { formatShape } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { DimError, type Site } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { broadcastTo } from './make.ts'
import { dtypeOf, shapeOf, type Node } from './node.ts'
import { isTensor, leavesOf } from './tensor.ts'
import type { AnyTensor, Tensor, Tree } from './types.ts'

/** A tree of the same form, each leaf a tensor of the same dims and dtype; `undefined` for a leaf, or for a part of the tree, where no cotangent flows. */
export type Cotangent<T> = Tree extends T ? SomeCotangent : undefined | (T extends Tensor<infer D> ? Tensor<D> : T extends AnyTensor ? T : { readonly [K in keyof T]: Cotangent<T[K]> })
type SomeCotangent = undefined | AnyTensor | { readonly [k: string]: SomeCotangent } | readonly SomeCotangent[]

const textOf = (x: unknown): string => (isTensor(x) ? `${x.dtype} ${formatShape(x.shape)}` : shown(x))

/**
 * The cotangents of a tree's leaves, in their order, dims in the leaves' order.
 * @throws DimError for another form, other dims or another dtype, and where an integer is given one
 */
export function cotangentsOf(what: string, like: Tree, given: unknown, at: Site | undefined): (Node | undefined)[] {
  const wrong = (path: string, how: string, expected: string, found: string, fix: string): DimError => new DimError({
    code: 'cotangent', what: `${what}: the cotangent ${path === '' ? '' : `of "${path}" `}${how}`, details: { expected, found }, fix, at,
  })
  const leaf = (path: string, { node }: AnyTensor, g: unknown): Node => {
    const expected = `${dtypeOf(node)} ${formatShape(shapeOf(node))}`
    if (!isTensor(g)) throw wrong(path, 'is no tensor', expected, textOf(g), 'give a tensor, or undefined for none')
    if (!isFloat(dtypeOf(node))) throw wrong(path, `is given, and only floats have cotangents`, 'undefined', textOf(g), 'give undefined')
    const same = g.shape.length === shapeOf(node).length && shapeOf(node).every(d => g.shape.some(e => e.name === d.name && e.size === d.size))
    if (!same) throw wrong(path, 'has other dims', expected, textOf(g), 'sum over the dims that are too many, broadcast to those that are missing')
    if (g.dtype !== dtypeOf(node)) throw wrong(path, 'has another dtype', expected, textOf(g), `cast it to ${dtypeOf(node)}`)
    return broadcastTo(g.node, shapeOf(node))
  }
  const walk = (path: string, tree: Tree, g: unknown): (Node | undefined)[] => {
    if (g === undefined) return leavesOf(tree).map(() => undefined)
    if (isTensor(tree)) return [leaf(path, tree, g)]
    const form = 'give a tree of the same form; undefined stands for parts without'
    if (typeof g !== 'object' || g === null || isTensor(g) || Array.isArray(g) !== Array.isArray(tree)) throw wrong(path, 'has another form', textOf(tree), textOf(g), form)
    const [keys, found] = [Object.keys(tree), Object.keys(g)]
    if (keys.length !== found.length || keys.some(k => !Object.hasOwn(g, k))) throw wrong(path, 'has another form', textOf(tree), textOf(g), form)
    const parts = new Map<string, unknown>(Object.entries(g))
    return Object.entries<Tree>(tree).flatMap(([key, part]) => walk(path === '' ? key : `${path}.${key}`, part, parts.get(key)))
  }
  return walk('', like, given)
}
