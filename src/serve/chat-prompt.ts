/** Chats as tokens: by the model's template, in which what people have typed is never more than text. */
import { randomBytes } from 'node:crypto'
import type { ChatTemplate, Message, Tokenizer } from '../data/index.ts'

/** Cuts a text where no token may be found across: characters that Unicode keeps free for private use, in an order that nobody can guess. */
const cut = `\uf8f0${[...randomBytes(8)].map(b => String.fromCharCode(0xe100 + b)).join('')}\uf8f1`

/** Strings that stand for tokens of their own in a text. */
const markupOf = ({ added, tokens }: Tokenizer): readonly string[] => added.map(t => ({ text: tokens[t.id] ?? '', special: t.special })).filter(t => t.text.length > 1 && (t.special || /^<.+>$|^\[.+\]$/.test(t.text))).map(t => t.text)

/** All texts of a value. */
function inTexts<T>(value: T, change: (text: string) => string): T {
  if (typeof value === 'string') return change(value) as T
  if (Array.isArray(value)) return value.map((v: unknown) => inTexts(v, change)) as T
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([k, v]) => [change(k), inTexts<unknown>(v, change)])) as T
  return value
}

/**
 * What people have typed, made safe for a template: what is spelt like a token of the model's own is cut behind its first character, so that `encodeRendered` makes text
 * of it like any other.
 */
export function safeText<T>(tokenizer: Tokenizer, value: T): T {
  const markup = markupOf(tokenizer)
  return inTexts(value, text => markup.reduce((t, s) => t.replaceAll(s, `${s[0]}${cut}${s.slice(1)}`), text))
}

/** Ids of a text that a template has made of what is safe. */
export function encodeRendered(tokenizer: Tokenizer, text: string): Int32Array {
  const pieces = text.split(cut)
  return pieces.length === 1 ? tokenizer.encode(text) : Int32Array.from(pieces.flatMap(piece => [...tokenizer.encode(piece)]))
}

/** A chat in which the assistant speaks next. @throws DataError where the template does not take it */
export function encodeChatPrompt(tokenizer: Tokenizer, template: ChatTemplate, messages: readonly Message[]): Int32Array {
  const safe = messages.map(m => ({ ...safeText(tokenizer, m), role: m.role }))
  return encodeRendered(tokenizer, template.render(safe, { prompt: 'assistant' }))
}
