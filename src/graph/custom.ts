/** Functions whose gradient is given, not derived. */
import { DimError } from '../core/errors.ts'
import { ownLines, userSite } from '../core/site.ts'
import { cotangentsOf, type Cotangent } from './cotangents.ts'
import { make } from './make.ts'
import { isTensor, leavesOf, rebuildTree, tensor } from './tensor.ts'
import type { Tensor, Tree } from './types.ts'

/**
 * `f(inputs)`, with the cotangents of the inputs that `vjp` gives from the result's: a tree like the inputs, a list for a list,
 * `undefined` for those that get none, as integers do. `vjp` may use the result and the inputs. What `f` uses beside its inputs gets none.
 * What is `costly` is not computed again where contractions with weights are not (`remat`): it holds collectives.
 * @throws DimError when `f` returns no tensor; and, once a gradient is asked for, where cotangents have another form, other dims or another dtype
 */
export function withGradient<const I extends Tree, D extends string, const G extends Cotangent<I>>(
  inputs: I, f: (inputs: I) => Tensor<D>, vjp: (cotangent: Tensor<D>, result: Tensor<D>, inputs: I) => G, { costly = false }: { readonly costly?: boolean } = {},
): Tensor<D> {
  const leaves = leavesOf(inputs).map(l => l.leaf.node)
  const y = f(inputs)
  if (!isTensor(y)) throw new DimError({ code: 'not-a-tensor', what: 'withGradient: the function returns no tensor', fix: 'return one tensor', at: userSite() })
  return tensor(make('customGradient', [y.node, ...leaves], {
    vjp: (g, result, given) => {
      const seen = rebuildTree(inputs, given.map(n => tensor(n)))
      return cotangentsOf('withGradient', seen, ownLines(() => vjp(tensor(g), tensor(result), seen)), result.site)
    },
    ...(costly ? { costly } : {}),
  }))
}
