/** Masked language modelling (BERT, Devlin et al. 2019): some places are hidden, and what was there is predicted. */
import { chosen } from './random.ts'
import { tokenFields, type RowTokens, type TokenFields } from './rows.ts'

export type MaskedBatch = TokenFields

export interface MaskedTask {
  readonly kind: 'masked'
  /** Of all places, those to predict; 0.15 unless told. */
  readonly share?: number
  /** Of those, the ones that become the mask, and another token; the rest stay as they are. 0.8 and 0.1 unless told. */
  readonly masked?: number
  readonly random?: number
  /** The id of the mask; the one behind the tokenizer's unless told. */
  readonly mask?: number
}

/** Of each row the share, rounded and at least one place, is chosen; `kept` ids (begin, end) are never. Targets stand at chosen places only. */
export function maskedBatch(rows: readonly RowTokens[], seq: number, pad: number, { share = 0.15, masked = 0.8, random = 0.1 }: MaskedTask, { mask, vocab, kept }: { readonly mask: number; readonly vocab: number; readonly kept: ReadonlySet<number> }): MaskedBatch {
  const out = tokenFields(rows.length, seq, pad)
  rows.forEach(({ segments, draws: make }, row) => {
    let at = row * seq
    const candidates: number[] = []
    segments.forEach(({ ids, length }, s) => {
      for (let i = 0; i < length; i++, at++) {
        out.tokens[at] = ids[i] as number
        out.segments[at] = s + 1
        out.positions[at] = i
        if (!kept.has(ids[i] as number)) candidates.push(at)
      }
    })
    if (candidates.length === 0) return
    const draws = make()
    const unit = 2 ** 20
    for (const c of chosen(candidates.length, Math.max(1, Math.round(share * candidates.length)), draws)) {
      const place = candidates[c] as number
      out.targets[place] = out.tokens[place] as number
      out.weights[place] = 1
      const drawn = draws.below(unit) / unit
      if (drawn < masked) out.tokens[place] = mask
      else if (drawn < masked + random) out.tokens[place] = draws.below(vocab)
    }
  })
  return out
}
