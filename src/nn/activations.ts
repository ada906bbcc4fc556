/** Activation functions, elementwise; each stable for large and small arguments, gradients included. */
import { nameOf, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { onCallersLine, userSite } from '../core/site.ts'
import { gaussian } from '../graph/functions.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { smooth } from '../graph/smooth.ts'
import { full, loose, tensor, where } from '../graph/tensor.ts'
import { parts } from '../graph/rearrange.ts'
import type { Tensor } from '../graph/types.ts'

type T = Tensor<string>
type Same = <D extends string>(x: Tensor<D>) => Tensor<D>

/** Halves are widened, and the result is narrowed once. */
const inWide = <D extends string>(x: Tensor<D>, f: (x: T) => T): Tensor<D> => onCallersLine(() => tensor(f(loose(x).cast(sumsIn(x.dtype))).cast(x.dtype).node))
/** The same with a slope of its own, of floats. */
function smoothOf(f: (x: T) => T, slope: (x: T) => T): Same {
  const g = smooth(x => onCallersLine(() => f(tensor(x)).node), x => onCallersLine(() => slope(tensor(x)).node))
  return x => tensor(g(x.node))
}

const finite = (what: string, value: number, fits = Number.isFinite(value)): number => {
  if (fits) return value
  throw new DimError({ code: 'option', what: `${what} is ${value}`, fix: 'give a finite number, and none to divide by that is 0', at: userSite() })
}
const usable = (what: string, value: number): number => finite(what, value, Number.isFinite(value) && value !== 0)

/** max(x, 0). */
export const relu: Same = x => x.relu()
/** min(max(x, 0), 6). */
export const relu6: Same = x => x.clamp(0, 6)
/** x, or `slope` · x where it is negative. */
export const leakyRelu = <D extends string>(x: Tensor<D>, slope = 0.01): Tensor<D> =>
  inWide(x, x => where(x.less(0), x.mul(finite('leakyRelu: slope', slope)), x))
/** x, or α (eˣ − 1) where it is negative (Clevert et al. 2016). */
export const elu = <D extends string>(x: Tensor<D>, alpha = 1): Tensor<D> =>
  inWide(x, x => where(x.less(0), x.minimum(0).expm1().mul(finite('elu: alpha', alpha)), x))
/** max(x, 0) + min(α (e^(x/α) − 1), 0) (Barron 2017). */
export const celu = <D extends string>(x: Tensor<D>, alpha = 1): Tensor<D> =>
  inWide(x, x => where(x.less(0), x.minimum(0).div(usable('celu: alpha', alpha)).expm1().mul(alpha), x))
/** λ · elu(x, α), which keeps mean 0 and variance 1 (Klambauer et al. 2017). */
export const selu: Same = x => inWide(x, x => elu(x, 1.6732632423543772).mul(1.0507009873554805))

/** Beyond, sigmoids are 0 or 1 in every dtype, and what is made of them is 0 or x: so no infinity is multiplied by 0. */
const far = 1e4
/**
 * Of u: e = e^(−|u|), 1 / (1 + e), and `times`, which multiplies by eᵘ where u < 0. It does so in two steps, as eᵘ may be too small
 * for the dtype where the product is not.
 */
function exponentials(u: T): { readonly e: T; readonly fraction: T; readonly negative: T; readonly times: (y: T) => T } {
  const [a, negative] = [u.abs(), u.less(0)]
  const by = u.dtype === 'f64' ? 512 : 64
  const tiny = a.greater(by)
  const [root, scale] = [where(tiny, a.sub(by), a).neg().exp(), where(tiny, loose(full(Math.exp(-by), u.shape, u.dtype)), 1)]
  const e = root.mul(scale)
  return { e, fraction: e.add(1).reciprocal(), negative, times: y => where(negative, y.mul(root).mul(scale), y) }
}
/** y σ(u). */
const gated = (y: T, u: T): T => { const { fraction, times } = exponentials(u); return times(y).mul(fraction) }
/** The slope of x σ(u), of x and x u′. */
function gatedSlope(u: T, rise: T): T {
  const { e, fraction, negative, times } = exponentials(u)
  const rest = where(negative, fraction, e.mul(fraction)) // σ(−u)
  return times(rise.mul(rest).add(1)).mul(fraction)
}

/** x σ(x), also called swish (Ramachandran et al. 2017). */
export const silu: Same = smoothOf(x => gated(x.maximum(-far), x), x => gatedSlope(x, x.clamp(-far, far)))
/** log(1 + eˣ), as max(x, 0) + log1p(e^(−|x|)). */
export const softplus: Same = smoothOf(x => x.maximum(0).add(x.abs().neg().exp().log1p()), x => x.sigmoid())
/** log σ(x). */
export const logSigmoid: Same = x => softplus(x.neg()).neg()

/** tanh(softplus(x)) is eˣ (eˣ + 2) / (eˣ (eˣ + 2) + 2); where x > 0 the same in e⁻ˣ. Without the first factor where x < 0. */
function mishGate(x: T): ReturnType<typeof exponentials> & { readonly gate: T; readonly denominator: T } {
  const parts = exponentials(x)
  const { e, negative } = parts
  const twice = e.mul(2)
  const denominator = where(negative, e.add(2).mul(e).add(2), e.add(1).mul(twice).add(1))
  return { ...parts, gate: where(negative, e.add(2), twice.add(1)).div(denominator), denominator }
}
/** x tanh(softplus(x)) (Misra 2019). */
export const mish: Same = smoothOf(x => { const { gate, times } = mishGate(x); return times(x.maximum(-far)).mul(gate) }, x => {
  const { e, negative, gate, denominator, times } = mishGate(x)
  const rise = e.add(1).mul(where(negative, loose(full(4, x.shape, x.dtype)), e.square().mul(4))).div(denominator.square())
  return times(x.clamp(-far, far).mul(rise).add(gate))
})

/** √(8/π) (x + 0.044715 x³), and its slope. Beyond ±40 the function is 0 or x in every dtype. */
const [scale, cubic] = [Math.sqrt(8 / Math.PI), 0.044715]
const bent = (x: T): T => x.square().mul(scale * cubic).add(scale).mul(x)
const near = (x: T): T => x.clamp(-40, 40)
/** x Φ(x), in the tanh form (Hendrycks and Gimpel 2016): GPT-2's. As x σ(√(8/π) (x + 0.044715 x³)): of 1 + tanh nothing would be left where x is small. */
export const gelu: Same = smoothOf(x => gated(x.maximum(-40), bent(near(x))), x =>
  gatedSlope(bent(near(x)), near(x).square().mul(3 * scale * cubic).add(scale).mul(near(x))))
/** Φ(x), by what erf leaves of 1: where x is small, 1 + erf would have no digits. */
const cumulative = (x: T): T => x.mul(-Math.SQRT1_2).erfc().mul(0.5)
/** x Φ(x), Φ by the error function (Hendrycks and Gimpel 2016). */
export const geluExact: Same = smoothOf(x => x.maximum(-40).mul(cumulative(x)), x =>
  loose(tensor(gaussian(x.node, 2))).mul(near(x)).mul(1 / Math.sqrt(2 * Math.PI)).add(cumulative(x)))

/** min(max(x + 3, 0), 6) / 6, and x times that (Howard et al. 2019). */
export const hardSigmoid: Same = x => inWide(x, x => relu6(x.add(3)).mul(1 / 6))
export const hardSwish: Same = smoothOf(x => x.maximum(-3).mul(hardSigmoid(x)), x =>
  where(x.greaterEqual(3), loose(full(1, x.shape, x.dtype)), where(x.lessEqual(-3), loose(full(0, x.shape, x.dtype)), x.mul(2).add(3).mul(1 / 6))))
/** The first half of a dim times the sigmoid of the second (Dauphin et al. 2017). @throws DimError when it has no halves */
export function glu<D extends string, R extends D>(x: Tensor<D>, dim: DimLike<R>): Tensor<D> {
  const [value, gate] = parts(loose(x), nameOf(dim) as string, 2)
  return tensor(value.mul(gate.sigmoid()).node)
}
