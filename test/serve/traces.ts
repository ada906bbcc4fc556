/** Random traces of requests through the schedule, with a computation that stands for a model: what it draws is a function of every token that it finds in the cache. */
import { alone } from '../../src/runtime/processes.ts'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { Answerer, type AnswererOptions, type Computing } from '../../src/serve/answerer.ts'
import type { Asked, Told } from '../../src/serve/asking.ts'
import { askedOf, greedy } from '../../src/serve/generate.ts'
import type { Order, SourceOrder } from '../../src/serve/order.ts'
import type { Sizes } from '../../src/serve/schedule.ts'
import { Turns } from '../../src/serve/turns.ts'

export const vocab = 12
export const end = vocab - 1

/** The token that answers of a model with an encoder begin with, which is in no source. */
const start = 0

/** Keys of a token are the token and its place, those of a source's below 0: what a request finds must be its own text. What others have left is found, too, where a table is wrong. */
export function computing(sizes: Sizes, ids: number = vocab): Computing & { readonly lost: string[]; /** Milliseconds that a step takes. */ delay: number } {
  const { replicas, blocks, block } = sizes
  const cache = Array.from({ length: replicas }, () => new Int32Array(blocks * block).fill(-1))
  const lost: string[] = []
  return {
    lost, delay: 0, size: { replicas, layers: 1, blocks, block },
    async run(order: Order | SourceOrder) {
      const { shape: { requests } } = order
      if ('sources' in order) {
        const { shape: { source }, sources: { tokens, entries } } = order
        for (const [i, entry] of entries.entries()) if (entry >= 0) (cache[Math.floor(i / (requests * source))] as Int32Array)[entry] = -2 - (i % source * ids + (tokens[i] as number))
        return { tokens: new Int32Array(0), largest: new Float32Array(0) }
      }
      const { shape: { seq, blocks: width, draws, sourceBlocks }, fed, at, drawing } = order
      const tokens = new Int32Array(replicas * requests * draws)
      for (let row = 0; row < replicas * requests; row++) {
        const own = cache[Math.floor(row / requests)] as Int32Array
        for (let i = 0; i < seq; i++) {
          const entry = fed.entries[row * seq + i] as number
          if (entry >= 0) own[entry] = (fed.positions[row * seq + i] as number) * ids + (fed.tokens[row * seq + i] as number)
        }
        for (let d = 0; d < draws; d++) {
          const i = at[row * draws + d] as number
          if ((fed.entries[row * seq + i] as number) < 0) continue
          let hash = 0
          for (let place = 0; place < (fed.sourceLength?.[row] ?? 0); place++) {
            const found = -2 - (own[(fed.sourceTable?.[row * sourceBlocks + Math.floor(place / block)] as number) * block + place % block] as number)
            if (found < 0 || Math.floor(found / ids) !== place) lost.push(`place ${place} of a source holds ${found}`)
            hash = threefry2x32(hash, 1, found, place)
          }
          const seen = fed.positions[row * seq + i] as number
          for (let place = Math.max(0, seen - (sizes.window ?? Infinity) + 1); place <= (fed.positions[row * seq + i] as number); place++) {
            const found = own[(fed.table[row * width + Math.floor(place / block)] as number) * block + place % block] as number
            if (Math.floor(found / ids) !== place) lost.push(`place ${place} holds ${found}`)
            hash = threefry2x32(hash, 0, found, place)
          }
          const key = drawing === undefined || drawing.temperature[row] === 0 ? 0 : drawing.word0[row * draws + d] as number
          const drawnHash = threefry2x32(hash, key, 1, 2)
          if (ids === vocab) tokens[row * draws + d] = drawnHash % ids
          else {
            const words = Math.ceil(ids / 32)
            const allowed = Array.from({ length: ids }, (_, id) => id).filter(id => drawing === undefined || ((drawing.mask[(row * draws + d) * words + (id >>> 5)] as number) >>> (id & 31) & 1) === 1)
            tokens[row * draws + d] = allowed[drawnHash % allowed.length] as number
          }
        }
      }
      if (this.delay > 0) await new Promise(resolve => { setTimeout(resolve, this.delay) })
      return { tokens, largest: new Float32Array(tokens.length), told: { drawn: new Float32Array(tokens.length), targets: new Float32Array(tokens.length), top: new Int32Array(0), topLogprob: new Float32Array(0), width: 0 } }
    },
  }
}

export const optionsOf = (sizes: Sizes): AnswererOptions => ({
  sizes, buckets: { requests: [1, 4, 16], seq: [4, 8, 16], blocks: [2, 8, 64], listed: [8], ...(sizes.source === undefined ? {} : { sources: { tokens: [4, 16, 64], blocks: [2, 8, 64] } }) }, vocab, tokenizer: { stream: () => ({ push: id => String.fromCharCode(97 + id), end: () => '' }) }, ends: [end], context: sizes.context, turns: new Turns(alone),
  queue: { requests: Infinity, tokens: Infinity }, notFinite: () => Promise.reject(new Error('nothing could be drawn')),
  ...(sizes.source === undefined ? {} : { encoder: { start, padding: start } }),
})

