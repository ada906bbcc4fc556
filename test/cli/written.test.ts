/** Answers to files of prompts, a conversation through a pipe, and a server, by the built command. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tinyLlama } from '../support/tiny-models.ts'
import { jsonLines, openServer, root, run, temporaryPlace, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const generate = (...args: readonly string[]): Promise<Ended> => meshwork('generate', 'model', '--plugin', 'simulate', '--tokens', '6', ...args)
const at = (...names: readonly string[]): string => join(place.path, ...names)
const prompts = [...Array.from({ length: 9 }, (_, i) => ({ text: `the ${'people '.repeat(i % 3)}of` })), { text: 'x'.repeat(400) }, { messages: [{ role: 'user', content: 'Hi!' }] }]
const linesIn = (name: string): readonly Record<string, unknown>[] => jsonLines(readFileSync(at(name), 'utf8'))

beforeAll(async () => {
  server = openServer()
  tinyLlama(at('model'))
  place.file('prompts.jsonl', prompts.map(p => `${JSON.stringify(p)}\n`).join(''))
  const { code, out, err } = await generate('--input', 'prompts.jsonl', '--output', 'whole.jsonl', '--at-once', '3', '--json')
  expect({ code, err }).toEqual({ code: 0, err: '' })
  expect(JSON.parse(out)).toMatchObject({ output: 'whole.jsonl', prompts: 11, refused: 1, before: 0 })
})
afterAll(() => { place.remove() })

describe('files of prompts', () => {
  it('are answered in their order, what cannot be says so, and nothing is left beside', () => {
    const found = linesIn('whole.jsonl')
    expect(found.map(l => l['index'])).toEqual(prompts.map((_, i) => i))
    expect(found[9]).toMatchObject({ error: expect.stringContaining('prompt') as string, tokens: 0 })
    expect(found.filter(l => typeof l['text'] === 'string')).toHaveLength(10)
    expect(existsSync(at('.whole.jsonl.partial'))).toBe(false)
  })
  it.each([['--at-once', '1'], ['--batch', '2', '--model', '2'], ['--at-once', '16']])('are answered the same with %s %s', async (...flags) => {
    const { code, err } = await generate('--input', 'prompts.jsonl', '--output', 'again.jsonl', '--restart', '--json', ...flags)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(linesIn('again.jsonl')).toEqual(linesIn('whole.jsonl'))
  })
  it('are gone on with after a kill', async () => {
    const long = Array.from({ length: 120 }, (_, i) => `${JSON.stringify({ text: `the people ${i}` })}\n`).join('')
    place.file('long.jsonl', long)
    const args = ['generate', 'model', '--plugin', 'simulate', '--tokens', '3', '--input', 'long.jsonl', '--output', 'long-answers.jsonl', '--at-once', '2']
    const killed = await run(args, { cwd: place.path, env, onOutput: (_, child) => { if (existsSync(at('.long-answers.jsonl.partial', 'reached.json'))) child.kill('SIGKILL') } })
    if (killed.signal === 'SIGKILL') expect(existsSync(at('long-answers.jsonl'))).toBe(false)
    const { code, out } = await meshwork(...args, '--json')
    expect(code).toBe(0)
    expect((JSON.parse(out) as { readonly prompts: number }).prompts).toBe(120)
    expect(linesIn('long-answers.jsonl').map(l => l['index'])).toEqual(Array.from({ length: 120 }, (_, i) => i))
  })
  it.each([
    [['--input', 'prompts.jsonl'], 2, '--output'], [['--input', 'prompts.jsonl', '--output', 'a.csv'], 2, '.jsonl'], [['--input', 'prompts.jsonl', '--prompt', 'a', '--output', 'a.jsonl'], 2, 'one thing'], [['--output', 'a.jsonl'], 2, '--input'], [['--top-p', '2'], 2, '--top-p'],
    [['--input', 'prompts.jsonl', '--output', 'whole.jsonl'], 1, 'there already'], [['--input', 'none.jsonl', '--output', 'b.jsonl'], 1, 'none.jsonl'], [['--at-once', '3'], 2, '--at-once'],
  ] as const)('refused: %j', async (args, code, says) => {
    const ended = await generate(...args)
    expect(ended.code).toBe(code)
    expect(ended.err).toContain(says)
    expect(ended.err).not.toContain('    at ')
  })
})

it('a conversation through a pipe: an answer for each line, by the model\'s own template', async () => {
  const child = spawn(process.execPath, [join(root, 'bin', 'meshwork.js'), 'chat', 'model', '--plugin', 'simulate', '--tokens', '4', '--temperature', '0', '--json'], { cwd: place.path, env: { ...process.env, ...env } })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString() })
  child.stdin.end('Hi!\n\nMore\n')
  expect(await new Promise(resolve => { child.on('close', resolve) })).toBe(0)
  expect(jsonLines(out)).toEqual([{ text: expect.any(String) as string, finish_reason: expect.any(String) as string }, { text: expect.any(String) as string, finish_reason: expect.any(String) as string }])
})

it('a server answers from the line in which it says where, until it is told to end', async () => {
  let asked: Promise<unknown> | undefined
  const ended = await run(['serve', 'model', '--plugin', 'simulate', '--port', '0', '--context', '64', '--at-once', '2', '--json', '--name', 'tiny'], {
    cwd: place.path, env,
    onOutput(all, child) {
      const ready = /\{[^\n]*"type":"ready"[^\n]*\}/.exec(all)?.[0]
      if (ready === undefined || asked !== undefined) return
      const { url } = JSON.parse(ready) as { readonly url: string }
      asked = fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model: 'tiny', prompt: 'the', max_tokens: 2, ignore_eos: true }) }).then(r => r.json()).finally(() => { child.kill('SIGTERM') })
    },
  })
  expect(await asked).toMatchObject({ model: 'tiny', usage: { completion_tokens: 2 } })
  expect(ended.code).toBe(143)
  expect(jsonLines(ended.out).map(l => l['event'] ?? l['type'])).toEqual(['ready', 'request'])
})
