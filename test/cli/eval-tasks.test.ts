/** `eval --task`: what others found on tiny models, on 1×1 and 2×2; gone on with after a kill; and what is refused. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { measured, writeTasks } from '../serve/items.ts'
import { differences, readJudged } from '../serve/judged.ts'
import { tinyClassifier, tinyT5 } from '../support/tiny-models.ts'
import { openServer, run, temporaryPlace, type Ended, type Server } from './support.ts'

const place = temporaryPlace()
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }
let server: Server
const meshwork = (...args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path, env })
const evaluate = (model: string, task: string, data: string, ...args: readonly string[]): Promise<Ended> => meshwork('eval', model, '--plugin', 'simulate', '--task', task, '--data', data, ...args)
const at = (...names: readonly string[]): string => join(place.path, ...names)
const judged = readJudged()

beforeAll(() => {
  server = openServer()
  writeTasks(place.path)
})
afterAll(() => { place.remove() })

describe('what others found', () => {
  it.each(Object.entries(measured))('%s', async (name, { task, model, data, args }) => {
    for (const [out, mesh] of [[`${name}-1`, []], [`${name}-4`, ['--batch', '2', '--model', '2']]] as const) {
      const { code, out: printed, err } = await evaluate(model, task, data, ...args, ...mesh, '--rows', '6', '--out', out, '--json')
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(JSON.parse(printed)).toEqual(JSON.parse(readFileSync(at(out, 'report.json'), 'utf8')))
      expect(await differences(judged, name, at(out))).toBeLessThan(1e-4)
    }
  })

  it('as a table and as Markdown, with what the numbers mean', async () => {
    const { code, out } = await evaluate('classifier', 'classify', 'labels.jsonl')
    expect([code, out]).toEqual([0, expect.stringMatching(/^task +classify\naccuracy +0\.\d{4}\nmacro f1 +0\.\d{4}\nitems +7\ncut +\d\nright class [^]*\n +bad +good\nbad +\d +\d\ngood +\d +\d\n$/)])
    const text = readFileSync(at('classify-1', 'report.md'), 'utf8')
    expect(text).toMatch(/^# classify: classifier\n\nData: labels\.jsonl\n\n\| {2}\| value \|\n\| --- \| ---: \|\n\| accuracy \| 0\.\d{4} \|[^]*- \*\*macro_f1\*\*: the mean of F1[^]*\| bad \| \d \| \d \|/)
  })
})

describe('a kill', () => {
  it('in the middle loses nothing and doubles nothing, and a finished folder is told again', async () => {
    // 16 items a stretch, of rows of 1; the second stretch is the first with a text for which another program is needed.
    const line = (i: number): string => `${JSON.stringify({ text: i < 20 ? 'good words' : Array.from({ length: 36 }, () => 'war').join(' '), label: i % 2 })}\n`
    place.file('many.jsonl', Array.from({ length: 24 }, (_, i) => line(i)).join(''))
    const args = ['eval', 'classifier', '--plugin', 'simulate', '--task', 'classify', '--data', 'many.jsonl', '--rows', '1', '--out', 'killed'] as const
    const { signal } = await run(args, { cwd: place.path, env, onOutput: (all, child) => { if (all.includes('compiling for 48')) child.kill('SIGKILL') } })
    expect(signal).toBe('SIGKILL')
    expect(JSON.parse(readFileSync(at('killed/reached.json'), 'utf8'))).toMatchObject({ items: 16 })
    writeFileSync(at('killed/items.jsonl'), `${readFileSync(at('killed/items.jsonl'), 'utf8')}{"at":"many.jsonl:17","la`)
    // What is measured otherwise is no part of it.
    tinyClassifier(at('other'), { seed: 7 })
    expect(await meshwork('eval', 'other', ...args.slice(2))).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/other-work[^]*another model/) as string })
    expect(await evaluate('embedder', 'embed', 'pairs.jsonl', '--out', 'killed')).toMatchObject({ code: 1, err: expect.stringMatching(/other-work/) as string })
    const again = await meshwork(...args, '--json')
    expect(again.code, again.err).toBe(0)
    const whole = await evaluate('classifier', 'classify', 'many.jsonl', '--json')
    expect(JSON.parse(again.out)).toEqual(JSON.parse(whole.out))
    const lines = readFileSync(at('killed/items.jsonl'), 'utf8').trim().split('\n').map(l => (JSON.parse(l) as { at: string }).at)
    expect(lines).toEqual(Array.from({ length: 24 }, (_, i) => `many.jsonl:${i + 1}`))
    rmSync(at('killed/report.json'))
    expect((await meshwork(...args, '--json')).out).toBe(again.out)
    expect(existsSync(at('killed/report.json'))).toBe(true)
  })
})

describe('refused', () => {
  const wrongItems: readonly (readonly [what: string, model: string, task: string, item: object, says: RegExp])[] = [
    ['a choice without an answer', 'llama', 'choice', { prompt: 'a', choices: ['b', 'c'] }, /no-field\] an item has no "answer"[^]*item\.jsonl:1/],
    ['an answer out of range', 'llama', 'choice', { prompt: 'a', choices: ['b', 'c'], answer: 2 }, /answer\] the answer 2 is none of the 2 choices[^]*A to B/],
    ['an answer that is no choice', 'llama', 'choice', { prompt: 'a', choices: ['b', 'c'], answer: 'x' }, /answer\] the answer "x"/],
    ['one choice', 'llama', 'choice', { prompt: 'a', choices: ['b'], answer: 0 }, /too-few/],
    ['no prompt', 'llama', 'choice', { choices: ['b', 'c'], answer: 0 }, /no-field\] an item has no "prompt", "question" or "context"/],
    ['a choice longer than the window', 'llama', 'choice', { prompt: 'a', choices: ['b'.repeat(99), 'c'], answer: 0 }, /choice-tokens\] a choice has 10\d tokens, and the window 64/],
    ['a label that is none', 'classifier', 'classify', { text: 'a', label: 'ugly' }, /label\] the label "ugly" is no class[^]*bad, good/],
    ['a label out of range', 'classifier', 'classify', { text: 'a', label: -1 }, /label\] the label -1/],
    ['a text that is none', 'classifier', 'classify', { text: 3, label: 0 }, /not-text/],
    ['a score that is none', 'embedder', 'embed', { a: 'a', b: 'b', score: 'high' }, /not-a-number/],
    ['no answers', 'llama', 'generate', { prompt: 'a', answers: [] }, /too-few/],
    ['a chat without turns of its assistant', 'llama', 'loss', { messages: [{ role: 'user', content: 'a' }] }, /chat-without-loss/],
  ]
  it.each(wrongItems)('%s', async (_, model, task, item, says) => {
    place.file('item.jsonl', `${JSON.stringify(item)}\n`)
    const { code, out, err } = await evaluate(model, task, 'item.jsonl', '--out', 'never')
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(says)
    expect(existsSync(at('never'))).toBe(false)
  })

  it('models that cannot, files with nothing in them, and flags that say nothing', async () => {
    const says = async (...args: Parameters<typeof evaluate>): Promise<string> => { const { code, err } = await evaluate(...args); expect(code).not.toBe(0); return err }
    for (const [model, task] of [['embedder', 'loss'], ['masked', 'choice'], ['masked', 'generate'], ['llama', 'classify'], ['embedder', 'classify']] as const) expect(await says(model, task, 'choices.jsonl')).toMatch(/no-task\].* is a model of type "(bert|llama)", which (tells|writes) no /)
    place.file('empty.jsonl', '')
    expect(await says('llama', 'choice', 'empty.jsonl')).toMatch(/empty-data/)
    expect(await says('llama', 'choise', 'choices.jsonl')).toMatch(/--task: there is no "choise"[^]*choice/)
    expect(await says('llama', 'choice', 'choices.jsonl', '--tokens', '3')).toMatch(/--tokens is given/)
    expect(await says('llama', 'choice', 'choices.jsonl', '--field', 'x')).toMatch(/--field is given/)
    expect(await says('llama', 'generate', 'prompts.jsonl', '--tokens', '65')).toMatch(/--tokens: "65"[^]*from 1 to 64/)
    expect((await meshwork('eval', 'llama', '--task', 'choice')).err).toMatch(/none is given[^]*--data/)
    expect((await meshwork('eval', 'llama', '--out', 'x')).err).toMatch(/--out is given without --task/)
    expect((await meshwork('eval', 'llama', '--task', 'loss', '--data', 'texts.jsonl', '--recipe', 'x')).err).toMatch(/--recipe is given/)
    mkdirSync(at('full'))
    place.file('full/mine.txt', 'mine')
    expect(await says('llama', 'choice', 'choices.jsonl', '--out', 'full')).toMatch(/out-exists/)
    tinyT5(at('t5'))
    expect(await says('t5', 'choice', 'choices.jsonl')).toMatch(/no-task\].*"t5", which writes no text from left to right/)
    expect(await says('t5', 'generate', 'plain.jsonl')).toMatch(/no-field/)
    expect(await says('t5', 'generate', 'prompts.jsonl')).toMatch(/chat-template\] an item is a chat/)
    expect(await says('t5', 'generate', 'prompts.jsonl', '--tokens', '64')).toMatch(/--tokens: "64"[^]*from 1 to 63/)
  })
})
