/** Functions whose gradient is given, not derived. */
import { ownLines } from '../core/site.ts'
import { broadcastTo, make } from './make.ts'
import { shapeOf } from './node.ts'
import { loose, tensor } from './tensor.ts'
import type { AnyTensor, Tensor } from './types.ts'

type T = Tensor<string>
type Ts = readonly [T, T, T]

/**
 * `f(inputs)`, with the cotangents of the inputs that `vjp` gives from the result's: an entry for each input, in order;
 * one that is absent gets none. Both see dims loosely; `vjp` may use the result and the inputs.
 */
export function withGradient<D extends string>(
  inputs: readonly AnyTensor[], f: (inputs: Ts) => AnyTensor, vjp: (cotangent: T, result: T, inputs: Ts) => readonly AnyTensor[],
): Tensor<D> {
  const given = inputs.map(loose) as unknown as Ts
  const y = f(given)
  return tensor(make('customGradient', [y.node, ...inputs.map(i => i.node)], {
    vjp: (g, result, ins) => ownLines(() => vjp(tensor(g), tensor(result), ins.map(i => tensor<string>(i)) as unknown as Ts))
      .map((d, i) => { const like = ins[i]; return like === undefined ? d.node : broadcastTo(d.node, shapeOf(like)) }),
  }))
}
