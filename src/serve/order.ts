/** What every process computes of a step: host arrays, and the shapes of the programs that take them. */
import type { CacheSize } from '../models/index.ts'
import type { Part, Step } from './schedule.ts'
import { wordsIn } from './draw.ts'

/** How the tokens behind a text's last ones are drawn. */
export interface Drawn {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly minP: number
  /** Of the draw behind the token at a place in the text. */
  readonly key: (place: number) => readonly [number, number]
  /** A bit a token, for each draw; all may be drawn unless said. */
  readonly masks?: readonly Uint32Array[]
  /** Tokens whose logits are changed. */
  readonly changes: readonly { readonly token: number; readonly added: number; readonly divided: number }[]
  /** Tokens whose log-probabilities are told, of each draw; none unless said. */
  readonly targets?: readonly number[]
  /** Whether log-probabilities are told at all. */
  readonly told: boolean
}

export interface Shape { readonly requests: number; readonly seq: number; readonly blocks: number; readonly draws: number; /** Blocks of what an encoder has read; 0 where there is none. */ readonly sourceBlocks: number }
type Ints = Int32Array<ArrayBuffer>
export interface Order {
  readonly shape: Shape
  readonly fed: { readonly tokens: Ints; readonly positions: Ints; readonly entries: Ints; readonly table: Ints; readonly adapter?: Ints; readonly sourceTable?: Ints; readonly sourceLength?: Ints }
  /** Which of the tokens are drawn behind, counted along `seq`. */
  readonly at: Ints
  /** Undefined where the likeliest are taken. */
  readonly drawing?: {
    readonly temperature: Float32Array<ArrayBuffer>; readonly topK: Ints; readonly topP: Float32Array<ArrayBuffer>; readonly minP: Float32Array<ArrayBuffer>; readonly word0: Uint32Array<ArrayBuffer>; readonly word1: Uint32Array<ArrayBuffer>
    readonly mask: Uint32Array<ArrayBuffer>; readonly listed: Ints; readonly added: Float32Array<ArrayBuffer>; readonly divided: Float32Array<ArrayBuffer>
  }
  readonly targets?: Ints
}

/** A step in which an encoder reads sources; nothing is drawn of it. */
export interface SourceOrder {
  readonly shape: { readonly requests: number; readonly source: number }
  readonly sources: { readonly tokens: Ints; readonly entries: Ints; readonly adapter?: Ints }
}

/** The smallest of some numbers that is enough. */
export const bucket = (sizes: readonly number[], wanted: number): number => sizes.find(s => s >= wanted) ?? wanted

export interface Buckets {
  readonly requests: readonly number[]
  /** Tokens of a prompt in a step. */
  readonly seq: readonly number[]
  /** Blocks of a text. */
  readonly blocks: readonly number[]
  /** Tokens whose logits are changed. */
  readonly listed: readonly number[]
  /** Tokens that are guessed in a step, where some are. */
  readonly drafts?: number
  /** Prompts of a step, where there are several. */
  readonly prompts?: number
  /** Of a model with an encoder tokens of a source in a step, and blocks of what it has read. */
  readonly sources?: { readonly tokens: readonly number[]; readonly blocks: readonly number[] }
}

const isLikeliest = ({ temperature, masks, changes }: Drawn): boolean => temperature === 0 && masks === undefined && changes.length === 0

/** Puts numbers of each part, so many as there are, into its place of an array. */
const filling = (parts: Step['parts'], requests: number) => <A extends { readonly [i: number]: number }>(array: A, width: number, f: (part: Part, i: number) => number, from: (part: Part) => number): A => {
  const into = array as { [i: number]: number }
  for (const [replica, of] of parts.entries()) for (const [request, part] of of.entries()) for (let i = 0; i < from(part); i++) into[(replica * requests + request) * width + i] = f(part, i)
  return array
}
const one = (): number => 1
/** Where the key and value of a part's token go. */
const entryOf = ({ blocks, from }: Part, i: number, { block }: CacheSize): number => (blocks[Math.floor((from + i) / block)] as number) * block + (from + i) % block

/** Sources that are read in a step, as arrays, in the smallest shape that holds them. @param padding what fills them up */
export function sourceOrderOf({ parts }: Step, size: CacheSize, buckets: Buckets, { padding, adapters = false }: { readonly padding: number; readonly adapters?: boolean }): SourceOrder {
  const requests = bucket([1, buckets.prompts ?? 1], Math.max(...parts.map(of => of.length)))
  const source = bucket(buckets.sources?.tokens ?? [], Math.max(...parts.flat().map(p => p.tokens.length)))
  const [rows, each, count] = [size.replicas * requests, filling(parts, requests), (part: Part): number => part.tokens.length]
  return {
    shape: { requests, source },
    sources: {
      tokens: each(new Int32Array(rows * source).fill(padding), source, (p, i) => p.tokens[i] as number, count), entries: each(new Int32Array(rows * source).fill(-1), source, (p, i) => entryOf(p, i, size), count),
      ...(adapters ? { adapter: each(new Int32Array(rows), 1, p => p.text.adapter ?? 0, one) } : {}),
    },
  }
}

