/** A model that writes, for programs: opened from its folder, asked in loops that hear its text as it comes. */
import { FileError, UsageError } from '../core/errors.ts'
import type { Backend, Layouts } from '../engine/index.ts'
import { readTokenizer, type ChatTemplate, type Message, type Tokenizer } from '../data/index.ts'
import { filesOf, isWritingModel, type WritingModel } from '../models/index.ts'
import { weightsIn } from '../checkpoint/index.ts'
import { usualLayout } from '../pretrained/layout.ts'
import { endsIn, templateIn } from '../pretrained/model-files.ts'
import { partOf, readPretrained } from '../pretrained/pretrained.ts'
import type { Answering, Constraint, Sampling } from './asking.ts'
import { beamSearch, type Beam, type BeamOptions } from './beam-search.ts'
import { encodeChatPrompt } from './chat-prompt.ts'
import { askedOf, encodePrompt, greedy } from './generate.ts'
import { openAnswering, type Generating, type OpenOptions } from './open.ts'
import { led } from './turns.ts'

export interface OpenModelOptions extends Partial<Layouts>, Pick<OpenOptions, 'weights' | 'requests' | 'cache' | 'drafts' | 'chunk'> {
  readonly backend: Backend
  /** Devices by axis; `batch` divides the requests, `model` the model. One device unless said. */
  readonly mesh?: { readonly [axis: string]: number }
  /** Tokens of a text, of a model with an encoder of what it reads and of what it writes; 4096, or what the model is made for, unless said. */
  readonly context?: number
}

/** How a text is written. What is not said is the likeliest token each time, until the model ends it. */
export interface WriteOptions extends Partial<Sampling> {
  readonly maxTokens?: number
  /** Texts that end it, and are no part of it. */
  readonly stop?: readonly string[]
  /** What it must be. */
  readonly constraint?: Constraint
  readonly signal?: AbortSignal
}

/** A model on the devices. Answers that are asked for at once are written together, each as if it were alone. */
export interface OpenModel extends AsyncDisposable {
  readonly tokenizer: Tokenizer
  /** Tokens of a prompt and its answer together; of a model with an encoder, of each of them. */
  readonly context: number
  /** For what is not said here: log-probabilities, several choices, penalties of tokens. */
  readonly answering: Answering
  /** Continues a text, or answers one that an encoder reads: whole characters, as they come. @throws Refused where it does not fit; UsageError for a constraint that cannot be enforced */
  generate(prompt: string | Int32Array, options?: WriteOptions): AsyncGenerator<string>
  /** The assistant's next words in a chat. @throws FileError where the model has no template, Refused as `generate` */
  chat(messages: readonly Message[], options?: WriteOptions): AsyncGenerator<string>
  /** The likeliest texts that a search with so many beams finds, the best first. */
  beamSearch(prompt: string | Int32Array, options?: BeamOptions): Promise<readonly Beam[]>
  /** Under MPI: the first process does the work, the others compute what it asks for until it is done, and get nothing. */
  lead<T>(work: () => Promise<T>): Promise<T | undefined>
  close(): Promise<void>
}

/**
 * Opens a folder in Hugging Face's layout, a finished run's, or a GGUF file. Under MPI every process calls it.
 * @throws FileError, UsageError, LayoutError for what is wrong with model or layout
 */
export async function openModel(folder: string, { backend, mesh = { model: 1 }, context, layout, params, layouts, ...options }: OpenModelOptions): Promise<OpenModel> {
  const given = await readPretrained(folder)
  if (context !== undefined && !(Number.isSafeInteger(context) && context >= 2 && context <= given.positions)) throw new UsageError({ code: 'context', what: `context is ${context}, and the model has ${given.positions} positions`, fix: `give a whole number from 2 to ${given.positions}` })
  const part = partOf(given, { seq: context ?? Math.min(given.positions, 4096) })
  const build = (rows: number): WritingModel => {
    const model = part.build({ batch: rows })
    if (isWritingModel(model)) return model
    throw new UsageError({ code: 'no-text', what: `${folder} is a model of type ${JSON.stringify(given.config['model_type'])}, which writes no text`, fix: 'give one that does, such as a GPT, a Llama or a T5' })
  }
  const model = build(1)
  if (given.tokenizer === undefined) throw new FileError({ code: 'no-tokenizer', what: `${folder} holds no tokenizer.json`, fix: 'copy the model\'s own there' })
  const tokenizer = await readTokenizer(given.tokenizer)
  const from: Generating = { weights: await weightsIn(folder), naming: filesOf(part as never, model as never)?.naming, model: build, tokenizer, ends: await endsIn(folder, { given, tokenizer }) }
  const template: ChatTemplate | undefined = await templateIn({ given, tokenizer })
  const { answering, turns, close } = await openAnswering(from, { backend, mesh, layout: layout ?? usualLayout(model.dims, mesh), ...(params === undefined ? {} : { params }), ...(layouts === undefined ? {} : { layouts }), ...options })
  const ids = (prompt: string | Int32Array): Int32Array => (typeof prompt === 'string' ? encodePrompt(tokenizer, prompt, answering) : prompt)

  async function* write(prompt: Int32Array, { maxTokens, stop = [], constraint, signal, ...sampling }: WriteOptions): AsyncGenerator<string> {
    for await (const told of answering.ask(askedOf(prompt, { maxTokens, stop, ...(constraint === undefined ? {} : { constraint }), sampling: { ...greedy, ...sampling } }), signal)) if (told.type === 'more' && told.text !== '') yield told.text
  }
  return {
    tokenizer, answering, context: answering.context, close, [Symbol.asyncDispose]: close,
    generate: (prompt, how = {}) => write(ids(prompt), how),
    chat(messages, how = {}) {
      if (template === undefined) throw new FileError({ code: 'chat-template', what: `${folder} has no chat template`, fix: 'put its chat_template.jinja beside it, or continue texts: generate' })
      return write(encodeChatPrompt(tokenizer, template, messages), how)
    },
    beamSearch: (prompt, how = {}) => beamSearch(answering, tokenizer, ids(prompt), { ends: from.ends ?? [], ...how }),
    lead: work => led(turns, backend.processes, work),
  }
}
