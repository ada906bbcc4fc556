/** What the server of the page answers, and what it does not: other names, other sites, no token, paths outside of its folder. */
import { timingSafeEqual } from 'node:crypto'
import { appendFile, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { placesIn } from '../../src/dashboard/stream.ts'
import { claimFolder, type Claim } from '../../src/io/claim.ts'
import { wishName } from '../../src/train/wish.ts'
import { metricsLine, openWatch, temporary, writeRun, type Folder, type Watch } from '../page/watching.ts'

// What compares tokens is listened to.
vi.mock('node:crypto', async original => { const real = await original<{ timingSafeEqual: typeof timingSafeEqual }>(); return { ...real, timingSafeEqual: vi.fn(real.timingSafeEqual) } })

let [folder, outside]: Folder[] = []
let watch: Watch
let claim: Claim
const at = (name: string): string => join(folder?.path ?? '', name)
beforeAll(async () => {
  [folder, outside] = [await temporary(), await temporary()]
  await writeRun(at('over'), { steps: 10 })
  await writeRun(at('live'), { steps: 10 })
  await rm(join(at('live'), 'summary.json'))
  claim = await claimFolder(at('live'))
  await writeRun(join(outside.path, 'secret'), { steps: 3 })
  watch = await openWatch(folder.path)
})
afterAll(async () => {
  await claim.release()
  await watch[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
  await outside?.[Symbol.asyncDispose]()
})

interface Answer { readonly status: number; readonly headers: Readonly<Record<string, string | string[] | undefined>>; readonly text: string }
/** As fetch lets nobody set a host or an origin. */
const ask = (path: string, { method = 'GET', headers = {}, body, url = watch.url }: { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: object; readonly url?: string } = {}): Promise<Answer> => new Promise((resolve, reject) => {
  const { hostname, port, host } = new URL(url)
  const asked = request({ hostname, port, path, method, headers: { host, ...headers } }, answer => {
    let text = ''
    answer.on('data', chunk => { text += String(chunk) })
    answer.on('end', () => { resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }) })
  })
  asked.on('error', reject)
  asked.end(body === undefined ? undefined : JSON.stringify(body))
})
const tokenIn = async (url = watch.url): Promise<string> => /name="meshwork-token" content="([^"]*)"/.exec((await ask('/', { url })).text)?.[1] ?? ''
const post = async (path: string, body: object, headers: Readonly<Record<string, string>> = {}): Promise<Answer> => ask(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
const ours = async (): Promise<Record<string, string>> => ({ authorization: `Bearer ${await tokenIn()}` })
const wishes = async (): Promise<string[]> => (await readdir(at('live'))).filter(n => n.startsWith('.wish'))

describe('who may ask', () => {
  test('the page is sent with a strict policy, and nothing of it is inline', async () => {
    const { headers, text } = await ask('/')
    expect(headers['content-security-policy']).toBe('default-src \'self\'; base-uri \'none\'; form-action \'none\'; frame-ancestors \'none\'; object-src \'none\'; img-src \'self\' blob:')
    expect(headers['x-content-type-options']).toBe('nosniff')
    expect(text).not.toMatch(/<script(?![^>]*src=)|<style|style=|https?:\/\//)
  })

  test('it listens on the loopback alone, and answers to its own names alone', async () => {
    expect(watch.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    const { port } = new URL(watch.url)
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]) expect([host, (await ask('/api/runs', { headers: { host } })).status]).toEqual([host, 200])
    // A name of elsewhere that was made to point here.
    for (const host of [`evil.example:${port}`, 'evil.example', `127.0.0.1.evil.example:${port}`]) expect([host, (await ask('/api/runs', { headers: { host } })).status]).toEqual([host, 403])
  })

  test('pages of other sites read nothing and stop nothing', async () => {
    const { port } = new URL(watch.url)
    const others = ['https://evil.example', 'http://localhost:1', `http://127.0.0.1:${Number(port) + 1}`, 'null', `https://127.0.0.1:${port}.evil.example`]
    for (const origin of others) {
      expect([origin, (await ask('/api/runs', { headers: { origin } })).status]).toEqual([origin, 403])
      expect([origin, (await post('/api/wish', { run: 'live', wish: 'stop' }, { ...await ours(), origin })).status]).toEqual([origin, 403])
    }
    for (const site of ['cross-site', 'same-site']) expect((await ask('/api/runs', { headers: { 'sec-fetch-site': site } })).status).toBe(403)
    // Nothing allows them to, either.
    expect((await ask('/api/runs')).headers['access-control-allow-origin']).toBeUndefined()
    expect((await ask('/api/wish', { method: 'OPTIONS', headers: { 'origin': 'https://evil.example', 'access-control-request-method': 'POST' } })).status).not.toBe(200)
    expect(await wishes()).toEqual([])
  })

  test('only who has the page\'s token acts', async () => {
    const token = await tokenIn()
    expect(token.length).toBeGreaterThanOrEqual(32)
    const wrong = [{}, { authorization: 'Bearer ' }, { authorization: `Bearer ${token.slice(0, -1)}${token.endsWith('x') ? 'y' : 'x'}` }, { authorization: `Bearer ${token}x` }, { authorization: token }, { cookie: `token=${token}` }]
    for (const headers of wrong) for (const path of ['/api/wish', '/api/plan']) expect([headers, (await post(path, { run: 'live', wish: 'stop' }, headers)).status]).toEqual([headers, 401])
    expect(await wishes()).toEqual([])
    expect((await post('/api/wish', { run: 'live', wish: 'save' }, await ours())).status).toBe(200)
    expect(await wishes()).toEqual([wishName('save')])
    await rm(join(at('live'), wishName('save')))
    // Each start has another.
    await using other = await openWatch(folder?.path ?? '')
    expect(await tokenIn(other.url)).not.toBe(token)
  })

  test('a token that was given is asked of who looks, too, and is not told by the page', async () => {
    await using locked = await openWatch(folder?.path ?? '', { token: 'a secret word' })
    expect(await tokenIn(locked.url)).toBe('')
    for (const path of ['/api/runs', '/api/run?id=over', '/api/series?id=over', '/api/events', '/api/recipes']) {
      expect([path, (await ask(path, { url: locked.url })).status]).toEqual([path, 401])
      expect([path, (await ask(path, { url: locked.url, headers: { authorization: 'Bearer a secret wore' } })).status]).toEqual([path, 401])
    }
    expect((await ask('/api/runs', { url: locked.url, headers: { authorization: 'Bearer a secret word' } })).status).toBe(200)
    await expect(openWatch(folder?.path ?? '', { host: '0.0.0.0' })).rejects.toThrow(/UsageError\[open-page\]/)
    await expect(openWatch(folder?.path ?? '', { token: 'short' })).rejects.toThrow(/could be guessed/)
  })

  test('a token is compared by its hash, in a time that does not hang on where it differs', async () => {
    await using locked = await openWatch(folder?.path ?? '', { token: 'a secret word' })
    const compared = vi.mocked(timingSafeEqual)
    for (const token of ['b secret word', 'a secret wore', 'a', 'a secret word and more', '']) {
      compared.mockClear()
      expect((await ask('/api/runs', { url: locked.url, headers: { authorization: `Bearer ${token}` } })).status).toBe(401)
      expect([token, compared.mock.calls.map(([a, b]) => [a.byteLength, b.byteLength])]).toEqual([token, [[32, 32]]])
    }
  })
})

describe('paths', () => {
  test('only what lies in the folder is found, whatever is asked for', async () => {
    const ids = ['../secret', `${outside?.path}/secret`, '/etc', '..', '', 'over/..', 'over/../over', './over', 'over/', 'over%00', '__proto__', 'constructor']
    for (const id of ids) for (const path of ['run', 'series']) expect([id, (await ask(`/api/${path}?id=${encodeURIComponent(id)}`)).status]).toEqual([id, 404])
    for (const run of ids) {
      expect([run, (await post('/api/wish', { run, wish: 'stop' }, await ours())).status]).toEqual([run, 404])
      expect([run, (await post('/api/plan', { run }, await ours())).status]).toEqual([run, 404])
    }
    for (const recipe of ['../evil', '/tmp/evil.ts', 'evil.ts', 'gpt-tiny.ts']) expect([recipe, (await post('/api/plan', { recipe }, await ours())).status]).toEqual([recipe, 404])
    for (const machine of ['/tmp/machine.json', './here.json', '../here', '8xh100.json', 'constructor']) expect([machine, (await post('/api/plan', { recipe: 'gpt-tiny', machine }, await ours())).status]).toEqual([machine, 404])
    for (const path of ['/../package.json', '/assets/../watch.html', '/assets/%2e%2e%2fwatch.html', '/assets/..%2f..%2fsrc%2findex.js']) expect([path, (await ask(path)).status]).toEqual([path, 404])
  })

  test('links lead nowhere', async () => {
    await symlink(join(outside?.path ?? '', 'secret'), at('linked'))
    await mkdir(at('partly'))
    await writeFile(join(at('partly'), 'run.json'), '{"id":"x","run":{"name":"partly"},"identity":{}}')
    await symlink(join(outside?.path ?? '', 'secret/metrics.jsonl'), join(at('partly'), 'metrics.jsonl'))
    await symlink(join(outside?.path ?? '', 'secret/summary.json'), join(at('partly'), 'summary.json'))
    await using own = await openWatch(folder?.path ?? '')
    const { runs } = JSON.parse((await ask('/api/runs', { url: own.url })).text) as { runs: { id: string; loss: number | null; state: string }[] }
    expect(runs.map(r => r.id)).not.toContain('linked')
    expect(runs.find(r => r.id === 'partly')).toMatchObject({ loss: null, state: 'lost' })
    expect(JSON.parse((await ask('/api/series?id=partly', { url: own.url })).text)).toMatchObject({ rows: 0 })
    for (const name of ['linked', 'partly']) await rm(at(name), { recursive: true })
  })
})

describe('answers', () => {
  test('what is wrong with a request is said', async () => {
    for (const [path, status] of [['/api/series?id=over&columns=lost', 400], ['/api/series?id=over&points=0', 400], ['/api/series?id=over&from=x', 400], ['/api/none', 404]] as const) expect([path, (await ask(path)).status]).toEqual([path, status])
    for (const body of [{}, { run: 'live', wish: 'delete' }, { run: 'live', wish: 'stop', more: 1 }]) expect((await post('/api/wish', body, await ours())).status).toBe(400)
    for (const body of [{}, { run: 'over', recipe: 'gpt-tiny' }, { recipe: 'gpt-tiny', flags: { data: '/etc/passwd' } }, { recipe: 'gpt-tiny', machine: 8 }]) expect([body, (await post('/api/plan', body, await ours())).status]).toEqual([body, 400])
    expect((await post('/api/wish', { run: 'over', wish: 'stop' }, await ours())).status).toBe(409)
    expect((await post('/api/wish', { run: 'x'.repeat(1 << 17), wish: 'stop' }, await ours())).status).toBe(413)
    expect(watch.problems).toEqual([])
  })

  test('plans are made of runs that come along, with flags; what cannot be is said with its fix', async () => {
    const good = await post('/api/plan', { recipe: 'gpt-tiny', flags: { batch: '2', model: '2' } }, await ours())
    expect([good.status, JSON.parse(good.text)]).toMatchObject([200, { name: 'gpt-tiny', plan: { devices: 4, mesh: { batch: 2, model: 2 } } }])
    const wrong = await post('/api/plan', { recipe: 'gpt-tiny', flags: { model: '3' } }, await ours())
    expect([wrong.status, JSON.parse(wrong.text)]).toMatchObject([200, { error: { code: 'does-not-divide', message: expect.stringContaining('cannot be cut into 3'), fix: expect.any(String) } }])
    expect(JSON.parse((await ask('/api/recipes')).text)).toContain('gpt-1t')
    expect(JSON.parse((await ask('/api/machines')).text)).toContain('8xh100')
    const timed = await post('/api/plan', { recipe: 'gpt-tiny', machine: '8xh100' }, await ours())
    expect(JSON.parse(timed.text)).toMatchObject({ predicted: { machine: '8xh100', named: '8xh100', stepMs: expect.any(Number), fits: true } })
    expect(JSON.parse((await post('/api/plan', { recipe: 'gpt-tiny', machine: null }, await ours())).text)).not.toHaveProperty('predicted')
  })
})

interface Told { readonly type: string; readonly id: string; readonly data: { readonly type: string; readonly run?: string; readonly steps?: readonly { readonly step: number }[] } }
/** Events of a stream up to one that is looked for. */
async function heard(query: string, headers: Readonly<Record<string, string>>, until: (told: Told) => boolean, meanwhile = async (): Promise<void> => {}): Promise<Told[]> {
  const over = new AbortController()
  const response = await fetch(`${watch.url}/api/events?${query}`, { headers, signal: over.signal })
  const found: Told[] = []
  const decoder = new TextDecoder()
  let rest = ''
  await meanwhile()
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      rest += decoder.decode(chunk, { stream: true })
      const events = rest.split('\n\n')
      rest = events.pop() ?? ''
      for (const event of events) {
        const field = (name: string): string => event.split('\n').find(l => l.startsWith(`${name}: `))?.slice(name.length + 2) ?? ''
        const told: Told = { type: field('event'), id: field('id'), data: JSON.parse(field('data')) as Told['data'] }
        found.push(told)
        if (until(told)) return found
      }
    }
    return found
  } finally {
    over.abort()
  }
}

