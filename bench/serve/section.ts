/** A real model that answers: SmolLM2 of one stream and of many at once, and prompts that are read, beside llama.cpp and PyTorch's transformers on the same weights and as many threads. */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { transformersPython } from '../../test/oracle/python.ts'
import { interleave, median, ratio, row, type Row, type Rounds, type Section } from '../measure.ts'
import type { Worker} from '../process.ts';
import { withWorkers } from '../process.ts'
import { llamaModule, meshwork, startLlama, startOurs, startTorch } from './peers.ts'
import type { Answers, Request } from './task.ts'

type Say = (line: string) => void
type Open = Omit<Extract<Request, { readonly do: 'open' }>, 'do' | 'streams' | 'context' | 'threads'>
const ask = async <K extends keyof Answers>(w: Worker, request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]

/** `MESHWORK_BENCH_QUICK=1`: the same with few tokens, to see that it runs; its figures say nothing. */
const quick = (process.env['MESHWORK_BENCH_QUICK'] ?? '') !== ''
/** `MESHWORK_BENCH_PARTS`, such as `F16,Q8_0`: those alone. */
const parts = (process.env['MESHWORK_BENCH_PARTS'] ?? 'F16,Q8_0,f32,devices').split(',')
const threads = availableParallelism()
const [context, prompt, prefilled] = [1024, 128, 512]
const most = 32
const numbers = quick ? [1, 8] : [1, 8, most]
/** In turn with steps that write prompts are read, one a step: so many steps are over before all streams write. */
const tokensOf = (streams: number): number => (quick ? 12 : 24) + streams

interface Side { readonly worker: Worker; readonly open: Open }
interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }
let salt = 0

async function opened(sides: readonly Side[], say: Say): Promise<string> {
  const runtimes: string[] = []
  for (const { worker, open } of sides) {
    say(`opening ${worker.name}`)
    const { runtime } = await ask<'open'>(worker, { do: 'open', streams: most, context, threads, ...open })
    runtimes.push(`${worker.name}: ${runtime}`)
  }
  return runtimes.join('; ')
}

/** The same weights write the same text; where two tokens are as likely to their last bits, later ones may differ. */
async function sameText(sides: readonly Side[]): Promise<void> {
  // "The capital of France is"
  const asked = { do: 'text', prompt: [504, 3575, 282, 4649, 314], tokens: 6 } as const
  const texts: string[] = []
  for (const { worker } of sides) texts.push((await ask<'text'>(worker, asked)).tokens.join(' '))
  if (new Set(texts).size > 1) throw new Error(`the sides write different things: ${sides.map((s, i) => `${s.worker.name} ${texts[i]}`).join(', ')}`)
}

const decoding = (worker: Worker, streams: number, length = tokensOf(streams)) => async (): Promise<number> => {
  const { ms, tokens } = await ask<'decode'>(worker, { do: 'decode', streams, prompt, tokens: length, salt: salt++ })
  return ms / tokens
}
const reading = (worker: Worker) => async (): Promise<number> => (await ask<'prefill'>(worker, { do: 'prefill', tokens: prefilled, salt: salt++ })).ms / prefilled

const keyOf = (what: string, worker: Worker): string => `${what}, ${worker.name}`
/** `first` makes whatever is made at the first call. */
const tasks: readonly { readonly what: string; readonly of: (w: Worker, first?: true) => () => Promise<number> }[] = [
  ...numbers.map(n => ({ what: `${n} ${n === 1 ? 'stream' : 'streams'}`, of: (w: Worker, first?: true) => decoding(w, n, first && 2) })), { what: `prompt of ${prefilled}`, of: reading },
]

/** Rates, and how long a token takes beside each peer: the median of rounds, their least and largest. */
function compared(found: Rounds, [ours, ...peers]: readonly Side[], goals: readonly number[]): Row[] {
  if (ours === undefined) return []
  return tasks.flatMap(({ what }) => [
    ...[ours, ...peers].map(({ worker }) => row(keyOf(what, worker), 1000 / median(found.get(keyOf(what, worker)) ?? []), 'tokens/s')),
    ...peers.map(({ worker }, i) => row(`${what}, time / ${worker.name}'s`, ratio(found, keyOf(what, ours.worker), keyOf(what, worker)), '', goals[i])),
  ])
}
const spread = (found: Rounds, a: string, b: string): string => {
  const ratios = (found.get(a) ?? []).map((x, i) => x / (found.get(b)?.[i] ?? NaN))
  return `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
}

async function besidePeers(name: string, sides: readonly Side[], goals: readonly number[], rounds: number, say: Say, more: (found: Rounds, ours: Worker) => Promise<readonly Row[]> = () => Promise.resolve([])): Promise<Part> {
  return withWorkers(sides.map(s => s.worker), async () => {
    const runtimes = await opened(sides, say)
    await sameText(sides)
    for (const { worker } of sides) for (const { of } of tasks) await of(worker, true)()
    const found = await interleave(new Map(tasks.flatMap(({ what, of }) => sides.map(({ worker }) => [keyOf(what, worker), of(worker)] as const))), rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
    const [ours, ...peers] = sides
    if (ours === undefined) throw new Error('there is no side of ours')
    const spreads = peers.map(({ worker }) => `${worker.name} ${tasks.map(t => spread(found, keyOf(t.what, ours.worker), keyOf(t.what, worker))).join(', ')}`)
    return { notes: [`${name}: ${runtimes}; the rounds' times of a token beside ${spreads.join('; ')}`], rows: [...compared(found, sides, goals), ...await more(found, ours.worker)] }
  })
}

