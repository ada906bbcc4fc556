/** Pairs of answers as a run's data, of which the first is preferred: records of JSONL and Parquet, tokenised when it is opened; some held out. */
import { basename } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { z } from 'zod'
import { configurable, type Configurable } from '../core/configurable.ts'
import { DataError, UsageError } from '../core/errors.ts'
import { sha256Parts } from '../io/checksum.ts'
import { epochOrder } from './order.ts'
import type { DataRequest, HeldOut, OpenableData, OpenData } from './part.ts'
import type { Rows } from './rows.ts'
import { permutation } from './shuffle.ts'
import { pairRecords, type PairFormat } from './sources/pairs.ts'
import { templateOf, type ChatRules } from './tasks/chat.ts'
import { answerBatch, cutPair, encodePair, type Answer, type PairTokens } from './tasks/pairs.ts'
import { chatSchema } from './text-data.ts'
import { TokenBuffer } from './tokenizer-bytes.ts'
import { readTokenizer } from './tokenizer-json.ts'
import type { Tokenizer } from './tokenizer.ts'

/** What there is to set of pairs. */
export interface PairConfig {
  /**
   * Files, folders, patterns or addresses of JSONL or Parquet, whose records have `chosen` and `rejected`, and mostly `prompt`: texts, which are read as they are, or messages, for which
   * the chat template is used. Where there is no prompt, it is what both answers begin with.
   */
  readonly files: readonly string[]
  /** What `files` are, where their names do not tell. */
  readonly format?: PairFormat | undefined
  /** The model's tokenizer.json. */
  readonly tokenizer: string
  /** How chats become text, and whose turns of an answer are learnt; ChatML and the assistant's unless given. */
  readonly chat?: ChatRules | undefined
  /** The share of pairs that is held out: one at least, unless it is 0. */
  readonly heldOut: number
}
type PairInput = Pick<PairConfig, 'files' | 'tokenizer'> & { readonly [F in 'format' | 'chat' | 'heldOut']?: PairConfig[F] | undefined }

const pairSchema: z.ZodType<PairConfig, PairInput> = z.strictObject({
  files: z.array(z.string()).min(1), format: z.enum(['jsonl', 'parquet']).optional(), tokenizer: z.string().min(1), chat: chatSchema.optional(), heldOut: z.number().min(0).lt(1).default(0.05),
})

export const pairsName = 'pairs'
/** What is wrong with files of pairs, as far as their first record shows it: told at once. @throws UsageError, DataError */
export async function checkPairs(files: readonly string[], { format }: Pick<PairConfig, 'format'>): Promise<void> {
  for await (const _ of pairRecords(files, format)) return
}

/** The pairs of some files: both sides' tokens one after another, and where each is from. */
interface Pairs {
  readonly count: number
  readonly tokens: number
  side(pair: number, which: 0 | 1): Answer
  readonly from: readonly { readonly part: string; readonly record: number; readonly at: string }[]
  readonly content: string
}

/** Tokens of a row, by what the model takes of each side. @throws UsageError for a model that takes no pairs, or counts every target */
function seqOf({ fields, ignored }: DataRequest): { readonly seq: number; readonly ignored: number } {
  const [seq] = fields['chosen.tokens']?.shape ?? []
  if (seq === undefined || fields['rejected.tokens'] === undefined) throw new UsageError({ code: 'data', what: `pairs give chosen and rejected, and the model takes ${Object.keys(fields).join(', ')}`, fix: 'make it a model of pairs: preferenceModel(gptModel({ … }), { beta: 0.1 })' })
  if (ignored === undefined) throw new UsageError({ code: 'targets', what: 'prompts are not to be learnt, and the model learns all targets', fix: 'let the model say which target does not count: ignored: -100' })
  return { seq, ignored }
}

async function read({ files, format, chat: { template, loss } = { template: 'chatml', loss: ['assistant'] } }: PairConfig, tokenizer: Tokenizer, request: DataRequest): Promise<Pairs> {
  const { seq } = seqOf(request)
  const rules = { template: templateOf(template), loss }
  const ids = new TokenBuffer(1 << 16)
  // Of each side where its tokens begin, and its answer's.
  const [starts, answers, from]: [number[], number[], Pairs['from'][number][]] = [[], [], []]
  let [prompts, ends] = [0, 0]
  for await (const { part, record, at, ...rest } of pairRecords(files, format)) {
    // One more than a row: each place's target is the token behind it.
    const cut = cutPair(encodePair({ part, record, at, ...rest }, tokenizer, rules), seq + 1)
    for (const { prompt, answer, learnt } of [cut.pair.chosen, cut.pair.rejected]) {
      starts.push(ids.length)
      answers.push(ids.length + prompt.length)
      ids.reserve(prompt.length + answer.length)
      ids.data.set(prompt, ids.length)
      // What is learnt has its bits turned over: ids are never below 0.
      ids.data.set(answer.map((id, i) => (learnt[i] === 1 ? ~id : id)), ids.length + prompt.length)
      ids.length += prompt.length + answer.length
    }
    from.push({ part, record, at })
    prompts += Number(cut.prompt)
    ends += Number(cut.answer)
    // Signals are heard, and what is under way is told.
    if (from.length % 64 === 0) {
      await setImmediate()
      request.signal?.throwIfAborted()
      request.onProgress({ stage: 'encode', done: from.length, total: undefined, tokens: ids.length, documents: from.length })
    }
  }
  const count = from.length
  if (count === 0) throw new DataError({ code: 'few-rows', what: `there are no pairs in ${namesOf(files)}`, fix: 'give files with a record a line: { "prompt": "…", "chosen": "…", "rejected": "…" }' })
  if (prompts + ends > 0) request.onNote(`of ${count} pairs ${prompts} have prompts that were cut from the left, and ${ends} answers that were cut at their ends, to fit into ${seq} tokens`)
  const data = ids.data.slice(0, ids.length)
  return {
    count, tokens: ids.length, from,
    content: sha256Parts([new Uint8Array(data.buffer), new Uint8Array(Float64Array.from(starts).buffer), new Uint8Array(Float64Array.from(answers).buffer)]),
    side(pair, which) {
      const n = 2 * pair + which
      const behind = data.subarray(answers[n], starts[n + 1] ?? data.length)
      return { prompt: data.subarray(starts[n], answers[n]), answer: behind.map(id => (id < 0 ? ~id : id)), learnt: Uint8Array.from(behind, id => Number(id < 0)) }
    },
  }
}

