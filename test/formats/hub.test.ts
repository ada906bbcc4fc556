/** Files of the Hub, from a local server that speaks its protocol: cached, gone on with, checked; what goes wrong is one clear error. */
import { mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FileError, UsageError } from '../../src/core/errors.ts'
import { fetchFromHub, isHubId, type HubOptions } from '../../src/formats/hub.ts'
import { temporaryFolder } from '../data/temporary.ts'
import { hubServer } from './hub-server.ts'

const folder = temporaryFolder()
const cacheDir = folder.at('cache')
const [one, two] = ['1'.repeat(40), '2'.repeat(40)]
const weights = Uint8Array.from({ length: 50_000 }, (_, i) => i * i % 253)
const config = Buffer.from('{"model_type":"llama"}')
const files = { 'config.json': config, 'model.safetensors': weights, 'README.md': Buffer.from('#'), '1_Pooling/config.json': Buffer.from('{}'), 'onnx/model.onnx': weights.subarray(1) }
const server = await hubServer({
  'us/model': { commits: { [one]: files, [two]: { ...files, 'config.json': Buffer.from('{"model_type":"qwen3"}') } }, branches: { main: one } },
  'us/gated': { commits: { [one]: files }, branches: { main: one }, token: 'hf_secret' },
  'us/pickled': { commits: { [one]: { 'config.json': config, 'pytorch_model.bin': weights } }, branches: { main: one } },
  'us/bare': { commits: { [one]: { 'README.md': config } }, branches: { main: one } },
})
const { faults, asked, endpoint } = server
const pauses: number[] = []
const get = (id: string, options: HubOptions = {}) => fetchFromHub(id, { endpoint, cacheDir, pause: ms => { pauses.push(ms); return Promise.resolve() }, ...options })
beforeEach(() => { vi.stubEnv('HF_TOKEN', '') ; vi.stubEnv('HF_HUB_OFFLINE', '') })
afterEach(() => {
  vi.unstubAllEnvs()
  Object.assign(faults, { cuts: [], wrong: false, whole: false, listed: undefined })
  asked.length = 0
  pauses.length = 0
  rmSync(cacheDir, { recursive: true, force: true })
})
afterAll(() => server.close())
const repo = join(cacheDir, 'models--us--model')
const content = (path: string, name: string): Buffer => readFileSync(join(path, name))

