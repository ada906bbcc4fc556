/** Chats as tokens, and which of them are learnt: the turns of chosen roles, with the token that ends them. */
import { DataError } from '../../core/errors.ts'
import type { Message } from '../documents.ts'
import type { TokenBuffer } from '../tokenizer-bytes.ts'
import type { Tokenizer } from '../tokenizer.ts'

export interface ChatRules {
  /** How a chat becomes text. */
  readonly template: 'chatml'
  /** Roles whose turns are learnt; all text of a chat where it is empty. */
  readonly loss: readonly string[]
}

/** How a chat becomes text: the text of turns so far, and what a model is given before it speaks. */
export interface ChatTemplate {
  render(messages: readonly Message[], options: { readonly prompt: string | undefined }): string
}

export const chatTemplates: { readonly [T in ChatRules['template']]: ChatTemplate } = {
  chatml: {
    render: (messages, { prompt }) =>
      `${messages.map(m => `<|im_start|>${m.role}\n${m.content}<|im_end|>\n`).join('')}${prompt === undefined ? '' : `<|im_start|>${prompt}\n`}`,
  },
}

/**
 * Text of a chat cut where what is learnt begins and ends. A turn is learnt from the end of what its speaker is given, the turns before it rendered with
 * the prompt for it, to the end of its own text and the token that ends it; the white space that a template puts behind that is not.
 * @throws DataError when the template does not render turns one after another.
 */
export function chatPieces(messages: readonly Message[], template: ChatTemplate, loss: readonly string[], at: string): readonly { readonly text: string; readonly learnt: boolean }[] {
  const wrong = (what: string): DataError => new DataError({ code: 'chat-template', what: `${at}: ${what}`, fix: 'use a template that renders each turn behind the ones before it' })
  const whole = template.render(messages, { prompt: undefined })
  if (loss.length === 0) return [{ text: whole, learnt: true }]
  const pieces: { text: string; learnt: boolean }[] = []
  let done = 0
  messages.forEach((m, i) => {
    if (!loss.includes(m.role)) return
    const before = template.render(messages.slice(0, i), { prompt: m.role })
    const through = template.render(messages.slice(0, i + 1), { prompt: undefined }).trimEnd()
    if (!through.startsWith(before) || !whole.startsWith(through)) throw wrong(`the text of turn ${i + 1} does not begin with what its speaker is given`)
    if (before.length > done) pieces.push({ text: whole.slice(done, before.length), learnt: false })
    pieces.push({ text: through.slice(before.length), learnt: true })
    done = through.length
  })
  if (done < whole.length) pieces.push({ text: whole.slice(done), learnt: false })
  return pieces
}

/**
 * Appends a chat's tokens. What is learnt is encoded apart from what comes before it, as a model that is given the one makes the other.
 * @returns the stretches of `out` that are learnt.
 * @throws DataError when a turn has no role or content, or none is learnt.
 */
export function encodeChat(messages: readonly Message[], tokenizer: Tokenizer, { template, loss }: ChatRules, out: TokenBuffer, at: string): readonly (readonly [number, number])[] {
  const stretches: [number, number][] = []
  for (const { text, learnt } of chatPieces(messages, chatTemplates[template], loss, at)) {
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
