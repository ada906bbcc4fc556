/** Elementwise functions and what they are exactly, in f64 by formulas that lose nothing to cancellation: the judge of f32 and of halves. */
import { erf, erfc, erfInv } from '../../src/core/special.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { celu, elu, gelu, geluExact, hardSigmoid, hardSwish, leakyRelu, logSigmoid, mish, relu6, selu, silu, softplus } from '../../src/nn/index.ts'

type T = Tensor<string>
export interface Function1 {
  readonly name: string
  readonly f: (x: T) => T
  readonly value: (x: number) => number
  readonly slope: (x: number) => number
  /** Its slope goes through 0. */
  readonly turns?: true
}
const { abs, exp, expm1, log1p, sqrt, PI, LN2, LN10 } = Math

/** 1 / (1 + e⁻ˣ) without 1 − …. */
const sigmoid = (x: number): number => (x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)))
const softplus64 = (x: number): number => (x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)))
const sech2 = (x: number): number => 4 * exp(-2 * abs(x)) / (1 + exp(-2 * abs(x))) ** 2
/** tanh(softplus(x)), of e = eˣ, or of e⁻ˣ. */
const mishGate = (x: number): number => (x < 0 ? exp(x) * (exp(x) + 2) / (exp(x) * (exp(x) + 2) + 2) : (1 + 2 * exp(-x)) / (1 + 2 * exp(-x) + 2 * exp(-2 * x)))
/** 1 − that². */
const mishGateRest = (x: number): number => { const e = exp(-abs(x)); return x < 0 ? 4 * (e + 1) ** 2 / (e * (e + 2) + 2) ** 2 : 4 * e * e * (1 + e) ** 2 / (1 + 2 * e + 2 * e * e) ** 2 }
const geluArgument = (x: number): number => 2 * sqrt(2 / PI) * (x + 0.044715 * x ** 3)
const cumulativeNormal = (x: number): number => 0.5 * erfc(-x * Math.SQRT1_2)
/** 0 · ∞ is 0 here: the limits of x e⁻ˣ. */
const times = (x: number, y: number): number => (y === 0 ? 0 : x * y)
const selus = { alpha: 1.6732632423543772, scale: 1.0507009873554805 }

const one = (name: string, f: (x: T) => T, value: (x: number) => number, slope: (x: number) => number): Function1 => ({ name, f, value, slope })
const all: readonly Function1[] = [
  one('exp', x => x.exp(), exp, exp), one('expm1', x => x.expm1(), expm1, exp), one('exp2', x => x.exp2(), x => 2 ** x, x => 2 ** x * LN2),
  one('log', x => x.log(), Math.log, x => 1 / x), one('log1p', x => x.log1p(), log1p, x => 1 / (1 + x)),
  one('log2', x => x.log2(), Math.log2, x => 1 / (x * LN2)), one('log10', x => x.log10(), Math.log10, x => 1 / (x * LN10)),
  one('sqrt', x => x.sqrt(), sqrt, x => 0.5 / sqrt(x)), one('rsqrt', x => x.rsqrt(), x => 1 / sqrt(x), x => -0.5 / sqrt(x) / x),
  one('cbrt', x => x.cbrt(), Math.cbrt, x => 1 / (3 * Math.cbrt(x) ** 2)), one('reciprocal', x => x.reciprocal(), x => 1 / x, x => -1 / x / x),
  one('square', x => x.square(), x => x * x, x => 2 * x),
  one('sigmoid', x => x.sigmoid(), sigmoid, x => sigmoid(x) * sigmoid(-x)),
  one('erf', x => x.erf(), erf, x => 2 / sqrt(PI) * exp(-x * x)), one('erfc', x => x.erfc(), erfc, x => -2 / sqrt(PI) * exp(-x * x)), one('erfInv', x => x.erfInv(), erfInv, x => sqrt(PI) / 2 * exp(erfInv(x) ** 2)),
  one('sin', x => x.sin(), Math.sin, Math.cos), one('cos', x => x.cos(), Math.cos, x => -Math.sin(x)), one('tan', x => x.tan(), Math.tan, x => 1 / Math.cos(x) ** 2),
  one('asin', x => x.asin(), Math.asin, x => 1 / sqrt((1 - x) * (1 + x))), one('acos', x => x.acos(), Math.acos, x => -1 / sqrt((1 - x) * (1 + x))),
  one('atan', x => x.atan(), Math.atan, x => 1 / (1 + x * x)),
  one('sinh', x => x.sinh(), Math.sinh, Math.cosh), one('cosh', x => x.cosh(), Math.cosh, Math.sinh), one('tanh', x => x.tanh(), Math.tanh, sech2),
  one('asinh', x => x.asinh(), Math.asinh, x => 1 / Math.hypot(1, x)), one('acosh', x => x.acosh(), Math.acosh, x => 1 / sqrt(x - 1) / sqrt(x + 1)),
  one('atanh', x => x.atanh(), Math.atanh, x => 1 / ((1 - x) * (1 + x))),
  one('elu', x => elu(x), x => (x < 0 ? expm1(x) : x), x => (x < 0 ? exp(x) : 1)),
  one('celu', x => celu(x, 0.5), x => (x < 0 ? expm1(2 * x) / 2 : x), x => (x < 0 ? exp(2 * x) : 1)),
  one('selu', x => selu(x), x => selus.scale * (x < 0 ? selus.alpha * expm1(x) : x), x => selus.scale * (x < 0 ? selus.alpha * exp(x) : 1)),
  one('leakyRelu', x => leakyRelu(x), x => (x < 0 ? 0.01 * x : x), x => (x < 0 ? 0.01 : 1)),
  one('relu6', x => relu6(x), x => Math.min(Math.max(x, 0), 6), x => (x > 0 && x < 6 ? 1 : 0)),
  one('silu', x => silu(x), x => times(x, sigmoid(x)), x => sigmoid(x) + times(x, sigmoid(x) * sigmoid(-x))),
  one('softplus', x => softplus(x), softplus64, sigmoid), one('logSigmoid', x => logSigmoid(x), x => -softplus64(-x), x => sigmoid(-x)),
  one('mish', x => mish(x), x => times(x, mishGate(x)), x => mishGate(x) + times(x, mishGateRest(x) * sigmoid(x))),
  one('gelu', x => gelu(x), x => times(x, sigmoid(geluArgument(x))),
    x => { const [u, s] = [geluArgument(x), sigmoid(geluArgument(x))]; return s + times(x * 2 * sqrt(2 / PI) * (1 + 3 * 0.044715 * x * x), s * sigmoid(-u)) }),
  one('geluExact', x => geluExact(x), x => times(x, cumulativeNormal(x)), x => cumulativeNormal(x) + times(x, exp(-x * x / 2) / sqrt(2 * PI))),
  one('hardSigmoid', x => hardSigmoid(x), x => Math.min(Math.max(x + 3, 0), 6) / 6, x => (x > -3 && x < 3 ? 1 / 6 : 0)),
  one('hardSwish', x => hardSwish(x), x => times(x, Math.min(Math.max(x + 3, 0), 6) / 6), x => (x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5)),
]
const turning = new Set(['silu', 'mish', 'gelu', 'geluExact'])
export const functions: readonly Function1[] = all.map(f => (turning.has(f.name) ? { ...f, turns: true } : f))