describe('a model', () => {
  test('its usual files, by the layout of Hugging Face\'s own tools; then without another download', async () => {
    const seen: [number, number][] = []
    const found = await get('us/model', { onProgress: (done, total) => seen.push([done, total]) })
    expect(found).toEqual({ path: join(repo, 'snapshots', one), commit: one, files: ['config.json', 'model.safetensors', '1_Pooling/config.json'] })
    expect(Buffer.compare(content(found.path, 'model.safetensors'), weights)).toBe(0)
    expect(content(found.path, '1_Pooling/config.json').toString()).toBe('{}')
    expect(readlinkSync(join(found.path, 'model.safetensors'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/)
    expect(readlinkSync(join(found.path, '1_Pooling', 'config.json'))).toMatch(/^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/)
    expect(readFileSync(join(repo, 'refs', 'main'), 'utf8')).toBe(one)
    expect(seen.at(-1)).toEqual([weights.length + config.length + 2, weights.length + config.length + 2])
    asked.length = 0
    expect(await get('us/model')).toEqual(found)
    expect(asked.map(a => a.path)).toEqual(['/api/models/us/model/revision/main'])
  })

  test('another revision shares what is the same', async () => {
    await get('us/model')
    asked.length = 0
    const found = await get('us/model', { revision: two })
    expect(content(found.path, 'config.json').toString()).toMatch(/qwen3/)
    expect(asked.filter(a => a.path.includes('resolve')).map(a => a.path)).toEqual([`/us/model/resolve/${two}/config.json`])
  })

  test('a branch that has moved is followed, and the old one is used where no server answers', async () => {
    await get('us/model')
    const away = 'http://127.0.0.1:9'
    expect((await get('us/model', { endpoint: away })).commit).toBe(one)
    expect((await get('us/model', { offline: true })).commit).toBe(one)
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect((await get('us/model', { revision: one })).commit).toBe(one)
    await expect(get('us/model', { revision: two })).rejects.toThrow(/not in the cache, and the Hub cannot be asked/)
    vi.stubEnv('HF_HUB_OFFLINE', '')
    await expect(get('us/other', { endpoint: away })).rejects.toThrow(/us\/other at main is not in the cache[^]*fetch failed/)
  })

  test('files that are wanted by name', async () => {
    const found = await get('us/model', { wanted: path => path === 'onnx/model.onnx' })
    expect(found.files).toEqual(['onnx/model.onnx'])
    expect(content(found.path, 'onnx/model.onnx').length).toBe(weights.length - 1)
  })

  test('a token goes to the Hub, and one is asked for where it lacks', async () => {
    await expect(get('us/gated')).rejects.toThrow(/us\/gated may not be read[^]*HF_TOKEN/)
    vi.stubEnv('HF_TOKEN', 'hf_secret')
    expect((await get('us/gated')).commit).toBe(one)
    expect(asked.filter(a => a.path.includes('resolve')).every(a => a.token === 'hf_secret')).toBe(true)
    await expect(get('us/gated', { token: 'hf_other', revision: 'main' })).rejects.toThrow(/may not be read/)
  })
})

describe('a download', () => {
  test('that is cut off goes on where it was', async () => {
    faults.cuts = [30_000, 5000, -1]
    const found = await get('us/model', { wanted: path => path === 'model.safetensors' })
    expect(Buffer.compare(content(found.path, 'model.safetensors'), weights)).toBe(0)
    const ranges = asked.filter(a => a.path.startsWith('/cdn')).map(a => a.range)
    expect([ranges.length, ranges[0], ranges.every((r, i) => i === 0 || r === undefined || /^bytes=[1-9]\d*-$/.test(r))]).toEqual([4, undefined, true])
    expect(pauses).toEqual([500, 1000, 2000])
  })

  test('of a server without ranges begins anew', async () => {
    faults.whole = true
    faults.cuts = [20_000]
    const found = await get('us/model', { wanted: path => path === 'model.safetensors' })
    expect(Buffer.compare(content(found.path, 'model.safetensors'), weights)).toBe(0)
  })

  test('that does not come through is an error, and the next goes on with it', async () => {
    faults.cuts = [9000, 0, 0, 0, 0, 0]
    await expect(get('us/model', { wanted: path => path === 'model.safetensors' })).rejects.toThrow(/cannot be downloaded[^]*goes on where it was cut off/)
    expect((await get('us/model')).files).toHaveLength(3)
  })

  test('of other bytes is deleted, and never used', async () => {
    faults.wrong = true
    await expect(get('us/model')).rejects.toThrow(/config\.json is not the file that it should be; it was deleted/)
    expect(readdirSync(join(repo, 'blobs'))).toEqual([])
    faults.wrong = false
    expect((await get('us/model')).files).toHaveLength(3)
  })

  test('is looked at before it is used, whoever left it in the cache', async () => {
    const { path } = await get('us/model')
    const blob = join(repo, 'blobs', readlinkSync(join(path, 'config.json')).split('/').at(-1)!)
    writeFileSync(blob, config.toString().replace('llama', 'ollam'))
    rmSync(join(repo, `.meshwork-${one}.json`))
    expect(content((await get('us/model')).path, 'config.json')).toEqual(config)
  })

  test('that is called off leaves what came', async () => {
    const stop = new AbortController()
    const fetching = get('us/model', { signal: stop.signal, onProgress: () => { stop.abort(new Error('called off')) } })
    await expect(fetching).rejects.toThrow(/called off/)
    expect((await get('us/model')).files).toHaveLength(3)
  })
})

test.each<[string, () => Promise<unknown>, typeof FileError | typeof UsageError, RegExp]>([
  ['no name', () => get('../etc'), UsageError, /"\.\.\/etc" is no model of the Hub/],
  ['no revision', () => get('us/model', { revision: '../x' }), UsageError, /no revision/],
  ['an unknown model', () => get('us/none'), FileError, /the Hub has no us\/none at revision main/],
  ['an unknown revision', () => get('us/model', { revision: 'dev' }), FileError, /has no us\/model at revision dev/],
  ['pickled weights', () => get('us/pickled'), FileError, /pytorch_model\.bin alone: pickled files can run any program/],
  ['nothing to use', () => get('us/bare'), FileError, /none of the files that are wanted/],
  ['a path out of the folder', () => { faults.listed = path => `../../${path}`; return get('us/model') }, FileError, /lists a file "\.\.\/\.\.\/config\.json", which would lie outside/],
  ['a cache that cannot be written', () => { mkdirSync(cacheDir); writeFileSync(join(cacheDir, 'models--us--model'), ''); return get('us/model') }, FileError, /cannot write/],
])('%s', async (_, run, kind, reason) => {
  const error: unknown = await run().then(() => undefined, (e: unknown) => e)
  expect(error).toBeInstanceOf(kind)
  expect((error as Error).message).toMatch(reason)
})

test('what is a name of the Hub', () => {
  expect(['gpt2', 'a/b', 'Qwen/Qwen3-0.6B'].map(isHubId)).toEqual([true, true, true])
  expect(['a/b/c', './a', '../a', '/a', 'a/', 'a/..', 'a b', ''].map(isHubId)).toEqual(Array(8).fill(false))
})
