/** Tokens as clients are told of them: their text, and the bytes that it is made of. */
import type { Tokenizer } from '../data/index.ts'
import type { Written } from '../serve/asking.ts'

const utf8 = new TextEncoder()
export const tokenText = (tokenizer: Tokenizer, id: number): string => tokenizer.decode([id], { special: true })
/** A token may be a part of a character; special ones are spelt. */
export const tokenBytes = (tokenizer: Tokenizer, id: number): number[] => [...tokenizer.textOf(id) ?? utf8.encode(tokenText(tokenizer, id))]

/** As chats have log-probabilities. */
export const chatLogprob = (tokenizer: Tokenizer, { token, logprob = 0, top = [] }: Written): object => {
  const one = (id: number, p: number): object => ({ token: tokenText(tokenizer, id), logprob: p, bytes: tokenBytes(tokenizer, id) })
  return { ...one(token, logprob), top_logprobs: top.map(t => one(t.token, t.logprob)) }
}

/** As completions have them; the first token of an echoed prompt has none. */
export function completionLogprobs(tokenizer: Tokenizer, tokens: readonly (Written | undefined)[], first: number | undefined): object {
  const ids = tokens.map((t, i) => t?.token ?? (i === 0 ? first : undefined) ?? 0)
  const texts = ids.map(id => tokenText(tokenizer, id))
  let offset = 0
  return {
    tokens: texts, token_logprobs: tokens.map(t => t?.logprob ?? null), text_offset: texts.map(text => { const at = offset; offset += text.length; return at }),
    top_logprobs: tokens.map(t => (t?.top === undefined ? null : Object.fromEntries<number>((t.top.length === 0 ? [{ token: t.token, logprob: t.logprob ?? 0 }] : t.top).map(x => [tokenText(tokenizer, x.token), x.logprob])))),
  }
}
