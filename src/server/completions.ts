/** POST /v1/completions. */
import type { Told, Written } from '../serve/asking.ts'
import { encodePrompt } from '../serve/generate.ts'
import { idOf, madeBy, seconds, usageOf, whole, type Answered, type Made } from './answers.ts'
import { askedFrom } from './asked.ts'
import type { Call } from './call.ts'
import { ApiError } from './errors.ts'
import { modelNamed, writerOf } from './models.ts'
import { completionSchema, type CompletionRequest } from './schemas.ts'
import { eventStream } from './sse.ts'
import { completionLogprobs } from './tokens.ts'

/** What is answered where nothing is said, here alone. */
const usualTokens = 16

function promptsOf(prompt: CompletionRequest['prompt'], encode: (text: string) => Int32Array): Int32Array[] {
  if (typeof prompt === 'string') return [encode(prompt)]
  if (typeof prompt[0] === 'number') return [Int32Array.from(prompt as number[])]
  return (prompt as (string | number[])[]).map(p => (typeof p === 'string' ? encode(p) : Int32Array.from(p)))
}

export async function completions(call: Call): Promise<Response> {
  const request = await call.read(completionSchema)
  const model = writerOf(modelNamed(call.models, request.model))
  const { tokenizer, answering } = model
  if ((request.suffix ?? '') !== '') throw new ApiError(400, 'this server puts no text in between: leave suffix out', { param: 'suffix' })
  if (request.best_of !== undefined && request.best_of !== null && request.best_of !== (request.n ?? 1)) throw new ApiError(400, 'this server chooses no best answers: ask for n', { param: 'best_of' })
  const echo = request.echo === true
  if (echo && request.stream === true) throw new ApiError(400, 'a prompt is echoed in whole answers only: leave out stream or echo', { param: 'echo' })
  if (echo && answering.encoder) throw new ApiError(400, `an encoder of the model "${model.name}" reads prompts, and answers do not go on with them: leave out echo`, { param: 'echo' })
  const prompts = promptsOf(request.prompt, text => encodePrompt(tokenizer, text, answering))
  const wanted = request.max_tokens ?? usualTokens
  if (wanted === 0 && !echo) throw new ApiError(400, 'max_tokens is 0, and nothing is echoed: ask for one token or more', { param: 'max_tokens' })
  const logprobs = request.logprobs ?? undefined
  const asked = prompts.map(prompt => askedFrom(request, { prompt, maxTokens: Math.max(1, wanted), logprobs, promptLogprobs: echo ? logprobs : undefined }, { vocab: tokenizer.vocab, scope: call.scope, adapter: model.adapter }))
  const choices = request.n ?? 1
  // All prompts have one constraint.
  if (asked[0] !== undefined) await call.know(model, asked[0])
  const told = asked.map(a => call.ask(model, a))
  const head = { id: idOf('cmpl'), created: seconds(), model: model.name, object: 'text_completion', ...(answering.load().step === undefined ? {} : { training_step: answering.load().step }) }

  if (request.stream !== true) {
    const all = await Promise.all(told.map(t => whole(t, choices)))
    call.requireConnected()
    const sum = (of: (a: Answered) => number): number => all.reduce((n, a) => n + of(a), 0)
    return call.json({
      ...head, ...all[0]?.made, usage: usageOf(sum(a => a.usage.prompt_tokens), wanted === 0 ? 0 : sum(a => a.usage.completion_tokens), sum(a => a.usage.prompt_tokens_details.cached_tokens)),
      choices: all.flatMap(({ answers, promptLogprobs }, p) => answers.map(({ text, tokens, reason }, i) => {
        const prompt = prompts[p] as Int32Array
        const written: readonly Written[] = wanted === 0 ? [] : tokens
        return {
          index: p * choices + i, text: `${echo ? tokenizer.decode(prompt, { special: true }) : ''}${wanted === 0 ? '' : text}`, finish_reason: wanted === 0 ? 'length' : reason,
          logprobs: logprobs === undefined ? null : completionLogprobs(tokenizer, echo ? [...promptLogprobs, ...written] : written, prompt[0]),
        }
      })),
    })
  }
  return eventStream(chunks(), { left: call.abort, failed: call.failed })

  async function* chunks(): AsyncGenerator<object> {
    const wantsUsage = request.stream_options?.include_usage === true
    let [read, cached, written, made]: [number, number, number, Made] = [0, 0, 0, {}]
    for await (const [p, t] of merged(told)) {
      const chunk = (choice: number, text: string, more: object): object => ({ ...head, ...made, choices: [{ index: p * choices + choice, text, logprobs: null, finish_reason: null, ...more }], ...(wantsUsage ? { usage: null } : {}) })
      if (t.type === 'prompt') [read, cached, made] = [read + t.tokens, cached + t.cached, madeBy(t.step)]
      else if (t.type === 'more') {
        written += t.tokens.length
        if (t.text !== '' || logprobs !== undefined) yield chunk(t.choice, t.text, logprobs === undefined ? {} : { logprobs: completionLogprobs(tokenizer, t.tokens, undefined) })
      } else yield chunk(t.choice, '', { finish_reason: t.reason })
    }
    if (wantsUsage) yield { ...head, ...made, choices: [], usage: usageOf(read, written, cached) }
  }
}

/** Several at once, each value with the place of its source, as they come. */
async function* merged(sources: readonly AsyncIterable<Told>[]): AsyncGenerator<readonly [number, Told]> {
  const iterators = sources.map(s => s[Symbol.asyncIterator]())
  const next = async (i: number): Promise<{ readonly i: number; readonly result: IteratorResult<Told> }> => ({ i, result: await (iterators[i] as AsyncIterator<Told>).next() })
  const open = new Map(iterators.map((_, i) => [i, next(i)]))
  try {
    while (open.size > 0) {
      const { i, result } = await Promise.race(open.values())
      if (result.done === true) open.delete(i)
      else {
        open.set(i, next(i))
        yield [i, result.value]
      }
    }
  } finally {
    await Promise.all(iterators.map(it => it.return?.()))
  }
}
