/** Packed tokens cut into windows, and windows gathered into batches: pure functions of seed and step. */
import { DataError } from '../core/errors.ts'
import { hash, permutation } from './shuffle.ts'

/** Packed token ids; 16 bits hold the usual vocabularies. */
export type Tokens = Uint16Array | Uint32Array

/** Both are [windows, seq], row-major; a target is the token after. */
export interface Batch { readonly tokens: Int32Array; readonly targets: Int32Array }

export interface BatchShape {
  /** Windows in the global batch. */
  readonly batch: number
  /** Tokens in a window. */
  readonly seq: number
}

/** Windows `from` to before `to` of each batch: those that one process needs. All unless told. */
export interface Rows { readonly from: number; readonly to: number }

export interface TrainingOrder extends BatchShape { readonly seed: number; readonly rows?: Rows | undefined }
/** `atMost` batches; all there are unless told. */
export interface FixedOrder extends BatchShape { readonly atMost?: number | undefined; readonly rows?: Rows | undefined }

/** Tokens that one batch takes, with the last target. */
export const tokensNeeded = ({ batch, seq }: BatchShape): number => batch * seq + 1

/** @throws DataError when `have` tokens are fewer than `need`. */
export function requireTokens(have: number, need: number, what: string): void {
  if (have >= need) return
  throw new DataError({
    code: 'text-too-short', what, details: { tokens: `${have}`, needed: `${need}` },
    fix: 'give more text, or ask for a smaller batch or a shorter seq',
  })
}

export interface BatchOrder {
  /** Windows in an epoch. */
  readonly windows: number
  /** The batch of a step, counted from 0. Any step, in any order, on any mesh: the same. */
  readonly batch: (step: number) => Batch
}

/**
 * Training batches. The tokens are a ring, cut into windows at an offset that is drawn for each epoch; an epoch takes every
 * window once, in an order of its own, and goes on where the batch before it ended.
 * @throws DataError when there is not one batch of tokens.
 */
export function trainingBatches(tokens: Tokens, { seed, batch, seq, rows }: TrainingOrder): BatchOrder {
  requireTokens(tokens.length, tokensNeeded({ batch, seq }), `the text is shorter than one batch of ${batch} × ${seq} tokens`)
  const windows = Math.floor(tokens.length / seq)
  const epochAt = (epoch: number) => ({
    epoch, offset: hash(seed, epoch, 0) % tokens.length, place: permutation(windows, hash(seed, epoch, 1)),
  })
  return {
    windows,
    batch(step) {
      let now = epochAt(Math.floor(step * batch / windows))
      return gather(tokens, seq, rows ?? { from: 0, to: batch }, row => {
        const nth = step * batch + row
        const epoch = Math.floor(nth / windows)
        if (epoch !== now.epoch) now = epochAt(epoch)
        return now.offset + now.place(nth % windows) * seq
      })
    },
  }
}

/**
 * Batches to measure on, always the same: windows in their order, spread evenly over the text where it has more than `atMost` batches.
 * @throws DataError when there is not one batch of tokens.
 */
export function fixedBatches(tokens: Tokens, shape: FixedOrder): readonly Batch[] {
  const { batch, seq, atMost = Infinity, rows = { from: 0, to: batch } } = shape
  requireTokens(tokens.length, tokensNeeded(shape), `the held-out text is shorter than one batch of ${batch} × ${seq} tokens`)
  const windows = Math.floor((tokens.length - 1) / seq)
  const count = Math.min(Math.floor(windows / batch), atMost)
  return Array.from({ length: count }, (_, i) =>
    gather(tokens, seq, rows, row => Math.floor((i * batch + row) * windows / (count * batch)) * seq))
}

function gather(tokens: Tokens, seq: number, { from, to }: Rows, startOf: (row: number) => number): Batch {
  const size = (to - from) * seq
  const out = { tokens: new Int32Array(size), targets: new Int32Array(size) }
  for (let row = from; row < to; row++) {
    let at = startOf(row) % tokens.length
    for (let i = (row - from) * seq; i < (row - from + 1) * seq; i++) {
      out.tokens[i] = tokens[at] as number
      at = at + 1 === tokens.length ? 0 : at + 1
      out.targets[i] = tokens[at] as number
    }
  }
  return out
}
