/**
 * Random numbers as pure functions of a key and of global indices (Threefry-2x32-20: Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"), so that every mesh draws the same ones and each device only its own part.
 */
import { formatShape, type Dim } from '../core/dim.ts'
import { isFloat, type DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { isDType } from '../core/range.ts'
import { below, bitsOf, mostOf, spacing, upTo } from '../core/neighbours.ts'
import { onCallersLine, userSite } from '../core/site.ts'
import { floats } from './infer/checks.ts'
import { sumsIn } from './half-precision.ts'
import { broadcastTo, constantNode, fullNode, make } from './make.ts'
import { shapeOf, type Node } from './node.ts'
import { full, loose, tensor, where } from './tensor.ts'
import type { AnyTensor, Distinct, Scalar, Tensor } from './types.ts'

/** Two words of u32, scalars. Use each key once; `fold` makes others of it. */
export interface Key { readonly word0: Scalar; readonly word1: Scalar }

const threefry = (key: Key, counter0: Node, counter1: Node): Node => {
  const own = shapeOf(key.word0.node)
  // Of several keys each gives what it would give alone.
  const shape = [...own.filter(d => !shapeOf(counter0).some(e => e.name === d.name)), ...shapeOf(counter0)]
  if (own.length > 0) return make('threefry', [key.word0.node, key.word1.node, counter0, counter1].map(n => broadcastTo(n, shape)), {})
  return make('threefry', [broadcastTo(key.word0.node, shape), broadcastTo(key.word1.node, shape), counter0, counter1], {})
}
const option = (code: string, what: string, fix: string): DimError => new DimError({ code, what, fix, at: userSite() })
/** The words of a number, the second where it has 64 bits. @throws DimError for what is no whole number, one for all */
function wordsOf(what: string, seed: AnyTensor): { readonly low: Node; readonly high?: Node } {
  const { node, dtype, shape } = seed
  if (node === undefined || isFloat(dtype) || dtype === 'bool' || shape.length > 0) throw option('seed', `${what} is ${node === undefined ? String(seed) : `${dtype} ${formatShape(shape)}`}`, 'give a scalar of integers')
  return dtype === 'i64' ? { low: u32(node), high: u32(make('binary', [node, constantNode(32, 'i64')], { fn: 'shiftRight' })) } : { low: u32(node) }
}
const float = (what: string, dtype: DType): void => {
  if (!isDType(dtype) || !isFloat(dtype)) throw option('dtype', `${what}: draws floats, not ${shown(dtype)}`, 'cast what is drawn, or use randomIntegers')
}
const u32 = (n: Node): Node => make('convert', [n], { dtype: 'u32' })

/** A key from a seed: any integer scalar, all of its bits. */
export const keyOf = (seed: Scalar): Key => onCallersLine(() => {
  const { low, high = constantNode(0, 'u32') } = wordsOf('keyOf: the seed', seed)
  return fold({ word0: tensor(low), word1: tensor(high) }, 0)
})

/** Another key, from this one and a number that tells it apart: a layer, a step, a use. A number below 2³² gives the same whatever dtype it has. */
export const fold = (key: Key, data: number | Scalar): Key => onCallersLine(() => {
  if (typeof data === 'number' && !(Number.isInteger(data) && data >= -(2 ** 31) && data < 2 ** 32)) throw option('seed', `fold: the number is ${data}`, 'give a whole number from −2³¹ to 2³² − 1')
  const foldWord = (from: Key, word: Node): Key => {
    const made = (i: number): Scalar => tensor(threefry(from, word, constantNode(i, 'u32')))
    return { word0: made(0xffffffff), word1: made(0xfffffffe) }
  }
  const { low, high }: ReturnType<typeof wordsOf> = typeof data === 'number' ? { low: constantNode(data >>> 0, 'u32') } : wordsOf('fold: the number', data)
  const short = foldWord(key, low)
  if (high === undefined) return short
  const long = foldWord(short, high)
  const upper: Scalar = tensor(high)
  const isShort = upper.equal(0)
  return { word0: where(isShort, short.word0, long.word0), word1: where(isShort, short.word1, long.word1) }
})

/** u32 words, each from its global index: the first dim's in one counter, the row-major rest in the other. Keys along other dims give each its own. */
export const randomBits = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Tensor<S[number]['name']> => onCallersLine(() => {
  const [first, ...rest] = shape as readonly Dim[]
  const along = (d: Dim): Node => broadcastTo(u32(make('iota', [], { dim: d })), shape)
  const binary = (fn: 'add' | 'mul', a: Node, b: Node): Node => make('binary', [a, b], { fn })
  let index = fullNode(0, shape, 'u32')
  for (const d of rest) index = binary('add', binary('mul', index, fullNode(d.size, shape, 'u32')), along(d))
  return tensor(threefry(key, index, first === undefined ? index : along(first)))
})

export interface UniformRange {
  /** 0 unless said. */
  readonly low?: number
  /** 1 unless said; not reached. */
  readonly high?: number
  /** A float; f32 unless said. */
  readonly dtype?: DType
}

/**
 * Uniform in [low, high), which is not reached in any dtype: 24 random bits each, 53 for f64, and of halves those 8 or 11 that
 * they can hold from the first 1 on. Between 0 and 1 the chance to lie below any number of the dtype is that number.
 */
export const uniform = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>, { low = 0, high = 1, dtype = 'f32' }: UniformRange = {}): Tensor<S[number]['name']> => onCallersLine(() => {
  float('uniform', dtype)
  if (!(low < high) || !Number.isFinite(high - low)) throw option('range', `uniform: no numbers lie in [${low}, ${high})`, 'give two finite numbers, the lower one first')
  const [first, last] = [upTo(low, dtype), below(high, dtype)]
  if (!(first <= last)) throw option('range', `uniform: no ${dtype} lies in [${low}, ${high})`, 'give a wider range, or a dtype with more digits')
  const wide = sumsIn(dtype)
  const unit = dtype === 'f64' ? words(key, shape, 6, 'f64').mul(2 ** -26).add(words(fold(key, 3), shape, 5, 'f64').mul(2 ** -53)) : significant(words(key, shape, 8, 'u32'), bitsOf(dtype)).cast('f32').mul(2 ** -24)
  if (first === 0 && high === 1) return tensor(unit.cast(dtype).node)
  // What f32 cannot hold is drawn at a quarter of its size.
  const scale = high - first > mostOf(wide) ? 4 : 1
  const drawn = unit.mul((high - first) / scale)
  // Cut to multiples of the last digit of the range's far end, whatever is added to them is exact: rounded, it could be the end itself.
  const step = spacing(Math.max(Math.abs(first), Math.abs(last)), dtype) / scale
  const scaled = first === 0 ? drawn : drawn.div(step).floor().mul(step).add(first / scale)
  return tensor((scale === 1 ? scaled : scaled.mul(scale)).clamp(first, last).cast(dtype).node)
})
/** Random words without their lowest bits. */
const words = (key: Key, shape: readonly Dim[], drop: number, dtype: DType): Tensor<string> => {
  const bits: Tensor<string> = randomBits<readonly Dim[]>(key, shape)
  const top: Tensor<string> = bits.shiftRight(drop)
  return top.cast(dtype)
}
/** So many bits of each word from its first 1 on, the lower ones 0. Of 24 bits. */
function significant(word: Tensor<string>, bits: number): Tensor<string> {
  if (bits >= 24) return word
  const drop = word.leadingZeros().cast('i32').neg().add(32 - bits).maximum(0).cast('u32')
  return loose(word.shiftRight(loose(drop))).shiftLeft(loose(drop))
}

