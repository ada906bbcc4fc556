/**
 * Conversions between element types. Compilers go from f64 and from wide integers to halves by way of f32, and round twice. So what f32
 * cannot hold is first cut to bits that it can, the last of them 1 if anything was cut off: that is never a tie, nor made one.
 */
import { dtypes, isHalf, type DType } from '../core/dtype.ts'
import type { Scope } from './scope.ts'
import type { Ssa, Writer } from './writer.ts'

const cut = (w: Writer, x: Ssa, mask: Ssa, rest: Ssa, sticky: Ssa): Ssa => {
  const zero = w.constant(0, x.dtype, x.sizes)
  const lost = w.op('compare', [w.op('and', [x, mask], x), zero], { sizes: x.sizes, dtype: 'bool' }, 'comparison_direction = #stablehlo<comparison_direction NE>')
  return w.op('or', [w.op('and', [x, rest], x), w.op('select', [lost, sticky, zero], x)], x)
}

/** 29 of the 52 bits of a fraction. */
function cutDouble(w: Writer, x: Ssa): Ssa {
  const [bits, lost] = [w.op('bitcast_convert', [x], { sizes: x.sizes, dtype: 'i64' }), 2 ** 29]
  const constant = (value: number): Ssa => w.constant(value, 'i64', x.sizes)
  return w.op('bitcast_convert', [cut(w, bits, constant(lost - 1), constant(-lost), constant(lost))], x)
}

/** How many bits to cut from integers below such powers of 2: of the largest of each row 24 are left, of the smallest 9, one more than bf16 has (from 2¹⁶ on all are infinite in f16). */
const steps = [{ below: 24, bits: 0 }, { below: 39, bits: 16 }, { below: 54, bits: 31 }, { below: 64, bits: 41 }]

function cutInteger(w: Writer, x: Ssa): Ssa {
  const { kind, bytes } = dtypes[x.dtype]
  const constant = (value: number): Ssa => w.constant(value, x.dtype, x.sizes)
  const bool = { sizes: x.sizes, dtype: 'bool' as const }
  const compared = (direction: string, value: number): Ssa => w.op('compare', [x, constant(value)], bool, `comparison_direction = #stablehlo<comparison_direction ${direction}>`)
  const isBelow = (bits: number): Ssa => (kind === 'uint' ? compared('LT', 2 ** bits) : w.op('and', [compared('LT', 2 ** bits), compared('GT', -(2 ** bits))], bool))
  const used = steps.slice(0, steps.findIndex(s => s.below >= 8 * bytes) + 1)
  const chosen = (of: (bits: number) => number): Ssa =>
    used.slice(0, -1).reduceRight((else_, { below, bits }) => w.op('select', [isBelow(below), constant(of(bits)), else_], x), constant(of(used.at(-1)?.bits ?? 0)))
  return cut(w, x, chosen(bits => 2 ** bits - 1), chosen(bits => -(2 ** bits)), chosen(bits => (bits === 0 ? 0 : 2 ** (bits - 1))))
}

/** Single rows, as biases are, are rounded by the op: XLA does that in a loop of its own, where words would be computed again for every row that they are added to. */
const isInWords = ({ sizes }: Ssa, dtype: DType, { choices: { rounding }, kernels }: Pick<Scope, 'choices' | 'kernels'>): boolean =>
  dtype === 'bf16' && rounding === 'in words' && kernels && sizes.length > 1

/** f32 as bf16, by its bits: to the nearest, of two as near to the even one; what is no number stays none. */
function roundInWords(w: Writer, x: Ssa): Ssa {
  const [type, to] = [{ sizes: x.sizes, dtype: 'u32' as const }, { sizes: x.sizes, dtype: 'bf16' as const }]
  const constant = (value: number): Ssa => w.constant(value, 'u32', x.sizes)
  const [words, half] = [w.op('bitcast_convert', [x], type), constant(16)]
  const last = w.op('and', [w.op('shift_right_logical', [words, half], type), constant(1)], type)
  const up = w.op('add', [words, w.op('add', [last, constant(0x7fff)], type)], type)
  const isNone = w.op('compare', [x, x], { sizes: x.sizes, dtype: 'bool' }, 'comparison_direction = #stablehlo<comparison_direction NE>')
  const found = w.op('select', [isNone, w.op('or', [words, constant(0x400000)], type), up], type)
  return w.op('bitcast_convert', [w.op('convert', [w.op('shift_right_logical', [found, half], type)], { ...to, word: true })], to)
}

/** The larger or the smaller of bf16, as XLA has them, in f32 and rounded: what is compared may be sums that XLA rounds nowhere, as they are widened at once. Undefined where it is the op itself. */
export function emitExtreme(op: 'maximum' | 'minimum', args: readonly Ssa[], w: Writer, scope: Pick<Scope, 'choices' | 'kernels'>): Ssa | undefined {
  const [x] = args
  if (x === undefined || !isInWords(x, x.dtype, scope)) return undefined
  const type = { sizes: x.sizes, dtype: 'f32' as const }
  return roundInWords(w, w.op(op, args.map(a => w.op('convert', [a], type)), type))
}

export function emitConvert(w: Writer, x: Ssa, dtype: DType, scope: Pick<Scope, 'choices' | 'kernels'>): Ssa {
  if (x.dtype === 'f32' && isInWords(x, dtype, scope)) return roundInWords(w, x)
  const to = { sizes: x.sizes, dtype }
  if (!isHalf(dtype)) return w.op('convert', [x], to)
  if (x.dtype === 'f64') return w.op('convert', [cutDouble(w, x)], to)
  const wide = dtypes[x.dtype].kind !== 'float' && dtypes[x.dtype].bytes >= 4
  return w.op('convert', [wide ? cutInteger(w, x) : x], to)
}
