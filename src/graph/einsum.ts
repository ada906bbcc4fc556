/** Einsum over names: contract everything that the result does not name. */
import { nameOf, names, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { broadcastTo, make } from './make.ts'
import { shapeOf, type Node } from './node.ts'
import { dimIn } from './infer/checks.ts'
import { userSite } from './site.ts'
import { tensor } from './tensor.ts'
import type { AnyTensor, DimsOf, Tensor } from './types.ts'

const sumOver = (n: Node, over: readonly string[]): Node => (over.length === 0 ? n : make('reduce', [n], { kind: 'sum', over }))

/** The product of all operands, summed over every dim that `out` lacks; operands are taken from left to right. */
export function einsum<const Ts extends readonly AnyTensor[], O extends DimsOf<Ts[number]>>(operands: Ts, out: readonly DimLike<O>[]): Tensor<O> {
  const [first, ...rest] = operands.map(t => t.node)
  if (first === undefined) throw new DimError({ code: 'no-operands', what: 'einsum has no operands', at: userSite() })
  const kept = out.map(nameOf) as string[]
  let product = first
  for (const [i, next] of rest.entries()) {
    const later = new Set([...kept, ...rest.slice(i + 1).flatMap(n => names(shapeOf(n)))])
    const alone = (n: Node, other: Node): string[] => names(shapeOf(n)).filter(d => !later.has(d) && !names(shapeOf(other)).includes(d))
    const [a, b] = [sumOver(product, alone(product, next)), sumOver(next, alone(next, product))]
    const over = names(shapeOf(a)).filter(d => names(shapeOf(b)).includes(d) && !later.has(d))
    product = make('dot', [a, b], { over })
  }
  product = sumOver(product, names(shapeOf(product)).filter(d => !kept.includes(d)))
  const shape = kept.map(name => dimIn(shapeOf(product), name, 'einsum', userSite()))
  return tensor(broadcastTo(product, shape))
}
