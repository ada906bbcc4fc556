/** Attention over what was computed before: keys and values of many texts in blocks of one store, as PagedAttention has it (Kwon et al. 2023). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { scatter } from '../graph/indexing.ts'
import { input } from '../graph/input.ts'
import { broadcast, full, iota, loose, where } from '../graph/tensor.ts'
import type { AnyTensor, Scalar, Tensor } from '../graph/types.ts'
import type { Visibility } from './visible.ts'

/**
 * How large a cache is. Texts are divided among `replicas`, each of which has `blocks` blocks of its own of `block` tokens; a block is the same
 * one in every layer.
 */
export interface CacheSize { readonly replicas: number; readonly layers: number; readonly blocks: number; readonly block: number }

/** Of each token that was computed its key and its value: replica entry, and the dims of a token's key. Entries are layers × blocks × tokens of a block. */
export type KeyValues = {
  readonly keys: Tensor<string>
  readonly values: Tensor<string>
  /** Of a cache of whole numbers what a token's key and its value are multiples of, in each head: replica entry, and the dims of a key but the last. */
  readonly keyScales?: Tensor<string>
  readonly valueScales?: Tensor<string>
}

/** What a step computes: of some requests of each replica some tokens, one behind another. */
export type Fed = {
  /** replica request seq. */
  readonly tokens: Tensor<'replica' | 'request' | 'seq'>
  /** Their places in their texts, from 0. replica request seq. */
  readonly positions: Tensor<'replica' | 'request' | 'seq'>
  /** Where their keys and values go: block · tokens of a block + place in it; below 0 nowhere, as of what fills up a request. replica request seq. */
  readonly entries: Tensor<'replica' | 'request' | 'seq'>
  /** The blocks of each request, in the order of its text. replica request block. */
  readonly table: Tensor<'replica' | 'request' | 'block'>
  /** Which adapter each request has, where the model has several: replica request. */
  readonly adapter?: Tensor<'replica' | 'request'>
}

/** What a step is given, as a program's arguments: for `requests` of each replica, `seq` tokens of each, in at most `blocks` blocks. */
export function fedInputs({ replicas }: CacheSize, { requests, seq, blocks }: { readonly requests: number; readonly seq: number; readonly blocks: number }, { adapters = false }: { readonly adapters?: boolean } = {}): Fed {
  const [replica, request] = [{ name: 'replica', size: replicas }, { name: 'request', size: requests }] as const
  const along = (name: string): Tensor<'replica' | 'request' | 'seq'> => input(name, [replica, request, { name: 'seq', size: seq }], 'i32')
  return { tokens: along('tokens'), positions: along('positions'), entries: along('entries'), table: input('table', [replica, request, { name: 'block', size: blocks }], 'i32'), ...(adapters ? { adapter: input('adapter', [replica, request], 'i32') } : {}) }
}

/** A cache, as a program's argument, whose keys and values have these dims. In i8 each key and value is rounded to 255 multiples of a number of its own. */
export function cacheInputs({ replicas, layers, blocks, block }: CacheSize, of: readonly Dim[], dtype: DType): KeyValues {
  const shape = [{ name: 'replica', size: replicas }, { name: 'entry', size: layers * blocks * block }, ...of]
  const scale = (name: string): Tensor<string> => input(name, shape.slice(0, -1), 'f32')
  return { keys: input('keys', shape, dtype), values: input('values', shape, dtype), ...(dtype === 'i8' ? { keyScales: scale('keyScales'), valueScales: scale('valueScales') } : {}) }
}

/** What layers have in common when they read a cache: made once a step. */
export interface Reading {
  /** What the keys and values of a layer are once those of this step are among them, along `kvSeq`; and the cache with these in it. */
  readonly through: (layer: Scalar, cache: KeyValues, keys: AnyTensor, values: AnyTensor) => { readonly keys: Tensor<string>; readonly values: Tensor<string>; readonly cache: KeyValues }
  /** What a token sees: those before it, itself, and of them so many as `window` says. */
  readonly visible: (window: number | AnyTensor | undefined) => Visibility
}

/** Beyond the entries of any cache: nothing is written there. */
const nowhere = 2 ** 31 - 1

/** The last dim of what is stored as whole numbers up to 127, and what they are multiples of. */
function inBytes(x: AnyTensor, into: Tensor<string>): { readonly whole: Tensor<string>; readonly scale: Tensor<string> } {
  const along = into.shape[into.shape.length - 1]?.name ?? ''
  const given = loose(x).cast('f32')
  const scale = given.abs().max(along).div(127)
  return { whole: given.div(where(scale.greater(0), scale, 1)).round(), scale }
}

/** @param kvSeq the name of the dim that keys and values lie along when they are read */
export function reading({ blocks, block }: CacheSize, { positions, entries, table }: Fed, kvSeq: string): Reading {
  const seq = positions.shape.find(d => d.name === 'seq') as Dim
  const held: Dim = { name: kvSeq, size: (table.shape.find(d => d.name === 'block')?.size ?? 0) * block }
  const place: Dim<'place'> = { name: 'place', size: block }
  const index = loose(loose(broadcast(table.mul(block), [place])).add(iota(place))).merge(['block', 'place'], held)
  // Blocks hold what other texts have left there: behind its own tokens a request reads zeros.
  const own = loose(broadcast(loose(positions).max('seq'), [held])).greaterEqual(iota(held))
  return {
    through(layer, cache, keys, values) {
      const first = layer.mul(blocks * block)
      const target = where(loose(entries).less(0), loose(full(nowhere, entries.shape, 'i32')), loose(entries.add(first)))
      const at = index.add(first)
      const write = (into: Tensor<string>, x: AnyTensor): Tensor<string> => scatter(into, 'entry', target, loose(x).cast(into.dtype))
      const held = (from: Tensor<string>): Tensor<string> => where(own, loose(from.take('entry', at)), 0)
      const { keyScales, valueScales } = cache
      if (keyScales === undefined || valueScales === undefined) {
        const after = { keys: write(cache.keys, keys), values: write(cache.values, values) }
        return { keys: held(after.keys).cast(keys.dtype), values: held(after.values).cast(values.dtype), cache: after }
      }
      const [k, v] = [inBytes(keys, cache.keys), inBytes(values, cache.values)]
      const after = { keys: write(cache.keys, k.whole), values: write(cache.values, v.whole), keyScales: write(keyScales, k.scale), valueScales: write(valueScales, v.scale) }
      const read = (whole: Tensor<string>, scale: Tensor<string>, like: AnyTensor): Tensor<string> => held(whole).cast('f32').mul(held(scale)).cast(like.dtype)
      return { keys: read(after.keys, after.keyScales, keys), values: read(after.values, after.valueScales, values), cache: after }
    },
    visible: window => ({ seq, kvSeq: held, causal: true, window, isolate: false, queries: {}, keys: {}, places: { seq: positions, kvSeq: iota(held) } }),
  }
}
