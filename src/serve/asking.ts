/** What is asked of a model that writes, and what it tells while it answers. */

/** How the next token is drawn from its logits; what is not given changes nothing. */
export interface Sampling {
  /** 0 takes the likeliest token every time, the first of those that tie. */
  readonly temperature: number
  /** Only so many of the likeliest tokens; 0 for all. */
  readonly topK: number
  /** Only the likeliest tokens that together have this share, 1 for all (Holtzman et al. 2020). */
  readonly topP: number
  /** Only tokens that are at least this share as likely as the likeliest; 0 for all. */
  readonly minP: number
  /** Divides the logits above 0, and multiplies those below, of tokens that are there already; 1 for none (Keskar et al. 2019). */
  readonly repetitionPenalty: number
  /** Taken from the logit of a token that has been written, once, and for each time. */
  readonly presencePenalty: number
  readonly frequencyPenalty: number
  /** Added to the logits of tokens, by id. */
  readonly logitBias: ReadonlyMap<number, number>
  /** What is drawn depends on it and on the place in the text alone. */
  readonly seed: number
}

/** What an answer must be. */
export type Constraint =
  | { readonly type: 'json-object' }
  | { readonly type: 'json-schema'; readonly schema: unknown }
  | { readonly type: 'regex'; readonly pattern: string }
  | { readonly type: 'choice'; readonly choices: readonly string[] }
  /** A grammar in EBNF whose first rule is `root`. */
  | { readonly type: 'ebnf'; readonly grammar: string }
  | ToolCalls

/** Functions that an answer may call, in the form that most models learn: `<tool_call>{"name": "…", "arguments": {…}}</tool_call>`, with at most a new line within its ends. */
export interface ToolCalls {
  readonly type: 'tools'
  /** By name the JSON schema of its arguments. */
  readonly tools: readonly { readonly name: string; readonly schema: unknown }[]
  /** Whether it must call one; it may say something before otherwise, or only that. */
  readonly required: boolean
  /** Whether it may call more than one. */
  readonly several: boolean
}
/** How a call is written: what stands around its name, and around its arguments. */
export const callForm = { open: '<tool_call>', name: '{"name": ', arguments: ', "arguments": ', end: '}', close: '</tool_call>' } as const

export interface Asked {
  readonly prompt: Int32Array
  /** Tokens that each answer begins with already, as of a search that goes on with several; none unless said. They are not told. */
  readonly begun?: Int32Array | undefined
  /** Answers to the same prompt: the i-th is drawn as if its seed were that of the request, and i. */
  readonly choices: number
  /** Tokens of each answer at most; until its end, or that of the window, where it is not said. */
  readonly maxTokens?: number | undefined
  /** Before so many tokens no answer ends. */
  readonly minTokens: number
  /** Texts that end an answer, and are no part of it. */
  readonly stop: readonly string[]
  /** Tokens that end an answer beside the model's own. */
  readonly stopTokens: readonly number[]
  /** Whether the model's own end is a token as any other. */
  readonly ignoreEnd: boolean
  readonly sampling: Sampling
  /** How many of the likeliest tokens are told at each place, with log-probabilities; 0 for the drawn one's alone; none unless said. */
  readonly logprobs?: number | undefined
  /** The same of the prompt's tokens. */
  readonly promptLogprobs?: number | undefined
  readonly constraint?: Constraint | undefined
  /** The adapters that are added to the weights, by the name they were opened under. */
  readonly adapter?: string | undefined
  /** What is kept of prompts is used again only for requests of the same scope. */
  readonly scope: string
}

export interface Likely { readonly token: number; readonly logprob: number }
export interface Written {
  readonly token: number
  /** Of the token, under softmax of the logits before anything of `Sampling` is done to them; where it was asked for. */
  readonly logprob?: number
  readonly top?: readonly Likely[]
}

/** Why an answer ended: a stop text or token, the model's own end, or as many tokens as it may have. */
export type Ending = 'stop' | 'length'

export type Told =
  /** The prompt has been read: once, before anything of an answer. `cached` of its tokens were kept from earlier requests, `step` of a run has made the weights. The first token has no log-probability. */
  | { readonly type: 'prompt'; readonly tokens: number; readonly cached: number; readonly step?: number; readonly logprobs?: readonly (Written | undefined)[] }
  /** More of an answer. `text` is of whole characters that belong to it for certain, and may be empty; `tokens` are those drawn since. All texts of an answer joined are the answer. */
  | { readonly type: 'more'; readonly choice: number; readonly text: string; readonly tokens: readonly Written[] }
  | { readonly type: 'end'; readonly choice: number; readonly reason: Ending; readonly stop?: string | number }

/** Why a request was not taken. */
export type Refusal =
  /** There is no room in the queue: come again after so many seconds. */
  | { readonly type: 'busy'; readonly retryAfter: number }
  /** Nothing new is taken any more, as the process is about to end. */
  | { readonly type: 'draining' }
  /** It can never be answered: it is longer than the window, holds ids that are none, asks for what this model lacks. `field` is of `Asked`. */
  | { readonly type: 'invalid'; readonly field: string; readonly why: string; readonly fix: string }

/** What a request was refused with, before any work. */
export class Refused extends Error {
  override readonly name = 'Refused'
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.type === 'invalid' ? `${refusal.field}: ${refusal.why}` : refusal.type)
    this.refusal = refusal
  }
}

/** Milliseconds for which a step that failed counts. */
export const failingFor = 10_000
/** A text that is being written: tokens of its prompt, how many of them are read, and tokens that follow. */
export interface InSlot { readonly prompt: number; readonly read: number; readonly written: number }

/** What a model that answers says of itself at this moment. */
export interface Load {
  /** Texts that are worked on at once, at most. */
  readonly slots: number
  readonly running: number
  /** Those that are being written, the oldest first. */
  readonly texts: readonly InSlot[]
  readonly waiting: number
  readonly waitingTokens: number
  /** Blocks of its cache, and how many of them are in use. */
  readonly blocks: number
  readonly blocksUsed: number
  /** Tokens that were guessed so far, and those of them that were right. */
  readonly drafted: number
  readonly accepted: number
  /** Seconds since the step that is being computed began; 0 where none is. */
  readonly stepSeconds: number
  /** Whether the last step failed, a few seconds ago at most: then another may be tried. */
  readonly failing: boolean
  /** The step of training whose weights it has, where it serves a run. */
  readonly step?: number
}

/** A model that answers many at once. Whatever else is asked of it, an answer is the same. */
export interface Answering {
  /** Tokens of a prompt and its answer together; of a model with an encoder, of each of them. */
  readonly context: number
  /** Whether an encoder reads prompts, so that answers do not go on with them: then there are no log-probabilities of a prompt. */
  readonly encoder: boolean
  readonly vocab: number
  readonly adapters: readonly string[]
  /**
   * Answers, token by token as they are drawn. Once `signal` is aborted, or who listens has left the loop, nothing more is computed for it.
   * @throws Refused, at once
   */
  ask(asked: Asked, signal?: AbortSignal): AsyncIterable<Told>
  /** Works out what an answer must be, so that `ask` finds it known. @throws Refused, UsageError for what is wrong with it */
  know(asked: Asked): Promise<void>
  load(): Load
}
