/** Types of results: elementwise ops. */
import { isFloat } from '../../core/dtype.ts'
import { agree, numbers, only, sameType, wrongDtype } from './checks.ts'
import type { Infer } from '../node.ts'
import type { BinaryFn, ElementwiseAttrs, UnaryFn } from '../ops.ts'

const bitwise: ReadonlySet<BinaryFn> = new Set<BinaryFn>(['and', 'or', 'xor', 'shiftLeft', 'shiftRight', 'shiftRightArithmetic'])
const logical: ReadonlySet<BinaryFn> = new Set<BinaryFn>(['and', 'or', 'xor', 'max', 'min'])
const bits: ReadonlySet<UnaryFn> = new Set<UnaryFn>(['not', 'popcount', 'leadingZeros'])
const integersToo: ReadonlySet<UnaryFn> = new Set<UnaryFn>(['neg', 'abs', 'sign'])

export const elementwise: Infer<ElementwiseAttrs> = {
  unary: (a, inputs, site) => {
    const t = only(inputs)
    if (bits.has(a.fn)) {
      if (isFloat(t.dtype) || (a.fn !== 'not' && t.dtype === 'bool')) throw wrongDtype(a.fn, t, a.fn === 'not' ? 'booleans and integers' : 'integers', site)
    } else if (!isFloat(t.dtype) && (t.dtype === 'bool' || !integersToo.has(a.fn))) throw wrongDtype(a.fn, t, integersToo.has(a.fn) ? 'numbers' : 'floats', site)
    return [t]
  },
  binary: (a, inputs, site) => {
    const t = sameType(a.fn, inputs, site)
    if (bitwise.has(a.fn) && isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'booleans and integers', site)
    if (!logical.has(a.fn)) numbers(a.fn, t, site)
    if (a.fn === 'atan2' && !isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'floats', site)
    return [t]
  },
  compare: (_, inputs, site) => [{ shape: sameType('compare', inputs, site).shape, dtype: 'bool' }],
  select: (_, inputs, site) => {
    const predicate = only(inputs)
    if (predicate.dtype !== 'bool') throw wrongDtype('where', predicate, 'a bool predicate', site)
    const t = sameType('where', inputs.slice(1), site)
    agree(predicate.shape, t.shape, 'where', site)
    return [t]
  },
  convert: (a, inputs) => [{ shape: only(inputs).shape, dtype: a.dtype }],
  threefry: (_, inputs, site) => [sameType('threefry', inputs, site)],
}
