/** Activation functions, elementwise; each stable for large and small arguments, gradients included. */
import { nameOf, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { loose, tensor, where } from '../graph/tensor.ts'
import { parts } from '../graph/rearrange.ts'
import type { Tensor } from '../graph/types.ts'

type Same = <D extends string>(x: Tensor<D>) => Tensor<D>

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
export const leakyRelu = <D extends string>(x: Tensor<D>, slope = 0.01): Tensor<D> => tensor(where(x.less(0), x.mul(finite('leakyRelu: slope', slope)), x).node)
/** x, or α (eˣ − 1) where it is negative (Clevert et al. 2016). */
export const elu = <D extends string>(x: Tensor<D>, alpha = 1): Tensor<D> => tensor(where(x.less(0), x.minimum(0).expm1().mul(finite('elu: alpha', alpha)), x).node)
/** max(x, 0) + min(α (e^(x/α) − 1), 0) (Barron 2017). */
export const celu = <D extends string>(x: Tensor<D>, alpha = 1): Tensor<D> => tensor(where(x.less(0), x.minimum(0).div(usable('celu: alpha', alpha)).expm1().mul(alpha), x).node)
/** λ · elu(x, α), which keeps mean 0 and variance 1 (Klambauer et al. 2017). */
export const selu: Same = x => elu(x, 1.6732632423543772).mul(1.0507009873554805)
/** x σ(x), also called swish (Ramachandran et al. 2017). */
export const silu: Same = x => x.mul(x.sigmoid())
/** log(1 + eˣ), as max(x, 0) + log1p(e^(−|x|)). */
export const softplus: Same = x => x.maximum(0).add(x.abs().neg().exp().log1p())
/** log σ(x). */
export const logSigmoid: Same = x => softplus(x.neg()).neg()
/** x tanh(softplus(x)) (Misra 2019). */
export const mish: Same = x => x.mul(softplus(x).tanh())
/** x Φ(x), Φ by the error function (Hendrycks and Gimpel 2016). */
export const geluExact: Same = x => x.mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1))
/** min(max(x + 3, 0), 6) / 6, and x times that (Howard et al. 2019). */
export const hardSigmoid: Same = x => relu6(x.add(3)).mul(1 / 6)
export const hardSwish: Same = x => x.mul(hardSigmoid(x))
/** The first half of a dim times the sigmoid of the second (Dauphin et al. 2017). @throws DimError when it has no halves */
export function glu<D extends string, R extends D>(x: Tensor<D>, dim: DimLike<R>): Tensor<D> {
  const [value, gate] = parts(loose(x), nameOf(dim) as string, 2)
  return tensor(value.mul(gate.sigmoid()).node)
}
