/** Commands that look at a run, or at what would be one: eval, data show, a dry run; and text that comes through a pipe. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jsonLines, openServer, root, small, temporaryPlace, text, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const train = ['train', 'gpt-tiny', '--plugin', 'simulate', ...small]
const bin = join(root, 'bin', 'meshwork.js')

let trained: Ended
beforeAll(async () => {
  server = openServer()
  place.file('text.txt', text)
  place.file('texts/one.txt', text)
  trained = await meshwork(...train, '--set', 'batch=2', 'evaluation.batches=100', '--data', 'texts', '--steps', '3', '--out', 'run', '--batch', '2', '--model', '1')
})
afterAll(() => { place.remove() })
const own = (): number => jsonLines(readFileSync(join(place.path, 'run/metrics.jsonl'), 'utf8')).flatMap(line => line['evalLoss'] as number | undefined ?? []).at(-1) ?? NaN

describe('eval', () => {
  it('prints one JSON object: the run\'s own held-out loss, and what it is worth', async () => {
    expect(trained.code, trained.err).toBe(0)
    const { code, out, err } = await meshwork('eval', 'run', '--plugin', 'simulate', '--json')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const found = JSON.parse(out) as { readonly tokens: number; readonly loss: number }
    expect(Object.keys(found)).toEqual(['task', 'tokens', 'loss', 'perplexity', 'bitsPerByte', 'accuracy', 'weights'])
    expect(found).toMatchObject({ task: 'text', perplexity: Math.exp(found.loss), weights: 'run/model.safetensors' })
    // Whole batches of two rows, all of which the run saw.
    expect([found.tokens % 32, found.loss]).toEqual([0, expect.closeTo(own(), 6)])
  })

  it('prints a table, and measures files, on another mesh and by a recipe of that name', async () => {
    const { code, out } = await meshwork('eval', 'run', '--data', 'text.txt', '--model', '2', '--recipe', 'gpt-tiny', '--plugin', 'simulate')
    expect([code, out]).toEqual([0, expect.stringMatching(/^task +text\ntokens +[\d,]+\nloss +\d\.\d{4}\nperplexity +[\d.]+\nbits per byte +\d\.\d{4}\naccuracy +0\.\d{4}\nweights +run\/model\.safetensors\n$/)])
  })
})

describe('data show of a run', () => {
  it('names the documents of a step, row by row', async () => {
    const { code, out, err } = await meshwork('data', 'show', 'run', '--step', '2')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/^step 2\nrow 0 {2}texts\/one\.txt:1 {2}tokens [\d,]+ to [\d,]+\nrow 1 {2}texts\/one\.txt:1 /)
  })

  it('also as JSON: those that the step was made of', async () => {
    const { code, out } = await meshwork('data', 'show', 'run', '--step', '2', '--json')
    expect(code).toBe(0)
    const { rows, ...step } = JSON.parse(out) as { readonly rows: readonly { readonly documents: readonly object[] }[] }
    expect(step).toEqual({ step: 2, batch: 1, made: true, skipped: false })
    expect(rows.map(r => r.documents)).toEqual([[expect.objectContaining({ at: 'texts/one.txt:1', document: 0, length: 17 })], [expect.objectContaining({ document: 0, length: 17 })]])
  })
})

describe('a dry run', () => {
  it('prints what would run, and makes nothing', async () => {
    const { code, out, err } = await meshwork(...train, '--data', 'text.txt', '--dry-run', '--set', 'optimizer.rate=0.01')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    for (const part of [/"rate": 0\.01/, /^gpt-tiny: 7,248 parameters on batch 2 × model 2, 4 devices$/m, /^ {2}all, at the peak +\d/m, /^run folder {2}runs\/gpt-tiny-N$/m, '│ device 3', /all-reduce +batch/]) expect(out).toMatch(part)
    expect(existsSync(join(place.path, 'runs'))).toBe(false)
  })

  it('also as JSON, and refuses what would be refused', async () => {
    const { code, out } = await meshwork(...train, '--data', 'text.txt', '--dry-run', '--json', '--out', 'elsewhere')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ type: 'dry-run', out: 'elsewhere', run: { batch: 4, data: { files: ['text.txt'] } }, parameters: 7248, devices: 4, mesh: { batch: 2, model: 2 }, perDevice: {}, identity: { seed: 0 } })
    expect(existsSync(join(place.path, 'elsewhere'))).toBe(false)
    expect(await meshwork(...train, '--data', 'texd.txt', '--dry-run')).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^DataError\[no-such-file\]/) as string })
    expect(await meshwork(...train, '--data', 'text.txt', '--dry-run', '--out', 'run')).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^FileError\[run-differs\]/) as string })
  })
})

describe('a pipe', () => {
  const piped = (command: string): string => execFileSync('sh', ['-c', command, process.execPath, bin], { cwd: place.path, env: { ...process.env, ...env }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const flags = train.map(word => `'${word}'`).join(' ')

  it('gives its text once, and leaves nothing of itself behind', () => {
    const out = piped(`cat text.txt | "$0" "$1" ${flags} --data /dev/stdin --steps 1 --batch 1 --model 1 --out piped`)
    expect(out).toMatch(/^data +stdin \(your own\): [\d,]+ tokens/m)
    expect(place.list('cache/stores').filter(name => name.includes('pipe'))).toEqual([])
    expect(JSON.parse(readFileSync(join(place.path, 'piped/run.json'), 'utf8'))).toMatchObject({ run: { data: { files: ['/dev/stdin'] } } })
  })

  it('with something that is no text is named as it was given', () => {
    expect(() => piped(`printf 'caf\\351 and more' | "$0" "$1" ${flags} --data /dev/stdin --steps 1`)).toThrow(/\[not-utf8\][^]*in +\/dev\/stdin:1/)
    expect(() => piped(`printf '' | "$0" "$1" ${flags} --data /dev/stdin --steps 1`)).toThrow(/\[empty-text\] no text came from \/dev\/stdin/)
    expect(() => piped(`printf 'the' | "$0" "$1" ${flags} --data /dev/stdin --steps 1`)).toThrow(/\[text-too-short\][^]*text +stdin/)
    expect(existsSync(join(place.path, 'runs'))).toBe(false)
  })
})