export const answererOf = (sizes: Sizes, options: Partial<AnswererOptions> = {}, steps: Computing = computing(sizes, options.vocab)): Answerer => new Answerer(steps, { ...optionsOf(sizes), ...options })

export interface TraceResult { readonly answered: number; readonly left: number; readonly preemptions: number }

/** Runs a trace, and each of its requests alone. @param encoder whether prompts are read by one @throws what differs */
export async function trace(seed: number, encoder = false): Promise<TraceResult> {
  let n = 0
  const below = (most: number): number => threefry2x32(seed, 77, n++, 0) % most
  const block = 1 + below(4)
  const context = 8 + below(24)
  const window = !encoder && below(3) === 0 ? 1 + below(12) : undefined
  const source = encoder ? 1 + below(24) : undefined
  const sizes: Sizes = { ...(source === undefined ? {} : { source }), replicas: 1 + below(2), requests: 1 + below(4), blocks: Math.ceil((source ?? 0) / block) + Math.ceil(Math.min(context, (window ?? Infinity) + 8 + block) / block) + below(8), block, context, chunk: 1 + below(8), together: { texts: 1 + below(4), tokens: below(9) }, ...(window === undefined ? {} : { window }) }
  const steps = computing(sizes)
  const drafts = below(4)
  const answerer = new Answerer(steps, { ...optionsOf(sizes), drafts, buckets: { ...optionsOf(sizes).buckets, drafts, prompts: sizes.together?.texts ?? 1 } })
  const most = source ?? context - 1
  const token = (): number => (encoder ? 1 + below(vocab - 2) : below(vocab - 1))
  const beginnings = Array.from({ length: 3 }, () => Array.from({ length: 1 + below(Math.max(1, most - 1)) }, token))
  const requests = Array.from({ length: 1 + below(12) }, (): { readonly asked: Asked; readonly after: number; readonly leaves: number } => {
    const begin = beginnings[below(3)] as number[]
    const prompt = (encoder && below(2) === 0 ? begin : [...begin.slice(0, 1 + below(begin.length)), ...Array.from({ length: below(4) }, token)]).slice(0, most)
    return {
      asked: askedOf(Int32Array.from(prompt), {
        maxTokens: 1 + below(context), choices: 1 + below(3), scope: String(below(2)), ignoreEnd: below(3) === 0, minTokens: 0, stop: below(4) === 0 ? [String.fromCharCode(97 + below(vocab), 97 + below(vocab))] : [],
        sampling: { ...greedy, temperature: below(2), seed: below(5) }, ...(encoder ? { begun: Int32Array.from({ length: below(3) === 0 ? below(context - 2) : 0 }, token) } : below(4) === 0 ? { promptLogprobs: 0 } : {}),
      }),
      after: below(20), leaves: below(6) === 0 ? below(10) : Infinity,
    }
  })
  const heard = async (of: Answerer, asked: Asked, leaves: number): Promise<readonly Told[]> => {
    const all: Told[] = []
    for await (const told of of.ask(asked)) {
      all.push(told.type === 'prompt' ? { ...told, cached: 0 } : told)
      if (all.length > leaves) break
    }
    return all
  }
  // The computation has no weights of its own: new ones that change nothing must be seen in nothing.
  const renewals = Array.from({ length: below(3) }, () => below(20)).map(async after => {
    for (let i = 0; i < after; i++) await new Promise(setImmediate)
    await answerer.renew('same')
  })
  const found = await Promise.all(requests.map(async ({ asked, after, leaves }) => {
    for (let i = 0; i < after; i++) await new Promise(setImmediate)
    return heard(answerer, asked, leaves)
  }))
  const by = (told: readonly Told[]): string => JSON.stringify([told.filter(t => t.type === 'prompt'), ...Array.from({ length: 3 }, (_, c) => told.filter(t => t.type !== 'prompt' && t.choice === c))])
  for (const [i, { asked, leaves }] of requests.entries()) {
    if (leaves !== Infinity) continue
    const solo = await heard(new Answerer(computing(sizes), optionsOf(sizes)), asked, Infinity)
    if (by(solo) !== by(found[i] ?? [])) throw new Error(`seed ${seed}, request ${i}: alone ${by(solo)}, among others ${by(found[i] ?? [])}`)
  }
  await Promise.all(renewals)
  const { running, waiting, blocksUsed } = answerer.load()
  if (running + waiting + blocksUsed > 0) throw new Error(`seed ${seed}: ${running} running, ${waiting} waiting, ${blocksUsed} blocks in use at the end`)
  if (steps.lost.length > 0) throw new Error(`seed ${seed}: ${steps.lost[0]}`)
  return { answered: requests.filter(r => r.leaves === Infinity).length, left: requests.filter(r => r.leaves !== Infinity).length, preemptions: answerer.preemptions }
}
