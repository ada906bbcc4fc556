/**
 * Attention over latents (DeepSeek-AI 2024): keys and values of all heads are made of one narrow vector of each token, and what knows positions is a part of each head, whose key all heads share.
 */
import type { Dim } from '../core/dim.ts'
import { concat, pad, slice } from '../graph/rearrange.ts'
import { param, type ParamOptions } from '../graph/param.ts'
import { broadcast, loose } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { rmsNorm } from '../nn/functional.ts'
import { linear, type LinearWeight } from '../nn/linear.ts'
import { quantize, type Quantize, type Weight } from '../nn/quantize.ts'
import { turned, type Angles } from '../nn/rotary.ts'
import type { Drawn } from './feed-forward.ts'

export interface LatentConfig {
  /** The width of what queries are made of; of the stream itself unless given. */
  readonly query?: number | undefined
  /** The width of what keys and values are made of. */
  readonly keyValue: number
  /** How many elements of a head, its last ones, are turned by positions. */
  readonly turned: number
  /** The width of a head's values. */
  readonly value: number
  /** Which elements are turned together: neighbours, as DeepSeek's files have them, or those half of them apart. */
  readonly pairs: 'neighbours' | 'halves'
}
type Names = 'embed' | 'kvHeads' | 'group' | 'headDim' | 'queryLatent' | 'keyLatent' | 'turned' | 'keyParts' | 'valueDim'
export type LatentDims = { readonly [N in Names]: Dim<N> }
type Heads = 'kvHeads' | 'group' | 'headDim'
/** In the order of dims of Hugging Face's files. `keyValue` has each head's key, but for its turned part, and its value. */
export type LatentProjections<L extends string> = {
  readonly queryDown?: Tensor<L | 'queryLatent' | 'embed'>
  readonly queryLatentNorm?: Tensor<L | 'queryLatent'>
  readonly query: Tensor<L | Heads | 'embed'> | Tensor<L | Heads | 'queryLatent'>
  readonly latentDown: Tensor<L | 'keyLatent' | 'embed'>
  readonly turnedKey: Tensor<L | 'turned' | 'embed'>
  readonly latentNorm: Tensor<L | 'keyLatent'>
  readonly keyValue: Tensor<L | 'kvHeads' | 'keyParts' | 'keyLatent'>
  readonly out: Tensor<L | 'embed' | 'kvHeads' | 'group' | 'valueDim'>
}
/** What is contracted whole or in few bits; norms are whole. */
export type LatentWeights<L extends string> = { readonly [K in keyof LatentProjections<L>]: K extends 'queryLatentNorm' | 'latentNorm' ? LatentProjections<L>[K] : NonNullable<LatentProjections<L>[K]> extends infer T ? T extends Tensor<infer D> ? Weight<D> : never : never }
type Loose = { readonly [K in keyof LatentProjections<never>]: K extends 'queryLatentNorm' | 'latentNorm' ? Tensor<string> : LinearWeight<string> }
/** Of the norms of latents, whatever that of the others is. */
const epsilon = 1e-6

export const latentDims = (c: LatentConfig | undefined, headDim: number): { readonly [N in Exclude<Names, 'embed' | 'kvHeads' | 'group' | 'headDim'>]?: number } =>
  (c === undefined ? {} : { ...(c.query === undefined ? {} : { queryLatent: c.query }), keyLatent: c.keyValue, turned: c.turned, keyParts: headDim - c.turned + c.value, valueDim: c.value })

