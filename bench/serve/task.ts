/** What the sides of the section on serving are asked, one request a line, and what they answer. */
export interface Decoding {
  /** From when all streams had their first token until the first of them ended. */
  readonly ms: number
  /** Tokens that came in that time, of all streams. */
  readonly tokens: number
  /** Processor time of all threads, of the whole request. */
  readonly cpuMs: number
  /** Processor time of the main thread for each step: ours alone says it. */
  readonly hostMs?: number
}

export type Request =
  /** Opens a model for so many streams at once, of `context` tokens each at most. */
  | { readonly do: 'open'; readonly model: string; readonly streams: number; readonly context: number; readonly threads: number; readonly dtype?: string; readonly weights?: string; readonly batch?: number; readonly shard?: number }
  /** `streams` texts of `tokens` tokens behind a prompt of `prompt`, the likeliest each time, all at once. `salt` makes prompts that nobody has seen. */
  | { readonly do: 'decode'; readonly streams: number; readonly prompt: number; readonly tokens: number; readonly salt: number }
  /** Reads a prompt up to its first token. */
  | { readonly do: 'prefill'; readonly tokens: number; readonly salt: number }
  /** Times to the first token of prompts, one behind another, while `streams` others are being written. */
  | { readonly do: 'first'; readonly streams: number; readonly prompt: number; readonly times: number; readonly salt: number }
  /** The likeliest tokens behind a prompt: all sides must agree on most of them. */
  | { readonly do: 'text'; readonly prompt: readonly number[]; readonly tokens: number }

export interface Answers {
  readonly open: { readonly runtime: string }
  readonly decode: Decoding
  readonly prefill: { readonly ms: number; readonly cpuMs: number }
  readonly first: { readonly ms: readonly number[] }
  readonly text: { readonly tokens: readonly number[] }
}
