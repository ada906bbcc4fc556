/** Many clients of one server at once: those who hear their answer to its end, those who leave midway, and those who send what is no request. */
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { threefry2x32 } from '../../src/core/threefry.ts'

export interface LoadOptions {
  readonly url: string
  readonly model: string
  readonly streams: number
  readonly atOnce: number
  readonly seed: number
  /** Processes whose memory is watched. */
  readonly pids: readonly number[]
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal
}
export interface LoadReport {
  readonly whole: number
  readonly left: number
  readonly hostile: number
  /** What went otherwise than it must, the first few. */
  readonly wrong: readonly string[]
  /** Times that the server said it was ready, and that it did not. */
  readonly ready: number
  readonly notReady: number
  /** MiB of all processes once a tenth was done, and at the end. */
  readonly memory: readonly [number, number]
  readonly seconds: number
  /** Seconds to the first token: the median, and of 95 in 100. */
  readonly firstToken: readonly [number, number]
  readonly tokensPerSecond: number
}

interface Question { readonly path: string; readonly body: object }
interface Solo { readonly texts: readonly string[]; readonly reasons: readonly string[]; readonly tokens: number }
type Choice = { readonly index: number; readonly finish_reason: string | null; readonly text?: string; readonly message?: { readonly content: string }; readonly delta?: { readonly content?: string } }
interface Answer { readonly choices: readonly Choice[]; readonly usage?: { readonly completion_tokens: number } | null; readonly error?: object }

const kinds = 40
/** Questions of every kind; what is drawn of each hangs on its seed alone. */
function questions(model: string, draw: (i: number, use: number, below: number) => number): readonly Question[] {
  const words = ['the', 'people', 'of', 'nation', 'hold', 'these', 'words']
  return Array.from({ length: kinds }, (_, i): Question => {
    const prompt = Array.from({ length: 1 + draw(i, 0, 4) }, (__, j) => words[draw(i, 10 + j, words.length)]).join(' ')
    const how = { model, max_tokens: 1 + draw(i, 1, 12), temperature: draw(i, 2, 3) / 2, seed: draw(i, 3, 1000), n: 1 + draw(i, 4, 2), ignore_eos: draw(i, 5, 2) === 0, ...(draw(i, 6, 4) === 0 ? { stop: ['e', 'th'] } : {}), ...(draw(i, 7, 5) === 0 ? { response_format: { type: 'json_object' } } : {}) }
    return draw(i, 8, 2) === 0 ? { path: '/v1/completions', body: { ...how, prompt } } : { path: '/v1/chat/completions', body: { ...how, messages: [{ role: 'user', content: prompt }] } }
  })
}

const memoryOf = (pids: readonly number[]): number => pids.reduce((n, pid) => { try { return n + Number(/VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024 } catch { return n } }, 0)

/** What is no request, and is told so. */
const hostile: readonly ((url: string, model: string) => Promise<number | 'closed'>)[] = [
  ...['{', 'null', '[]', `${'['.repeat(5000)}`, '{"model":1}'].map(body => (url: string) => post(url, '/v1/chat/completions', body)),
  (url, model) => post(url, '/v1/completions', JSON.stringify({ model, prompt: 'a', n: 5e6 })),
  (url, model) => post(url, '/v1/completions', JSON.stringify({ model, prompt: [2 ** 31 - 1] })),
  (url, model) => post(url, '/v1/completions', JSON.stringify({ model, prompt: 'the '.repeat(5000) })),
  (url, model) => post(url, '/v1/completions', JSON.stringify({ model, prompt: 'a', response_format: { type: 'json_schema', json_schema: { schema: { $ref: '#/nowhere' } } } })),
  (url, model) => post(url, '/v1/completions', JSON.stringify({ model, prompt: 'a', guided_regex: '(a{1,200}){1,200}(' })),
  url => post(url, '/v1/completions', JSON.stringify({ model: 'other', prompt: 'a' })),
  url => post(url, '/v1/nothing', '{}'),
  // Half a body, and gone.
  url => new Promise(resolve => {
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname, () => { socket.write('POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"model":'); setTimeout(() => { socket.destroy(); resolve('closed') }, 20) })
    socket.on('error', () => { resolve('closed') })
  }),
  url => new Promise(resolve => {
    const { hostname, port } = new URL(url)
    let text = ''
    const socket = connect(Number(port), hostname, () => { socket.write(`GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(40_000)}\r\n\r\n`) })
    socket.on('data', d => { text += d.toString() })
    socket.on('close', () => { resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 431)) })
    socket.on('error', () => { resolve('closed') })
  }),
]
async function post(url: string, path: string, body: string): Promise<number> {
  const response = await fetch(`${url}${path}`, { method: 'POST', body })
  await response.arrayBuffer()
  return response.status
}

