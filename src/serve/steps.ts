/** The programs of a model that writes, and what they hold on the devices: weights, and the cache of keys and values. */
import type { DType } from '../core/dtype.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape } from '../core/layout.ts'
import { compile, input, leavesOf, loose, mapTree, place, placementTrees, type Arrays, type MeshArray, type Placements, type Program, type Tree } from '../engine/index.ts'
import { fedInputs, sourceInputs, type CacheSize, type KeyValues, type WritingModel } from '../models/index.ts'
import { drawingInputs, drawn, likeliest, logitsInput, told, type Draws, type DrawShape } from './draw.ts'
import type { Loaded, Where } from './loading.ts'
import type { Order, Shape, SourceOrder } from './order.ts'
import { arrayTrees, free } from './weights.ts'

/** What came of a step, row-major over replica request draw. */
export interface Outcome {
  readonly tokens: Int32Array
  /** The largest logits that could be drawn from: nothing was where they are no numbers, or infinite. */
  readonly largest: Float32Array
  /** Of the tokens that were drawn, of those that were asked for, and of the likeliest ones. */
  readonly told?: { readonly drawn: Float32Array; readonly targets: Float32Array; readonly top: Int32Array; readonly topLogprob: Float32Array; readonly width: number }
}

type Drawn = Readonly<Record<'tokens' | 'largest', MeshArray>>
/** What comes of a step in which nothing is drawn. */
const nothing: Outcome = { tokens: new Int32Array(0), largest: new Float32Array(0) }
type Any = (...args: never[]) => Promise<unknown>
type Kept = Pick<Program<readonly Tree[], Tree>, 'dispose' | 'placements'> & Any

/** Every device gets all of it: little is read of many. */
const everywhere = <T extends Readonly<Record<string, Draws['tokens']>>>(found: T): T => mapTree(found as Tree, x => loose(x).relayout({})) as T

export class Steps {
  readonly size: CacheSize
  readonly #model: WritingModel
  readonly #where: Where
  #loaded: Loaded
  readonly #dtype: DType
  /** Tokens there are: the vocabulary may be filled up with some that are none. */
  readonly #tokens: number
  readonly #programs = new Map<string, Promise<Kept>>()
  #cache: Arrays<KeyValues> | undefined

  constructor(model: WritingModel, loaded: Loaded, where: Where, { size, dtype, tokens }: { readonly size: CacheSize; readonly dtype: DType; readonly tokens: number }) {
    this.#model = model
    this.#loaded = loaded
    this.#where = where
    this.size = size
    this.#dtype = dtype
    this.#tokens = tokens
  }

