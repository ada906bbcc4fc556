/** A model with an encoder by the commands: a prompt, files of prompts, and measured by what it writes. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { tinyT5 } from '../support/tiny-models.ts'
import { jsonLines, openServer, temporaryPlace, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env: { MESHWORK_CACHE_DIR: join(place.path, 'cache') } })
const four = ['--batch', '2', '--model', '2']
const prompts = ['the people', 'of the', 'a', 'the people', 'x'.repeat(100)]
const linesIn = (name: string): readonly Record<string, unknown>[] => jsonLines(readFileSync(join(place.path, name), 'utf8'))

beforeAll(() => {
  server = openServer()
  tinyT5(join(place.path, 't5'))
  place.file('prompts.jsonl', prompts.map(text => `${JSON.stringify({ text })}\n`).join(''))
})
afterAll(() => { place.remove() })

let alone = ''
it('answers a prompt', async () => {
  const asked = ['generate', 't5', '--plugin', 'simulate', '--prompt', 'the people', '--tokens', '8', '--temperature', '0', '--json']
  const { code, out } = await meshwork(...asked)
  expect(code).toBe(0)
  alone = (JSON.parse(out) as { readonly text: string }).text
  expect(alone).not.toBe('')
  expect(JSON.parse((await meshwork(...asked, ...four)).out)).toMatchObject({ text: alone })
  expect(await meshwork(...asked.slice(0, 4), '--prompt', 'x'.repeat(100))).toMatchObject({ code: 2, err: expect.stringMatching(/prompt\] the prompt has 101 tokens, and the model reads 64 at most/) as string })
})

it('answers files of prompts, on any mesh', async () => {
  for (const [name, mesh] of [['one.jsonl', []], ['four.jsonl', four]] as const) {
    const { code, out } = await meshwork('generate', 't5', '--plugin', 'simulate', '--input', 'prompts.jsonl', '--output', name, '--tokens', '8', '--temperature', '0', '--json', ...mesh)
    expect([code, JSON.parse(out)]).toMatchObject([0, { prompts: 5, refused: 1 }])
  }
  const found = linesIn('one.jsonl')
  expect(found[0]).toMatchObject({ text: alone, prompt_tokens: 11 })
  expect(found[3]).toEqual({ ...found[0], index: 3 })
  expect(found[4]).toMatchObject({ error: expect.stringContaining('the model reads 64 at most') as string })
  expect(linesIn('four.jsonl')).toEqual(found)
})

it('is measured by what it writes, and says where a prompt was cut', async () => {
  place.file('items.jsonl', [{ prompt: 'the people', answer: alone }, { prompt: 'of the', answer: 'no' }, { prompt: 'x'.repeat(100), answer: 'no' }].map(item => `${JSON.stringify(item)}\n`).join(''))
  for (const [out, mesh] of [['one', []], ['four', four]] as const) {
    const { code, out: printed } = await meshwork('eval', 't5', '--plugin', 'simulate', '--task', 'generate', '--data', 'items.jsonl', '--tokens', '8', '--rows', '4', '--out', out, '--json', ...mesh)
    expect([code, JSON.parse(printed)]).toMatchObject([0, { metrics: { exact_match: 1 / 3 }, counts: { items: 3, cut: 1 } }])
  }
  expect(linesIn('one/items.jsonl')[0]).toMatchObject({ output: alone, cut: false })
  expect(linesIn('four/items.jsonl')).toEqual(linesIn('one/items.jsonl'))
  expect(readFileSync(join(place.path, 'one/report.md'), 'utf8')).toMatch(/more than 64 tokens, and lost their ends/)
})
