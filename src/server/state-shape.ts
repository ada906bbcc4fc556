/** What GET /state tells, as its page reads it: numbers of the server at this moment, never anything of what is asked or answered. */

/** Half of what was measured is at most `p50` seconds, nineteen in twenty at most `p95`; each within three in a hundred. */
export interface Spread { readonly p50: number; readonly p95: number; readonly count: number }

/** What happened in the last minute. */
export interface LastMinute {
  /** Tokens that were written in each of the last sixty whole seconds, the latest last. */
  readonly perSecond: readonly number[]
  /** Tokens written in a second, over the last two. */
  readonly tokensPerSecond: number
  /** From a request to its first token; null where there was none. */
  readonly firstToken: Spread | null
  /** Between tokens of an answer. */
  readonly betweenTokens: Spread | null
  /** Tokens of prompts, and how many of them had been kept from earlier ones. */
  readonly promptTokens: number
  readonly cachedTokens: number
}

/** A text in a slot: tokens of its prompt, how many of them are read, and tokens that are written. */
export interface SlotState { readonly prompt: number; readonly read: number; readonly written: number }

export interface ModelState extends LastMinute {
  readonly name: string
  /** Whether it answers chats, goes on with texts, or makes vectors of them. */
  readonly kind: 'chat' | 'text' | 'vectors'
  /** The model whose slots and cache it shares, where it is that one with an adapter. */
  readonly parent: string | null
  /** Tokens of a prompt and its answer together. */
  readonly context: number
  /** The step of training whose weights it has; null where it serves no run. */
  readonly step: number | null
  /** Whether its last steps failed. */
  readonly failing: boolean
  /** Texts that it works on at once, at most, and at this moment. */
  readonly slots: number
  readonly running: number
  /** Those that are being written, the oldest first. */
  readonly texts: readonly SlotState[]
  readonly waiting: number
  readonly waitingTokens: number
  readonly blocks: number
  readonly blocksUsed: number
}

export interface ServerState { readonly models: readonly ModelState[] }
