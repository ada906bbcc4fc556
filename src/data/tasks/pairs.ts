/** Pairs of answers as tokens: a prompt that is not learnt, and behind it an answer that is; cut to a row, and laid as a batch. */
import { DataError } from '../../core/errors.ts'
import type { PairRecord } from '../sources/pairs.ts'
import type { Message } from '../sources/types.ts'
import { TokenBuffer } from '../tokenizer-bytes.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { causalBatch, type CausalBatch } from './causal.ts'
import { chatPieces, type ChatTemplate } from './chat.ts'

/** The tokens of a prompt and of an answer, and of the answer's which are learnt. */
export interface Answer { readonly prompt: Int32Array; readonly answer: Int32Array; readonly learnt: Uint8Array }
export interface Pair { readonly chosen: Answer; readonly rejected: Answer }
export interface PairRules { readonly template: ChatTemplate; readonly loss: readonly string[] }
/** What a batch of pairs is: `targets` of −100, or what else a model leaves out, wherever nothing is learnt. */
export interface PairTokens { readonly chosen: CausalBatch; readonly rejected: CausalBatch }

const same = (a: Message | undefined, b: Message | undefined): boolean => a !== undefined && b !== undefined && a.role === b.role && a.content === b.content
const wrong = (at: string, what: string, fix: string): DataError => new DataError({ code: 'pair', what: `${at}: ${what}`, fix })

/**
 * A record's tokens. Texts are encoded as they are, the answers with the tokenizer's end of text behind them; messages by the template, and an answer is what comes behind the messages
 * that both sides have: of it the turns of the roles that are learnt. A prompt may stand before the answers or within them, as other tools have it.
 * @throws DataError naming the record whose answers are none
 */
export function encodePair({ prompt, chosen, rejected, at }: PairRecord, tokenizer: Tokenizer, rules: PairRules): Pair {
  if (typeof chosen === 'string' && typeof rejected === 'string' && (prompt === undefined || typeof prompt === 'string')) return texts(prompt, chosen, rejected, tokenizer, at)
  const messages = (content: string | readonly Message[], role: string): readonly Message[] => (typeof content === 'string' ? [{ role, content }] : content)
  const asked = prompt === undefined ? [] : messages(prompt, 'user')
  const sides = [messages(chosen, 'assistant'), messages(rejected, 'assistant')] as const
  const within = asked.length > 0 && sides.every(side => asked.every((m, i) => same(m, side[i])))
  const [better, worse] = sides.map(side => (within ? side : [...asked, ...side])) as [readonly Message[], readonly Message[]]
  let common = 0
  while (same(better[common], worse[common])) common++
  // An answer that both give is an answer: the prompt is at most what was asked.
  if (asked.length > 0) common = Math.min(common, asked.length)
  if (common === better.length || common === worse.length) throw wrong(at, 'one of the answers has no message behind those that both have', 'take the record out')
  return { chosen: ofChat(better, common, tokenizer, rules, at), rejected: ofChat(worse, common, tokenizer, rules, at) }
}

/** As much as both texts begin with, up to a space before which they part. */
function commonStart(a: string, b: string): number {
  let n = 0
  while (n < a.length && a[n] === b[n]) n++
  // Neither half of a character, nor the space that a word's token begins with.
  if (n > 0 && /[\ud800-\udbff]/.test(a[n - 1] ?? '')) n--
  return n > 0 && a[n - 1] === ' ' ? n - 1 : n
}

function texts(given: string | undefined, chosen: string, rejected: string, tokenizer: Tokenizer, at: string): Pair {
  const start = given === undefined ? commonStart(chosen, rejected) : 0
  const prompt = Int32Array.from([...tokenizer.before, ...tokenizer.encode(given ?? chosen.slice(0, start))])
  const of = (text: string): Answer => {
    const answer = Int32Array.from([...tokenizer.encode(text.slice(start)), ...tokenizer.endOfText === undefined ? [] : [tokenizer.endOfText]])
    if (answer.length === 0 || prompt.length + answer.length < 2) throw wrong(at, 'one of the answers has no text', 'take the record out')
    return { prompt, answer, learnt: new Uint8Array(answer.length).fill(1) }
  }
  return { chosen: of(chosen), rejected: of(rejected) }
}

