/** Requests as what is asked of a model. */
import { randomInt } from 'node:crypto'
import type { Asked, Constraint, Sampling } from '../serve/asking.ts'
import { ApiError } from './errors.ts'
import type { SamplingRequest } from './schemas.ts'

const refused = (param: string, message: string): ApiError => new ApiError(400, message, { param })

function samplingOf({ temperature, top_p: topP, top_k: topK, min_p: minP, presence_penalty: presence, frequency_penalty: frequency, repetition_penalty: repetition, logit_bias: bias, seed }: SamplingRequest, vocab: number): Sampling {
  const logitBias = new Map(Object.entries(bias ?? {}).map(([id, x]) => [Number(id), x]))
  if (logitBias.size > 300) throw refused('logit_bias', 'at most 300 tokens have a bias')
  for (const id of logitBias.keys()) if (id >= vocab) throw refused('logit_bias', `there is no token ${id}: ids are below ${vocab}`)
  return {
    temperature: temperature ?? 1, topP: topP ?? 1, topK: Math.max(0, topK ?? 0), minP: minP ?? 0, presencePenalty: presence ?? 0, frequencyPenalty: frequency ?? 0, repetitionPenalty: repetition ?? 1, logitBias,
    // Seeds may be any whole number: what is drawn depends on 53 bits of them.
    seed: seed === undefined || seed === null ? randomInt(2 ** 47) : Math.abs(seed),
  }
}

/** What the answer must be, where anything is said of it. @throws ApiError for two things at once */
function constraintOf({ response_format: format, guided_regex: pattern, guided_choice: choices, guided_grammar: grammar, guided_json: schema }: SamplingRequest, tools: Constraint | undefined): Constraint | undefined {
  const found: Constraint[] = [
    ...tools === undefined ? [] : [tools],
    ...format?.type === 'json_object' ? [format.schema === undefined ? { type: 'json-object' as const } : { type: 'json-schema' as const, schema: format.schema }] : [],
    ...format?.type === 'json_schema' ? [{ type: 'json-schema' as const, schema: format.json_schema.schema }] : [], ...typeof pattern === 'string' ? [{ type: 'regex' as const, pattern }] : [],
    ...Array.isArray(choices) ? [{ type: 'choice' as const, choices }] : [], ...typeof grammar === 'string' ? [{ type: 'ebnf' as const, grammar }] : [], ...schema === undefined || schema === null ? [] : [{ type: 'json-schema' as const, schema }],
  ]
  if (found.length > 1) throw refused('response_format', 'an answer is asked to be two things at once: give one constraint')
  return found[0]
}

/** @param scope whose prompts may share what is kept of them */
export function askedFrom(request: SamplingRequest, rest: { readonly prompt: Int32Array; readonly maxTokens: number | undefined; readonly logprobs: number | undefined; readonly promptLogprobs?: number | undefined; readonly constraint?: Constraint | undefined }, { vocab, scope, adapter }: { readonly vocab: number; readonly scope: string; readonly adapter: string | undefined }): Asked {
  const { n, stop, stop_token_ids: stopTokens, ignore_eos: ignoreEnd, min_tokens: minTokens } = request
  for (const id of stopTokens ?? []) if (id >= vocab) throw refused('stop_token_ids', `there is no token ${id}: ids are below ${vocab}`)
  return {
    ...rest, choices: n ?? 1, minTokens: minTokens ?? 0, stop: typeof stop === 'string' ? [stop] : stop ?? [], stopTokens: stopTokens ?? [], ignoreEnd: ignoreEnd ?? false, sampling: samplingOf(request, vocab), constraint: constraintOf(request, rest.constraint), scope, adapter,
  }
}
