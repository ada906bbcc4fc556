/** The functions models are made of, composed of ops. They know no device, no mesh and no layout. */
import { nameOf, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/halves.ts'
import { broadcastTo } from '../graph/make.ts'
import { expectDims, full, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { Minus, Tensor } from '../graph/types.ts'

/** Halves are widened, and the result is narrowed once. */
const wide = <D extends string, E extends string>(x: Tensor<D>, f: (x: Tensor<D>) => Tensor<E>): Tensor<E> => f(x.cast(sumsIn(x.dtype))).cast(x.dtype)

/** exp(x) / Σ exp(x) over one dim. Its gradient is p ⊙ (g − Σ g ⊙ p), whatever the shift by the maximum. */
export function softmax<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  const dim: string = nameOf(over)
  return wide(x, x => withGradient([x], ([x]) => {
    const e = x.sub(x.max(dim).stopGradient()).exp()
    return e.div(e.sum(dim))
  }, (g, p) => [p.mul(g.sub(g.mul(p).sum(dim)))]))
}

/** x − log Σ exp(x) over one dim. Gradient: g − p Σ g. */
export function logSoftmax<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  const dim: string = nameOf(over)
  return wide(x, x => withGradient([x], ([x]) => x.sub(logsumexp(x, dim)), (g, y) => [g.sub(y.exp().mul(g.sum(dim)))]))
}

/**
 * log Σ exp(x) over one dim, safe for large x: −∞ of nothing but −∞, +∞ where one is +∞. Gradient: softmax, which is 0 along a
 * line of nothing but −∞, and 1 where x is +∞.
 */
export function logsumexp<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>): Tensor<Minus<D, R>> {
  const dim: string = nameOf(over)
  return wide(x, x => withGradient<Minus<D, R>>([x], ([x]) => {
    const top = x.max(dim).stopGradient()
    // Less an infinite maximum, an infinite number would be none; 0 does as well, as the sum is 0 or infinite anyway.
    const shift = where(top.isFinite(), top, 0)
    return x.sub(shift).exp().sum(dim).log().add(shift)
  }, (g, y, [x]) => [sharesOf(x, y).mul(g)]))
}

/** e^(x − logsumexp(x)). */
function sharesOf(x: Tensor<string>, y: Tensor<string>): Tensor<string> {
  // Along a line of nothing but −∞ the difference is ∞ − ∞. A finite number in its place makes it −∞, and what is infinite with y, 0.
  const wide = loose(tensor(broadcastTo(where(y.equal(-Infinity), loose(full(0, y.shape, y.dtype)), y).node, x.shape)))
  return where(x.equal(wide), loose(full(0, x.shape, x.dtype)), x.sub(wide)).exp()
}

/**
 * −log softmax(logits)[target] along `classes`. With `classes` split no device ever holds all logits: a maximum, a sum and
 * the target's logit are reduced instead. Gradient: softmax − one-hot. Of halves the result is f32: losses are.
 * @param targets i32, without `classes`
 */
export function crossEntropy<D extends string, C extends D>(logits: Tensor<D>, classes: DimLike<C>, targets: Tensor<Minus<D, C>>): Tensor<Minus<D, C>> {
  const whole = dimIn(logits.shape, classes, 'crossEntropy', userSite())
  const dim: string = whole.name
  floats('crossEntropy', logits.dtype, logits.shape, userSite())
  expectDims(targets, logits.shape.filter(d => d.name !== dim))
  const hit = (target: Tensor<string>, like: Tensor<string>): Tensor<string> => loose(full(0, like.shape, 'i32').add(loose(iota(whole)))).equal(target)
  return withGradient<Minus<D, C>>([logits.cast(sumsIn(logits.dtype)), targets], ([x, target]) =>
    loose(logsumexp(x, dim)).sub(where(hit(target, x), x, 0).sum(dim)),
  (g, _, [x, target]) => {
    const p = x.sub(logsumexp(x, dim)).exp()
    return [where(hit(target, x), p.sub(1), p).mul(g)]
  })
}

/** (x − mean) / √(variance + ε) over one dim, times a gain, plus a bias (Ba et al. 2016). All of it in f32 where x is a half; gain and bias may be wider than x. */
export function layerNorm<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>, gain: Tensor<NoInfer<R>>, bias: Tensor<NoInfer<R>>, epsilon = 1e-5): Tensor<D> {
  const along = dimIn(x.shape, over, 'layerNorm', userSite())
  const dim: string = along.name
  for (const t of [gain, bias]) expectDims(t, [along])
  if (!(epsilon >= 0 && epsilon < Infinity)) throw new DimError({ code: 'option', what: `layerNorm: epsilon is ${epsilon}`, fix: 'give a small number of at least 0', at: userSite() })
  const centered = (x: Tensor<string>): Tensor<string> => x.sub(x.mean(dim))
  const inverse = (c: Tensor<string>): Tensor<string> => loose(c.square().mean(dim).add(epsilon).rsqrt())
  const normal = withGradient<string>([x.cast(sumsIn(x.dtype))], ([x]) => {
    const c = centered(x)
    return c.mul(inverse(c))
  }, (g, y, [x]) => [g.sub(g.mean(dim)).sub(y.mul(g.mul(y).mean(dim))).mul(inverse(centered(x)))])
  return tensor(normal.mul(loose(gain).cast(normal.dtype)).add(loose(bias).cast(normal.dtype)).cast(x.dtype).node)
}
