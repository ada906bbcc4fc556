/** What is linear in x, whatever its weight is made of: a tensor, numbers of few bits, or either with a change of low rank beside it. */
import { nameOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { isTensor, loose, tensor } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor, Unsettled } from '../graph/types.ts'
import { lora } from './lora.ts'
import { weightIn, type Weight } from './quantize.ts'

/**
 * A weight with a change of low rank (LoRA; Hu et al. 2021): `down` has the dims that are contracted and one more, the rank, `up` the rank and the weight's other dims. The factor α / r
 * is in `up` already.
 */
export type AdaptedWeight<D extends string> = { readonly base: Weight<D>; readonly down: Tensor<string>; readonly up: Tensor<string>; /** Which of several changes, along `adapter`, are taken: i32. */ readonly of?: Tensor<string> }
/** A weight of a linear layer. */
export type LinearWeight<D extends string> = Weight<D> | AdaptedWeight<D>

const isAdapted = (w: LinearWeight<string>): w is AdaptedWeight<string> => 'base' in w && 'down' in w

/**
 * x · w over dims, in x's dtype. A weight of few bits is one along the last of the dims. @throws DimError as `dot`, and where an adapter has not one dim more than is contracted
 */
export function linear<D extends string, E extends string, R extends (D & E) | Unsettled<D | E>>(x: Tensor<D>, w: LinearWeight<E>, ...over: readonly DimLike<R>[]): Tensor<Minus<D | E, R>> {
  const weight = chosen(w as unknown as LinearWeight<string>)
  const contracted: string[] = over.map(d => nameOf(d))
  const last = contracted.at(-1) ?? ''
  const along: Dim = { name: last, size: dimIn(loose(x).shape, last, 'linear', userSite).size }
  if (!isAdapted(weight)) return tensor(loose(x).dot(loose(weightIn(weight, along, x.dtype)), ...contracted).node)
  const ranks = weight.down.shape.filter(d => !contracted.includes(d.name) && weight.up.shape.some(e => e.name === d.name) && !dimsOf(weight.base).has(d.name) && !loose(x).shape.some(e => e.name === d.name))
  const [rank] = ranks
  if (rank === undefined || ranks.length > 1) throw new DimError({ code: 'adapter', what: `linear: an adapter of dims ${weight.down.shape.map(d => d.name).join(' ')} has no rank`, fix: 'give down the dims that are contracted and one more, which up has too', at: userSite() })
  const base = loose(weightIn(weight.base, along, x.dtype))
  return tensor(lora<string, string, string, string>(loose(x), base, { down: weight.down.cast(x.dtype), up: weight.up.cast(x.dtype) }, { over: contracted, rank }).node)
}

/** The change that is taken where there are several. */
const chosen = (w: LinearWeight<string>): LinearWeight<string> => (isAdapted(w) && w.of !== undefined ? { base: w.base, down: loose(w.down.take('adapter' as never, w.of as never)), up: loose(w.up.take('adapter' as never, w.of as never)) } : w)

const dimsOf = (w: Weight<string>): ReadonlySet<string> => new Set((isTensor(w) ? w as AnyTensor : w.values).shape.map(d => d.name))
