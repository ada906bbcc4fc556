/** Types of results: elementwise ops. */
import { isFloat } from '../../core/dtype.ts'
import { agree, only, sameType, wrongDtype } from './checks.ts'
import type { Infer } from '../node.ts'
import type { ElementwiseAttrs } from '../ops.ts'

const bitwise = new Set(['and', 'or', 'xor', 'shiftLeft', 'shiftRight'])
const floatOnly = new Set(['exp', 'log', 'tanh', 'sqrt', 'rsqrt', 'sin', 'cos', 'logistic'])

export const elementwise: Infer<ElementwiseAttrs> = {
  unary: (a, inputs, site) => {
    const t = only(inputs)
    if (floatOnly.has(a.fn) && !isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'floats', site)
    if (a.fn === 'not' && isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'booleans and integers', site)
    return [t]
  },
  binary: (a, inputs, site) => {
    const t = sameType(a.fn, inputs, site)
    if (bitwise.has(a.fn) && isFloat(t.dtype)) throw wrongDtype(a.fn, t, 'booleans and integers', site)
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
