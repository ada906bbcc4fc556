/** What a run is asked to do while it trains: it does it behind its step, once, and its numbers are those of a run that nobody asked. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { wish } from '../../src/cli/stop.ts'
import { flagsOf, type Processes } from '../../src/runtime/processes.ts'
import { wishFor, wishName } from '../../src/train/wish.ts'
import { openLive } from '../page/watching.ts'
import { runFolder, tiny, trained } from './tiny.ts'

const at = runFolder()
const lines = (out: string): Record<string, unknown>[] => readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n').map(l => { const { time: _, ...row } = JSON.parse(l) as Record<string, unknown>; return row })
const journal = (out: string): Record<string, unknown>[] => readFileSync(join(out, 'journal.jsonl'), 'utf8').trim().split('\n').map(l => JSON.parse(l) as Record<string, unknown>)
const saved = (out: string): unknown[] => journal(out).filter(j => j['type'] === 'checkpoint').map(j => j['step'])
const long = { ...tiny, steps: 100_000, checkpoint: { ...tiny.checkpoint, every: 0 } }

test('a checkpoint that is wanted is saved behind the step, and the numbers are those of the run without', async () => {
  const out = at('save')
  await using live = await openLive(long, out)
  await live.let(3)
  const heard = wish(out, 'save')
  while (saved(out).length === 0) await live.let(1)
  await heard
  expect(readdirSync(out).filter(n => n.startsWith('.wish'))).toEqual([])
  // Once.
  await live.let(5)
  expect(saved(out)).toHaveLength(1)
  expect(readdirSync(join(out, 'checkpoints')).filter(n => /^step-\d+$/.test(n))).toHaveLength(1)
  const stopped = wish(out, 'stop')
  await live.let(1_000_000)
  await stopped
  const { stopped: ended, steps } = await live.done
  expect(ended).toBe(true)
  // What was asked for at the end is saved too.
  expect(saved(out).at(-1)).toBe(steps)
  expect(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'))).toMatchObject({ state: 'stopped', steps })
  const alone = at('alone')
  await trained({ ...long, steps }, { out: alone })
  expect(lines(out).filter(r => 'loss' in r)).toEqual(lines(alone).filter(r => 'loss' in r))
})

test('what was asked of a run that was over is not done to the one that goes on', async () => {
  const out = at('again')
  await trained({ ...tiny, steps: 5 }, { out })
  await wishFor(out, 'stop')
  const { steps, stopped } = await trained(tiny, { out })
  expect([steps, stopped, readdirSync(out).includes(wishName('stop'))]).toEqual([20, false, false])
  expect(journal(out).filter(j => j['type'] === 'start').map(j => j['from'])).toEqual([0, 5])
})

test('only a run that trains can be asked', async () => {
  const out = at('over')
  await trained({ ...tiny, steps: 2 }, { out })
  await expect(wish(out, 'stop')).rejects.toThrow(/UsageError\[not-running\]/)
  await expect(wish(at('none'), 'save')).rejects.toThrow(/FileError\[no-run\]/)
  // One whose process is gone without a word does not train either.
  writeFileSync(join(out, 'summary.json'), '')
  await expect(wish(out, 'save')).rejects.toThrow(/UsageError\[not-running\]/)
  expect(readdirSync(out).filter(n => n.startsWith('.wish'))).toEqual([])
})

describe('flags of several processes', () => {
  test('each has what any has set', async () => {
    const all = [0, 2, 1, 0]
    const job = (rank: number): Processes => ({ rank, count: 4, exchange: () => Promise.resolve(all.map(f => Uint8Array.of(f))) }) as unknown as Processes
    for (const rank of all.keys()) expect(await flagsOf(job(rank), 'x', all[rank] ?? 0)).toBe(3)
  })
})