const percentile = (values: readonly number[], share: number): number => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? NaN

/** What is ours alone: steps, and first tokens while others are written. */
async function alone(found: Rounds, ours: Worker, rounds: number, say: Say): Promise<readonly Row[]> {
  const streams = numbers.at(-1) ?? 1
  const host: number[] = []
  for (let i = 0; i < rounds; i++) host.push((await ask<'decode'>(ours, { do: 'decode', streams, prompt, tokens: tokensOf(streams), salt: salt++ })).hostMs ?? NaN)
  const times = { idle: [] as number[], loaded: [] as number[] }
  for (let i = 0; i < rounds; i++) {
    for (const [name, others] of [['idle', 0], ['loaded', 7]] as const) times[name].push(...(await ask<'first'>(ours, { do: 'first', streams: others, prompt, times: quick ? 3 : 10, salt: salt++ })).ms)
    say(`first tokens: round ${i + 1} of ${rounds}`)
  }
  return [
    row(`${streams} streams, time of a token / alone`, ratio(found, keyOf(`${streams} streams`, ours), keyOf('1 stream', ours)), '', 1 / 6),
    row(`${streams} streams, host time of a step`, median(host), 'ms', 0.3),
    row('first token, idle, median', median(times.idle), 'ms'), row('first token, idle, p95', percentile(times.idle, 0.95), 'ms'),
    row('first token, beside 7 streams, median', median(times.loaded), 'ms'), row('first token, beside 7 streams, p95', percentile(times.loaded, 0.95), 'ms'),
    row('first token, p95 beside 7 streams / idle', percentile(times.loaded, 0.95) / percentile(times.idle, 0.95), '', 2),
  ]
}

/** Two devices that share the machine's threads, the texts divided among them, beside one device that has all. */
async function devicesPart(model: string, rounds: number, say: Say): Promise<Part> {
  const sides = [{ worker: startOurs('2 devices'), open: { model, batch: 2 } }, { worker: startOurs('1 device'), open: { model } }]
  return withWorkers(sides.map(s => s.worker), async () => {
    await opened(sides, say)
    const streams = numbers.at(-1) ?? 1
    for (const { worker } of sides) await decoding(worker, streams, 2)()
    const found = await interleave(new Map(sides.map(({ worker }) => [worker.name, decoding(worker, streams)])), rounds, done => { say(`devices: round ${done} of ${rounds}`) })
    return { notes: [`2 devices / 1 device: ${spread(found, '2 devices', '1 device')}`], rows: [...sides.map(({ worker: { name } }) => row(`${streams} streams, ${name}`, 1000 / median(found.get(name) ?? []), 'tokens/s')), row('time of a token, 2 devices / 1 device', ratio(found, '2 devices', '1 device'), '', 1 / 0.95)] }
  })
}

export async function serveSection(rounds: number, say: Say): Promise<Section> {
  const [python, module] = [await transformersPython(say), await llamaModule(say)]
  const folder = await mkdtemp(join(process.env['MESHWORK_BENCH_DIR'] ?? tmpdir(), 'meshwork-bench-'))
  const [whole, halves, eights] = [join(folder, 'whole'), join(folder, 'F16.gguf'), join(folder, 'Q8_0.gguf')]
  const found: Part[] = []
  try {
    say('writing weights')
    await meshwork('models', 'fetch', 'smollm2')
    await meshwork('import', 'smollm2', '--to', whole, '--dtype', 'f32')
    await meshwork('export', whole, '--to', halves, '--dtype', 'f16')
    await meshwork('export', whole, '--to', eights, '--dtype', 'q8_0')
    if (parts.includes('F16')) {
      const sides = [
        { worker: startOurs('Meshwork F16'), open: { model: halves } }, { worker: startLlama('llama.cpp F16', module), open: { model: halves } }, { worker: startTorch('PyTorch bf16', python), open: { model: whole, dtype: 'bfloat16' } },
      ]
      found.push(await besidePeers('F16', sides, [1, 0.5], rounds, say, (rows, ours) => alone(rows, ours, rounds, say)))
    }
    if (parts.includes('Q8_0')) found.push(await besidePeers('Q8_0', [{ worker: startOurs('Meshwork Q8_0'), open: { model: eights, weights: 'keep' } }, { worker: startLlama('llama.cpp Q8_0', module), open: { model: eights } }], [1], rounds, say))
    if (parts.includes('f32')) found.push(await besidePeers('f32', [{ worker: startOurs('Meshwork f32'), open: { model: whole } }, { worker: startTorch('PyTorch f32', python), open: { model: whole, dtype: 'float32' } }], [0.5], rounds, say))
    if (parts.includes('devices')) found.push(await devicesPart(halves, rounds, say))
    return {
      name: 'serve',
      notes: [`SmolLM2-135M, ${threads} threads on every side, prompts of ${prompt} tokens, ${context} tokens a text`, ...quick ? ['few tokens: these figures say nothing'] : [], ...found.flatMap(p => p.notes)],
      rows: found.flatMap(p => p.rows),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
