/** Our side of the section on serving: a request a line on stdin, an answer a line on stdout. */
import { createInterface } from 'node:readline'
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { writtenModel } from '../../src/cli/written-model.ts'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { askedOf } from '../../src/serve/generate.ts'
import type { Opened } from '../../src/serve/open.ts'
import { promptOf } from './prompts.ts'
import type { Answers, Decoding, Request } from './task.ts'

type Ask<K extends Request['do']> = Extract<Request, { readonly do: K }>
let open: { readonly backend: Backend; readonly opened: Opened } | undefined
function opened(): Opened {
  if (open === undefined) throw new Error('nothing is open')
  return open.opened
}

const cpu = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 }

/** Processor time of the main thread, in ms, as Linux has it: what waits, or runs on other threads, is not in it. */
const host = (): number => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6

async function start({ model, streams, context, weights, batch = 1, shard = 1 }: Ask<'open'>): Promise<Answers['open']> {
  const written = await writtenModel(model, { context: String(context), batch: String(batch), model: String(shard), ...(weights === undefined ? {} : { weights }) })
  const backend = await openBackend({ devices: written.devices })
  const found = await written.open(backend, { requests: Math.ceil(streams / batch) })
  await found.prepare()
  open = { backend, opened: found }
  return { runtime: backend.description }
}

/** An answer's tokens, and when each came. */
async function answered(prompt: Int32Array, tokens: number, onToken: (token: number, at: number) => void, signal?: AbortSignal): Promise<void> {
  for await (const told of opened().answering.ask(askedOf(prompt, { maxTokens: tokens, ignoreEnd: true }), signal)) {
    if (told.type === 'more') for (const { token } of told.tokens) onToken(token, performance.now())
  }
}

async function decode({ streams, prompt, tokens, salt }: Ask<'decode'>): Promise<Decoding> {
  const times = Array.from({ length: streams }, (): number[] => [])
  let [begun, ended] = [0, false]
  const used = cpu()
  let [before, busy] = [0, NaN]
  await Promise.all(times.map((own, stream) => answered(promptOf(prompt, salt, stream), tokens, (_, at) => {
    if (own.push(at) === 1 && ++begun === streams) before = host()
    if (own.length === tokens && !ended) {
      ended = true
      busy = host() - before
    }
  })))
  const from = Math.max(...times.map(own => own[0] ?? NaN))
  const to = Math.min(...times.map(own => own.at(-1) ?? NaN))
  const inside = times.map(own => own.filter(at => at > from && at <= to).length)
  return { ms: to - from, tokens: inside.reduce((a, b) => a + b, 0), cpuMs: cpu() - used, hostMs: busy / Math.max(...inside) }
}

async function timeToFirst(prompt: Int32Array): Promise<number> {
  const start = performance.now()
  let first = NaN
  await answered(prompt, 1, (_, at) => { first = at - start })
  return first
}

async function first({ streams, prompt, times, salt }: Ask<'first'>): Promise<Answers['first']> {
  const stop = new AbortController()
  const begun: Promise<void>[] = []
  const load = Array.from({ length: streams }, (_, i) => {
    let done: Promise<void> | undefined
    begun.push(new Promise(resolve => {
      done = answered(promptOf(prompt, salt, 1000 + i), opened().answering.context - prompt, () => { resolve() }, stop.signal)
    }))
    return done
  })
  await Promise.all(begun)
  const ms: number[] = []
  for (let i = 0; i < times; i++) {
    ms.push(await timeToFirst(promptOf(prompt, salt, i)))
    // Whoever comes next does so at any time of a step.
    await new Promise(resolve => setTimeout(resolve, 7 * (i % 5)))
  }
  stop.abort()
  await Promise.all(load)
  return { ms }
}

async function text({ prompt, tokens }: Ask<'text'>): Promise<Answers['text']> {
  const found: number[] = []
  await answered(Int32Array.from(prompt), tokens, token => { found.push(token) })
  return { tokens: found }
}

const answers: { readonly [K in Request['do']]: (request: Ask<K>) => Promise<Answers[K]> } = {
  open: start, decode, first, text,
  prefill: async ({ tokens, salt }) => { const used = cpu(); return { ms: await timeToFirst(promptOf(tokens, salt)), cpuMs: cpu() - used } },
}

for await (const line of createInterface(process.stdin)) {
  const request = JSON.parse(line) as Request
  const answer = answers[request.do] as (request: Request) => Promise<unknown>
  process.stdout.write(`${JSON.stringify(await answer(request))}\n`)
}
if (open !== undefined) {
  await open.opened.close()
  await open.backend.close()
}
