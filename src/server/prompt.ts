/** Chats as tokens: by the model's template, in which what people have typed is never more than text. */
import type { ChatTemplate, Message, Tokenizer } from '../data/index.ts'
import { ApiError } from './errors.ts'
import type { ChatRequest } from './schemas.ts'

/** Characters that Unicode keeps free for private use. */
const stand = (i: number): string => `\uf8f0\ue0a2${i}\uf8f1`
const stands = /\uf8f0\ue0a2(\d+)\uf8f1/

/** Messages as templates know them. @throws ApiError for what is no text */
export function messagesOf(given: ChatRequest['messages']): Message[] {
  return given.map(({ role, content, tool_calls: calls }, i) => {
    const wrong = (message: string): ApiError => new ApiError(400, message, { param: `messages.${i}` })
    if (role === 'tool' || role === 'function' || (calls ?? []).length > 0) throw wrong('this server runs no tools')
    if (content === null || content === undefined) throw wrong('a message needs content')
    const text = typeof content === 'string' ? content : content.map(part => {
      if (part.type !== 'text' || part.text === undefined) throw wrong(`a part of type "${part.type}" is not text, which is all that this model reads`)
      return part.text
    }).join('')
    return { role: role === 'developer' ? 'system' : role, content: text }
  })
}

/** Strings that stand for tokens of their own in a text. */
const specialsOf = ({ added, tokens }: Tokenizer): readonly string[] => added.filter(t => t.special).map(t => tokens[t.id] ?? '').filter(s => s.length > 1)

/** Ids of a text in which what is spelt like a special token is text like any other: it is cut where no token can be found in its parts. */
export function encodePlain(tokenizer: Tokenizer, text: string): number[] {
  const specials = specialsOf(tokenizer)
  const ids: number[] = []
  let rest = text
  for (;;) {
    const at = Math.min(...specials.map(s => rest.indexOf(s)).map(i => (i < 0 ? Infinity : i)))
    if (at === Infinity) return [...ids, ...tokenizer.encode(rest)]
    ids.push(...tokenizer.encode(rest.slice(0, at + 1)))
    rest = rest.slice(at + 1)
  }
}

/** A chat in which the assistant speaks next. */
export function encodeMessages(tokenizer: Tokenizer, template: ChatTemplate, messages: readonly Message[]): Int32Array {
  const specials = specialsOf(tokenizer)
  if (!messages.some(m => specials.some(s => m.content.includes(s)))) return tokenizer.encode(template.render(messages, { prompt: 'assistant' }))
  const rendered = template.render(messages.map((m, i) => ({ ...m, content: stand(i) })), { prompt: 'assistant' })
  return Int32Array.from(rendered.split(stands).flatMap((piece, i) => (i % 2 === 0 ? [...tokenizer.encode(piece)] : encodePlain(tokenizer, messages[Number(piece)]?.content ?? ''))))
}
