/** Prompts in files to a file of answers: in order, each once, many at a time, and gone on with where it was left. */
import { rename, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { DataError, FileError } from '../core/errors.ts'
import type { PlainObject } from '../core/plain.ts'
import type { ChatTemplate, DocumentFormat, Tokenizer } from '../data/index.ts'
import { syncFolder } from '../io/atomic.ts'
import type { Answerer } from './answerer.ts'
import { Refused, type Asked } from './asking.ts'
import { encodeChatPrompt } from './chat-prompt.ts'
import { askedOf, encodePrompt } from './generate.ts'
import { PartialWork } from './partial.ts'
import { nothingIn, openInputs, textsOf, type TextItem } from './stream.ts'

export interface AnswerFilesOptions {
  /** Files, folders, patterns or addresses. */
  readonly input: readonly string[]
  /** What they are, where their names do not tell; and which field holds the prompt. */
  readonly format?: DocumentFormat | undefined
  /** JSONL: a line an answer. */
  readonly output: string
  /** How answers are written. */
  readonly asked: Partial<Asked>
  /** Of prompts that are chats. */
  readonly template: ChatTemplate | undefined
  /** What decides the answers beside the prompts: the model and its options. Work that was begun with another is not gone on with. */
  readonly identity: PlainObject
  /** Prompts that are asked at once. */
  readonly atOnce: number
  /** Throws away what was begun, and a file that is there. */
  readonly restart?: boolean
  readonly signal?: AbortSignal | undefined
  /** Hears how many prompts are answered, how many of them were before, and which share of the input that is where it is known. */
  readonly onProgress?: ((done: number, before: number, share: number | undefined) => void) | undefined
}
export interface AnsweredFiles {
  readonly output: string
  readonly prompts: number
  readonly promptTokens: number
  readonly tokens: number
  /** Prompts that could not be answered, as they are longer than the window: their lines say so. */
  readonly refused: number
  /** Prompts that were answered when this began. */
  readonly before: number
}

type Line = PlainObject & { readonly index: number }

/** What is continued: of a chat its template says the tokens that texts begin with, too. @throws DataError for a chat that has no template */
function promptOf({ at, content }: TextItem, template: ChatTemplate | undefined, tokenizer: Tokenizer, answering: Answerer): Int32Array {
  if (typeof content === 'string') return encodePrompt(tokenizer, content, answering)
  if (template === undefined) throw new DataError({ code: 'chat-template', what: 'a prompt is a chat, and the model has no chat template', details: { in: at }, fix: 'put its chat_template.jinja beside it, or give prompts of text' })
  return encodeChatPrompt(tokenizer, template, content)
}

/** Answers files of prompts. Under MPI the first process calls it, and the others follow. @throws DataError, FileError; the signal's reason */
export async function answerFiles(answering: Answerer, tokenizer: Tokenizer, { input, format, output, asked, template, identity, atOnce, restart = false, signal, onProgress = () => {} }: AnswerFilesOptions): Promise<AnsweredFiles> {
  if (!restart && await stat(output).then(() => true, () => false)) throw new FileError({ code: 'out-exists', what: `${output} is there already`, fix: 'give another --output, or --restart to make it anew' })
  const { parts, fingerprint } = await openInputs(input, format)
  const work = await PartialWork.open(join(dirname(output), `.${basename(output)}.partial`), 'answers.jsonl', { ...identity, prompts: fingerprint, field: format ?? null, template: template === undefined ? null : 'own' }, restart)
  try {
    const before = work.reached.items
    const answered = async (index: number, item: TextItem): Promise<Line> => {
      const prompt = promptOf(item, template, tokenizer, answering)
      const texts: string[] = []
      const reasons: string[] = []
      let tokens = 0
      try {
        for await (const told of answering.ask(askedOf(prompt, asked), signal)) {
          if (told.type === 'more') {
            texts[told.choice] = (texts[told.choice] ?? '') + told.text
            tokens += told.tokens.length
          } else if (told.type === 'end') reasons[told.choice] = told.reason
        }
      } catch (e) {
        // One prompt that is too long does not end the work on all the others.
        if (e instanceof Refused && e.refusal.type === 'invalid') return { index, error: `${e.refusal.field}: ${e.refusal.why}`, prompt_tokens: prompt.length, tokens: 0 }
        throw e
      }
      signal?.throwIfAborted()
      return { index, ...((asked.choices ?? 1) === 1 ? { text: texts[0] ?? '', finish_reason: reasons[0] ?? 'stop' } : { texts, finish_reasons: reasons }), prompt_tokens: prompt.length, tokens }
    }
    const items = textsOf(parts)
    const waiting: { readonly line: Promise<Line>; readonly share: number | undefined }[] = []
    const ready: Line[] = []
    const write = async (): Promise<void> => {
      const lines = ready.splice(0)
      const sum = (of: (line: Line) => number): number => lines.reduce((n, line) => n + of(line), 0)
      const counts = { promptTokens: sum(l => l['prompt_tokens'] as number), tokens: sum(l => l['tokens'] as number), refused: sum(l => ('error' in l ? 1 : 0)) }
      if (lines.length > 0) await work.add(new TextEncoder().encode(lines.map(line => `${JSON.stringify(line)}\n`).join('')), lines.length, counts)
    }
    let index = 0
    const keep = async (): Promise<void> => {
      const first = waiting.shift()
      if (first === undefined) return
      ready.push(await first.line)
      if (ready.length >= atOnce) await write()
      onProgress(work.reached.items + ready.length, before, first.share)
    }
    try {
      for await (const { item, share } of items) {
        signal?.throwIfAborted()
        const at = index++
        if (at < before) continue
        if (waiting.length === atOnce) await keep()
        const line = answered(at, item)
        // Told when its turn has come.
        line.catch(() => undefined)
        waiting.push({ line, share })
      }
      while (waiting.length > 0) await keep()
      await write()
    } catch (e) {
      await write()
      throw e
    } finally {
      await Promise.allSettled(waiting.map(w => w.line))
    }
    const { items: prompts, counts } = work.reached
    if (prompts === 0) throw nothingIn(input)
    await work[Symbol.asyncDispose]()
    await rename(work.path, output)
    await syncFolder(dirname(output))
    await work.remove()
    return { output, prompts, promptTokens: counts['promptTokens'] ?? 0, tokens: counts['tokens'] ?? 0, refused: counts['refused'] ?? 0, before }
  } catch (e) {
    // What has nothing to go on with is not left behind.
    if (work.reached.items === 0) await work.remove()
    throw e
  } finally {
    await work[Symbol.asyncDispose]()
  }
}