  /** Computes a step. All processes call it with the same order. */
  async run(order: Order | SourceOrder): Promise<Outcome> {
    if ('sources' in order) {
      await this.#readSources(order)
      return nothing
    }
    const { shape, fed, at, drawing, targets } = order
    const extend = await this.#extend(shape)
    this.#cache ??= await this.#zeros(extend.placements[1] as Placements<KeyValues>)
    const given = this.#cache
    // The program takes the cache over: if it fails there is none.
    this.#cache = undefined
    const { logits, cache, likely } = await extend(this.#loaded.weights as never, given as never, fed as never, at as never) as { readonly logits: MeshArray; readonly cache: Arrays<KeyValues>; readonly likely: Drawn }
    this.#cache = cache
    try {
      const draws = drawing === undefined ? likely : await (await this.#draw(shape, drawing.listed.length / (this.size.replicas * shape.requests)))(logits as never, drawing as never) as Drawn
      try {
        const [tokens, largest] = await Promise.all([draws.tokens.read() as Promise<Int32Array>, draws.largest.read() as Promise<Float32Array>])
        return { tokens, largest, ...(targets === undefined ? {} : { told: await this.#tell(shape, logits, tokens, targets) }) }
      } finally {
        if (draws !== likely) free(draws)
      }
    } finally {
      free([logits, likely])
    }
  }

  get weights(): Loaded['weights'] { return this.#loaded.weights }
  /** Weights for those that there are: of the same shapes, laid alike. What is no longer among them is freed. */
  replace(weights: Loaded['weights']): void {
    const kept = new Set(arrayTrees.flatten(weights).map(w => w.leaf))
    for (const { leaf } of arrayTrees.flatten(this.#loaded.weights)) if (!kept.has(leaf)) leaf.dispose()
    this.#loaded = { ...this.#loaded, weights }
  }

  /** Compiles what reads sources of such a shape. */
  async prepareSources(shape: SourceOrder['shape']): Promise<void> { await this.#read(shape) }
  /** Compiles what steps of such shapes need. */
  async prepare(shape: Shape, listed: number | undefined): Promise<void> {
    await Promise.all([this.#extend(shape), ...(listed === undefined ? [] : [this.#draw(shape, listed)]), this.#tellers(shape)])
  }

  /** Bytes that a block of a text takes on each device that holds a part of it. */
  get blockBytes(): number {
    const { size } = this
    return leavesOf(this.#model.cache({ ...size, replicas: 1, blocks: 1 }, this.#dtype)).reduce((n, { leaf }) => n + leaf.shape.reduce((m, d) => m * d.size, 1) * dtypes[leaf.dtype].bytes, 0)
  }

  async close(): Promise<void> {
    if (this.#cache !== undefined) free(this.#cache)
    free(this.#loaded.weights)
    for (const program of this.#programs.values()) (await program.catch(() => undefined))?.dispose()
  }

  async #readSources({ shape, sources }: SourceOrder): Promise<void> {
    const read = await this.#read(shape)
    const given = this.#cache ?? await this.#zeros(read.placements[1] as Placements<KeyValues>)
    this.#cache = undefined
    this.#cache = await read(this.#loaded.weights as never, given as never, sources as never) as Arrays<KeyValues>
  }

  #read({ requests, source }: SourceOrder['shape']): Promise<Kept> {
    return this.#program(`read ${requests} ${source}`, () => {
      const [{ encoder, dims }, { size }] = [this.#model, this]
      if (encoder === undefined) throw new Error('a source is to be read by a model that has no encoder')
      const given = sourceInputs(size, { requests, source }, { adapters: 'adapter' in dims })
      return compile((params: Tree, cache: KeyValues, sources: typeof given) => encoder.read(params, cache, sources, size), [this.#loaded.params, this.#model.cache(size, this.#dtype), given] as const, { ...this.#where, donate: [1], batchInvariant: true })
    })
  }

  async #tell(shape: Shape, logits: MeshArray, tokens: Int32Array, targets: Int32Array): Promise<NonNullable<Outcome['told']>> {
    const tell = await this.#tellers(shape)
    const found = await tell(logits as never, tokens as never, targets as never) as Readonly<Record<'drawn' | 'targets' | 'top' | 'topLogprob', MeshArray>>
    try {
      const [a, b, top, topLogprob] = await Promise.all([found.drawn.read(), found.targets.read(), found.top.read(), found.topLogprob.read()])
      return { drawn: a as Float32Array, targets: b as Float32Array, top: top as Int32Array, topLogprob: topLogprob as Float32Array, width: found.top.shape.find(d => d.name === 'top')?.size ?? 0 }
    } finally {
      free(found)
    }
  }

  #tellers(shape: Shape): Promise<Kept> {
    const of = this.#shape(shape, 0)
    return this.#program(`tell ${shape.requests} ${shape.draws}`, () => {
      const ids = (name: string): Tree => input(name, logitsInput(of).shape.filter(d => d.name !== 'vocab'), 'i32')
      return compile((all: Tree, drawnTokens: Tree, wanted: Tree) => {
        const { logprob, top, topLogprob } = told(all as never, drawnTokens as never, of)
        return everywhere({ drawn: logprob, targets: told(all as never, wanted as never, of).logprob, top, topLogprob })
      }, [logitsInput(of) as Tree, ids('drawn'), ids('targets')] as const, this.#where)
    })
  }

  #extend(shape: Shape): Promise<Kept> {
    const { requests, seq, blocks, draws, sourceBlocks } = shape
    const of = this.#shape(shape, 0)
    return this.#program(`extend ${requests} ${seq} ${blocks} ${draws} ${sourceBlocks}`, () => {
      const [model, { size }] = [this.#model, this]
      const fed = fedInputs(size, { requests, seq, blocks, sourceBlocks }, { adapters: 'adapter' in model.dims })
      const at = input('at', [...fed.tokens.shape.filter(d => d.name !== 'seq'), { name: 'draw', size: draws }], 'i32') as Tree
      return compile((params: Tree, cache: KeyValues, given: typeof fed, places: Tree) => {
        const { states, cache: after } = model.extend(params, cache, given, size)
        const logits = model.head(params, loose(states).take('seq', places as never)).cast('f32')
        // Most steps take the likeliest: then there is no other program to call.
        return { logits, cache: after, likely: everywhere({ ...likeliest(logits, of) }) }
      }, [this.#loaded.params, model.cache(size, this.#dtype), fed, at] as const, { ...this.#where, donate: [1], batchInvariant: true })
    })
  }

  #draw(shape: Shape, listed: number): Promise<Kept> {
    const of = this.#shape(shape, listed)
    const logits = logitsInput(of) as Tree
    return this.#program(`draw ${shape.requests} ${shape.draws} ${listed}`, () =>
      compile((all: Tree, how: ReturnType<typeof drawingInputs>) => everywhere({ ...drawn(all as never, how, of) }), [logits, drawingInputs(of)] as const, this.#where))
  }

  #shape({ requests, draws }: Shape, listed: number): DrawShape {
    const vocab = this.#model.dims['vocab'] as DrawShape['vocab']
    return { replicas: this.size.replicas, requests, draws, vocab, tokens: this.#tokens, listed }
  }

  #program(name: string, make: () => Promise<unknown>): Promise<Kept> {
    let found = this.#programs.get(name)
    if (found === undefined) {
      found = make() as Promise<Kept>
      this.#programs.set(name, found)
      // What failed may succeed another time.
      found.catch(() => this.#programs.delete(name))
    }
    return found
  }

  /** An empty cache, as programs want it. */
  async #zeros(placements: Placements<KeyValues>): Promise<Arrays<KeyValues>> {
    const { backend, mesh } = this.#where
    const arrays: MeshArray[] = []
    for (const { path, leaf } of placementTrees.flatten(placements)) {
      const count = localShape(leaf.shape, leaf.sharding, mesh).reduce((n, d) => n * d.size, 1)
      arrays.push(await place(backend, mesh, leaf, () => dtypes[leaf.dtype].view(new ArrayBuffer(count * dtypes[leaf.dtype].bytes), 0, count), path))
    }
    return placementTrees.rebuild(placements, arrays) as Arrays<KeyValues>
  }
}
