/** Attention over what was computed before: keys and values of many texts in blocks of one store, as PagedAttention has it (Kwon et al. 2023). */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
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
  /** Of a model with an encoder the blocks that hold what it has read for each request, and of how many tokens that was: replica request block, replica request. */
  readonly sourceTable?: Tensor<'replica' | 'request' | 'block'>
  readonly sourceLength?: Tensor<'replica' | 'request'>
}
/** What an encoder reads of some requests of each replica, whole. */
export type Sources = {
  /** replica request source. What fills up a request is the model's padding. */
  readonly tokens: Tensor<'replica' | 'request' | 'source'>
  /** Where the keys and values of what was read go, as `Fed` has them. */
  readonly entries: Tensor<'replica' | 'request' | 'source'>
  readonly adapter?: Tensor<'replica' | 'request'>
}

interface StepShape { readonly requests: number; readonly seq: number; readonly blocks: number; /** Blocks of what an encoder has read; none unless said. */ readonly sourceBlocks?: number }
interface StepOptions { readonly adapters?: boolean }
const requestsOf = ({ replicas }: CacheSize, requests: number): readonly [Dim<'replica'>, Dim<'request'>] => [{ name: 'replica', size: replicas }, { name: 'request', size: requests }]

/** What a step is given, as a program's arguments: for `requests` of each replica, `seq` tokens of each, in at most `blocks` blocks. */
export function fedInputs(size: CacheSize, { requests, seq, blocks, sourceBlocks = 0 }: StepShape, { adapters = false }: StepOptions = {}): Fed {
  const [replica, request] = requestsOf(size, requests)
  const along = (name: string): Tensor<'replica' | 'request' | 'seq'> => input(name, [replica, request, { name: 'seq', size: seq }], 'i32')
  const table = (name: string, count: number): Tensor<'replica' | 'request' | 'block'> => input(name, [replica, request, { name: 'block', size: count }], 'i32')
  return {
    tokens: along('tokens'), positions: along('positions'), entries: along('entries'), table: table('table', blocks), ...(adapters ? { adapter: input('adapter', [replica, request], 'i32') } : {}),
    ...(sourceBlocks > 0 ? { sourceTable: table('sourceTable', sourceBlocks), sourceLength: input('sourceLength', [replica, request], 'i32') } : {}),
  }
}
/** What an encoder is given, as a program's arguments: of `requests` of each replica sources of `source` tokens. */
export function sourceInputs(size: CacheSize, { requests, source }: { readonly requests: number; readonly source: number }, { adapters = false }: StepOptions = {}): Sources {
  const [replica, request] = requestsOf(size, requests)
  const along = (name: string): Tensor<'replica' | 'request' | 'source'> => input(name, [replica, request, { name: 'source', size: source }], 'i32')
  return { tokens: along('tokens'), entries: along('entries'), ...(adapters ? { adapter: input('adapter', [replica, request], 'i32') } : {}) }
}

/** A cache, as a program's argument, whose keys and values have these dims. In i8 each key and value is rounded to 255 multiples of a number of its own. */
export function cacheInputs({ replicas, layers, blocks, block }: CacheSize, of: readonly Dim[], dtype: DType): KeyValues {
  const shape = [{ name: 'replica', size: replicas }, { name: 'entry', size: layers * blocks * block }, ...of]
  const scale = (name: string): Tensor<string> => input(name, shape.slice(0, -1), 'f32')
  return { keys: input('keys', shape, dtype), values: input('values', shape, dtype), ...(dtype === 'i8' ? { keyScales: scale('keyScales'), valueScales: scale('valueScales') } : {}) }
}

