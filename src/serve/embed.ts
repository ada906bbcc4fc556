/** Vectors of texts, by a model that is laid over a mesh. */
import type { Tokenizer } from '../data/index.ts'
import { vectorRows, type EmbeddingModel } from '../models/index.ts'
import { openRows, type Row, type RowOptions, type RowsOf } from './rows.ts'

/** What embeds, as it lies on a disk. */
export interface Embedding extends Omit<RowsOf, 'model'> {
  /** The model for `rows` texts of `seq` tokens. */
  readonly model: (rows: number, seq: number) => EmbeddingModel
  readonly tokenizer: Tokenizer
}
export interface Embedded {
  /** Of each text, in their order. */
  readonly vectors: readonly Float32Array[]
  /** Whether each was longer than the window, and lost its end. */
  readonly cut: readonly boolean[]
}
export interface Embedder {
  /** Numbers of a vector. */
  readonly size: number
  /** Tokens that a text is cut to. */
  readonly window: number
  /** A text's vector hangs on that text alone, neither on the others nor on the mesh. Under MPI every rank asks for the same, and gets it. */
  embed(texts: readonly string[], onTexts?: (done: number) => void): Promise<Embedded>
  dispose(): void
}

/** Tokens of one text as a model wants them, cut to a window: what stands before and behind it is kept. */
export function cutToWindow(text: readonly number[] | Int32Array, { before, after }: Pick<Tokenizer, 'before' | 'after'>, window: number): { readonly tokens: readonly number[]; readonly cut: boolean } {
  const room = Math.max(0, window - before.length - after.length)
  return { tokens: [...before, ...text.length > room ? text.slice(0, room) : text, ...after], cut: text.length > room }
}

/** Loads a model's weights when the first texts come, and compiles it for each length that they need. @throws FileError for weights that do not fit, LayoutError */
export function openEmbedder(given: Embedding, options: RowOptions): Embedder {
  const { model, tokenizer, padding = 0 } = given
  const program = openRows({
    ...given,
    model: (rows, seq) => vectorRows(model(rows, seq)),
  }, options)
  const { window } = program
  return {
    window, size: model(1, given.lengths[0] ?? window).dims['embed']?.size ?? 0,
    async embed(texts, onTexts) {
      const rows = texts.map(text => cutToWindow(tokenizer.encode(text), tokenizer, window))
      // A text without a token, of a tokenizer that puts none around it, is one of padding.
      const vectors = await program.run(rows.map(({ tokens }): Row => ({ tokens: tokens.length === 0 ? [tokenizer.endOfText ?? padding] : tokens })), onTexts)
      return { vectors: vectors as Float32Array[], cut: rows.map(row => row.cut) }
    },
    dispose() { program.dispose() },
  }
}
