/** Span corruption (T5, Raffel et al. 2020; t5/data/preprocessors.py `random_spans_noise_mask`): spans of a text become one sentinel each, and are what is to be written. */
import { UsageError } from '../../core/errors.ts'
import { partition, type Draws } from './random.ts'
import type { RowTokens } from './rows.ts'

export interface SpanTask {
  readonly kind: 'spans'
  /** Of all tokens, those that are in spans; 0.15 unless told. */
  readonly density?: number
  /** Tokens of a span, on average; 3 unless told. */
  readonly mean?: number
  /** Ids of the sentinels, the first span's first; a hundred behind the tokenizer's, counting up, unless told. */
  readonly sentinels?: readonly number[]
}

/** `source` is [rows, seq], the others [rows, targetSeq], row-major. */
export interface SpanBatch {
  readonly source: Int32Array
  /** 1 where there is a token. */
  readonly sourceWeights: Float32Array
  /** What the decoder is given: the labels one place later, behind the padding. */
  readonly target: Int32Array
  readonly labels: Int32Array
  readonly weights: Float32Array
}

export interface SpanShape {
  /** Tokens of the text that fill a row of inputs. */
  readonly raw: number
  /** Places of a row of targets. */
  readonly targets: number
}

const counts = (n: number, density: number, mean: number): { readonly noise: number; readonly spans: number } => {
  const noise = Math.min(Math.max(Math.round(n * density), 1), n - 1)
  return { noise, spans: Math.min(Math.max(Math.round(noise / mean), 1), noise, n - noise) }
}

/** How much text fills `seq` inputs, its end included. @throws UsageError where no text does. */
export function spanShape(seq: number, { density = 0.15, mean = 3 }: Pick<SpanTask, 'density' | 'mean'>): SpanShape {
  if (!(density > 0 && density < 1) || !(mean >= 1)) throw new UsageError({ code: 'spans', what: `spans cannot have density ${density} and mean length ${mean}`, fix: 'give a density between 0 and 1, a mean from 1 on' })
  const inputs = (n: number): number => { const { noise, spans } = counts(n, density, mean); return n - noise + spans + 1 }
  if (seq < 3) throw new UsageError({ code: 'spans', what: `a text of ${seq} places has no room for spans`, fix: 'ask for a longer seq' })
  let raw = 2
  while (inputs(raw + 1) <= seq) raw++
  const { noise, spans } = counts(raw, density, mean)
  return { raw, targets: noise + spans + 1 }
}

/** One text corrupted: spans alternate with what stays, which comes first. `ids` has at least two tokens. */
export function corrupt(ids: Int32Array, { density = 0.15, mean = 3 }: SpanTask, sentinels: readonly number[], end: number, draws: Draws): { readonly inputs: readonly number[]; readonly targets: readonly number[] } {
  const { noise, spans } = counts(ids.length, density, mean)
  if (spans > sentinels.length) throw new UsageError({ code: 'sentinels', what: `a text of ${ids.length} tokens has ${spans} spans, and there are ${sentinels.length} sentinels`, fix: 'give more sentinels, a shorter seq, or longer spans' })
  const [hidden, shown] = [partition(noise, spans, draws), partition(ids.length - noise, spans, draws)]
  const [inputs, targets]: [number[], number[]] = [[], []]
  let at = 0
  for (let s = 0; s < spans; s++) {
    for (const to = at + (shown[s] as number); at < to; at++) inputs.push(ids[at] as number)
    const sentinel = sentinels[s] as number
    inputs.push(sentinel)
    targets.push(sentinel)
    for (const to = at + (hidden[s] as number); at < to; at++) targets.push(ids[at] as number)
  }
  return { inputs: [...inputs, end], targets: [...targets, end] }
}

/** The text that was corrupted: each sentinel of the inputs replaced by what follows it in the targets. */
export function restore(inputs: Iterable<number>, targets: Iterable<number>, sentinels: readonly number[], end: number): number[] {
  const spans = new Map<number, number[]>()
  const known = new Set(sentinels)
  let span: number[] | undefined
  for (const id of targets) {
    if (known.has(id)) spans.set(id, span = [])
    else span?.push(id)
  }
  // The end is no part of the last span.
  if (span?.at(-1) === end) span.pop()
  const out = [...inputs].flatMap(id => spans.get(id) ?? [id])
  if (out.at(-1) === end) out.pop()
  return out
}

export function spanBatch(rows: readonly RowTokens[], seq: number, pad: number, task: SpanTask, sentinels: readonly number[], end: number): SpanBatch {
  const { targets: width } = spanShape(seq, task)
  const size = rows.length * width
  const out = {
    source: new Int32Array(rows.length * seq).fill(pad), sourceWeights: new Float32Array(rows.length * seq),
    target: new Int32Array(size).fill(pad), labels: new Int32Array(size).fill(pad), weights: new Float32Array(size),
  }
  rows.forEach(({ segments: [segment], draws }, row) => {
    if (segment === undefined || segment.length < 2) return
    const { inputs, targets } = corrupt(segment.ids.subarray(0, segment.length), task, sentinels, end, draws())
    out.source.set(inputs, row * seq)
    out.sourceWeights.fill(1, row * seq, row * seq + inputs.length)
    out.labels.set(targets, row * width)
    out.weights.fill(1, row * width, row * width + targets.length)
    out.target.set(targets.slice(0, -1), row * width + 1)
  })
  return out
}
