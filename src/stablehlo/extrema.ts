/** The larger and the smaller of floats, NaN where either is one: what XLA's own reductions keep of a NaN depends on how they are vectorised. */
import { isFloat, type DType } from '../core/dtype.ts'
import type { ReduceKind } from '../graph/ops.ts'
import type { Ssa, Writer } from './writer.ts'

export const compared = (w: Writer, direction: string, a: Ssa, b: Ssa): Ssa =>
  w.op('compare', [a, b], { sizes: a.sizes, dtype: 'bool' }, `comparison_direction = #stablehlo<comparison_direction ${direction}>`)
export const like = (x: Ssa, dtype: DType): Pick<Ssa, 'sizes' | 'dtype'> => ({ sizes: x.sizes, dtype })

const combining: { readonly [K in ReduceKind]: string } = { sum: 'add', prod: 'multiply', max: 'maximum', min: 'minimum' }

/** Whether NaN needs care: only floats have one, and sums and products keep it. */
export const isExtremum = (kind: ReduceKind, dtype: DType): kind is 'max' | 'min' => (kind === 'max' || kind === 'min') && isFloat(dtype)

/** What a reduction makes of two elements. */
export function combined(w: Writer, kind: ReduceKind, a: Ssa, b: Ssa): Ssa {
  if (!isExtremum(kind, a.dtype)) return w.op(combining[kind], [a, b], a)
  // In these words no backend takes it for one of its own extrema.
  const better = w.op('or', [compared(w, kind === 'max' ? 'GT' : 'LT', a, b), compared(w, 'NE', a, a)], like(a, 'bool'))
  return w.op('select', [better, a, b], a)
}
/** The body of a reduction: two scalars in, one out. */
export const combiner = (w: Writer, kind: ReduceKind, dtype: DType) => (): void => {
  const [a, b] = w.block([{ sizes: [], dtype }, { sizes: [], dtype }])
  if (a !== undefined && b !== undefined) w.return([combined(w, kind, a, b)])
}

/** The same by the op of its name, where the compiler keeps a NaN. */
export const plainCombiner = (w: Writer, kind: ReduceKind, dtype: DType) => (): void => {
  const [a, b] = w.block([{ sizes: [], dtype }, { sizes: [], dtype }])
  if (a !== undefined && b !== undefined) w.return([w.op(combining[kind], [a, b], a)])
}

/** The bits of negative floats count down: turned round, bits have the order of what they stand for. Its own inverse. */
function turned(w: Writer, bits: Ssa): Ssa {
  if (bits.dtype === 'i32') {
    const [zero, ones] = [w.constant(0, 'i32', bits.sizes), w.constant(2 ** 31 - 1, 'i32', bits.sizes)]
    return w.op('select', [compared(w, 'LT', bits, zero), w.op('xor', [bits, ones], bits), bits], bits)
  }
  const by = (n: number): Ssa => w.constant(n, bits.dtype, bits.sizes)
  const sign = w.op('shift_right_arithmetic', [bits, by(63)], bits)
  return w.op('xor', [bits, w.op('shift_right_logical', [sign, by(1)], bits)], bits)
}
/** Floats with one NaN, at the far end of the total order of bits: above all others for a maximum. */
function oneNaN(w: Writer, x: Ssa, kind: 'max' | 'min', others = x): Ssa {
  const nan = w.constant(NaN, x.dtype, x.sizes)
  return w.op('select', [compared(w, 'NE', x, x), kind === 'max' ? nan : w.op('negate', [nan], x), others], x)
}
/** Floats with one zero and one NaN, which the total order of bits puts where they belong. */
export function plain(w: Writer, x: Ssa): Ssa {
  const zero = w.constant(0, x.dtype, x.sizes)
  return oneNaN(w, x, 'max', w.op('select', [compared(w, 'EQ', x, zero), zero, x], x))
}
/** Integers in the order of the floats. */
function ordered(w: Writer, x: Ssa, prepared: (x: Ssa) => Ssa): Ssa {
  const [wide, bits] = x.dtype === 'f64' ? ['f64', 'i64'] as const : ['f32', 'i32'] as const
  const widened = x.dtype === wide ? x : w.op('convert', [x], like(x, wide))
  return turned(w, w.op('bitcast_convert', [prepared(widened)], like(x, bits)))
}
/** Integers in the order of the floats, NaN the largest: XLA sorts them in a sixth of the time that a comparator of floats takes. */
export const keyOf = (w: Writer, x: Ssa): Ssa => ordered(w, x, v => plain(w, v))
export function fromKey(w: Writer, key: Ssa, dtype: DType): Ssa {
  const wide = key.dtype === 'i64' ? 'f64' : 'f32'
  const found = w.op('bitcast_convert', [turned(w, key)], like(key, wide))
  return dtype === wide ? found : w.op('convert', [found], like(found, dtype))
}

/** A reduction between devices, which knows only the plain ops: extrema of floats are those of integers in their order. */
export const betweenDevices = (w: Writer, kind: ReduceKind, x: Ssa, reduce: (x: Ssa) => Ssa): Ssa =>
  isExtremum(kind, x.dtype) ? fromKey(w, reduce(ordered(w, x, v => oneNaN(w, v, kind))), x.dtype) : reduce(x)
