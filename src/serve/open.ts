/** Opens a model that answers: its weights and its cache on a mesh. */
import type { FileError } from '../core/errors.ts'
import type { DType } from '../core/dtype.ts'
import { mesh as meshOf, type Arrays, type Backend, type Layouts, type Tree } from '../engine/index.ts'
import type { Tokenizer } from '../data/index.ts'
import { withAdapters, type AdapterStackOptions, type WritingModel } from '../models/index.ts'
import { AdapterHost, type FindAdapters } from './adapters.ts'
import { Answerer } from './answerer.ts'
import { constraints } from './constraints/constrain.ts'
import { loadWeights, zerosLike, type Loaded, type WeightBits, type Where } from './loading.ts'
import { notFinite } from './not-finite.ts'
import type { Buckets } from './order.ts'
import type { Sizes } from './schedule.ts'
import { Steps } from './steps.ts'
import { Turns } from './turns.ts'
import type { Stored } from './weights.ts'

/** What writes: as it lies on a disk, or as something else on the devices has it. */
export interface Generating extends Stored {
  /** Weights for a model of ours out of arrays that are there already; from where they are stored unless said. Every process calls it. */
  readonly arrays?: ((where: Where, params: Tree) => Promise<Arrays<Tree>>) | undefined
  /** The model for so many windows at once. */
  readonly model: (rows: number) => WritingModel
  readonly tokenizer: Tokenizer
  /** Tokens that end its texts; the tokenizer's own unless said. */
  readonly ends?: readonly number[]
  /** The step of a run that has made the weights, where there is one. */
  readonly step?: number | undefined
}
/** New weights of the same model: where they lie now, or what brings them. */
export interface Newer { readonly from: Pick<Generating, 'weights' | 'naming' | 'arrays'>; readonly step: number | undefined }

export interface OpenOptions extends Layouts {
  readonly backend: Backend
  readonly mesh: { readonly [axis: string]: number }
  /** Bits of the weights that are contracted; as the run has them unless said. `keep` leaves those of few bits as the file has them, exactly. */
  readonly weights?: WeightBits | 'keep' | undefined
  /** Tokens of a prompt and its answer, or of each where an encoder reads prompts; as many as the model is made for unless said. */
  readonly context?: number | undefined
  /** Answers that each group of devices writes at once; 8 unless said. */
  readonly requests?: number
  /** Tokens that all answers of a group of devices hold together; as many as `requests` of them can have unless said. */
  readonly held?: number
  /** Tokens of a block of the cache; 16 unless said. */
  readonly block?: number
  /** What the cache is kept in; f32 unless said. */
  readonly cache?: DType
  /** Tokens that are guessed from what the text itself said before, and checked in one step: the same text in fewer steps. None unless said. */
  readonly drafts?: number | undefined
  /** Tokens of a prompt that are read at once; 256 unless said. */
  readonly chunk?: number
  readonly queue?: { readonly requests: number; readonly tokens: number }
  /** Room for adapters that requests choose by name. */
  readonly adapters?: AdapterStackOptions & { readonly find: FindAdapters }
  /** What an order to `renew` means: where the new weights lie. Every process is asked. */
  readonly newer?: (order: string) => Promise<Newer>
  /** Those of other models on the same devices; its own unless said. */
  readonly turns?: Turns
}

export interface Opened {
  readonly turns: Turns
  readonly answering: Answerer
  readonly steps: Steps
  /** What loads and drops adapters, where there is room for some. */
  readonly adapters: AdapterHost | undefined
  /** Compiles all that answers need, so that none waits for it. */
  prepare(progress?: (done: number, all: number) => void): Promise<void>
  close(): Promise<void>
}

/** Short prompts that are read in one step. */
const shortPrompts = 4
/** Few shapes, each so many times the one before: all are compiled before the first answer. */
const rising = (from: number, to: number, times: number): number[] => (from >= to ? [to] : [from, ...rising(times * from, to, times)])
const places: readonly string[] = ['batch', 'seq', 'kvSeq', 'source', 'target', 'kvSource', 'kvTarget']
const withoutPlaces = <T extends object | undefined>(rules: T): T => (rules === undefined ? rules : Object.fromEntries(Object.entries(rules).filter(([dim]) => !places.includes(dim))) as T)

