/** How well a language model foretells texts: the loss of each token, perplexity, bits per byte. */
import { DataError } from '../../core/errors.ts'
import { encodeChat, TokenBuffer, type ChatTemplate, type DocumentPart, type Tokenizer } from '../../data/index.ts'
import { noTarget } from '../../models/index.ts'
import type { RowProgram } from '../rows.ts'
import { textsOf, type Placed, type TextItem } from '../stream.ts'
import { requireFinite, type Task } from './task.ts'

/** A stretch of a document: what is read, and what is to be found at each place. */
type Window = { readonly at: string; readonly tokens: readonly number[]; readonly targets: readonly number[]; readonly bytes: number }
type Done = { readonly at: string; readonly tokens: number; readonly bytes: number; readonly loss: number }

export interface LossOptions {
  /** Gives log-probabilities, 0 where nothing is to be found. */
  readonly program: RowProgram
  readonly tokenizer: Tokenizer
  /** The id that stands for a token that is to be found, of a model that finds masked tokens; undefined for one that reads from left to right. */
  readonly mask?: number | undefined
  /** Of chats; an error says that there is none. */
  readonly template: ChatTemplate | undefined
  readonly stretch: number
}

/** A document's tokens, which of them count, and the bytes of text that they stand for. */
interface Encoded { readonly ids: readonly number[]; readonly counts: (place: number) => boolean; readonly bytes: number | undefined }

function encoded({ at, content }: TextItem, { tokenizer, template }: LossOptions): Encoded {
  if (typeof content === 'string') return { ids: [...tokenizer.encode(content)], counts: () => true, bytes: Buffer.byteLength(content) }
  if (template === undefined) throw new DataError({ code: 'chat-template', what: 'a record is a chat, and the model has no chat template', details: { in: at }, fix: 'put its chat_template.jinja beside it, or give texts' })
  const out = new TokenBuffer(1024)
  const learnt = encodeChat(content, tokenizer, { template, loss: ['assistant'] }, out, at)
  return { ids: Array.from(out.data.subarray(0, out.length)), counts: place => learnt.some(([from, to]) => place >= from && place < to), bytes: undefined }
}

/** Disjoint stretches of at most a window: of a decoder each token but the document's first is a target once; of a model that finds masked tokens each is. */
function* windowsOf(text: TextItem, options: LossOptions): Generator<Window> {
  const { tokenizer, program: { window }, mask } = options
  const { before, after } = tokenizer
  const { ids: own, counts, bytes } = encoded(text, options)
  const causal = mask === undefined
  const first = causal && typeof text.content === 'string' ? before.length : 0
  const ids = causal && typeof text.content === 'string' ? [...before, ...own] : own
  const [step, ahead] = causal ? [window, 1] : [window - before.length - after.length, 0]
  const targetAt = (place: number): number => (counts(place - first) ? ids[place] ?? noTarget : noTarget)
  for (let from = 0; from + ahead < ids.length; from += step) {
    const to = Math.min(from + step, ids.length - ahead)
    const targets = Array.from({ length: to - from }, (_, i) => targetAt(from + i + ahead))
    if (targets.every(t => t === noTarget)) continue
    const stands = targets.reduce((n, t) => n + (t === noTarget ? 0 : tokenizer.bytes(t)), 0)
    yield { at: text.at, tokens: ids.slice(from, to), targets, bytes: bytes === undefined ? stands : from === 0 ? bytes : 0 }
  }
}

const sum = (values: Iterable<number>): number => { let n = 0; for (const x of values) n += x; return n }

/** @throws DataError for a chat without a template */
export function lossTask(options: LossOptions): Task<Window, Done> {
  const { program, tokenizer: { before, after }, mask } = options
  const read = async function* (parts: readonly DocumentPart[]): AsyncGenerator<Placed<Window>> {
    for await (const { item, share } of textsOf(parts)) for (const window of windowsOf(item, options)) yield { item: window, share }
  }
  const measure = async (windows: readonly Window[], onItems: (done: number) => void): Promise<readonly Done[]> => {
    // Each token that is to be found has a row of its own, in which it alone is masked.
    const rows = mask === undefined ? windows : windows.flatMap(({ tokens, targets }) => targets.flatMap((target, i) => (target === noTarget ? [] : [{
      tokens: [...before, ...tokens.map((t, k) => (k === i ? mask : t)), ...after], targets: [...before.map(() => noTarget), ...targets.map((t, k) => (k === i ? t : noTarget))],
    }])))
    const found = await program.run(rows, done => { onItems(Math.floor(windows.length * done / rows.length)) })
    let next = 0
    return windows.map(({ at, targets, bytes }) => {
      const scored = targets.filter(t => t !== noTarget).length
      const mine = mask === undefined ? found.slice(next, next += 1) : found.slice(next, next += scored)
      const loss = -sum(mine.map(row => sum(row as Float32Array)))
      requireFinite([loss], at)
      return { at, tokens: scored, bytes, loss }
    })
  }
  return {
    name: 'loss', options: {}, stretch: options.stretch, read, measure,
    tally: () => {
      let [windows, tokens, bytes, loss, documents, last] = [0, 0, 0, 0, 0, '']
      return {
        add: done => {
          windows++
          if (done.at !== last) documents++
          last = done.at
          tokens += done.tokens
          bytes += done.bytes
          loss += done.loss
        },
        report: () => ({
          metrics: { loss: loss / tokens, perplexity: Math.exp(loss / tokens), bits_per_byte: loss / Math.LN2 / bytes }, counts: { documents, windows, tokens, bytes },
          definitions: {
            loss: mask === undefined
              ? `the mean of −log p(token) over all tokens but a document's first, in disjoint windows of ${program.window} tokens; of chats over the assistant's turns`
              : 'the mean of −log p(token), each token masked alone (pseudo-log-likelihood, Salazar et al. 2020), in disjoint windows',
            perplexity: 'e to the loss', bits_per_byte: 'the loss of all tokens in bits, over the bytes of the text',
          },
        }),
      }
    },
  }
}
