/** Random traces of requests through the schedule, with a computation that stands for a model: what it draws is a function of every token that it finds in the cache. */
import { alone } from '../../src/runtime/processes.ts'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { Answerer, type AnswererOptions, type Computing } from '../../src/serve/answerer.ts'
import { Refused, type Asked, type Constraint, type Told } from '../../src/serve/asking.ts'
import { askedOf, greedy } from '../../src/serve/generate.ts'
import type { Order, SourceOrder } from '../../src/serve/order.ts'
import type { Sizes } from '../../src/serve/schedule.ts'
import { AdapterSlots } from '../../src/serve/adapter-slots.ts'
import { compileConstraint, vocabularyOf, type Grammar } from '../../src/serve/grammar/index.ts'
import { Turns } from '../../src/serve/turns.ts'

export const vocab = 12
/** What tokens are where answers must be something: with eleven pieces much can be said. */
const pieces = ['{', '"a"', '}', ':', '1', ',', 'true', '[', ']', 'b', '2']
export const end = vocab - 1

/** The token that answers of a model with an encoder begin with, which is in no source. */
const start = 0

export interface Pretended extends Computing {
  /** What was found that is wrong. */
  readonly lost: string[]
  /** Milliseconds that a step takes. */
  delay: number
  /** What lies in the places of adapters; nothing in that of none. */
  readonly adapters: number[]
  steps: number
}

/** The `nth` token of those that a mask lets come. */
function allowedAt(mask: Uint32Array, first: number, ids: number, hash: number): number {
  const allowed: number[] = []
  for (let id = 0; id < ids; id++) if (((mask[first + (id >>> 5)] as number) >>> (id & 31) & 1) === 1) allowed.push(id)
  return allowed[hash % allowed.length] as number
}

