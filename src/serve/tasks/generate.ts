/** How near what a model writes is to what is right: exact match, BLEU, chrF. */
import { DataError } from '../../core/errors.ts'
import type { ChatTemplate, Message, Tokenizer } from '../../data/index.ts'
import { addBleu, bleu, bleuSums, noBleu } from '../metrics/bleu.ts'
import { addChrf, chrf, chrfSums, noChrf } from '../metrics/chrf.ts'
import { exactMatch } from '../metrics/words.ts'
import { encodePrompt } from '../generate.ts'
import { itemsOf, type Fields, type Task } from './task.ts'
import type { Writer } from './writer.ts'

type Item = { readonly at: string; readonly prompt: string; readonly chat: boolean; readonly answers: readonly string[] }
type Done = { readonly at: string; readonly output: string; readonly answers: readonly string[]; readonly cut: boolean }

export interface GenerateTaskOptions {
  readonly writer: Writer
  readonly tokenizer: Tokenizer
  /** Tokens to write at most. */
  readonly tokens: number
  /** Tokens that end a text. */
  readonly ends: readonly number[]
  /** Of items that are chats. */
  readonly template: ChatTemplate | undefined
  readonly stretch: number
}

/** `prompt`, or `messages`, in which the assistant speaks next: then the template says with which tokens it begins, too. */
function promptOf(fields: Fields, template: ChatTemplate | undefined): Pick<Item, 'prompt' | 'chat'> {
  const messages = fields.raw('messages')
  if (messages === undefined) return { prompt: fields.text('prompt'), chat: false }
  if (template === undefined) throw fields.wrong('chat-template', 'an item is a chat, and the model has no chat template', 'put its chat_template.jinja beside it, or give prompts')
  const isMessage = (m: unknown): m is Message => typeof m === 'object' && m !== null && 'role' in m && 'content' in m && typeof m.role === 'string' && typeof m.content === 'string'
  if (!Array.isArray(messages) || !messages.every(isMessage)) throw fields.wrong('not-a-chat', 'the field "messages" is no list of messages', 'messages are a list of { "role": "user", "content": "…" }')
  return { prompt: template.render(messages, { prompt: 'assistant' }), chat: true }
}

/** A prompt in so much room: of one that is gone on with its end, of one that is read its beginning and what ends it. */
function fitting(ids: readonly number[], { room, encoder }: Writer, { after }: Tokenizer): readonly number[] {
  if (ids.length <= room) return ids
  return encoder ? [...ids.slice(0, Math.max(0, room - after.length)), ...after].slice(-room) : ids.slice(-room)
}

export function generateTask({ writer, tokenizer, tokens, ends, template, stretch }: GenerateTaskOptions): Task<Item, Done> {
  return {
    name: 'generate', options: { tokens, ends }, stretch,
    read: parts => itemsOf(parts, (fields): Item => {
      const answer = fields.maybe('answer')
      return { at: fields.at, ...promptOf(fields, template), answers: answer === undefined ? fields.texts('answers', 1) : [answer] }
    }),
    async measure(items, onItems) {
      const prompts = items.map(({ at, prompt, chat }) => {
        const ids = chat ? [...tokenizer.encode(prompt)] : [...encodePrompt(tokenizer, prompt, writer)]
        if (ids.length === 0 && tokenizer.endOfText !== undefined) ids.push(tokenizer.endOfText)
        if (ids.length === 0) throw new DataError({ code: 'empty-prompt', what: 'a prompt has no token', details: { in: at }, fix: 'give it a character' })
        return { ids: fitting(ids, writer, tokenizer), cut: ids.length > writer.room }
      })
      const made = await writer.write(prompts.map(p => p.ids), onItems)
      return items.map(({ at, answers }, i) => ({ at, output: tokenizer.decode(made[i] ?? []), answers, cut: prompts[i]?.cut === true }))
    },
    tally: () => {
      let [items, right, cut, sums, characters] = [0, 0, 0, noBleu, noChrf]
      return {
        add: ({ output, answers, cut: wasCut }) => {
          items++
          if (wasCut) cut++
          if (exactMatch(output, answers)) right++
          sums = addBleu(sums, bleuSums(output, answers))
          characters = addChrf(characters, chrfSums(output, answers))
        },
        report: () => ({
          metrics: { exact_match: right / items, bleu: bleu(sums), chrf: chrf(characters) }, counts: { items, cut },
          definitions: {
            exact_match: 'the share of items whose text is one of its answers, in lower case, without punctuation and the articles a, an, the, as SQuAD compares them',
            bleu: 'of the corpus, as sacrebleu: 13a tokens, exponential smoothing', chrf: 'of the corpus, as sacrebleu\'s chrF2: characters up to six, beta 2, without white space',
            cut: `items whose prompts have more than ${writer.room} tokens, and lost their ${writer.encoder ? 'ends' : 'beginnings'}`,
          },
        }),
      }
    },
  }
}
