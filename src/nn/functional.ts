/** The functions models are made of, composed of ops. They know no device, no mesh and no layout. */
import type { DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { expectDims, full, iota, where } from '../graph/tensor.ts'
import type { Minus, Tensor, Unsettled } from '../graph/types.ts'
import { wide } from './wide.ts'

/** exp(x) / Σ exp(x) over one dim. Its gradient is p ⊙ (g − Σ g ⊙ p), whatever the shift by the maximum. */
export function softmax<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  return wide(x, x => withGradient([x], ([x]): Tensor<D> => {
    const e = x.sub(x.max(over).stopGradient()).exp()
    return e.div(e.sum(over))
  }, (g, p) => [p.mul(g.sub(g.mul(p).sum(over)))]))
}

/** x − log Σ exp(x) over one dim. Gradient: g − p Σ g. */
export function logSoftmax<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  return wide(x, x => withGradient([x], ([x]): Tensor<D> => x.sub(logsumexp(x, over)), (g, y) => [g.sub(y.exp().mul(g.sum(over)))]))
}

/** log Σ exp(x) over one dim, safe for large x. */
export function logsumexp<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<Minus<D, R>> {
  return wide(x, x => withGradient([x], ([x]) => {
    const top = x.max(over).stopGradient()
    return x.sub(top).exp().sum(over).log().add(top)
  }, (g, y, [x]) => [x.sub(y).exp().mul(g)]))
}

/**
 * −log softmax(logits)[target] along `classes`. With `classes` split no device ever holds all logits: a maximum, a sum and
 * the target's logit are reduced instead. Gradient: softmax − one-hot. For half-precision logits the result is f32: losses are.
 * @param targets i32, without `classes`
 */
export function crossEntropy<D extends string, C extends D | Unsettled<D>>(logits: Tensor<D>, classes: DimLike<C>, targets: Tensor<Minus<D, C>>): Tensor<Minus<D, C>> {
  const whole = dimIn(logits.shape, classes, 'crossEntropy', userSite())
  floats('crossEntropy', logits.dtype, logits.shape, userSite())
  expectDims(targets, logits.shape.filter(d => d.name !== whole.name))
  const hit = (target: Tensor<Minus<D, C>>, like: Tensor<D>): Tensor<D> => full(0, like.shape, 'i32').add(iota(whole)).equal(target)
  return withGradient([logits.cast(sumsIn(logits.dtype)), targets], ([x, target]) =>
    logsumexp(x, classes).sub(where(hit(target, x), x, 0).sum(classes)),
  (g, _, [x, target]) => {
    const p = x.sub(logsumexp(x, classes)).exp()
    return [where(hit(target, x), p.sub(1), p).mul(g), undefined]
  })
}

/** @throws DimError where it is no small number */
function smallNumber(what: string, epsilon: number): void {
  if (!(epsilon >= 0 && epsilon < Infinity)) throw new DimError({ code: 'option', what: `${what}: epsilon is ${epsilon}`, fix: 'give a small number of at least 0', at: userSite() })
}

/** (x − mean) / √(variance + ε) over one dim, times a gain, plus a bias (Ba et al. 2016). All of it in f32 where x is a half; gain and bias may be wider than x. */
export function layerNorm<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>, gain: Tensor<NoInfer<R>>, bias: Tensor<NoInfer<R>>, epsilon = 1e-5): Tensor<D | R> {
  const along = dimIn(x.shape, over, 'layerNorm', userSite())
  for (const t of [gain, bias]) expectDims(t, [along])
  smallNumber('layerNorm', epsilon)
  const centered = (x: Tensor<D>): Tensor<D> => x.sub(x.mean(over))
  const inverse = (c: Tensor<D>): Tensor<Minus<D, R>> => c.square().mean(over).add(epsilon).rsqrt()
  const normal = withGradient([x.cast(sumsIn(x.dtype))], ([x]): Tensor<D> => {
    const c = centered(x)
    return c.mul(inverse(c))
  }, (g, y, [x]) => [g.sub(g.mean(over)).sub(y.mul(g.mul(y).mean(over))).mul(inverse(centered(x)))])
  return normal.mul(gain.cast(normal.dtype)).add(bias.cast(normal.dtype)).cast(x.dtype)
}

/** x / √(mean x² + ε) over one dim, times a gain (Zhang and Sennrich 2019). All of it in f32 where x is a half; the gain may be wider than x. */
export function rmsNorm<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>, gain: Tensor<NoInfer<R>>, epsilon = 1e-6): Tensor<D | R> {
  expectDims(gain, [dimIn(x.shape, over, 'rmsNorm', userSite())])
  smallNumber('rmsNorm', epsilon)
  const inverse = (x: Tensor<D>): Tensor<Minus<D, R>> => x.square().mean(over).add(epsilon).rsqrt()
  const normal = withGradient([x.cast(sumsIn(x.dtype))], ([x]): Tensor<D> => x.mul(inverse(x)), (g, y, [x]) => [g.sub(y.mul(g.mul(y).mean(over))).mul(inverse(x))])
  return normal.mul(gain.cast(normal.dtype)).cast(x.dtype)
}

/** x Φ(x), in the tanh form (Hendrycks and Gimpel 2016): GPT-2's. */
export const gelu = <D extends string>(x: Tensor<D>): Tensor<D> =>
  x.mul(0.5).mul(x.square().mul(x).mul(0.044715).add(x).mul(Math.sqrt(2 / Math.PI)).tanh().add(1))
