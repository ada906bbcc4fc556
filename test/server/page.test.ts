/** The page and the state that it shows: what is answered at which address, under which policy, and to whom. */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { alone } from '../../src/runtime/processes.ts'
import { EmbeddingQueue } from '../../src/serve/embedding-queue.ts'
import { askedOf } from '../../src/serve/generate.ts'
import { Turns } from '../../src/serve/turns.ts'
import { readPage } from '../../src/server/page.ts'
import { Recent } from '../../src/server/recent.ts'
import type { ServerState } from '../../src/server/state-shape.ts'
import { served, tokenizer, type Served } from './support.ts'

let open: Served
beforeAll(async () => { open = await served() })
afterAll(async () => { await open.server.close() })
const model = 'org/letters'
const chat = { model, messages: [{ role: 'user', content: 'abc' }], temperature: 0, ignore_eos: true }

/** A path as it stands: `fetch` would take the dots out of it. */
const raw = (url: string, path: string): Promise<{ readonly status: number; readonly text: string }> => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(url)
  request({ hostname, port, path }, response => {
    let text = ''
    response.on('data', chunk => { text += String(chunk) }).on('end', () => { resolve({ status: response.statusCode ?? 0, text }) })
  }).on('error', reject).end()
})

/** States as they come, until one is as it must be. */
async function stateWhere(of: Served, wanted: (state: ServerState) => boolean, init: RequestInit = {}): Promise<ServerState> {
  const response = await of.ask('/state', undefined, init)
  let rest = ''
  for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
    const events = (rest + new TextDecoder().decode(bytes)).split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      const state = JSON.parse(event.replace(/^data: /, '')) as ServerState
      if (wanted(state)) return state
    }
  }
  throw new Error('the stream ended before')
}

