/** What a row is made of before a task makes it a batch's: stretches of documents, with their tokens. */
import type { Draws } from './random.ts'

/** Tokens of one document that stand next to each other; `ids` has one more than `length` where what comes next is asked for. */
export interface Segment {
  readonly ids: Int32Array
  readonly length: number
  /** 1 for a token that is to be predicted; like `ids`. */
  readonly learnt: Float32Array
}

/** One row: its segments, in order, and what to draw its random numbers from. */
export interface RowTokens { readonly segments: readonly Segment[]; readonly draws: () => Draws }

/** Both [rows, seq], row-major, as all of a batch. */
export interface TokenFields {
  readonly tokens: Int32Array
  /** What to predict at each place. */
  readonly targets: Int32Array
  /** 1 where the prediction counts, else 0. */
  readonly weights: Float32Array
  /** Which of the row's documents a place belongs to, from 1 on; 0 where there is none. */
  readonly segments: Int32Array
  /** The place within its document's stretch, from 0 on. */
  readonly positions: Int32Array
}

export const tokenFields = (rows: number, seq: number, pad: number): TokenFields => ({
  tokens: new Int32Array(rows * seq).fill(pad), targets: new Int32Array(rows * seq).fill(pad), weights: new Float32Array(rows * seq),
  segments: new Int32Array(rows * seq), positions: new Int32Array(rows * seq),
})
