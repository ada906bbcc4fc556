/** Text from a model, as it is written. */
import { UsageError } from '../core/errors.ts'
import type { Tokenizer } from '../data/index.ts'
import type { Answerer } from './answerer.ts'
import type { Answering, Asked, Sampling } from './asking.ts'

/** How a text is continued: tokens are the most that are written, an end of text ends it sooner. */
export interface GenerateOptions extends Partial<Sampling> {
  readonly prompt: string
  readonly tokens: number
  /** Texts that end it, and are no part of it. */
  readonly stop?: readonly string[]
  /** Once aborted, no more is made. */
  readonly signal?: AbortSignal
}

/** Nothing but the likeliest tokens. */
export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, logitBias: new Map(), seed: 0 }
/** What is asked of a prompt where nothing else is said. */
export const askedOf = (prompt: Int32Array, asked: Partial<Asked> = {}): Asked => ({ prompt, choices: 1, minTokens: 0, stop: [], stopTokens: [], ignoreEnd: false, sampling: greedy, scope: '', ...asked })

/** What is asked by a text: a decoder goes on behind the tokens that texts begin with, an encoder reads a whole text, with those that end one. */
export function encodePrompt(tokenizer: Tokenizer, text: string, { encoder }: Pick<Answering, 'encoder'>): Int32Array {
  const { before, after, endOfText } = tokenizer
  const ends = !encoder ? [] : after.length > 0 ? after : endOfText === undefined ? [] : [endOfText]
  return Int32Array.from([...before, ...tokenizer.encode(text), ...ends])
}

/**
 * Continues a text, or answers one that an encoder reads: pieces as they are made, each of whole characters. Where a window is full, its second half goes on.
 * @throws UsageError for a text that is too long for an encoder
 */
export async function* writeText(answering: Answerer, tokenizer: Tokenizer, { prompt, tokens, stop = [], signal, ...sampling }: GenerateOptions): AsyncGenerator<string> {
  const { encoder, sizes } = answering
  const all = encodePrompt(tokenizer, prompt, answering)
  if (encoder && all.length > (sizes.source ?? 0)) throw new UsageError({ code: 'prompt', what: `the prompt has ${all.length} tokens, and the model reads ${sizes.source} at most`, fix: 'give a shorter one' })
  let ids = encoder ? all : all.slice(1 - answering.context)
  let begun = new Int32Array(0)
  const { seed = 0 } = sampling
  for (let made = 0, turns = 0; made < tokens && signal?.aborted !== true; turns++) {
    const written: number[] = []
    let ended = true
    // With other draws at the same places.
    for await (const told of answering.ask(askedOf(ids, { begun, maxTokens: tokens - made, stop, sampling: { ...greedy, ...sampling, seed: seed + turns } }), signal)) {
      if (told.type === 'more') {
        written.push(...told.tokens.map(t => t.token))
        if (told.text !== '') yield told.text
      }
      if (told.type === 'end') ended = told.reason === 'stop'
    }
    if (ended) break
    made += written.length
    const half = (before: Int32Array): Int32Array<ArrayBuffer> => Int32Array.from([...before, ...written]).slice(-Math.ceil(answering.context / 2))
    if (encoder) begun = half(begun)
    else ids = half(ids)
  }
}