export function latentParameters(c: LatentConfig, layers: Dim<'layers'>, { embed, kvHeads, group, headDim, queryLatent, keyLatent, turned: turns, keyParts, valueDim }: LatentDims, { weight, gain, branch }: Drawn & { readonly gain: ParamOptions }): LatentProjections<'layers'> {
  return {
    ...(c.query === undefined ? { query: param('query', [layers, kvHeads, group, headDim, embed], weight) }
      : { queryDown: param('queryDown', [layers, queryLatent, embed], weight), queryLatentNorm: param('queryLatentNorm', [layers, queryLatent], gain), query: param('query', [layers, kvHeads, group, headDim, queryLatent], weight) }),
    latentDown: param('latentDown', [layers, keyLatent, embed], weight), turnedKey: param('turnedKey', [layers, turns, embed], weight), latentNorm: param('latentNorm', [layers, keyLatent], gain),
    keyValue: param('keyValue', [layers, kvHeads, keyParts, keyLatent], weight), out: param('out', [layers, embed, kvHeads, group, valueDim], branch),
  }
}
export const latentQuantized = ({ queryDown, query, latentDown, turnedKey, keyValue, out, ...norms }: LatentProjections<'layers'>, d: LatentDims, how: Quantize): LatentWeights<'layers'> => ({
  ...norms, ...(queryDown === undefined ? {} : { queryDown: quantize(queryDown, d.embed, how) }),
  query: quantize<string, string>(loose(query), (queryDown === undefined ? d.embed : d.queryLatent).name, how), latentDown: quantize(latentDown, d.embed, how), turnedKey: quantize(turnedKey, d.embed, how),
  keyValue: quantize(keyValue, d.keyLatent, how), out: quantize(out, d.valueDim, how),
}) as LatentWeights<'layers'>
/** Which dims each contracts. */
export const latentLinear = (c: LatentConfig): { readonly [name: string]: readonly string[] } => ({
  ...(c.query === undefined ? { query: ['embed'] } : { queryDown: ['embed'], query: ['queryLatent'] }), latentDown: ['embed'], turnedKey: ['embed'], keyValue: ['keyLatent'], out: ['kvHeads', 'group', 'valueDim'],
})

/** Queries, keys and values of heads, values filled up with zeros to the width of keys, so that a cache holds both alike. */
export function latentHeads(x: Tensor<string>, given: LatentWeights<never>, d: LatentDims, { pairs }: LatentConfig, angles: Angles | undefined): { readonly query: Tensor<string>; readonly keys: Tensor<string>; readonly values: Tensor<string> } {
  const w = given as unknown as Loose
  const [head, whole] = [d.headDim.name as string, d.headDim.size - d.turned.size]
  const product = (y: Tensor<string>, weight: LinearWeight<string>, over: string): Tensor<string> => loose(linear(y, weight, over))
  const normed = (y: Tensor<string>, gain: Tensor<string>): Tensor<string> => rmsNorm(y, gain.shape.map(e => e.name), gain, epsilon)
  /** Neighbours that are turned together come to lie half of them apart: of queries and keys alike, which no product of them sees. */
  const placed = (y: Tensor<string>): Tensor<string> => {
    const { name, size } = d.turned
    const apart = pairs === 'halves' ? y : y.split(name as string, [{ name, size: size / 2 }, { name: '~turned.two', size: 2 }] as readonly Dim[]).merge(['~turned.two', name], { name, size } as Dim as Dim<never>)
    return (angles === undefined ? apart : turned(apart, name, angles)).rename(name as string, head)
  }
  const asked = w.queryDown === undefined || w.queryLatentNorm === undefined ? product(x, w.query, d.embed.name) : product(normed(product(x, w.queryDown, d.embed.name), w.queryLatentNorm), w.query, d.queryLatent.name)
  const query = concat<string, string>([slice<string, string>(asked, head, { end: whole }), placed(slice<string, string, string>(asked, head, { start: whole, as: d.turned.name }))], head)
  const both = product(normed(product(x, w.latentDown, d.embed.name), w.latentNorm), w.keyValue, d.keyLatent.name)
  const shared = loose(broadcast(placed(product(x, w.turnedKey, d.embed.name)), [d.kvHeads] as readonly Dim[] as readonly Dim<never>[]))
  const keys = concat<string, string>([slice<string, string, string>(both, d.keyParts.name, { end: whole, as: head }), shared], head)
  return { query, keys, values: pad<string, string>(slice<string, string, string>(both, d.keyParts.name, { start: whole, as: head }), head, 0, d.headDim.size - d.valueDim.size) }
}
/** What attention found, as the stream has it. */
export const latentOut = (found: Tensor<string>, { out }: LatentWeights<never>, d: LatentDims): Tensor<string> =>
  loose(linear(slice<string, string, string>(found, d.headDim.name, { end: d.valueDim.size, as: d.valueDim.name }), out as unknown as LinearWeight<string>, d.kvHeads.name as string, d.group.name, d.valueDim.name))
