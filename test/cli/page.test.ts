/** `train --page`, `watch`, `stop` and `checkpoint save` as commands: a page beside a run that trains, what its buttons do from the command line, and their ends. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { jsonLines, openServer, run, small, temporaryPlace, text, type Ended } from './support.ts'

const place = temporaryPlace()
place.file('text.txt', text)
const server = openServer()
afterAll(() => { place.remove() })
/** In a process that takes one command after another: meanwhile a run trains on, so that what starts a process each takes longer than it has to. */
const told = (args: readonly string[]): Promise<Ended> => server.run(args, { cwd: place.path })

/** Starts a command, and resolves to the address of its page, and to its end. */
function withPage(args: readonly string[]): { readonly url: Promise<string>; readonly ended: Promise<Ended>; readonly signal: (s: NodeJS.Signals) => void } {
  let [found, signal]: [(url: string) => void, (s: NodeJS.Signals) => void] = [() => {}, () => {}]
  const url = new Promise<string>(resolve => { found = resolve })
  const ended = run(args, {
    cwd: place.path, onStart: child => { signal = s => { child.kill(s) } },
    onOutput: all => { const line = /"type":"page","url":"([^"]+)"/.exec(all); if (line?.[1] !== undefined) found(line[1]) },
  })
  return { url: Promise.race([url, ended.then(({ err }) => { throw new Error(`it ended without a page: ${err}`) })]), ended, signal: s => { signal(s) } }
}
interface Row { readonly id: string; readonly state: string; readonly step: number; readonly folder: string }
const rowsOf = async (url: string): Promise<Row[]> => (await (await fetch(`${url}/api/runs`)).json() as { readonly runs: Row[] }).runs
async function until<T>(look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise(resolve => { setTimeout(resolve, 100) })
  }
}

describe('texts of a run that trains', () => {
  const args = (out: string): string[] => ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, 'data.files=text.txt', 'sample.prompt="<b>The"', '--batch', '2', '--model', '2', '--steps', '5', '--out', out, '--json']
  test('are written every so many steps, told and kept, and change no number', async () => {
    const [sampled, plain] = [await told([...args('texts/sampled'), '--set', 'sample.every=2']), await told(args('texts/plain'))]
    expect([sampled.code, sampled.err, plain.code]).toEqual([0, '', 0])
    const samplesIn = (all: string): unknown[] => jsonLines(all).filter(e => e['type'] === 'sample').map(e => [e['step'], e['prompt'], (e['text'] as string).length > 0])
    expect(samplesIn(sampled.out)).toEqual([[2, '<b>The', true], [4, '<b>The', true], [5, '<b>The', true]])
    expect(samplesIn(plain.out)).toEqual([[5, '<b>The', true]])
    expect(samplesIn(readFileSync(join(place.path, 'texts/sampled/journal.jsonl'), 'utf8'))).toEqual(samplesIn(sampled.out))
    const numbers = (out: string): unknown[] => jsonLines(readFileSync(join(place.path, out, 'metrics.jsonl'), 'utf8')).map(({ time: _, ...row }) => row)
    expect(numbers('texts/sampled')).toEqual(numbers('texts/plain'))
    // With the same weights the last text is the same, whatever was written before.
    const last = (all: string): unknown => jsonLines(all).findLast(e => e['type'] === 'sample')?.['text']
    expect(last(sampled.out)).toBe(last(plain.out))
  })
  test('are refused of a model that writes none', async () => {
    const { code, err } = await told(['train', 'spatial-tiny', '--set', 'sample.every=2'])
    expect([code, err]).toEqual([2, expect.stringContaining('sample.every')])
  })
})

describe('a page beside a run', () => {
  const args = ['train', 'gpt-tiny', '--plugin', 'simulate', ...small, 'checkpoint.every=0', 'optimizer.length=100000', '--data', 'text.txt', '--batch', '2', '--model', '2', '--steps', '100000', '--out', 'runs/one', '--page', '--json']
  test('it is followed, saves and stops by commands, and both end', async () => {
    const { url, ended } = withPage(args)
    const address = await url
    const row = await until(async () => (await rowsOf(address)).find(r => r.state === 'running' && r.step > 2))
    expect(row).toMatchObject({ id: 'one', mesh: { batch: 2, model: 2 } })
    const folder = join(place.path, 'runs/one')
    const saved = await told(['checkpoint', 'save', 'runs/one'])
    expect([saved.code, saved.err, saved.out]).toEqual([0, '', 'the run in runs/one saves a checkpoint behind its step\n'])
    await until(() => (jsonLines(readFileSync(join(folder, 'journal.jsonl'), 'utf8')).some(e => e['type'] === 'checkpoint') ? true : undefined))
    // A server over the same folder, in another process, tells the same.
    const other = withPage(['watch', 'runs', '--json'])
    expect((await rowsOf(await other.url)).map(r => [r.id, r.state])).toEqual([['one', 'running']])
    const stopped = await told(['stop', 'runs/one'])
    expect([stopped.code, stopped.err]).toEqual([0, ''])
    const end = await ended
    expect([end.code, end.signal]).toEqual([0, null])
    const { steps } = JSON.parse(readFileSync(join(folder, 'summary.json'), 'utf8')) as { readonly steps: number }
    expect(await until(async () => (await rowsOf(await other.url)).find(r => r.state === 'stopped'))).toMatchObject({ step: steps })
    // No text is drawn of a run that somebody wants to end.
    expect(jsonLines(end.out).some(e => e['type'] === 'sample')).toBe(false)
    other.signal('SIGINT')
    expect((await other.ended).code).toBe(130)
    // The same line goes on with it.
    const again = await told(args.map(a => (a === '100000' ? String(steps + 2) : a)).filter(a => a !== '--page'))
    expect(again.code).toBe(0)
    expect(jsonLines(again.out).find(e => e['type'] === 'started')).toMatchObject({ from: steps })
    expect(jsonLines(readFileSync(join(folder, 'journal.jsonl'), 'utf8')).at(-1)).toMatchObject({ type: 'sample', step: steps + 2, prompt: 'The people' })
  })

  test('its plans name lines of the sources, as the command\'s do', async () => {
    place.folder('none')
    const { url, ended, signal } = withPage(['watch', 'none', '--json', '--token', 'a-long-token'])
    const answer = await fetch(`${await url}/api/plan`, { method: 'POST', headers: { authorization: 'Bearer a-long-token', 'content-type': 'application/json' }, body: JSON.stringify({ recipe: 'gpt-tiny', flags: { model: '2' } }) })
    const lines = [...(await answer.text()).matchAll(/"at":"([^"]+)"/g)].map(m => m[1] ?? '')
    expect([answer.status, lines.length > 5, lines.filter(l => !/models\/[\w-]+\.ts:\d+:\d+$/.test(l))]).toEqual([200, true, []])
    signal('SIGINT')
    expect((await ended).code).toBe(130)
  })

  test('a run that fails before its first step leaves no page and no folder behind', async () => {
    const { code, err } = await told(['train', 'gpt-tiny', '--plugin', '/nowhere/plugin.so', ...small, '--data', 'text.txt', '--out', 'runs/none', '--page'])
    expect([code === 0, err]).toEqual([false, expect.stringContaining('plugin')])
    expect(existsSync(join(place.path, 'runs/none'))).toBe(false)
  })
})
