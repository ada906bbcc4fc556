/**
 * Random numbers as pure functions of a key and of global indices (Threefry-2x32-20: Salmon et al. 2011, "Parallel random
 * numbers: as easy as 1, 2, 3"), so that every mesh draws the same ones and each device only its own part.
 */
import type { Dim } from '../core/dim.ts'
import { broadcastTo, constantNode, fullNode, make } from './make.ts'
import { shapeOf, type Node } from './node.ts'
import { tensor, where, full } from './tensor.ts'
import type { Distinct, Scalar, Tensor } from './types.ts'

/** Two words of u32, scalars. Use each key once; `fold` makes others of it. */
export interface Key { readonly word0: Scalar; readonly word1: Scalar }

const threefry = (key: Key, counter0: Node, counter1: Node): Node => {
  const shape = shapeOf(counter0)
  return make('threefry', [broadcastTo(key.word0.node, shape), broadcastTo(key.word1.node, shape), counter0, counter1], {})
}
const u32 = (n: Node): Node => make('convert', [n], { dtype: 'u32' })

/** A key from a seed: any integer scalar. */
export const keyOf = (seed: Scalar): Key => fold({ word0: tensor(u32(seed.node)), word1: tensor(constantNode(0, 'u32')) }, 0)

/** Another key, from this one and a number that tells it apart: a layer, a step, a use. */
export function fold(key: Key, data: number | Scalar): Key {
  const d = typeof data === 'number' ? constantNode(data >>> 0, 'u32') : u32(data.node)
  const word = (i: number): Scalar => tensor(threefry(key, d, constantNode(i, 'u32')))
  return { word0: word(0xffffffff), word1: word(0xfffffffe) }
}

/** u32 words, each from its global index: the first dim's in one counter, the row-major rest in the other. */
export function randomBits<const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Tensor<S[number]['name']> {
  const [first, ...rest] = shape as readonly Dim[]
  const along = (d: Dim): Node => broadcastTo(u32(make('iota', [], { dim: d })), shape)
  const binary = (fn: 'add' | 'mul', a: Node, b: Node): Node => make('binary', [a, b], { fn })
  let index = fullNode(0, shape, 'u32')
  for (const d of rest) index = binary('add', binary('mul', index, fullNode(d.size, shape, 'u32')), along(d))
  return tensor(threefry(key, index, first === undefined ? index : along(first)))
}

/** f32, uniform in [0, 1): 24 random bits each. */
export const uniform = <const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Tensor<S[number]['name']> => {
  const bits = randomBits<S>(key, shape).node
  const top = make('binary', [bits, fullNode(8, shapeOf(bits), 'u32')], { fn: 'shiftRight' })
  return tensor<S[number]['name']>(make('convert', [top], { dtype: 'f32' })).mul(2 ** -24)
}

/** f32, standard normal (Box and Muller 1958). */
export function normal<const S extends readonly Dim[]>(key: Key, shape: S & Distinct<S>): Tensor<S[number]['name']> {
  const radius = uniform<S>(fold(key, 1), shape).neg().add(1).log().mul(-2).sqrt()
  return radius.mul(uniform<S>(fold(key, 2), shape).mul(2 * Math.PI).cos())
}

/** Zeroes a share `rate` of the elements and scales the others by 1 / (1 − rate) (Srivastava et al. 2014). */
export function dropout<D extends string>(key: Key, x: Tensor<D>, rate: number): Tensor<D> {
  if (rate === 0) return x
  const draw: Tensor<string> = uniform(key, x.shape)
  const keep = tensor<D>(draw.greaterEqual(rate).node)
  return where(keep, x.mul(1 / (1 - rate)), tensor<D>(full(0, x.shape, x.dtype).node))
}