describe('the page', () => {
  test('loads nothing but what this server answers with, and holds no script or style of its own', async () => {
    const response = await open.ask('/')
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/html; charset=utf-8', 'content-security-policy': expect.stringMatching(/^default-src 'self'(;|$)/), 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache',
    })
    expect(response.headers.get('content-security-policy')).not.toMatch(/unsafe|\*|data:|https?:/)
    const html = await response.text()
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/)
    const linked = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(m => m[1] ?? '')
    expect(linked.length).toBeGreaterThanOrEqual(3)
    for (const link of linked) expect([link, (await open.ask(link.replace(/^\.\//, '/'))).status]).toEqual([link, 200])
  })
  test('has assets that may be kept for good, as their names change with what is in them', async () => {
    const types: Readonly<Record<string, string>> = { js: 'text/javascript; charset=utf-8', css: 'text/css; charset=utf-8', svg: 'image/svg+xml' }
    const { paths } = await readPage()
    const assets = paths.filter(p => p !== '/')
    expect(new Set(assets.map(p => p.split('.').at(-1)))).toEqual(new Set(Object.keys(types)))
    for (const path of assets) {
      const response = await open.ask(path)
      expect([path, response.headers.get('content-type')]).toEqual([path, types[path.split('.').at(-1) ?? '']])
      expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
      // Addresses of namespaces are names.
      expect((await response.text()).replaceAll(/http:\/\/www\.w3\.org\/[\w/]+/g, '')).not.toMatch(/https?:\/\/(?!preactjs\.com)/)
    }
  })
  test('has no other files, however they are asked for', async () => {
    for (const path of ['/index.html', '/licenses.md', '/assets', '/assets/', '/assets/none.js', '/assets/../index.html', '/assets/..%2findex.html', '/assets/..%2f..%2f..%2fpackage.json', '/assets/%2e%2e/%2e%2e/package.json', '/assets/%2Fetc%2Fpasswd', '/assets/..%5c..%5cpackage.json', '/../package.json', '//etc/passwd', '/assets/%00', '/assets/__proto__']) {
      const { status, text } = await raw(open.server.url, path)
      expect([path, status]).toEqual([path, 404])
      expect(text).not.toContain('"version"')
    }
  })
  test('is said not to be built where it is not', async () => {
    const { paths, answer } = await readPage(['/nowhere'])
    expect(paths).toEqual([])
    expect(() => answer('/')).toThrow('npm run build')
  })
})

describe('the state', () => {
  test('wants a key where the server does; the page does not', async () => {
    const locked = await served({ keys: ['secret'] })
    expect((await locked.ask('/')).status).toBe(200)
    expect((await locked.ask('/state')).status).toBe(401)
    expect((await locked.ask('/state', undefined, { headers: { authorization: 'Bearer other' } })).status).toBe(401)
    expect(await stateWhere(locked, () => true, { headers: { authorization: 'Bearer secret' } })).toMatchObject({ models: [{ name: model, kind: 'chat', parent: null, context: 64, step: null, failing: false, slots: 4, running: 0, texts: [], waiting: 0, waitingTokens: 0, blocks: 64, blocksUsed: 0, firstToken: null }] })
    await locked.server.close()
  })
  test('moves with what is answered, and tells nothing of it', async () => {
    const here = await served()
    const texts: string[] = []
    const moved = stateWhere(here, state => { texts.push(JSON.stringify(state)); return (state.models[0]?.perSecond.reduce((a, b) => a + b, 0) ?? 0) > 0 && state.models[0]?.running === 0 })
    for (let i = 0; i < 2; i++) expect((await here.ask('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'abcdefghijk' }], max_tokens: 9 })).status).toBe(200)
    const [state] = (await moved).models
    expect(state).toMatchObject({ firstToken: { count: 2 }, betweenTokens: { count: 16 }, promptTokens: 28, blocksUsed: 0 })
    expect(state?.cachedTokens).toBeGreaterThan(0)
    expect(state?.perSecond.reduce((a, b) => a + b, 0)).toBe(18)
    for (const text of texts) expect(text).not.toContain('abc')
    await here.server.close()
  })
  test('tells who is in the slots and who waits', async () => {
    const here = await served()
    const all = Array.from({ length: 6 }, () => here.answerer.ask(askedOf(Int32Array.from({ length: 42 }, (_, i) => i % 5), { maxTokens: 9, ignoreEnd: true })))
    expect(here.answerer.load()).toMatchObject({ running: 0, waiting: 6, waitingTokens: 252 })
    while (here.answerer.load().running === 0) await Promise.resolve()
    expect(here.answerer.load()).toMatchObject({ slots: 4, running: 4, waiting: 2, waitingTokens: 84, texts: Array.from({ length: 4 }, () => ({ prompt: 42, written: 0 })) })
    const seen = new Set<number>()
    for await (const told of all[0] ?? []) {
      if (told.type !== 'more') continue
      const [first] = here.answerer.load().texts
      // Its prompt is read before anything is written.
      expect(first?.read).toBe(42)
      seen.add(first?.written ?? 0)
    }
    expect(seen.size).toBeGreaterThan(1)
    for (const rest of all.slice(1)) for await (const told of rest) void told
    expect(here.answerer.load()).toMatchObject({ running: 0, waiting: 0, texts: [] })
    await here.server.close()
  })
  test('tells apart what writes, what makes vectors, and models in the slots of others', async () => {
    const base = await served()
    const embedding = new EmbeddingQueue({ window: 16, run: rows => Promise.resolve(rows.map(() => Float32Array.of(1))) }, { turns: new Turns(alone), rows: 4, size: 1, vocab: tokenizer.vocab, queue: 20 })
    const here = await served({ models: [{ name: 'vectors', created: 1, tokenizer, embedding }, { name: 'text', created: 1, answering: base.answerer, tokenizer, template: undefined }, { name: 'text:b', created: 1, answering: base.answerer, tokenizer, template: undefined, parent: 'text' }] })
    expect((await here.ask('/v1/embeddings', { model: 'vectors', input: 'abc' })).status).toBe(200)
    expect(await stateWhere(here, () => true)).toMatchObject({
      models: [{ name: 'vectors', kind: 'vectors', parent: null, context: 16, slots: 4, running: 0, texts: [], blocks: 0, promptTokens: 3 }, { name: 'text', kind: 'text', parent: null, slots: 4 }, { name: 'text:b', kind: 'text', parent: 'text' }],
    })
    await here.server.close()
    await base.server.close()
  })
  test('ends with the server, and does not hold it up', async () => {
    const here = await served()
    const response = await here.ask('/state')
    const drained = here.server.drain(600_000)
    expect(await response.text()).toMatch(/data: \[DONE\]\n\n$/)
    await drained
  })
})

describe('the last minute', () => {
  test('is counted second by second, and what is older is forgotten', () => {
    let now = 1000
    const recent = new Recent(() => now)
    recent.tokens(5)
    recent.prompt(10, 4)
    now = 1001
    for (let i = 0; i < 100; i++) recent.between(i < 90 ? 0.02 : 0.5)
    recent.first(0.3)
    expect(recent.told()).toMatchObject({ tokensPerSecond: 2.5, promptTokens: 10, cachedTokens: 4 })
    expect(recent.told().perSecond).toEqual([...Array.from({ length: 59 }, () => 0), 5])
    const { betweenTokens: between, firstToken: first } = recent.told()
    expect(Math.abs((between?.p50 ?? 0) / 0.02 - 1)).toBeLessThan(0.03)
    expect(Math.abs((between?.p95 ?? 0) / 0.5 - 1)).toBeLessThan(0.03)
    expect([between?.count, first?.count]).toEqual([100, 1])
    now = 1060.5
    expect(recent.told().perSecond[0]).toBe(5)
    now = 1062
    expect(recent.told()).toEqual({ perSecond: Array.from({ length: 60 }, () => 0), tokensPerSecond: 0, firstToken: null, betweenTokens: null, promptTokens: 0, cachedTokens: 0 })
    // The place of a second that is long gone is used again.
    recent.tokens(1)
    now = 1063
    expect(recent.told()).toMatchObject({ tokensPerSecond: 0.5 })
  })
})
