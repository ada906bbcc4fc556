/** A tiny model that writes, for tests of serving: random weights on a simulated mesh, and a tokenizer of single letters. */
import { compile, initialise, input, keyOf, mapTree, mesh as meshOf, type Arrays, type Backend, type Tree } from '../../src/engine/index.ts'
import { llama, llamaSchema, t5, t5Schema, type WritingModel } from '../../src/models/index.ts'
import { Answerer, type AnswererOptions } from '../../src/serve/answerer.ts'
import type { Asked, Told } from '../../src/serve/asking.ts'
import { Turns } from '../../src/serve/turns.ts'
import { askedOf } from '../../src/serve/generate.ts'
import { Steps } from '../../src/serve/steps.ts'
import type { Sizes } from '../../src/serve/schedule.ts'

export const vocab = 32
export const letter = (id: number): string => String.fromCharCode(97 + id % 26)
const stream = () => ({ push: (id: number) => letter(id), end: () => '' })
export const end = 31

export interface Tiny { readonly steps: Steps; /** Other weights, by another seed. */ weights(seed: number): Promise<Arrays<Tree>>; answerer(options?: Partial<AnswererOptions>): Answerer }

type Axes = { readonly [axis: string]: number }
export function tiny(backend: Backend, axes: Axes, sizes: Sizes, config: object = {}): Promise<Tiny> {
  const model = llama(llamaSchema.parse({ vocab, seq: sizes.context, layers: 2, embed: 8, heads: 4, kvHeads: 2, headDim: 4, hidden: 12, tied: true, ...config }), 1) as unknown as WritingModel
  return tinyOf(model, 20, backend, axes, sizes)
}
/** One that reads prompts by an encoder: as many tokens as `sizes.source` says. Token 0 is its padding. */
export function tinyT5(backend: Backend, axes: Axes, sizes: Sizes, config: object = {}): Promise<Tiny> {
  const shape = { vocab, source: sizes.source, target: sizes.context, encoderLayers: 1, decoderLayers: 2, embed: 8, heads: 4, headDim: 4, hidden: 12, buckets: 8, farthest: 9 }
  return tinyOf(t5(t5Schema.parse({ ...shape, ...config }), 1) as unknown as WritingModel, 1.5, backend, axes, sizes)
}

/** @param times what weights are multiplied by: larger than at first, so that texts differ */
async function tinyOf(model: WritingModel, times: number, backend: Backend, axes: Axes, sizes: Sizes): Promise<Tiny> {
  const mesh = meshOf(axes)
  const heads = 'kvHeads' in model.dims ? { kvHeads: 'model' } : { heads: 'model' }
  const where = { mesh, backend, layout: { replica: 'batch', ...heads, hidden: 'model', vocab: 'model' }, dims: { ...model.dims, replica: { name: 'replica', size: sizes.replicas } }, ...(model.layouts === undefined ? {} : { uses: model.layouts }) }
  const make = await compile((seed: Tree) => mapTree(initialise(model.params, keyOf(seed as never)) as Tree, (p, path) => (path.includes('norm') ? p : (p as unknown as { mul(x: number): typeof p }).mul(times)).relayout('params')), [input('seed', [], 'i32') as Tree] as const, where)
  const weightsOf = async (seed: number): Promise<Arrays<Tree>> => await make(seed as never) as Arrays<Tree>
  const weights = await weightsOf(7)
  const { replicas, blocks, block, requests, context, chunk } = sizes
  const steps = new Steps(model, { params: model.params, weights }, where, { size: { replicas, layers: model.encoder?.layers ?? 2, blocks, block }, dtype: 'f32', tokens: vocab })
  return {
    steps, weights: weightsOf,
    answerer: (options = {}) => new Answerer(steps, {
      sizes, buckets: { requests: [requests], seq: [chunk], blocks: [Math.ceil(context / block)], listed: [40], ...(sizes.source === undefined ? {} : { sources: { tokens: [sizes.source], blocks: [Math.ceil(sizes.source / block)] } }) }, vocab, ...(model.encoder === undefined ? {} : { encoder: model.encoder }), tokenizer: { stream } as never, ends: [end], context, turns: new Turns(backend.processes),
      queue: { requests: Infinity, tokens: Infinity }, notFinite: largest => Promise.reject(new Error(`the largest logit is ${largest}`)), ...options,
    }),
  }
}

/** Everything that an answer tells, by choice. */
export async function heard(told: AsyncIterable<Told>): Promise<{ readonly texts: readonly string[]; readonly all: readonly Told[] }> {
  const texts: string[] = []
  const all: Told[] = []
  for await (const t of told) {
    all.push(t)
    if (t.type === 'more') texts[t.choice] = (texts[t.choice] ?? '') + t.text
  }
  return { texts, all }
}

export const asking = (prompt: readonly number[], asked: Partial<Asked> = {}): Asked => askedOf(Int32Array.from(prompt), { maxTokens: 12, ...asked })
