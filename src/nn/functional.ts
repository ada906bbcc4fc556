/** The functions models are made of, composed of ops. They know no device, no mesh and no layout. */
import type { Dim, DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { onCallersLine, userSite } from '../core/site.ts'
import { withGradient } from '../graph/custom.ts'
import { dimIn, floats } from '../graph/infer/checks.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { broadcastTo } from '../graph/make.ts'
import { expectDims, full, iota, loose, tensor, where } from '../graph/tensor.ts'
import { overWeight, type Weighted } from '../graph/outcome.ts'
import type { AnyTensor, Minus, Scalar, Tensor, Unsettled } from '../graph/types.ts'
import { wide } from './wide.ts'

/** exp(x) / Σ exp(x) over one dim. Its gradient is p ⊙ (g − Σ g ⊙ p), whatever the shift by the maximum. */
export function softmax<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  return wide(x, x => withGradient([x], ([x]): Tensor<D> => onCallersLine(() => {
    const e = x.sub(x.max(over).stopGradient()).exp()
    return e.div(e.sum(over))
  }), (g, p) => onCallersLine(() => [p.mul(g.sub(g.mul(p).sum(over)))])))
}

/** x − log Σ exp(x) over one dim. Gradient: g − p Σ g. */
export function logSoftmax<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<D> {
  return wide(x, x => withGradient([x], ([x]): Tensor<D> => x.sub(logsumexp(x, over)), (g, y) => onCallersLine(() => [g.sub(y.exp().mul(g.sum(over)))])))
}

/**
 * log Σ exp(x) over one dim, safe for large x: −∞ of nothing but −∞, +∞ where one is +∞. Gradient: softmax, which is 0 along a
 * line of nothing but −∞, and 1 where x is +∞.
 */
export function logsumexp<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>): Tensor<Minus<D, R>> {
  return wide(x, x => withGradient([x], ([x]) => onCallersLine(() => {
    const top = x.max(over).stopGradient()
    // Less an infinite maximum, an infinite number would be NaN; 0 does as well, as the sum is 0 or infinite anyway.
    const shift = where(top.isFinite(), top, 0)
    return x.sub(shift).exp().sum(over).log().add(shift)
  }), (g, y, [x]) => onCallersLine(() => [sharesOf(x, y).mul(g)])))
}

/** e^(x − logsumexp(x)). */
function sharesOf<D extends string>(x: Tensor<D>, y: AnyTensor): Tensor<D> {
  // Along a line of nothing but −∞ the difference is ∞ − ∞. A finite number in its place makes it −∞, and what is infinite with y, 0.
  const sums = loose(y)
  const finite = where(sums.equal(-Infinity), loose(full(0, y.shape, y.dtype)), sums)
  const like: Tensor<D> = tensor(broadcastTo(finite.node, x.shape))
  return where(x.equal(like), tensor<D>(broadcastTo(full(0, [], x.dtype).node, x.shape)), x.sub(like)).exp()
}

export interface CrossEntropyOptions {
  /** A target that does not count, whatever the logits: its loss and its gradient are 0. Often −100. `maskedMean` is the mean of those that count. */
  readonly ignore?: number
}

/** A cross-entropy of logits as they are summed, and the slope of it that is a multiple of `g`: softmax − one-hot. */
export interface Entropy<D extends string, Row extends AnyTensor> {
  readonly losses: (logits: Tensor<D>, targets: Row) => Row
  readonly slope: (g: Row, logits: Tensor<D>, targets: Row) => Tensor<D>
}

/** How cross-entropy along `whole` is computed; which logits count is as `crossEntropy` has it. @throws DimError where what is to be ignored is no i32 */
export function entropyAlong<D extends string, C extends D | Unsettled<D>>(whole: Dim<C>, ignore: number | undefined): Entropy<D, Tensor<Minus<D, C>>> {
  type Row = Tensor<Minus<D, C>>
  if (ignore !== undefined && (!Number.isInteger(ignore) || ignore !== (ignore | 0))) throw new DimError({ code: 'option', what: `crossEntropy: ignore is ${ignore}`, fix: 'give a whole number that i32 holds, such as -100', at: userSite() })
  const isClass = (target: Row): Row => target.greaterEqual(0).and(target.less(whole.size))
  /** What counts as it is, 0 for what is ignored, else NaN. */
  const counted = (target: Row, x: Row): Row => {
    const sound: Row = where(isClass(target), x, NaN)
    return ignore === undefined ? sound : where(target.notEqual(ignore), sound, 0)
  }
  const hit = (target: Row, like: Tensor<D>): Tensor<D> => tensor(broadcastTo(loose(full(0, like.shape, 'i32')).add(loose(iota(whole))).equal(loose(target)).node, like.shape))
  return {
    losses: (x, target) => onCallersLine(() => counted(target, logsumexp<D, C>(x, whole).sub(loose(x).take(whole.name, loose(target)) as unknown as Row))),
    slope: (g, x, target) => onCallersLine(() => {
      const p = tensor<D>(broadcastTo(loose(x).sub(loose(logsumexp<D, C>(x, whole))).exp().node, x.shape))
      const slope: Tensor<D> = tensor(broadcastTo(loose(where(hit(target, x), p.sub(1), p)).mul(loose(counted(target, g))).node, x.shape))
      // Logits that do not count may be anything, NaN too.
      return ignore === undefined ? slope : tensor(broadcastTo(where(loose(target).notEqual(ignore), loose(slope), 0).node, x.shape))
    }),
  }
}

