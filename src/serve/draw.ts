/** Drawing tokens from logits, on the devices: what is drawn of a request depends on its logits, its options and its key alone. */
import { full, input, iota, loose, randomBits, scan, scatter, topK, where, type AnyTensor, type Key, type Tensor } from '../engine/index.ts'
import type { Dim } from '../core/dim.ts'

type T = Tensor<string>
export interface DrawShape { readonly replicas: number; readonly requests: number; readonly draws: number; readonly vocab: Dim<'vocab'>; readonly tokens: number; readonly listed: number }

/** How a token is drawn, replica request and what else is said. */
export type Drawing = {
  readonly temperature: T
  readonly topK: T
  readonly topP: T
  readonly minP: T
  /** The two words of a key. draw. */
  readonly word0: T
  readonly word1: T
  /** A bit a token, of the lowest first: 1 where it may be drawn. draw word. */
  readonly mask: T
  /** Tokens whose logits are changed, those below 0 left out; what is added, and by how much those above 0 are divided, and others multiplied, before. listed. */
  readonly listed: T
  readonly added: T
  readonly divided: T
}

const rowsOf = ({ replicas, requests }: DrawShape): readonly Dim[] => [{ name: 'replica', size: replicas }, { name: 'request', size: requests }]
export const logitsInput = (of: DrawShape): T => input('logits', [...rowsOf(of), { name: 'draw', size: of.draws }, of.vocab], 'f32') as T

export const wordsIn = (tokens: number): number => Math.ceil(tokens / 32)

export function drawingInputs(of: DrawShape): Drawing {
  const rows = rowsOf(of)
  const [draw, listed, word] = [{ name: 'draw', size: of.draws }, { name: 'listed', size: of.listed }, { name: 'word', size: wordsIn(of.tokens) }]
  const number = (name: string): T => input(name, rows, 'f32') as T
  return {
    temperature: number('temperature'), topK: input('topK', rows, 'i32') as T, topP: number('topP'), minP: number('minP'),
    word0: input('word0', [...rows, draw], 'u32') as T, word1: input('word1', [...rows, draw], 'u32') as T, mask: input('mask', [...rows, draw, word], 'u32') as T,
    listed: input('listed', [...rows, listed], 'i32') as T, added: input('added', [...rows, listed], 'f32') as T, divided: input('divided', [...rows, listed], 'f32') as T,
  }
}

/** Logits of what is no token, such as fills up the vocabulary, are −∞. */
const ofTokens = (logits: T, { vocab, tokens }: DrawShape): T => (tokens === vocab.size ? logits : where(loose(iota(vocab)).less(tokens), logits, -Infinity))

/** What was drawn, and the largest of the logits: where it is no number, or infinite, nothing could be. replica request draw. */
export interface Draws { readonly tokens: T; readonly largest: T }
/** The likeliest tokens, the first of those that tie. */
export function likeliest(logits: AnyTensor, of: DrawShape): Draws {
  const found = ofTokens(loose(logits), of)
  return { tokens: found.argmax('vocab'), largest: found.max('vocab') }
}

/** So many halvings leave two neighbouring f32s. */
const halvings: Dim<'halving'> = { name: 'halving', size: 40 }
/** What lies so far below the largest has no share: e^−100. */
const reach = 100

/** Of numbers along `vocab` the largest threshold at or above which they still hold enough, as `enough` says of what lies there. */
function threshold(z: T, enough: (kept: T) => T): T {
  const top = z.max('vocab')
  const start = { low: top.sub(reach), high: top }
  const [{ low, high }] = scan(halvings, start, {}, ({ low, high }) => {
    const middle = low.add(high).mul(0.5)
    const holds = enough(z.greaterEqual(middle))
    return [{ low: where(holds, middle, low), high: where(holds, high, middle) }, {}] as const
  })
  return where(enough(z.greaterEqual(high)), high, low)
}

/**
 * Draws a token of each of the logits. Penalties and biases first, then the mask; at temperature 0 the likeliest; else, of the logits divided by it, those
 * that `minP`, `topK` and `topP` leave, one after another, and of these the largest with Gumbel noise on it, which draws from their softmax (Maddison et al. 2014).
 */
export function drawn(logits: AnyTensor, { temperature, topK: most, topP, minP, word0, word1, mask, listed, added, divided }: Drawing, of: DrawShape): Draws {
  const found = loose(logits)
  const old = found.take('vocab', listed.maximum(0))
  const changed = where(old.greater(0), old.div(divided), old.mul(divided)).add(added)
  const penalised = ofTokens(scatter(found, 'vocab', where(listed.less(0), full(of.vocab.size, listed.shape, 'i32') as T, listed), changed), of)
  const token = loose(iota(of.vocab))
  const bit = mask.take('word', token.div(32)).shiftRight(token.rem(32).cast('u32')).rem(2)
  const kept = (keep: T, z: T): T => where(keep, z, -Infinity)
  const allowed = kept(bit.equal(1), penalised)
  const z = allowed.div(where(temperature.greater(0), temperature, 1))
  const likely = kept(z.greaterEqual(z.max('vocab').add(minP.log())), z)
  const few = kept(most.equal(0).or(likely.greaterEqual(threshold(likely, keep => keep.cast('f32').sum('vocab').greaterEqual(most.cast('f32'))))), likely)
  const shares = few.sub(few.max('vocab')).exp()
  const wanted = shares.sum('vocab').mul(topP)
  const nucleus = kept(topP.greaterEqual(1).or(few.greaterEqual(threshold(few, keep => where(keep, shares, 0).sum('vocab').greaterEqual(wanted)))), few)
  const uniform = loose(randomBits({ word0, word1 } as unknown as Key, [of.vocab])).shiftRight(8).cast('f32').add(0.5).mul(2 ** -24)
  const noise = uniform.log().neg().log().neg()
  return { tokens: where(temperature.greater(0), nucleus.add(noise), allowed).argmax('vocab'), largest: allowed.max('vocab') }
}

/** How many of the likeliest are told. */
export const toldAtMost = 20
/** Log-probabilities of some tokens, replica request draw, and the likeliest ones. */
export function told(logits: AnyTensor, tokens: AnyTensor, of: DrawShape): { readonly logprob: T; readonly top: T; readonly topLogprob: T } {
  const found = ofTokens(loose(logits), of)
  const below = found.sub(found.max('vocab'))
  const all = below.sub(below.exp().sum('vocab').log())
  const { values, indices } = topK(all, 'vocab', { name: 'top', size: Math.min(toldAtMost, of.tokens) } as never)
  return { logprob: all.take('vocab', loose(tokens)), top: indices as T, topLogprob: values as T }
}
