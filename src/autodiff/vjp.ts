/** Vector-Jacobian products: a function's value, and the way back from a cotangent of the value to those of the arguments. */
import { isFloat } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { onBehalfOf, userSite } from '../core/site.ts'
import { cotangentsOf, type Cotangent } from '../graph/cotangents.ts'
import { inputNode } from '../graph/input.ts'
import { fullNode, rewrite } from '../graph/make.ts'
import { dtypeOf, reachable, shapeOf, typeOf, type Node } from '../graph/node.ts'
import { leavesOf, rebuildTree, tensor } from '../graph/tensor.ts'
import type { Tree } from '../graph/types.ts'
import { keeper, type Remat } from './policy.ts'
import { pullback } from './pullback.ts'

export interface GradOptions {
  /** What loops compute again in the backward pass; `all-but-contractions` unless said otherwise. */
  readonly remat?: Remat
}

/** The value of a function, and what takes cotangents of the value's leaves, in their order, to a tree of cotangents like the arguments. */
export interface Pulled<A, R> { readonly value: R; readonly pull: (cotangents: readonly (Node | undefined)[]) => A }

/**
 * The function's arguments are variables of their own while it runs, and what it was given takes their place afterwards. So one
 * argument is not another one, though both be the same tensor or one be made of the other; and what the function uses beside them is constant.
 * @throws DimError when an argument is not of a float dtype, or the policy names what is not there
 */
export function pulled<A extends readonly Tree[], R extends Tree>(what: string, f: (...args: A) => R, primals: A, { remat = 'all-but-contractions' }: GradOptions, nameOf: (path: string) => string): Pulled<A, R> {
  const leaves = leavesOf(primals)
  const integer = leaves.find(l => !isFloat(l.leaf.dtype))
  if (integer !== undefined) {
    throw new DimError({ code: 'dtype', what: `${what}: ${nameOf(integer.path)} is ${integer.leaf.dtype}; only floats have gradients`, fix: 'leave it out of the arguments: let the function use it from outside', at: userSite() })
  }
  // What is summed up for an argument bears the line of the argument.
  const variables = leaves.map(({ path, leaf: { node } }) => onBehalfOf(node.site, () => inputNode(path, node.op === 'input' ? node.attrs.role : 'compute', typeOf(node))))
  const result = f(...rebuildTree(primals, variables.map(n => tensor(n))))
  const roots = leavesOf(result).map(l => l.leaf.node)
  const given = new Map<Node, Node>(variables.map((v, i) => [v, leaves[i]?.leaf.node ?? v]))
  const inPlace = (nodes: readonly Node[]): Node[] => rewrite(nodes, reachable(nodes), given)
  const value = rebuildTree(result, inPlace(roots).map(n => tensor(n)))
  const keep = keeper(remat, roots)
  return {
    value,
    pull: cotangents => {
      // What the value does not depend on has cotangent zero.
      const found = pullback(roots, cotangents, variables, keep).map((d, i) => d ?? zeroOf(variables[i]))
      return rebuildTree(primals, inPlace(found).map(n => tensor(n)))
    },
  }
}
const zeroOf = (n: Node | undefined): Node => (n === undefined ? fullNode(0, [], 'f32') : fullNode(0, shapeOf(n), dtypeOf(n)))

/**
 * `vjp(f)(x, …)`: the value f(x, …), and `pull`, which takes a cotangent of the value to those of the arguments, a list of one for each:
 * the cotangent times the Jacobian. Arguments, value and cotangents are trees. In the cotangent of the value `undefined` stands for zero,
 * and for integers. `pull` may be called many times, and anywhere: in another turn of a loop than the value was computed in.
 * @throws DimError when an argument is an integer, or the policy names what is not there; `pull`, where the cotangent has another form than the value, other dims or another dtype
 */
export const vjp = <const A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, options: GradOptions = {}) =>
  (...primals: A): { readonly value: R; readonly pull: (cotangent: Cotangent<R>) => A } => {
    const { value, pull } = pulled('vjp', f, primals, options, path => `argument ${path}`)
    return { value, pull: cotangent => pull(cotangentsOf('vjp', value, cotangent, userSite())) }
  }