/** Keys of a token are the token, its place and the adapter it was computed with, those of a source's below 0: what a request finds must be its own text. What others have left is found, too, where a table is wrong. */
export function computing(sizes: Sizes, ids: number = vocab): Pretended {
  const { replicas, blocks, block } = sizes
  const cache = Array.from({ length: replicas }, () => new Int32Array(blocks * block).fill(-1))
  const by = Array.from({ length: replicas }, () => new Int32Array(blocks * block))
  const lost: string[] = []
  return {
    lost, delay: 0, adapters: [0], steps: 0, size: { replicas, layers: 1, blocks, block },
    async run(order: Order | SourceOrder) {
      this.steps++
      const { shape: { requests } } = order
      if ('sources' in order) {
        const { shape: { source }, sources: { tokens, entries, adapter } } = order
        for (const [i, entry] of entries.entries()) {
          if (entry < 0) continue
          const [row, replica] = [Math.floor(i / source), Math.floor(i / (requests * source))]
          ;(cache[replica] as Int32Array)[entry] = -2 - (i % source * ids + (tokens[i] as number))
          ;(by[replica] as Int32Array)[entry] = this.adapters[adapter?.[row] ?? 0] as number
        }
        return { tokens: new Int32Array(0), largest: new Float32Array(0) }
      }
      const { shape: { seq, blocks: width, draws, sourceBlocks }, fed, at, drawing } = order
      const tokens = new Int32Array(replicas * requests * draws)
      const words = Math.ceil(ids / 32)
      const listed = drawing === undefined ? 0 : drawing.listed.length / (replicas * requests)
      for (let row = 0; row < replicas * requests; row++) {
        const own = cache[Math.floor(row / requests)] as Int32Array
        const made = by[Math.floor(row / requests)] as Int32Array
        const adapter = this.adapters[fed.adapter?.[row] ?? 0] as number
        for (let i = 0; i < seq; i++) {
          const entry = fed.entries[row * seq + i] as number
          if (entry < 0) continue
          own[entry] = (fed.positions[row * seq + i] as number) * ids + (fed.tokens[row * seq + i] as number)
          made[entry] = adapter
        }
        for (let d = 0; d < draws; d++) {
          const i = at[row * draws + d] as number
          if ((fed.entries[row * seq + i] as number) < 0) continue
          let hash = 0
          for (let place = 0; place < (fed.sourceLength?.[row] ?? 0); place++) {
            const entry = (fed.sourceTable?.[row * sourceBlocks + Math.floor(place / block)] as number) * block + place % block
            const found = -2 - (own[entry] as number)
            if (found < 0 || Math.floor(found / ids) !== place) lost.push(`place ${place} of a source holds ${found}`)
            if (made[entry] !== adapter) lost.push(`place ${place} of a source was computed with the adapter ${made[entry]}, and ${adapter} reads it`)
            hash = threefry2x32(hash, 1, found, place)
          }
          const seen = fed.positions[row * seq + i] as number
          for (let place = Math.max(0, seen - (sizes.window ?? Infinity) + 1); place <= (fed.positions[row * seq + i] as number); place++) {
            const entry = (fed.table[row * width + Math.floor(place / block)] as number) * block + place % block
            const found = own[entry] as number
            if (Math.floor(found / ids) !== place) lost.push(`place ${place} holds ${found}`)
            if (made[entry] !== adapter) lost.push(`place ${place} was computed with the adapter ${made[entry]}, and ${adapter} reads it`)
            hash = threefry2x32(hash, 0, found, place)
          }
          const key = drawing === undefined || drawing.temperature[row] === 0 ? 0 : drawing.word0[row * draws + d] as number
          for (let l = 0; drawing !== undefined && l < listed && (drawing.listed[row * listed + l] as number) >= 0; l++) {
            const change = row * listed + l
            hash = threefry2x32(hash, drawing.listed[change] as number, Math.round(1000 * (drawing.added[change] as number)), Math.round(1000 * (drawing.divided[change] as number)))
          }
          const drawnHash = threefry2x32(hash, key, 1, 2 + adapter)
          tokens[row * draws + d] = drawing === undefined ? drawnHash % ids : allowedAt(drawing.mask, (row * draws + d) * words, ids, drawnHash)
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

const utf8 = new TextEncoder()
const piecesOf = vocabularyOf([...pieces.map(p => utf8.encode(p)), undefined])
const constraintsTried: readonly { readonly constraint: Constraint; readonly holds: (text: string) => boolean }[] = [
  { constraint: { type: 'json-schema', schema: { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'], additionalProperties: false } }, holds: text => Number.isInteger((JSON.parse(text) as { readonly a: unknown }).a) },
  { constraint: { type: 'json-schema', schema: { type: 'array', items: { anyOf: [{ type: 'boolean' }, { type: 'array', items: { type: 'integer' }, maxItems: 2 }] } } }, holds: text => (JSON.parse(text) as unknown[]).every(x => x === true || (Array.isArray(x) && x.length <= 2)) },
  { constraint: { type: 'regex', pattern: '(1|2b){2,5}\\]' }, holds: text => /^(1|2b){2,5}\]$/.test(text) },
  { constraint: { type: 'choice', choices: ['true', '[1]', '[12', '{}'] }, holds: text => ['true', '[1]', '[12', '{}'].includes(text) },
  { constraint: { type: 'ebnf', grammar: 'root ::= "1" | "[" root "," root "]"' }, holds: text => /^[1,[\]]+$/.test(text) && Array.isArray(JSON.parse(`[${text}]`)) },
]
const grammars = new Map<Constraint, Grammar>()
function begin(constraint: Constraint): ReturnType<Grammar['start']> {
  let grammar = grammars.get(constraint)
  if (grammar === undefined) grammars.set(constraint, grammar = compileConstraint(constraint, piecesOf))
  return grammar.start()
}

export interface TraceResult { readonly answered: number; readonly left: number; readonly preemptions: number; readonly adapted: number; readonly constrained: number; readonly refused: number }

/** More steps than any trace takes: one that takes so many starves somebody. */
const mostSteps = 20_000
type Heard = readonly Told[] | 'refused'
const named = ['x', 'y', 'z'] as const

interface Want { readonly asked: Asked; readonly after: number; /** When its asker leaves: after so much was told, or so much later. */ readonly leaves: number; readonly aborts: number; readonly holds: ((text: string) => boolean) | undefined }

function wants(below: (most: number) => number, { context, source }: Sizes): Want[] {
  const [most, encoder] = [source ?? context - 1, source !== undefined]
  const token = (): number => (encoder ? 1 + below(vocab - 2) : below(vocab - 1))
  const beginnings = Array.from({ length: 3 }, () => Array.from({ length: 1 + below(Math.max(1, most - 1)) }, token))
  return Array.from({ length: 1 + below(12) }, () => {
    const begins = beginnings[below(3)] as number[]
    const prompt = (encoder && below(2) === 0 ? begins : [...begins.slice(0, 1 + below(begins.length)), ...Array.from({ length: below(4) }, token)]).slice(0, most)
    const tried = below(4) === 0 ? constraintsTried[below(constraintsTried.length)] : undefined
    const penalties = below(5) === 0 ? { repetitionPenalty: 1 + below(3) / 2, presencePenalty: below(3) / 2, frequencyPenalty: below(3) / 2, logitBias: new Map([[below(vocab), below(5) - 2]]) } : {}
    return {
      asked: askedOf(Int32Array.from(prompt), {
        maxTokens: 1 + below(context), choices: 1 + below(3), scope: String(below(2)), ignoreEnd: tried === undefined && below(3) === 0, minTokens: 0, stop: tried === undefined && below(4) === 0 ? [`${pieces[below(vocab - 1)]}${pieces[below(vocab - 1)]}`] : [],
        sampling: { ...greedy, temperature: below(2), seed: below(5), ...penalties }, ...(encoder ? { begun: Int32Array.from({ length: tried === undefined && below(3) === 0 ? below(context - 2) : 0 }, token) } : below(4) === 0 ? { promptLogprobs: 0 } : {}), ...(tried === undefined ? {} : { constraint: tried.constraint }), ...(below(3) === 0 ? { adapter: named[below(named.length)] } : {}),
      }),
      after: below(20), leaves: below(8) === 0 ? below(10) : Infinity, aborts: below(10) === 0 ? below(40) : Infinity, holds: tried?.holds,
    }
  })
}

const turnsOf = async (count: number): Promise<void> => { for (let i = 0; i < count; i++) await new Promise(setImmediate) }
const leaver = ({ leaves, aborts }: Want): boolean => leaves !== Infinity || aborts !== Infinity

async function hear(of: Answerer, asked: Asked, { leaves, aborts }: Pick<Want, 'leaves' | 'aborts'> = { leaves: Infinity, aborts: Infinity }): Promise<Heard> {
  const all: Told[] = []
  const leaving = new AbortController()
  if (aborts !== Infinity) void turnsOf(aborts).then(() => { leaving.abort() })
  try {
    for await (const told of of.ask(asked, leaving.signal)) {
      all.push(told.type === 'prompt' ? { ...told, cached: 0 } : told)
      if (all.length > leaves) break
    }
  } catch (e) {
    // The adapter is not there at this moment.
    if (e instanceof Refused) return 'refused'
    throw e
  }
  return all
}

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
  const slots = new AdapterSlots(2)
  const common = { ...optionsOf(sizes), constrain: begin, tokenizer: { stream: () => ({ push: (id: number) => pieces[id] ?? '', end: () => '' }) } }
  const turns = new Turns(alone)
  const answerer = new Answerer({ size: steps.size, run: order => (steps.steps > mostSteps ? Promise.reject(new Error(`seed ${seed}: more than ${mostSteps} steps`)) : steps.run(order)) }, { ...common, turns, slots, drafts, buckets: { ...common.buckets, drafts, prompts: sizes.together?.texts ?? 1 } })
  const requests = wants(below, sizes)
  // The computation has no weights of its own: new ones that change nothing must be seen in nothing.
  const renewals = Array.from({ length: below(3) }, () => below(20)).map(async after => {
    await turnsOf(after)
    await answerer.renew('same')
  })
  // Adapters come, in place of others of their name too, and go. What one is hangs on when it came.
  let [serial, loading]: [number, Promise<void>] = [0, Promise.resolve()]
  const there = new Map<string, number>()
  const insert = turns.add(() => Promise.resolve())
  const changes = Array.from({ length: below(8) }, (_, i) => ({ name: named[below(named.length)] as string, after: i < 2 ? 0 : below(25), drops: i >= 2 && below(4) === 0 })).map(async ({ name, after, drops }) => {
    await turnsOf(after)
    if (drops) {
      slots.drop(name)
      return
    }
    await (loading = loading.then(async () => {
      let place: number
      try { place = slots.place() } catch { return }
      await insert(() => '', () => Promise.resolve(steps.adapters[place] = ++serial))
      slots.fill(place, name)
      there.set(name, steps.adapters[place] as number)
    }))
  })
  const found = await Promise.all(requests.map(async want => {
    await turnsOf(want.after)
    const heard = hear(answerer, want.asked, want)
    // It is asked by now: it has the adapter that is there at this moment.
    return { adapter: want.asked.adapter === undefined ? 0 : there.get(want.asked.adapter) ?? 0, heard: await heard }
  }))
  const by = (told: Heard): string => (told === 'refused' ? told : JSON.stringify([told.filter(t => t.type === 'prompt'), ...Array.from({ length: 3 }, (_, c) => told.filter(t => t.type !== 'prompt' && t.choice === c))]))
  for (const [i, want] of requests.entries()) {
    const { adapter, heard } = found[i] as typeof found[number]
    if (leaver(want) || heard === 'refused') continue
    const own = computing(sizes)
    const ownSlots = new AdapterSlots(1)
    if (want.asked.adapter !== undefined) {
      own.adapters[ownSlots.place()] = adapter
      ownSlots.fill(1, want.asked.adapter)
    }
    const solo = await hear(new Answerer(own, { ...common, slots: ownSlots, turns: new Turns(alone) }), want.asked)
    if (by(solo) !== by(heard)) throw new Error(`seed ${seed}, request ${i}: alone ${by(solo)}, among others ${by(heard)}`)
    for (const { choice } of heard.filter(t => t.type === 'end' && t.reason === 'stop') as readonly { readonly choice: number }[]) {
      const text = heard.flatMap(t => (t.type === 'more' && t.choice === choice ? [t.text] : [])).join('')
      if (want.holds?.(text) === false) throw new Error(`seed ${seed}, request ${i}: ${text} is not what was asked`)
    }
  }
  await Promise.all([...renewals, ...changes])
  const { running, waiting, blocksUsed } = answerer.load()
  if (running + waiting + blocksUsed > 0) throw new Error(`seed ${seed}: ${running} running, ${waiting} waiting, ${blocksUsed} blocks in use at the end`)
  for (const name of slots.names) slots.drop(name)
  slots.place()
  if (steps.lost.length > 0) throw new Error(`seed ${seed}: ${steps.lost[0]}`)
  const answered = requests.filter((want, i) => !leaver(want) && found[i]?.heard !== 'refused')
  return {
    answered: answered.length, left: requests.filter(leaver).length, preemptions: answerer.preemptions, refused: found.filter(f => f.heard === 'refused').length,
    adapted: answered.filter(w => w.asked.adapter !== undefined).length, constrained: answered.filter(w => w.asked.constraint !== undefined).length,
  }
}