/** Uniform in (0, 1), neither end of it: odd multiples of 2⁻²⁴. */
export const openUniform = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Tensor<S[number]['name']> =>
  onCallersLine(() => tensor(words(key, shape, 9, 'f32').add(0.5).mul(2 ** -23).node))

/** Whether each element's word falls below a chance, which counts in steps of 2⁻³². */
export function falls<const S extends readonly Dim[]>(key: Key, chance: number, shape: S & Distinct<S>): Tensor<S[number]['name']> {
  const limit = Math.round(chance * 2 ** 32)
  const bits = randomBits<S>(key, shape)
  // 2³² is no u32, and above all of them.
  return limit < 2 ** 32 ? bits.less(limit) : tensor(bits.equal(bits).node)
}

/** Standard normal (Box and Muller 1958); a float, f32 unless said. */
export const normal = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>, dtype: DType = 'f32'): Tensor<S[number]['name']> => onCallersLine(() => {
  float('normal', dtype)
  const wide = dtype === 'f64' ? 'f64' : 'f32'
  const radius = uniform<S>(fold(key, 1), shape, { dtype: wide }).neg().add(1).log().mul(-2).sqrt()
  return tensor(loose(radius).mul(cosOfTurns(uniform<S>(fold(key, 2), shape, { dtype: wide }))).cast(dtype).node)
})

/**
 * cos(2πu) for u in [0, 1], to the last bits: sin(2πv) by its series, v = |u − ½| − ¼ being exact and within a quarter turn.
 * XLA's CPU backend takes ten times as long for a cosine, which must do for numbers of any size.
 */
function cosOfTurns(u: Tensor<string>): Tensor<string> {
  const v = u.sub(0.5).abs().sub(0.25)
  const square = loose(v.mul(v))
  const [first = 0, second = 0, ...others] = series(u.dtype === 'f64' ? 11 : 7).reverse()
  return others.reduce((sum: Tensor<string>, c) => sum.mul(square).add(c), square.mul(first).add(second)).mul(v)
}
/** The coefficients of the Taylor series of sin(2πv): (−1)ᵏ (2π)²ᵏ⁺¹ / (2k + 1)! for k = 0, 1, … */
function series(terms: number): number[] {
  const found = [2 * Math.PI]
  for (let k = 1; k < terms; k++) found.push(-(found[k - 1] ?? 0) * (2 * Math.PI) ** 2 / (2 * k * (2 * k + 1)))
  return found
}

/** Zeroes a share `rate` of the elements and scales the others by 1 / (1 − rate) (Srivastava et al. 2014). */
export function dropout<D extends string>(key: Key, x: Tensor<D>, rate: number): Tensor<D> {
  if (!(rate >= 0 && rate < 1)) throw option('rate', `dropout: the rate is ${rate}`, 'give a share of at least 0 and below 1')
  floats('dropout', x.dtype, x.shape, userSite)
  if (rate === 0) return x
  return where(falls(key, rate, x.shape), full(0, x.shape, x.dtype), x.mul(1 / (1 - rate)))
}