test('one stream tells the table and what is new of every run that is watched, and is gone on with where it was', async () => {
  const place = (JSON.parse((await ask('/api/series?id=live')).text) as { next: string }).next
  const query = new URLSearchParams([['live', place], ['over', (JSON.parse((await ask('/api/series?id=over')).text) as { next: string }).next]]).toString()
  const first = await heard(query, {}, t => t.data.type === 'rows', () => appendFile(join(at('live'), 'metrics.jsonl'), metricsLine(10, 1)))
  expect(first.map(t => t.type)).toEqual(['runs', 'rows'])
  expect(first.at(-1)?.data).toMatchObject({ run: 'live', steps: [{ step: 10, loss: 1 }] })
  // It slept while more came.
  await appendFile(join(at('live'), 'metrics.jsonl'), metricsLine(11, 2) + metricsLine(12, 3))
  const again = await heard('', { 'last-event-id': first.at(-1)?.id ?? '' }, t => t.data.type === 'rows')
  expect(again.at(-1)?.data.steps?.map(s => s.step)).toEqual([11, 12])
  // What was cut meanwhile is to be asked for anew.
  await writeFile(join(at('live'), 'metrics.jsonl'), metricsLine(0, 9))
  const cut = await heard('', { 'last-event-id': again.at(-1)?.id ?? '' }, t => t.data.type === 'again')
  expect(cut.at(-1)?.data).toEqual({ type: 'again', run: 'live' })
  expect(placesIn(new URLSearchParams(Array.from({ length: 1000 }, (_, i): [string, string] => [String(i), ''])).toString()).size).toBe(64)
})
