/** The functions models are made of, composed of ops. They know no device, no mesh and no layout. */
import { nameOf, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/halves.ts'
import { expectDims, full, iota, loose, tensor, where } from '../graph/tensor.ts'
import type { Minus, Scalar, Tensor } from '../graph/types.ts'

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

/** log Σ exp(x) over one dim, safe for large x. */
export function logsumexp<D extends string, R extends D>(x: Tensor<D>, over: DimLike<R>): Tensor<Minus<D, R>> {
  const dim: string = nameOf(over)
  return wide(x, x => withGradient<Minus<D, R>>([x], ([x]) => {
    const top = x.max(dim).stopGradient()
    return x.sub(top).exp().sum(dim).log().add(top)
  }, (g, y, [x]) => [x.sub(y).exp().mul(g)]))
}

export interface CrossEntropyOptions {
  /** A target that does not count, whatever the logits: its loss and its gradient are 0. Often −100. `maskedMean` is the mean of those that count. */
  readonly ignore?: number
}

/**
 * −log softmax(logits)[target] along `classes`. With `classes` split no device ever holds all logits: a maximum, a sum and
 * the target's logit are reduced instead. Gradient: softmax − one-hot. Of halves the result is f32: losses are. A target that is
 * no class, and not to be ignored, gives NaN, and a gradient of NaN: programs cannot throw, and it must not count in silence.
 * @param targets i32, without `classes`
 */
export function crossEntropy<D extends string, C extends D>(logits: Tensor<D>, classes: DimLike<C>, targets: Tensor<Minus<D, C>>, { ignore }: CrossEntropyOptions = {}): Tensor<Minus<D, C>> {
  const whole = dimIn(logits.shape, classes, 'crossEntropy', userSite())
  const dim: string = whole.name
  floats('crossEntropy', logits.dtype, logits.shape, userSite())
  expectDims(targets, logits.shape.filter(d => d.name !== dim))
  if (ignore !== undefined && (!Number.isInteger(ignore) || ignore !== (ignore | 0))) throw new DimError({ code: 'option', what: `crossEntropy: ignore is ${ignore}`, fix: 'give a whole number that i32 holds, such as -100', at: userSite() })
  const isClass = (target: Tensor<string>): Tensor<string> => target.greaterEqual(0).and(target.less(whole.size))
  /** What counts as it is, 0 for what is ignored, else NaN. */
  const counted = (target: Tensor<string>, x: Tensor<string>): Tensor<string> => {
    const sound = where(isClass(target), x, NaN)
    return ignore === undefined ? sound : where(target.notEqual(ignore), sound, 0)
  }
  const hit = (target: Tensor<string>, like: Tensor<string>): Tensor<string> => loose(full(0, like.shape, 'i32').add(loose(iota(whole)))).equal(target)
  return withGradient<Minus<D, C>>([logits.cast(sumsIn(logits.dtype)), targets], ([x, target]) =>
    counted(target, loose(logsumexp(x, dim)).sub(where(hit(target, x), x, 0).sum(dim))),
  (g, _, [x, target]) => {
    const p = x.sub(logsumexp(x, dim)).exp()
    const slope = where(hit(target, x), p.sub(1), p).mul(counted(target, g))
    // Logits that do not count may be anything, NaN too.
    return [ignore === undefined ? slope : where(target.notEqual(ignore), slope, 0)]
  })
}

/** The mean of the elements where the mask holds, summed in f32 (of f64 in f64); NaN where it holds nowhere. On a mesh, of all devices' elements together. */
export function maskedMean<D extends string>(x: Tensor<D>, mask: Tensor<NoInfer<D>>): Scalar {
  expectDims(mask, x.shape)
  const wide = loose(x).cast(sumsIn(x.dtype))
  return expectDims(where(loose(mask), wide, 0).sum().div(loose(mask).cast(wide.dtype).sum()).cast(x.dtype), [])
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

/** x Φ(x), in the tanh form (Hendrycks and Gimpel 2016): GPT-2's. */
export const gelu = <D extends string>(x: Tensor<D>): Tensor<D> =>
  x.mul(0.5).mul(x.square().mul(x).mul(0.044715).add(x).mul(Math.sqrt(2 / Math.PI)).tanh().add(1))
