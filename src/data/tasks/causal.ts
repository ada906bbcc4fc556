/** Predicting the next token: of every place, or behind a prefix that all of it may see. */
import { tokenFields, type RowTokens, type TokenFields } from './rows.ts'

export type CausalBatch = TokenFields
export interface PrefixBatch extends TokenFields {
  /** 1 for a place of its document's prefix: such places see all of the prefix, not only what is before them. */
  readonly prefix: Int32Array
}

/** Each place's target is the token after it in its document; a document's last token is nobody's place. */
export function causalBatch(rows: readonly RowTokens[], seq: number, pad: number): CausalBatch {
  const out = tokenFields(rows.length, seq, pad)
  rows.forEach(({ segments }, row) => {
    let at = row * seq
    segments.forEach(({ ids, length, learnt }, s) => {
      for (let i = 0; i < length; i++, at++) {
        out.tokens[at] = ids[i] as number
        out.targets[at] = ids[i + 1] as number
        out.weights[at] = learnt[i + 1] as number
        out.segments[at] = s + 1
        out.positions[at] = i
      }
    })
  })
  return out
}

/**
 * The same with a prefix in each document's stretch (prefix LM, Raffel et al. 2020): up to the first token that is learnt where a chat says so, else of a
 * length drawn from 1 to all but one. What lies in the prefix is not predicted.
 */
export function prefixBatch(rows: readonly RowTokens[], seq: number, pad: number): PrefixBatch {
  const out = causalBatch(rows, seq, pad)
  const prefix = new Int32Array(rows.length * seq)
  rows.forEach(({ segments, draws: make }, row) => {
    const draws = make()
    let at = row * seq
    for (const { length, learnt } of segments) {
      const first = learnt.subarray(0, length + 1).indexOf(1)
      const size = learnt.includes(0) ? Math.max(0, first < 0 ? length : first) : 1 + draws.below(length)
      prefix.fill(1, at, at + Math.min(size, length))
      if (size > 1) out.weights.fill(0, at, at + size - 1)
      at += length
    }
  })
  return { ...out, prefix }
}