/** A step as arrays, in the smallest shapes that hold it. @param of how many tokens there are, and whether requests may have adapters */
export function orderOf({ kind, parts }: Step, drawnOf: (part: Part) => Drawn, size: CacheSize, buckets: Buckets, { tokens, adapters = false }: { readonly tokens: number; readonly adapters?: boolean }): Order {
  const all = parts.flat()
  const most = (f: (part: Part) => number): number => Math.max(...all.map(f))
  const requests = bucket(kind === 'prompt' ? [1, buckets.prompts ?? 1] : buckets.requests, Math.max(...parts.map(of => of.length)))
  const longest = most(p => p.tokens.length)
  const seq = kind === 'prompt' ? bucket(buckets.seq, longest) : longest === 1 ? 1 : Math.max(longest, 1 + (buckets.drafts ?? 0))
  const draws = most(p => p.draws) > 1 ? seq : 1
  const blocks = bucket(buckets.blocks, most(p => Math.ceil((p.from + p.tokens.length) / size.block)))
  const rows = size.replicas * requests
  const each = filling(parts, requests)
  const count = (part: Part): number => part.tokens.length
  const ofSource = (part: Part): readonly number[] => part.sourceBlocks ?? []
  const sourceBlocks = buckets.sources === undefined ? 0 : bucket(buckets.sources.blocks, most(p => ofSource(p).length))
  const shape: Shape = { requests, seq, blocks, draws, sourceBlocks }
  const fed = {
    tokens: each(new Int32Array(rows * seq), seq, (p, i) => p.tokens[i] as number, count),
    positions: each(new Int32Array(rows * seq), seq, (p, i) => p.from + Math.min(i, p.tokens.length - 1), () => seq),
    entries: each(new Int32Array(rows * seq).fill(-1), seq, (p, i) => entryOf(p, i, size), count),
    table: each(new Int32Array(rows * blocks), blocks, (p, i) => p.blocks[i] as number, p => Math.min(blocks, p.blocks.length)),
    ...(adapters ? { adapter: each(new Int32Array(rows), 1, p => p.text.adapter ?? 0, one) } : {}),
    ...(sourceBlocks === 0 ? {} : { sourceTable: each(new Int32Array(rows * sourceBlocks), sourceBlocks, (p, i) => ofSource(p)[i] as number, p => ofSource(p).length), sourceLength: each(new Int32Array(rows), 1, p => p.text.source?.length ?? 0, one) }),
  }
  const at = each(new Int32Array(rows * draws), draws, (p, i) => p.tokens.length - p.draws + i, p => p.draws)
  const how = new Map(all.map(p => [p, drawnOf(p)]))
  const of = (part: Part): Drawn => how.get(part) as Drawn
  const targets = all.some(p => of(p).told) ? { targets: each(new Int32Array(rows * draws), draws, (p, i) => of(p).targets?.[i] ?? 0, p => p.draws) } : {}
  if (all.every(p => isLikeliest(of(p)))) return { shape, fed, at, ...targets }
  const words = wordsIn(tokens)
  const listed = bucket(buckets.listed, most(p => of(p).changes.length))
  const mask = new Uint32Array(rows * draws * words).fill(0xffffffff)
  for (const [replica, some] of parts.entries()) for (const [request, part] of some.entries()) of(part).masks?.forEach((m, i) => { mask.set(m, ((replica * requests + request) * draws + i) * words) })
  const numbers = (fill: number, f: (d: Drawn) => number): Float32Array<ArrayBuffer> => each(new Float32Array(rows).fill(fill), 1, p => f(of(p)), one)
  const keys = (word: 0 | 1): Uint32Array<ArrayBuffer> => each(new Uint32Array(rows * draws), draws, (p, i) => of(p).key(p.from + p.tokens.length - p.draws + i)[word], p => p.draws)
  const changes = <A extends { readonly [i: number]: number }>(array: A, f: (c: Drawn['changes'][number]) => number): A => each(array, listed, (p, i) => f(of(p).changes[i] as Drawn['changes'][number]), p => of(p).changes.length)
  return {
    shape, fed, at, ...targets,
    drawing: {
      temperature: numbers(0, d => d.temperature), topK: each(new Int32Array(rows), 1, p => of(p).topK, one), topP: numbers(1, d => d.topP), minP: numbers(0, d => d.minP), word0: keys(0), word1: keys(1), mask,
      listed: changes(new Int32Array(rows * listed).fill(-1), c => c.token), added: changes(new Float32Array(rows * listed), c => c.added), divided: changes(new Float32Array(rows * listed).fill(1), c => c.divided),
    },
  }
}

const kinds = { i: Int32Array, u: Uint32Array, f: Float32Array } as const
type Arrayed = Int32Array | Uint32Array | Float32Array
/** An order as JSON, for the other processes. */
export const written = (order: Order | SourceOrder): string => JSON.stringify(order, (_, x: unknown) => {
  const kind = x instanceof Int32Array ? 'i' : x instanceof Uint32Array ? 'u' : x instanceof Float32Array ? 'f' : undefined
  return kind === undefined ? x : { [kind]: Buffer.from((x as Arrayed).buffer).toString('base64') }
})
export const readOrder = (text: string): Order | SourceOrder => JSON.parse(text, (_, x: unknown) => {
  const [kind, data] = typeof x === 'object' && x !== null ? Object.entries(x as Record<string, unknown>)[0] ?? [] : []
  return kind !== undefined && kind in kinds && typeof data === 'string' ? new kinds[kind as keyof typeof kinds](new Uint8Array(Buffer.from(data, 'base64')).buffer) : x
}) as Order | SourceOrder
