/** llama.cpp, by node-llama-cpp, as a peer of the section on serving: a request a line on stdin, an answer a line on stdout. The first argument is the package's module. */
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { promptOf } from './prompts.ts'
import type { Answers, Decoding, Request } from './task.ts'

type Ask<K extends Request['do']> = Extract<Request, { readonly do: K }>
/** What of the package is used. */
interface Sequence {
  evaluate(tokens: readonly number[], options: { readonly temperature: number; readonly yieldEogToken: boolean }): AsyncIterable<number>
  clearHistory(): Promise<void>
}
interface Context { getSequence(): Sequence }
interface Package {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<{ createContext(options: object): Promise<Context> }>; readonly llamaCppRelease: { readonly release: string } }>
}

let sequences: Sequence[] = []
const greedy = { temperature: 0, yieldEogToken: true }

const cpu = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1000 }

async function start({ model, streams, context, threads }: Ask<'open'>): Promise<Answers['open']> {
  const { getLlama } = await import(pathToFileURL(process.argv[2] ?? '').href) as Package
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads })
  const loaded = await llama.loadModel({ modelPath: model })
  const made = await loaded.createContext({ sequences: streams, contextSize: context, batchSize: 512, threads: { ideal: threads, min: threads } })
  sequences = Array.from({ length: streams }, () => made.getSequence())
  return { runtime: `llama.cpp ${llama.llamaCppRelease.release}` }
}

async function answered(sequence: Sequence, prompt: readonly number[], tokens: number, onToken: (token: number, at: number) => void): Promise<void> {
  await sequence.clearHistory()
  let count = 0
  for await (const token of sequence.evaluate(prompt, greedy)) {
    onToken(token, performance.now())
    if (++count === tokens) break
  }
}

async function decode({ streams, prompt, tokens, salt }: Ask<'decode'>): Promise<Decoding> {
  const used = cpu()
  const times = Array.from({ length: streams }, (): number[] => [])
  await Promise.all(times.map((own, i) => answered(sequences[i] as Sequence, [...promptOf(prompt, salt, i)], tokens, (_, at) => { own.push(at) })))
  const from = Math.max(...times.map(own => own[0] ?? NaN))
  const to = Math.min(...times.map(own => own.at(-1) ?? NaN))
  return { ms: to - from, tokens: times.reduce((n, own) => n + own.filter(at => at > from && at <= to).length, 0), cpuMs: cpu() - used }
}

async function prefill({ tokens, salt }: Ask<'prefill'>): Promise<Answers['prefill']> {
  const [begun, used] = [performance.now(), cpu()]
  let ms = NaN
  await answered(sequences[0] as Sequence, [...promptOf(tokens, salt)], 1, (_, at) => { ms = at - begun })
  return { ms, cpuMs: cpu() - used }
}

async function text({ prompt, tokens }: Ask<'text'>): Promise<Answers['text']> {
  const found: number[] = []
  await answered(sequences[0] as Sequence, prompt, tokens, token => { found.push(token) })
  return { tokens: found }
}

const answers: { readonly [K in 'open' | 'decode' | 'prefill' | 'text']: (request: Ask<K>) => Promise<Answers[K]> } = { open: start, decode, prefill, text }
for await (const line of createInterface(process.stdin)) {
  const request = JSON.parse(line) as Request
  if (!(request.do in answers)) throw new Error(`this side does no "${request.do}"`)
  const answer = answers[request.do as keyof typeof answers] as (request: Request) => Promise<unknown>
  process.stdout.write(`${JSON.stringify(await answer(request))}\n`)
}
process.exit()