/**
 * −log softmax(logits)[target] along `classes`. With `classes` split no device ever holds all logits: a maximum, a sum and
 * the target's logit are reduced instead. Gradient: softmax − one-hot. For half-precision logits the result is f32: losses are. A target
 * that is no class, and not to be ignored, gives NaN, and a gradient of NaN: programs cannot throw, and it must not count in silence.
 * @param targets i32, without `classes`
 */
export function crossEntropy<D extends string, C extends D | Unsettled<D>>(
  logits: Tensor<D>, classes: DimLike<C>, targets: Tensor<Minus<D, C>>, { ignore }: CrossEntropyOptions = {},
): Tensor<Minus<D, C>> {
  const whole = dimIn(logits.shape, classes, 'crossEntropy', userSite)
  floats('crossEntropy', logits.dtype, logits.shape, userSite)
  expectDims(targets, logits.shape.filter(d => d.name !== whole.name))
  const { losses, slope } = entropyAlong<D, C>(whole as Dim<C>, ignore)
  return withGradient([logits.cast(sumsIn(logits.dtype)), targets], ([x, target]): Tensor<Minus<D, C>> => losses(x, target), (g, _, [x, target]) => [slope(g, x, target), undefined])
}

/** The mean of the elements where the mask holds, summed in f32 (of f64 in f64); NaN where it holds nowhere. On a mesh, of all devices' elements together. */
export function maskedMean<D extends string>(x: Tensor<D>, mask: Tensor<NoInfer<D>>): Scalar {
  expectDims(mask, x.shape)
  const wide = x.cast(sumsIn(x.dtype))
  return where(mask, wide, 0).sum().div(mask.cast(wide.dtype).sum()).cast(x.dtype)
}

/**
 * The mean of the elements by weights of at least 0 (bools, integers or floats), and the sum of the weights: what a model's loss gives, so that
 * means of microbatches and of batches can be joined. Elements of weight 0 may be anything, NaN too; where all are, the mean is 0. Summed in
 * f32, of f64 in f64. On a mesh, of all devices' elements together.
 */
export function weightedMean<D extends string>(x: Tensor<D>, weights: Tensor<NoInfer<D>>): Weighted {
  expectDims(weights, x.shape)
  const wide = x.cast(sumsIn(x.dtype))
  const by = weights.cast(wide.dtype).stopGradient()
  const weight: Scalar = by.sum()
  return { value: overWeight(where(by.equal(0), full(0, x.shape, wide.dtype), wide.mul(by)).sum(), weight), weight }
}

/** @throws DimError where it is no small number */
function smallNumber(what: string, epsilon: number): void {
  if (!(epsilon >= 0 && epsilon < Infinity)) throw new DimError({ code: 'option', what: `${what}: epsilon is ${epsilon}`, fix: 'give a small number of at least 0', at: userSite() })
}

/** (x − mean) / √(variance + ε) over one dim, times a gain, plus a bias (Ba et al. 2016). All of it in f32 where x is a half; gain and bias may be wider than x. */
export function layerNorm<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R>, gain: Tensor<NoInfer<R>>, bias: Tensor<NoInfer<R>>, epsilon = 1e-5): Tensor<D | R> {
  const along = dimIn(x.shape, over, 'layerNorm', userSite)
  for (const t of [gain, bias]) expectDims(t, [along])
  smallNumber('layerNorm', epsilon)
  const centered = (x: Tensor<D>): Tensor<D> => x.sub(x.mean(over))
  const inverse = (c: Tensor<D>): Tensor<Minus<D, R>> => c.square().mean(over).add(epsilon).rsqrt()
  const normal = withGradient([x.cast(sumsIn(x.dtype))], ([x]): Tensor<D> => onCallersLine(() => {
    const c = centered(x)
    return c.mul(inverse(c))
  }), (g, y, [x]) => onCallersLine(() => [g.sub(g.mean(over)).sub(y.mul(g.mul(y).mean(over))).mul(inverse(centered(x)))]))
  return normal.mul(gain.cast(normal.dtype)).add(bias.cast(normal.dtype)).cast(x.dtype)
}

/** x / √(mean x² + ε) over a dim or several, times a gain of them (Zhang and Sennrich 2019). All of it in f32 where x is a half; the gain may be wider than x. */
export function rmsNorm<D extends string, R extends D | Unsettled<D>>(x: Tensor<D>, over: DimLike<R> | readonly DimLike<R>[], gain: Tensor<NoInfer<R>>, epsilon = 1e-6): Tensor<D | R> {
  const dims = [over].flat() as readonly DimLike<R>[]
  expectDims(gain, dims.map(dim => dimIn(x.shape, dim, 'rmsNorm', userSite)))
  smallNumber('rmsNorm', epsilon)
  const mean = (x: Tensor<D>): Tensor<Minus<D, R>> => x.mean(...dims)
  const inverse = (x: Tensor<D>): Tensor<Minus<D, R>> => mean(x.square()).add(epsilon).rsqrt()
  const normal = withGradient([x.cast(sumsIn(x.dtype))], ([x]): Tensor<D> => onCallersLine(() => x.mul(inverse(x))), (g, y, [x]) => onCallersLine(() => [g.sub(y.mul(mean(g.mul(y)))).mul(inverse(x))]))
  return normal.mul(gain.cast(normal.dtype)).cast(x.dtype)
}
