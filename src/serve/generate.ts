/** Text from a model, as it is written. */
import type { Backend } from '../engine/index.ts'
import type { Asked, Sampling } from './asking.ts'
import { openAnswering, type Generating, type OpenOptions } from './open.ts'

export interface GenerateOptions {
  readonly prompt: string
  /** Tokens to make at most; an end of text ends it sooner. */
  readonly tokens: number
  /** 0 takes the likeliest token every time. */
  readonly temperature: number
  readonly seed: number
  /** Once aborted, no more is made. */
  readonly signal?: AbortSignal
}
export interface Generator {
  /** Gives pieces of text as they are made, each of whole characters. Under MPI every rank must ask for the same text; the first one gets it. */
  generate(options: GenerateOptions): AsyncGenerator<string>
  dispose(): Promise<void>
}
export type GeneratorOptions = Omit<OpenOptions, 'requests' | 'held' | 'queue' | 'constrain'> & { readonly backend: Backend }

/** Nothing but the likeliest tokens. */
export const greedy: Sampling = { temperature: 0, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, presencePenalty: 0, frequencyPenalty: 0, logitBias: new Map(), seed: 0 }
/** What is asked of a prompt where nothing else is said. */
export const askedOf = (prompt: Int32Array, asked: Partial<Asked> = {}): Asked => ({ prompt, choices: 1, minTokens: 0, stop: [], stopTokens: [], ignoreEnd: false, sampling: greedy, scope: '', ...asked })

/** Loads a model's weights onto a mesh and writes with them. */
export async function openGenerator(from: Generating, options: GeneratorOptions): Promise<Generator> {
  const { answering, close } = await openAnswering(from, { ...options, requests: 1 })
  const { processes } = options.backend
  return {
    async *generate({ prompt, tokens, temperature, seed, signal }) {
      if (processes.rank !== 0) {
        await answering.follow()
        return
      }
      let ids = from.tokenizer.encode(prompt).slice(1 - answering.context)
      try {
        for (let made = 0, turns = 0; made < tokens && signal?.aborted !== true; turns++) {
          const written: number[] = []
          let ended = true
          // Where the window is full its second half goes on: with other draws at the same places.
          const asked = askedOf(ids, { maxTokens: tokens - made, sampling: { ...greedy, temperature, seed: seed + turns } })
          for await (const told of answering.ask(asked, signal)) {
            if (told.type === 'more') written.push(...told.tokens.map(t => t.token))
            if (told.type === 'more' && told.text !== '') yield told.text
            if (told.type === 'end') ended = told.reason === 'stop'
          }
          if (ended) break
          made += written.length
          ids = Int32Array.from([...ids, ...written]).slice(-Math.ceil(answering.context / 2))
        }
      } finally {
        await answering.rest()
      }
    },
    dispose: close,
  }
}