const namesOf = (files: readonly string[]): string => { const names = files.map(n => basename(n)); return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ') }

/** Tokenised pairs as batches. `places` says which pair a row has; none behind the end. */
function batchesOf(pairs: Pairs, request: DataRequest, place: (nth: number) => number | undefined) {
  const { seq, ignored } = seqOf(request)
  const placesOf = (step: number, { from, to }: Rows): (number | undefined)[] => Array.from({ length: to - from }, (_, i) => place(step * request.batch + from + i))
  const batch = (step: number, rows: Rows): PairTokens => {
    const places = placesOf(step, rows)
    const side = (which: 0 | 1) => answerBatch(places.map(p => (p === undefined ? undefined : pairs.side(p, which))), seq, ignored)
    return { chosen: side(0), rejected: side(1) }
  }
  return { batch, placesOf }
}

/** Pairs in their order, each once; rows behind the last do not count. */
const inOrder = (pairs: Pairs, which: Int32Array, request: DataRequest): HeldOut<PairTokens> =>
  ({ source: { batch: batchesOf(pairs, request, nth => which[nth]).batch }, batches: Math.min(request.heldOut, Math.ceil(which.length / request.batch)), count: which.length })

/** Pairs held out and not, each in their order: drawn by a fixed key, so that neither a seed nor a mesh has a say in it. @throws DataError where there are not two */
function parted(count: number, share: number, files: readonly string[]): { readonly train: Int32Array; readonly held: Int32Array } {
  const held = new Set<number>()
  const at = permutation(count, 0)
  const many = share === 0 ? 0 : Math.max(1, Math.min(count - 1, Math.round(share * count)))
  if (many >= count) throw new DataError({ code: 'few-rows', what: `there is one pair in ${namesOf(files)}, and one is to be held out`, fix: 'give more, or hold none out: heldOut: 0' })
  for (let i = 0; i < many; i++) held.add(at(i))
  const all = Int32Array.from({ length: count }, (_, i) => i)
  return { train: all.filter(i => !held.has(i)), held: all.filter(i => held.has(i)) }
}

async function opened(config: PairConfig, request: DataRequest): Promise<{ readonly pairs: Pairs; readonly tokenizer: Tokenizer }> {
  seqOf(request)
  const tokenizer = await readTokenizer(config.tokenizer)
  if (request.vocab !== undefined && tokenizer.vocab > request.vocab) throw new UsageError({ code: 'vocab', what: `the pairs' tokens are ${tokenizer.vocab}, and the model has a vocabulary of ${request.vocab}`, details: { tokenizer: config.tokenizer }, fix: 'give the tokenizer that belongs to the model' })
  return { pairs: await read(config, tokenizer, request), tokenizer }
}

const open = (config: PairConfig): OpenableData<PairTokens> => ({
  async whole(files, tokenizer, request): Promise<OpenData<PairTokens>> {
    const { pairs, tokenizer: own } = await opened({ ...config, files, tokenizer }, request)
    const all = inOrder(pairs, Int32Array.from({ length: pairs.count }, (_, i) => i), request)
    return { batch: all.source.batch, heldOut: all, identity: { pairs: pairs.count, content: pairs.content }, tokenizer: own, about: { name: namesOf(files), licence: 'your own', rows: pairs.count, vocab: own.vocab } }
  },
  async open(request): Promise<OpenData<PairTokens>> {
    const { pairs, tokenizer } = await opened(config, request)
    const { train, held } = parted(pairs.count, config.heldOut, config.files)
    const order = epochOrder(train.length, request.seed)
    const { batch, placesOf } = batchesOf(pairs, request, nth => train[order(nth).row])
    return {
      batch, tokenizer,
      heldOut: held.length === 0 ? undefined : inOrder(pairs, held, request),
      identity: { pairs: pairs.count, content: pairs.content, heldOut: held.length, seq: seqOf(request).seq },
      about: { name: namesOf(config.files), licence: 'your own', rows: train.length, heldOut: held.length, vocab: tokenizer.vocab },
      documentsOfStep: (step, rows = { from: 0, to: request.batch }) => placesOf(step, rows).map(pair => {
        const source = pair === undefined ? undefined : pairs.from[pair]
        return pair === undefined || source === undefined ? [] : [{ store: source.part, document: pair, from: 0, length: 1, source }]
      }),
      stepsFor: ({ epochs }) => Math.ceil(epochs * train.length / request.batch),
    }
  },
})

/**
 * Pairs of answers for a model of pairs: `data: pairData({ files: ['pairs.jsonl'], tokenizer: 'models/mine/tokenizer.json' })`. Each epoch has every pair once, in an order drawn from seed
 * and epoch; where they are fewer than a batch, it goes around. A pair that is longer than the model's windows is cut: its prompt from the left, down to a quarter of the window,
 * then its answers at their ends.
 */
export const pairData: Configurable<PairConfig, PairInput, OpenableData<PairTokens>, void> = configurable({ name: pairsName, schema: pairSchema, build: open })
