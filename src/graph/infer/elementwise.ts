/** Types of results: elementwise ops. */
import { dtypes, isEight, isFloat, type DType } from '../../core/dtype.ts'
import type { Site } from '../../core/errors.ts'
import { agree, only, sameType, wrongDtype } from './checks.ts'
import type { Infer, TensorType } from '../node.ts'
import type { BinaryFn, ElementwiseAttrs, UnaryFn } from '../ops.ts'

/** What an op takes, in words, and whether it takes this. */
type Takes = readonly [words: string, takes: (t: TensorType) => boolean]
const kindOf = (t: TensorType): string => dtypes[t.dtype].kind
const anything: Takes = ['anything', () => true]
const numbers: Takes = ['numbers', t => kindOf(t) !== 'bool']
const floats: Takes = ['floats', t => isFloat(t.dtype)]
const bits: Takes = ['booleans and integers', t => !isFloat(t.dtype)]
const integers: Takes = ['integers', t => kindOf(t) === 'int' || kindOf(t) === 'uint']
const signedIntegers: Takes = ['signed integers', t => kindOf(t) === 'int']
const signed: Takes = ['floats and signed integers', t => isFloat(t.dtype) || kindOf(t) === 'int']

const unary: { readonly [F in UnaryFn]: Takes } = {
  neg: numbers, abs: signed, sign: signed, exp: floats, expm1: floats, log: floats, log1p: floats, logistic: floats, sqrt: floats, rsqrt: floats, cbrt: floats,
  sin: floats, cos: floats, tan: floats, tanh: floats, erf: floats, erfc: floats, erfInv: floats, floor: floats, ceil: floats, round: floats,
  not: bits, popcount: integers, leadingZeros: integers,
}
const binary: { readonly [F in BinaryFn]: Takes } = {
  add: numbers, sub: numbers, mul: numbers, div: numbers, rem: numbers, max: anything, min: anything, pow: numbers, atan2: floats, and: bits, or: bits, xor: bits,
  shiftLeft: integers, shiftRight: integers, shiftRightArithmetic: signedIntegers,
}
function check(fn: string, [words, takes]: Takes, t: TensorType, site: Site | undefined): void {
  if (!takes(t) || isEight(t.dtype)) throw wrongDtype(fn, t, words, site)
}

const besideEight: readonly DType[] = ['f32', 'bf16', 'f16']

export const elementwise: Infer<ElementwiseAttrs> = {
  unary: (a, inputs, site) => {
    const t = only(inputs)
    check(a.fn, unary[a.fn], t, site)
    return [t]
  },
  binary: (a, inputs, site) => {
    const t = sameType(a.fn, inputs, site)
    check(a.fn, binary[a.fn], t, site)
    return [t]
  },
  compare: (_, inputs, site) => {
    const t = sameType('compare', inputs, site)
    check('compare', anything, t, site)
    return [{ shape: t.shape, dtype: 'bool' }]
  },
  select: (_, inputs, site) => {
    const predicate = only(inputs)
    if (predicate.dtype !== 'bool') throw wrongDtype('where', predicate, 'a bool predicate', site)
    const t = sameType('where', inputs.slice(1), site)
    agree(predicate.shape, t.shape, 'where', site)
    return [t]
  },
  convert: (a, inputs, site) => {
    const t = only(inputs)
    const [eight, other] = isEight(a.dtype) ? [a.dtype, t.dtype] : [t.dtype, a.dtype]
    // Other ways lead through f32, where they would be rounded twice, and one platform would do so and another not.
    if (isEight(eight) && !besideEight.includes(other) && other !== eight) throw wrongDtype('cast', t, `${besideEight.join(', ')} where ${eight} is the other`, site)
    return [{ shape: t.shape, dtype: a.dtype }]
  },
  threefry: (_, inputs, site) => [sameType('threefry', inputs, site)],
}
