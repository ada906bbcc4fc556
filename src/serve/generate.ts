/** Text from a model, as it is written. */
import type { Tokenizer } from '../data/index.ts'
import type { Answerer } from './answerer.ts'
import type { Asked, Sampling } from './asking.ts'

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

/** Continues a text: pieces of it as they are made, each of whole characters. Where a window is full, its second half goes on. */
export async function* writeText(answering: Answerer, tokenizer: Tokenizer, { prompt, tokens, stop = [], signal, ...sampling }: GenerateOptions): AsyncGenerator<string> {
  let ids = Int32Array.from([...tokenizer.before, ...tokenizer.encode(prompt)]).slice(1 - answering.context)
  const { seed = 0 } = sampling
  for (let made = 0, turns = 0; made < tokens && signal?.aborted !== true; turns++) {
    const written: number[] = []
    let ended = true
    // With other draws at the same places.
    for await (const told of answering.ask(askedOf(ids, { maxTokens: tokens - made, stop, sampling: { ...greedy, ...sampling, seed: seed + turns } }), signal)) {
      if (told.type === 'more') {
        written.push(...told.tokens.map(t => t.token))
        if (told.text !== '') yield told.text
      }
      if (told.type === 'end') ended = told.reason === 'stop'
    }
    if (ended) break
    made += written.length
    ids = Int32Array.from([...ids, ...written]).slice(-Math.ceil(answering.context / 2))
  }
}
