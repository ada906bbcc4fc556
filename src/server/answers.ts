/** Answers as they come, counted: what chats and completions make their objects of. */
import { randomUUID } from 'node:crypto'
import type { Ending, Told, Written } from '../serve/asking.ts'

export interface Usage { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number; readonly prompt_tokens_details: { readonly cached_tokens: number } }
export const usageOf = (prompt: number, completion: number, cached: number): Usage => ({ prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion, prompt_tokens_details: { cached_tokens: cached } })

export interface Answer { text: string; readonly tokens: Written[]; reason: Ending }
export interface Answered { readonly answers: readonly Answer[]; readonly promptLogprobs: readonly (Written | undefined)[]; readonly usage: Usage; /** What is said of the step that has made the weights, where they are a run's. */ readonly made: Made }
export interface Made { readonly training_step?: number }
export const madeBy = (step: number | undefined): Made => (step === undefined ? {} : { training_step: step })

/** The whole answers to a prompt. */
export async function whole(told: AsyncIterable<Told>, choices: number): Promise<Answered> {
  const answers = Array.from({ length: choices }, (): Answer => ({ text: '', tokens: [], reason: 'stop' }))
  let [prompt, cached] = [0, 0]
  let made: Made = {}
  let promptLogprobs: readonly (Written | undefined)[] = []
  for await (const t of told) {
    if (t.type === 'prompt') {
      ({ tokens: prompt, cached, logprobs: promptLogprobs = [] } = t)
      made = madeBy(t.step)
    } else {
      const answer = answers[t.choice] as Answer
      if (t.type === 'more') {
        answer.text += t.text
        answer.tokens.push(...t.tokens)
      } else answer.reason = t.reason
    }
  }
  return { answers, promptLogprobs, made, usage: usageOf(prompt, answers.reduce((n, a) => n + a.tokens.length, 0), cached) }
}

export const idOf = (kind: string): string => `${kind}-${randomUUID().replaceAll('-', '')}`
export const seconds = (): number => Math.floor(Date.now() / 1000)