/** What layers have in common when they read a cache: made once a step. */
export interface Reading {
  /** Where a request's keys and values lie when they are read, in the order of its text. */
  readonly held: Dim
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

type Store = (layer: Scalar, cache: KeyValues, keys: AnyTensor, values: AnyTensor) => KeyValues
/** Puts a layer's keys and values into the cache, where `entries` says. */
export function storing({ blocks, block }: CacheSize, entries: AnyTensor): Store {
  return (layer, cache, keys, values) => {
    const target = where(loose(entries).less(0), loose(full(nowhere, entries.shape, 'i32')), loose(loose(entries).add(layer.mul(blocks * block))))
    const write = (into: Tensor<string>, x: AnyTensor): Tensor<string> => scatter(into, 'entry', target, loose(x).cast(into.dtype))
    const { keyScales, valueScales } = cache
    if (keyScales === undefined || valueScales === undefined) return { keys: write(cache.keys, keys), values: write(cache.values, values) }
    const [k, v] = [inBytes(keys, cache.keys), inBytes(values, cache.values)]
    return { keys: write(cache.keys, k.whole), values: write(cache.values, v.whole), keyScales: write(keyScales, k.scale), valueScales: write(valueScales, v.scale) }
  }
}

/** Of a layer keys and values as a cache holds them, in the order of each request's blocks, along `held`. */
type Look = (layer: Scalar, cache: KeyValues, dtype: DType) => { readonly keys: Tensor<string>; readonly values: Tensor<string> }
/** @param own which places are a request's own: blocks hold what other texts have left there, and beyond its own a request reads zeros */
function looking({ blocks, block }: CacheSize, table: AnyTensor, held: Dim, own: AnyTensor): Look {
  const place: Dim<'place'> = { name: 'place', size: block }
  const index = loose(loose(broadcast(loose(table).mul(block), [place] as never)).add(iota(place))).merge(['block', 'place'], held)
  return (layer, { keys, values, keyScales, valueScales }, dtype) => {
    const at = index.add(layer.mul(blocks * block))
    const read = (from: Tensor<string>): Tensor<string> => where(loose(own), loose(from.take('entry', at)), 0)
    if (keyScales === undefined || valueScales === undefined) return { keys: read(keys).cast(dtype), values: read(values).cast(dtype) }
    const whole = (from: Tensor<string>, scale: Tensor<string>): Tensor<string> => read(from).cast('f32').mul(read(scale)).cast(dtype)
    return { keys: whole(keys, keyScales), values: whole(values, valueScales) }
  }
}
/** The places of all blocks of a table, one behind another. */
const heldIn = ({ block }: CacheSize, table: AnyTensor, name: string): Dim => ({ name, size: (table.shape.find(d => d.name === 'block')?.size ?? 0) * block })

/** @param kvSeq the name of the dim that keys and values lie along when they are read */
export function reading(size: CacheSize, { positions, entries, table }: Fed, kvSeq: string): Reading {
  const seq = positions.shape.find(d => d.name === 'seq') as Dim
  const held = heldIn(size, table, kvSeq)
  const own = loose(broadcast(loose(positions).max('seq'), [held])).greaterEqual(iota(held))
  const [store, look] = [storing(size, entries), looking(size, table, held, own)]
  return {
    held,
    through(layer, cache, keys, values) {
      const after = store(layer, cache, keys, values)
      return { ...look(layer, after, keys.dtype), cache: after }
    },
    visible: window => ({ seq, kvSeq: held, causal: true, window, isolate: false, queries: {}, keys: {}, places: { seq: positions, kvSeq: iota(held) } }),
  }
}

/** What layers have in common when they read what an encoder has left in a cache: made once a step. */
export interface SourceReading { readonly look: Look; /** What tokens see: all of their request's source. */ readonly visible: Visibility }
/** @param kvSeq as `reading` has it */
export function readingSources(size: CacheSize, { positions, sourceTable, sourceLength }: Fed, kvSeq: string): SourceReading {
  if (sourceTable === undefined || sourceLength === undefined) throw new DimError({ code: 'option', what: 'extend: it is not said where the encoder\'s keys and values lie', fix: 'give fed.sourceTable and fed.sourceLength', at: userSite() })
  const seq = positions.shape.find(d => d.name === 'seq') as Dim
  const held = heldIn(size, sourceTable, kvSeq)
  const own = loose(broadcast(sourceLength, [held])).greater(iota(held))
  return { look: looking(size, sourceTable, held, own), visible: { seq, kvSeq: held, causal: false, window: undefined, isolate: false, queries: {}, keys: { keep: own }, places: { seq: positions, kvSeq: iota(held) } } }
}