/** Asks one question after another alone, then as many streams as are wanted, so many at once. */
export async function load({ url, model, streams, atOnce, seed, pids, onProgress = () => {}, signal }: LoadOptions): Promise<LoadReport> {
  const draw = (i: number, use: number, below: number): number => threefry2x32(seed, use, i, 9) % below
  const asked = questions(model, draw)
  const solo: Solo[] = []
  for (const { path, body } of asked) {
    const answer = await (await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body) })).json() as Answer
    if (answer.error !== undefined) throw new Error(`alone: ${JSON.stringify(answer.error)} for ${JSON.stringify(body)}`)
    solo.push({ texts: answer.choices.map(c => c.text ?? c.message?.content ?? ''), reasons: answer.choices.map(c => c.finish_reason ?? ''), tokens: answer.usage?.completion_tokens ?? 0 })
  }
  const wrong: string[] = []
  const fail = (text: string): void => { if (wrong.length < 20) wrong.push(text) }
  const firsts: number[] = []
  let [whole, left, bad, done, tokens, ready, notReady] = [0, 0, 0, 0, 0, 0, 0]
  let early = 0
  const began = performance.now()

  async function stream(i: number): Promise<void> {
    const fate = draw(i, 20, 100)
    if (fate === 0) {
      const status = await (hostile[draw(i, 21, hostile.length)] as (typeof hostile)[number])(url, model)
      bad++
      if (status !== 'closed' && (status < 400 || status >= 500)) fail(`stream ${i}: what is no request was answered with ${status}`)
      return
    }
    const which = draw(i, 22, kinds)
    const [{ path, body }, alone] = [asked[which] as Question, solo[which] as Solo]
    const leaves = fate <= 10 ? 1 + draw(i, 23, 6) : Infinity
    const controller = new AbortController()
    const since = performance.now()
    const response = await fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }), signal: controller.signal })
    if (response.status !== 200) return fail(`stream ${i}: ${response.status} ${(await response.text()).slice(0, 200)}`)
    const [texts, reasons]: [string[], string[]] = [alone.texts.map(() => ''), alone.texts.map(() => '')]
    let [rest, events, ended, counted, first] = ['', 0, 0, -1, true]
    const utf8 = new TextDecoder()
    for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
      rest += utf8.decode(bytes, { stream: true })
      const parts = rest.split('\n\n')
      rest = parts.pop() ?? ''
      for (const part of parts) {
        if (!part.startsWith('data: ')) continue
        const data = part.slice('data: '.length)
        if (data === '[DONE]') { ended++; continue }
        if (first) { firsts.push((performance.now() - since) / 1000); first = false }
        events++
        const chunk = JSON.parse(data) as Answer
        if (chunk.error !== undefined) return fail(`stream ${i}: ${data}`)
        if (chunk.usage !== null && chunk.usage !== undefined) counted = chunk.usage.completion_tokens
        for (const c of chunk.choices) {
          texts[c.index] += c.text ?? c.delta?.content ?? ''
          if (c.finish_reason !== null) reasons[c.index] += c.finish_reason
        }
      }
      if (events >= leaves) break
    }
    if (ended === 0 && events >= leaves) {
      controller.abort()
      left++
      return
    }
    tokens += counted
    whole++
    const found = JSON.stringify([texts, reasons, counted, ended])
    const wanted = JSON.stringify([alone.texts, alone.reasons, alone.tokens, 1])
    if (found !== wanted) fail(`stream ${i}, question ${which}: ${found}, alone ${wanted}`)
  }

  const probing = setInterval(() => { void fetch(`${url}/health/ready`).then(async r => { await r.arrayBuffer(); if (r.status === 200) ready++; else notReady++ }, () => { notReady++ }) }, 250)
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < streams && signal?.aborted !== true) {
      const i = next++
      await stream(i).catch((e: unknown) => { fail(`stream ${i}: ${e instanceof Error ? `${e.message} ${String(e.cause ?? '')}` : String(e)}`) })
      onProgress(++done)
      if (early === 0 && done >= streams / 10) early = memoryOf(pids)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  const seconds = (performance.now() - began) / 1000
  clearInterval(probing)
  // Those who left free their places within a step.
  await new Promise(resolve => { setTimeout(resolve, 500) })
  const metrics = await (await fetch(`${url}/metrics`)).text()
  for (const gauge of ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc']) if (!new RegExp(`^meshwork:${gauge}\\{[^}]*\\} 0$`, 'm').test(metrics)) fail(`at the end ${new RegExp(`meshwork:${gauge}\\{.*`).exec(metrics)?.[0] ?? `there is no ${gauge}`}`)
  firsts.sort((a, b) => a - b)
  const at = (share: number): number => firsts[Math.floor(share * (firsts.length - 1))] ?? 0
  return { whole, left, hostile: bad, wrong, ready, notReady, memory: [early, memoryOf(pids)], seconds, firstToken: [at(0.5), at(0.95)], tokensPerSecond: tokens / seconds }
}
