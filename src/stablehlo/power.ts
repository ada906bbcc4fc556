/** Integers to a power, by squaring: XLA's op looks at six bits of the exponent only. */
import { dtypes, isFloat } from '../core/dtype.ts'
import { splatValue } from '../graph/make.ts'
import { operand, type Node } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import type { Ssa, Writer } from './writer.ts'

export function emitPower(n: LocalNode<'binary'>, [base, exponent]: readonly Ssa[], w: Writer): Ssa {
  if (base === undefined || exponent === undefined) throw new Error('a power has two operands')
  const known = splatValue(operand(n, 1) as Node)
  if (isFloat(base.dtype) || (known !== undefined && known >= 0 && known < 64)) return w.op('power', [base, exponent], base)
  const { kind, bytes } = dtypes[base.dtype]
  const constant = (value: number): Ssa => w.constant(value, base.dtype, base.sizes)
  const op = (name: string, a: Ssa, b: Ssa): Ssa => w.op(name, [a, b], base)
  const bool = { sizes: base.sizes, dtype: 'bool' as const }
  const compare = (direction: string, a: Ssa, b: Ssa): Ssa => w.op('compare', [a, b], bool, `comparison_direction = #stablehlo<comparison_direction ${direction}>`)
  const select = (p: Ssa, yes: Ssa, no: Ssa): Ssa => w.op('select', [p, yes, no], base)
  const [zero, one] = [constant(0), constant(1)]
  const isOdd = (x: Ssa): Ssa => compare('NE', op('and', x, one), zero)
  let [result, square, left] = [one, base, exponent]
  const bits = kind === 'uint' ? 8 * bytes : 8 * bytes - 1
  for (let bit = 0; bit < bits; bit++) {
    result = select(isOdd(left), op('multiply', result, square), result)
    if (bit === bits - 1) break
    square = op('multiply', square, square)
    left = op('shift_right_logical', left, one)
  }
  if (kind === 'uint') return result
  // 1/xⁿ is an integer only where x is 1 or −1; otherwise it is rounded towards zero, to 0.
  const minus = constant(-1)
  const inverse = select(compare('EQ', base, one), one, select(compare('EQ', base, minus), select(isOdd(exponent), minus, one), zero))
  return select(compare('LT', exponent, zero), inverse, result)
}