function ofChat(messages: readonly Message[], common: number, tokenizer: Tokenizer, { template, loss: roles }: PairRules, at: string): Answer {
  // Where no role is named all turns of an answer are learnt, and none of the prompt.
  const loss = roles.length === 0 ? [...new Set(messages.map(m => m.role))] : roles
  const before = common === 0 ? 0 : chatPieces(messages.slice(0, common), template, loss, at).filter(p => p.learnt).length
  const out = new TokenBuffer()
  const stretches: (readonly [from: number, to: number])[] = []
  let seen = 0
  for (const { text, learnt } of chatPieces(messages, template, loss, at)) {
    const from = out.length
    tokenizer.encodeInto(text, out)
    // Turns of the prompt are both sides' own, and are not learnt again.
    if (learnt && seen++ >= before && out.length > from) stretches.push([from, out.length])
  }
  const [first] = stretches
  if (first === undefined) throw wrong(at, `no turn of an answer is learnt: ${[...new Set(messages.slice(common).map(m => m.role))].join(', ')}`, `name the roles to learn; now they are ${loss.join(', ')}`)
  const ids = out.data.subarray(0, out.length)
  const learnt = new Uint8Array(out.length - first[0])
  for (const [from, to] of stretches) learnt.fill(1, from - first[0], to - first[0])
  // Behind the last token that is learnt nothing is asked.
  const end = learnt.lastIndexOf(1) + 1
  return { prompt: ids.slice(0, first[0]), answer: ids.slice(first[0], first[0] + end), learnt: learnt.slice(0, end) }
}

/** What was left out of a pair so that it fits. */
export interface Cut { readonly pair: Pair; readonly prompt: boolean; readonly answer: boolean }

/**
 * A pair of at most `most` tokens a side, as TRL cuts it: first the prompts lose their beginnings, both the same number of tokens as far as they have them, down to a quarter of
 * `most`; then answers lose their ends.
 */
export function cutPair({ chosen, rejected }: Pair, most: number): Cut {
  const room = Math.max(Math.ceil(most / 4), most - Math.max(chosen.answer.length, rejected.answer.length))
  const cut = ({ prompt, answer, learnt }: Answer): Answer => {
    const kept = prompt.slice(Math.max(0, prompt.length - room))
    const left = most - kept.length
    return { prompt: kept, answer: answer.slice(0, left), learnt: learnt.slice(0, left) }
  }
  const pair = { chosen: cut(chosen), rejected: cut(rejected) }
  const shorter = (of: 'prompt' | 'answer'): boolean => pair.chosen[of].length < chosen[of].length || pair.rejected[of].length < rejected[of].length
  return { pair, prompt: shorter('prompt'), answer: shorter('answer') }
}

/** Rows of answers, each padded to `seq`; an undefined row holds nothing that counts. */
export function answerBatch(rows: readonly (Answer | undefined)[], seq: number, ignored: number): CausalBatch {
  const batch = causalBatch(rows.map(row => {
    if (row === undefined) return { segments: [], draws }
    const { prompt, answer, learnt } = row
    const ids = new Int32Array(prompt.length + answer.length)
    ids.set(prompt)
    ids.set(answer, prompt.length)
    const counts = new Float32Array(ids.length)
    counts.set(learnt, prompt.length)
    return { segments: [{ ids, learnt: counts, length: ids.length - 1 }], draws }
  }), seq, 0)
  batch.weights.forEach((w, i) => { if (w === 0) batch.targets[i] = ignored })
  return batch
}
const draws = (): never => { throw new Error('nothing is drawn for a pair') }
