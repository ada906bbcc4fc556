/** Data as a run has it: what is asked of it once the model is known, and what it is when it is open. */
import type { Plain } from '../core/plain.ts'
import type { Rows } from './rows.ts'
import type { Column } from './sources/rows/types.ts'
import type { DataSource } from './store/source.ts'
import type { Ranks } from './store/ranks.ts'
import type { PrepareProgress } from './store/prepare.ts'
import type { RowDocument } from './store/open-source.ts'
import type { SourceSpec } from './store/source.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What a run wants of its data. */
export interface DataRequest {
  /** Rows of a step, in all. */
  readonly batch: number
  readonly seed: number
  /** The tensors of a batch that the model takes, by path: what a row has of each. */
  readonly fields: { readonly [path: string]: Column }
  /** Ids are below it, where the model has a vocabulary. */
  readonly vocab: number | undefined
  /** A target of this does not count for the model; undefined where all count. */
  readonly ignored: number | undefined
  /** Batches of held-out data at most. */
  readonly heldOut: number
  readonly ranks: Ranks
  readonly signal: AbortSignal | undefined
  readonly onProgress: (progress: PrepareProgress) => void
  /** A word for the user, once. */
  readonly onNote: (text: string) => void
}

/** Data that is measured on: always the same batches, in their order. */
export interface HeldOut<B> {
  readonly source: DataSource<B>
  readonly batches: number
  /** Rows there are, where that is known. Where there are more than the batches have, those that fill no batch come behind them. */
  readonly count?: number
}

/** A source that is open. Only `batch` is needed: that is what a source of one's own is. */
export interface OpenData<B> extends DataSource<B> {
  readonly heldOut?: HeldOut<B> | undefined
  /** What must be the same for a run that goes on, and in all of its processes. */
  readonly identity?: Plain
  readonly about?: DataAbout
  readonly tokenizer?: Tokenizer | undefined
  /** Steps that make so many epochs, at least. */
  stepsFor?(length: { readonly epochs: number }): number
  /** What any thread can make it from again, so that batches are made in threads of their own. */
  readonly spec?: SourceSpec
  /** The documents that made each of the rows of a step. */
  documentsOfStep?(step: number, rows?: Rows): readonly (readonly RowDocument[])[]
  close?(): void | Promise<void>
}
/** For people. */
export interface DataAbout { readonly name: string; readonly licence: string; readonly tokens?: number; readonly rows?: number; readonly heldOut?: number; readonly vocab?: number }

/** Data that has to be opened first: what ours are, and what one's own may be. */
export interface OpenableData<B> {
  open(request: DataRequest): Promise<OpenData<B>>
  /** Other files in the same form, all of them and each row once, as what is held out; tokens are those of a tokenizer.json. */
  readonly whole?: (files: readonly string[], tokenizer: string, request: DataRequest) => Promise<OpenData<B>>
}
