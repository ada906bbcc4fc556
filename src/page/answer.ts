/** One answer of a model: what is asked for it, and its pieces as they come. */
import { stream, type Request } from './api.ts'
import type { Likely, Message, Piece, Settings, Token } from './conversation.ts'

export interface Question {
  readonly model: string
  /** Whether the model has a chat template: otherwise it goes on with the text of all messages. */
  readonly chat: boolean
  readonly system: string
  readonly messages: readonly Pick<Message, 'role' | 'text'>[]
  readonly settings: Settings
  readonly seed: number
}
/** What of an answer has come at once. */
export interface Come { readonly piece?: Piece; readonly step?: number; readonly ending?: 'stop' | 'length'; readonly usage?: { readonly prompt: number; readonly cached: number; readonly tokens: number } }

/** Likeliest tokens of a place that are asked for: as many as completions tell. */
const likeliest = 5

interface ChatToken { readonly token: string; readonly logprob: number }
interface Chunk {
  readonly training_step?: number
  readonly choices: readonly {
    readonly delta?: { readonly content?: string }
    readonly text?: string
    readonly finish_reason: 'stop' | 'length' | null
    readonly logprobs: { readonly content?: readonly (ChatToken & { readonly top_logprobs: readonly ChatToken[] })[]; readonly tokens?: readonly string[]; readonly token_logprobs?: readonly number[]; readonly top_logprobs?: readonly Readonly<Record<string, number>>[] } | null
  }[]
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly prompt_tokens_details: { readonly cached_tokens: number } } | null
}

const sorted = (top: readonly Likely[]): Likely[] => [...top].sort((a, b) => b.logprob - a.logprob)
/** Chats and completions tell the same in forms of their own. */
function tokensOf(logprobs: Chunk['choices'][number]['logprobs']): Token[] {
  if (logprobs === null) return []
  if (logprobs.content !== undefined) return logprobs.content.map(({ token, logprob, top_logprobs: top }) => ({ token, logprob, top: sorted(top.map(t => ({ token: t.token, logprob: t.logprob }))) }))
  return (logprobs.tokens ?? []).map((token, i) => ({ token, logprob: logprobs.token_logprobs?.[i] ?? 0, top: sorted(Object.entries(logprobs.top_logprobs?.[i] ?? {}).map(([t, logprob]) => ({ token: t, logprob }))) }))
}

/** What is sent. */
export function requestOf({ model, chat, system, messages, settings, seed }: Question): { readonly path: string; readonly body: object } {
  const { temperature, topP, maxTokens, probabilities } = settings
  const sampling = { model, temperature, top_p: topP, seed, stream: true, stream_options: { include_usage: true } }
  if (!chat) return { path: 'v1/completions', body: { ...sampling, prompt: messages.map(m => m.text).join(''), max_tokens: maxTokens ?? 2 ** 31 - 1, ...(probabilities ? { logprobs: likeliest } : {}) } }
  return {
    path: 'v1/chat/completions',
    body: {
      ...sampling, messages: [...system.trim() === '' ? [] : [{ role: 'system', content: system }], ...messages.map(({ role, text }) => ({ role, content: text }))], ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
      ...(probabilities ? { logprobs: true, top_logprobs: likeliest } : {}),
    },
  }
}

/** @throws ApiFailure with what the server says */
export async function* answerTo(question: Question, request: Omit<Request, 'body'>): AsyncGenerator<Come> {
  const { path, body } = requestOf(question)
  for await (const event of stream(path, { ...request, body })) {
    const { choices, usage, training_step: step } = event as unknown as Chunk
    const [choice] = choices
    const text = choice?.delta?.content ?? choice?.text ?? ''
    const tokens = tokensOf(choice?.logprobs ?? null)
    yield {
      ...(step === undefined ? {} : { step }), ...(text === '' && tokens.length === 0 ? {} : { piece: { text, tokens } }), ...(choice?.finish_reason ? { ending: choice.finish_reason } : {}),
      ...(usage ? { usage: { prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens, tokens: usage.completion_tokens } } : {}),
    }
  }
}

/** Pieces in which tokens that made no text yet stand with those that completed it: a character may have several. */
export function joined(pieces: readonly Piece[], more: readonly Piece[]): Piece[] {
  const all = [...pieces]
  for (const piece of more) {
    const last = all.at(-1)
    if (last?.text === '') all[all.length - 1] = { text: piece.text, tokens: [...last.tokens, ...piece.tokens] }
    else all.push(piece)
  }
  return all
}