/** Loads a model onto a mesh. All processes call it. @throws FileError, UsageError */
export async function openAnswering(from: Generating, { backend, mesh: axes, weights: bits, context, requests = 8, held, block = 16, cache = 'f32', chunk = 256, drafts = 0, adapters, queue, newer, turns = new Turns(backend.processes), ...given }: OpenOptions): Promise<Opened> {
  const mesh = meshOf(axes)
  const own = from.model(1)
  const stacked = adapters === undefined ? undefined : withAdapters(own, adapters)
  const model: WritingModel = stacked ?? own
  const over = given.layout['batch']
  const replicas = (over === undefined ? [] : typeof over === 'string' ? [over] : over).reduce((n, axis) => n * (axes[axis] ?? 1), 1)
  // Texts are told apart by what groups of devices have them; within a text a group computes all places.
  const layouts: Layouts = {
    ...given, layout: { ...withoutPlaces(given.layout), ...(over === undefined ? {} : { replica: over }) },
    ...(given.params === undefined ? {} : { params: withoutPlaces(given.params) }), ...(given.layouts === undefined ? {} : { layouts: Object.fromEntries(Object.entries(given.layouts).map(([name, rules]) => [name, withoutPlaces(rules)])) }),
  }
  const where = { ...layouts, ...(model.layouts === undefined ? {} : { uses: model.layouts }), mesh, backend, dims: { ...model.dims, replica: { name: 'replica', size: replicas } } }
  const load = async ({ arrays, ...stored }: Newer['from']): Promise<Loaded> => (arrays === undefined ? loadWeights(stored, own, where, bits) : { params: own.params, weights: await arrays(where, own.params) })
  const base = await load(from)
  const loaded = stacked === undefined ? base : { params: { base: base.params, lora: stacked.params.lora } as unknown as Tree, weights: { base: base.weights, lora: await zerosLike(stacked.params.lora as Tree, where) } as unknown as Arrays<Tree> }
  const { encoder } = model
  const most = Math.min(context ?? Infinity, encoder?.target ?? model.dims['seq']?.size ?? 0)
  const source = encoder === undefined ? undefined : Math.min(context ?? Infinity, encoder.source)
  const read = Math.min(chunk, most)
  const perText = Math.ceil(most / block)
  // What a text holds at once: all of it, or what its next tokens see.
  const atOnce = Math.min(most, (model.window ?? Infinity) + read + block)
  const needs = Math.ceil(atOnce / block) + Math.ceil((source ?? 0) / block)
  const blocks = Math.max(needs, held === undefined ? Math.ceil(requests * atOnce / block) + requests * Math.ceil((source ?? 0) / block) : Math.ceil(held / block))
  const together = { texts: Math.min(shortPrompts, requests), tokens: Math.floor(read / shortPrompts) }
  const sizes: Sizes = { replicas, requests, blocks, block, context: most, chunk: read, together, ...(model.window === undefined ? {} : { window: model.window }), ...(source === undefined ? {} : { source }) }
  const { vocab } = from.tokenizer
  const size = { replicas, layers: encoder?.layers ?? model.dims['layers']?.size ?? 0, blocks, block }
  const steps = new Steps(model, loaded, where, { size, dtype: cache, tokens: vocab })
  const buckets: Buckets = { requests: rising(1, requests, 2), seq: rising(16, sizes.chunk, 4), blocks: rising(Math.min(16, perText), perText, 4), listed: rising(64, vocab, 4), prompts: together.texts, ...(drafts > 0 ? { drafts } : {}), ...(source === undefined ? {} : { sources: { tokens: rising(Math.min(32, source), source, 2), blocks: rising(Math.min(16, Math.ceil(source / block)), Math.ceil(source / block), 4) } }) }
  const host = adapters === undefined || stacked === undefined ? undefined : new AdapterHost(stacked, steps, { count: adapters.count, where, turns, find: adapters.find })
  const constrained = constraints(from.tokenizer)
  const answering = new Answerer(steps, {
    ...(host === undefined ? {} : { slots: host.slots }),
    ...(newer === undefined ? {} : { renewed: async (order: string) => {
      const { from: newest, step } = await newer(order)
      const { weights } = await load(newest)
      steps.replace(stacked === undefined ? weights : { base: weights, lora: (steps.weights as unknown as { readonly lora: Arrays<Tree> }).lora } as unknown as Arrays<Tree>)
      return step
    } }),
    ...(encoder === undefined ? {} : { encoder }), sizes, buckets, vocab, step: from.step, tokenizer: from.tokenizer, ends: from.ends ?? (from.tokenizer.endOfText === undefined ? [] : [from.tokenizer.endOfText]), context: most, drafts, turns,
    queue: queue ?? { requests: Infinity, tokens: Infinity }, notFinite: (largest): Promise<FileError> => notFinite(from.weights, largest, loaded.weights), constrain: constraint => constrained.begin(constraint),
  })
  return {
    answering, steps, turns, adapters: host,
    async prepare(progress) {
      const several = (most: number): readonly number[] => (together.texts > 1 && most <= together.tokens ? [1, together.texts] : [1])
      const shapes = (buckets.sources?.blocks ?? [0]).flatMap(sourceBlocks => buckets.blocks.flatMap(b => [
        ...buckets.requests.flatMap(r => [0, ...(drafts > 0 ? [drafts] : [])].map(d => ({ requests: r, seq: 1 + d, blocks: b, draws: 1 + d, sourceBlocks }))),
        ...buckets.seq.filter(s => s <= b * block).flatMap(s => several(s).map(r => ({ requests: r, seq: s, blocks: b, draws: 1, sourceBlocks }))),
      ]))
      const sources = (buckets.sources?.tokens ?? []).flatMap(tokens => several(tokens).map(requests => ({ requests, source: tokens })))
      const all = shapes.length + sources.length
      for (const [i, shape] of sources.entries()) {
        await steps.prepareSources(shape)
        progress?.(i + 1, all)
      }
      for (const [i, shape] of shapes.entries()) {
        for (const listed of [undefined, buckets.listed[0]]) await steps.prepare(shape, listed)
        progress?.(sources.length + i + 1, all)
      }
      constrained.prepare()
    },
    async close() {
      await constrained.close()
      await steps.close()
    },
  }
}
