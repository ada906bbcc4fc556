/** Chats as tokens, and which of them are learnt: the turns of chosen roles, with the token that ends them. */
import { DataError } from '../../core/errors.ts'
import type { Message } from '../documents.ts'
import type { Plain as Json } from '../../core/plain.ts'
import { compileTemplate } from './template.ts'
import type { TokenBuffer } from '../tokenizer-bytes.ts'
import type { Tokenizer } from '../tokenizer.ts'

/** A model's own template, with what it names: `bos_token` and the like. Plain data, for workers. */
export interface JinjaTemplate { readonly jinja: string; readonly variables?: { readonly [name: string]: Json } }

export interface ChatRules {
  /** How a chat becomes text. */
  readonly template: 'chatml' | JinjaTemplate
  /** Roles whose turns are learnt; all text of a chat where it is empty. */
  readonly loss: readonly string[]
}

/** How a chat becomes text: the text of turns so far, and what a model is given before it speaks. */
export interface ChatTemplate {
  render(messages: readonly Message[], options: { readonly prompt: string | undefined; /** Of functions, as OpenAI's API has them. */ readonly tools?: readonly Json[] | undefined; /** Words of the template that are set for this chat. */ readonly variables?: { readonly [name: string]: Json } }): string
  /** As it is written, where it is Jinja. */
  readonly source?: string
  /** Where the template itself says what an assistant's words are. */
  readonly marked?: ((messages: readonly Message[]) => readonly ChatPiece[]) | undefined
}

export interface ChatPiece { readonly text: string; readonly learnt: boolean }

export const chatTemplates: { readonly chatml: ChatTemplate } = {
  chatml: {
    render: (messages, { prompt }) =>
      `${messages.map(m => `<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).join('')}${prompt === undefined ? '' : `<|im_start|>${prompt}\n`}`,
  },
}

/** Stands for a turn's text, in characters that Unicode keeps free for private use. */
const stand = '\uf8f0\ue0a0\uf8f1'

/** @throws DataError where it is no template of Jinja */
export function templateOf(template: ChatRules['template']): ChatTemplate {
  if (typeof template === 'string') return chatTemplates[template]
  const { jinja, variables = {} } = template
  const { render, marked } = compileTemplate(jinja)
  return {
    // A template has a prompt for its assistant alone: another speaker is given nothing.
    render: (messages, { prompt, tools, variables: own = {} }) => render(messages, { variables: { ...own, ...variables, ...(tools === undefined ? {} : { tools }) }, addGenerationPrompt: prompt === 'assistant' }),
    source: jinja,
    marked: marked === undefined ? undefined : messages => marked(messages, { variables }),
  }
}

/**
 * Text of a chat cut where what is learnt begins and ends. A turn is learnt from the end of what its speaker is given, the turns before it rendered with
 * the prompt for it, to the end of its own text and the token that ends it; the white space that a template puts behind that is not. Where a template
 * marks an assistant's words itself, those are learnt.
 * @throws DataError when the template does not render turns one after another.
 */
export function chatPieces(messages: readonly Message[], template: ChatTemplate, loss: readonly string[], at: string): readonly ChatPiece[] {
  const wrong = (what: string): DataError => new DataError({ code: 'chat-template', what: `${at}: ${what}`, fix: 'use a template that renders each turn behind the ones before it' })
  const whole = template.render(messages, { prompt: undefined })
  if (loss.length === 0) return [{ text: whole, learnt: true }]
  if (template.marked !== undefined && loss.join() === 'assistant') return template.marked(messages)
  const pieces: ChatPiece[] = []
  let done = 0
  messages.forEach((m, i) => {
    if (!loss.includes(m.role)) return
    // Where the turn's own text lies is where other text would: what stands around it may hang on the turns after it.
    const other = messages.map((message, j) => (j === i ? { ...message, content: stand } : message))
    const [front = '', back, ...more] = template.render(other, { prompt: undefined }).split(stand)
    if (back === undefined || more.length > 0 || whole.length < front.length + back.length || !whole.startsWith(front) || !whole.endsWith(back) || front.length < done) throw wrong(`the text of turn ${i + 1} does not stand between those of the others`)
    const [, closing = ''] = template.render(other.slice(0, i + 1), { prompt: undefined }).trimEnd().split(stand)
    const before = template.render(messages.slice(0, i), { prompt: m.role })
    const from = whole.startsWith(before) && before.length <= front.length && before.length >= done ? before.length : front.length
    const textEnd = whole.length - back.length
    const to = whole.startsWith(closing, textEnd) ? textEnd + closing.length : textEnd
    if (from > done) pieces.push({ text: whole.slice(done, from), learnt: false })
    pieces.push({ text: whole.slice(from, to), learnt: true })
    done = to
  })
  if (done < whole.length) pieces.push({ text: whole.slice(done), learnt: false })
  return pieces
}

/**
 * Appends a chat's tokens. What is learnt is encoded apart from what comes before it, as a model that is given the one makes the other.
 * @returns the stretches of `out` that are learnt.
 * @throws DataError when a turn has no role or content, or none is learnt.
 */
export function encodeChat(messages: readonly Message[], tokenizer: Tokenizer, { template, loss }: { readonly template: ChatTemplate; readonly loss: readonly string[] }, out: TokenBuffer, at: string): readonly (readonly [number, number])[] {
  const stretches: [number, number][] = []
  for (const { text, learnt } of chatPieces(messages, template, loss, at)) {
    const from = out.length
    tokenizer.encodeInto(text, out)
    if (learnt && out.length > from) stretches.push([from, out.length])
  }
  if (stretches.length === 0) {
    throw new DataError({
      code: 'chat-without-loss', what: `${at}: no turn of this chat is learnt`, details: { roles: [...new Set(messages.map(m => m.role))].join(', ') || 'no turns', learnt: loss.join(', ') },
      fix: 'name the roles to learn, as in --loss assistant, or leave the chat out',
    })
  }
  return stretches
}
