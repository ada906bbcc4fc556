/** What writes the likeliest tokens of many prompts: a decoder by whole rows, or answers of a model that is served. */
import { fromFirst, type Processes } from '../../engine/index.ts'
import { askedOf } from '../generate.ts'
import type { Opened } from '../open.ts'
import type { RowProgram } from '../rows.ts'
import { led } from '../turns.ts'

export interface Writer {
  /** Tokens of a prompt at most. */
  readonly room: number
  /** Whether an encoder reads prompts. */
  readonly encoder: boolean
  /** What follows each prompt, without what ends it. Under MPI every rank asks for the same, and gets it. `onDone` hears how many are done. */
  write(prompts: readonly (readonly number[])[], onDone: (done: number) => void): Promise<readonly (readonly number[])[]>
}
interface WriterOptions { /** Tokens to write at most. */ readonly tokens: number; /** Tokens that end a text. */ readonly ends: readonly number[] }

/** @param program gives the likeliest token behind each place */
export function rowWriter(program: RowProgram, { tokens, ends }: WriterOptions): Writer {
  const stops = new Set(ends)
  return {
    room: program.window - tokens + 1, encoder: false,
    async write(prompts, onDone) {
      const texts = prompts.map(ids => ({ ids, made: [] as number[], ended: false }))
      let done = 0
      for (let i = 0; i < tokens; i++) {
        const going = texts.filter(t => !t.ended)
        if (going.length === 0) break
        const found = await program.run(going.map(t => ({ tokens: [...t.ids, ...t.made] })), () => { onDone(done) })
        going.forEach((t, k) => {
          const next = Number((found[k] as Int32Array)[t.ids.length + t.made.length - 1])
          if (stops.has(next)) t.ended = true
          else t.made.push(next)
          if (t.ended || t.made.length === tokens) done++
        })
      }
      return texts.map(t => t.made)
    },
  }
}

/** Answers to prompts that an encoder reads, many at once. */
export function answerWriter({ answering, turns }: Pick<Opened, 'answering' | 'turns'>, processes: Processes, { tokens, ends }: WriterOptions): Writer {
  const { encoder, sizes } = answering
  return {
    room: sizes.source ?? sizes.context - tokens, encoder,
    async write(prompts, onDone) {
      let done = 0
      const made = await led(turns, processes, () => Promise.all(prompts.map(async ids => {
        const found: number[] = []
        for await (const told of answering.ask(askedOf(Int32Array.from(ids), { maxTokens: tokens }))) if (told.type === 'more') found.push(...told.tokens.map(t => t.token))
        onDone(++done)
        return ends.includes(found.at(-1) ?? -1) ? found.slice(0, -1) : found
      })))
      return fromFirst(processes, 'what was written', () => made ?? [])
    },
  }
}
