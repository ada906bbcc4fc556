/** Power cuts and kills at every call of a save: the folder then loads as the checkpoint before or as the new one, never as neither. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../src/engine/index.ts'
import type { Keep } from '../../src/checkpoint/index.ts'
import { MemoryFiles, type Call, type Left } from './memory-files.ts'
import { arraysOf, bitsOf, expectedBits, one, openIn, placements, simulated, where, type Leaves } from './support.ts'

let backend: Backend
beforeAll(async () => { backend = await simulated(1) })
afterAll(async () => { await backend.close() })

const weightLeaves: Leaves = { a: { dtype: 'f32', dims: { x: 3 } }, b: { dtype: 'bf16', dims: { y: 5 } } }
const stateLeaves: Leaves = { m: { dtype: 'f32', dims: { x: 3 } } }
const wanted = { weights: placements(weightLeaves, one), state: placements(stateLeaves, one) }
const stateOf = async (seed: number) => ({ weights: await arraysOf(weightLeaves, one, backend, seed), state: await arraysOf(stateLeaves, one, backend, seed), host: { seed } })
/** Small enough that weights lie in two files with an index. */
const options = { shardBytes: 12 }

class Died extends Error {}

/** Files that hold a checkpoint of step 1, and what saving another one calls. */
async function begun(step: number, keep?: Keep): Promise<{ readonly fs: MemoryFiles; readonly save: () => Promise<void> }> {
  const fs = new MemoryFiles()
  const { checkpoints } = await openIn(fs, { ...options, keep })
  await checkpoints.save(1, await stateOf(1))
  await checkpoints.finish()
  fs.calls.length = 0
  return { fs, save: async () => { await checkpoints.save(step, await stateOf(2)).catch((e: unknown) => { if (!(e instanceof Died)) throw e }); await checkpoints.finish() } }
}

/** What the folder loads as, after whoever comes next has brought it into order. */
async function loaded(fs: MemoryFiles): Promise<{ readonly step: number; readonly seed: number }> {
  const { checkpoints } = await openIn(fs, options)
  const restored = await checkpoints.restore(wanted, backend, one.mesh)
  const { seed } = restored?.host as { seed: number }
  expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, seed))
  expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, seed))
  expect((await fs.list(where)).filter(name => name.includes('.tmp-') || name.includes('.old-'))).toEqual([])
  return { step: restored?.step ?? NaN, seed }
}

const kill: Left = { unsyncedData: true, names: states => states - 1 }
const cuts: readonly Left[] = [
  kill, { unsyncedData: false, names: states => states - 1 }, { unsyncedData: true, names: () => 0 }, { unsyncedData: false, names: () => 0 },
  { unsyncedData: false, names: states => states >> 1 }, { unsyncedData: true, names: states => Math.min(1, states - 1) },
]

describe.each<[string, number, Keep | undefined]>([
  ['beside another', 2, undefined], ['in place of the one of its step', 1, undefined], ['with the one before taken away', 2, { last: 1 }],
])('a save %s', (_, step, keep) => {
  test('dies at every call in turn, by a kill and by a loss of power', async () => {
    const whole = await begun(step, keep)
    await whole.save()
    const calls = whole.fs.calls.length
    expect(calls).toBeGreaterThan(25)
    const seen = new Set<number>()
    for (let n = 1; n <= calls; n++) {
      const { fs, save } = await begun(step, keep)
      fs.before = (_, at) => { if (at >= n) throw new Died('dead') }
      await save()
      for (const cut of cuts) {
        const left = fs.after(cut)
        const { step: found, seed } = await loaded(left)
        expect(found === 1 ? [1, step] : [step]).toContain(found)
        expect(seed === 1 ? 1 : step).toBe(found)
        seen.add(seed)
        // And it goes on from there, over whatever was left.
        if (cut === kill && n % 7 === 0) {
          const { checkpoints } = await openIn(left, options)
          await checkpoints.save(step, await stateOf(3))
          await checkpoints.finish()
          expect(await loaded(left)).toEqual({ step, seed: 3 })
        }
      }
    }
    expect(seen).toEqual(new Set([1, 2]))
    // Once it is told to be saved, no loss of power takes it away.
    for (const cut of cuts) expect(await loaded(whole.fs.after(cut))).toEqual({ step, seed: 2 })
  })
})

describe('the order of calls', () => {
  const short = (calls: readonly Call[]): string[] => calls.map(({ what, path, to }) => [what, path.replace(`${where}/`, ''), to?.replace(`${where}/`, '') ?? ''].join(' ').trim())

  test('files, their folder, the renaming, the folder above; and only then the old one goes', async () => {
    const { fs, save } = await begun(2, { last: 1 })
    await save()
    const calls = short(fs.calls)
    const at = (what: string): number => {
      const found = calls.indexOf(what)
      expect(found, what).toBeGreaterThanOrEqual(0)
      return found
    }
    const temporary = 'step-2.tmp-abc'
    const written = [...fs.all().keys()].map(path => path.slice(`${where}/step-2/`.length))
    expect(written).toHaveLength(5)
    for (const file of written) {
      const last = calls.lastIndexOf(`write ${temporary}/${file}`)
      expect(last).toBeGreaterThan(at(`open ${temporary}/${file}`))
      expect(at(`sync ${temporary}/${file}`)).toBeGreaterThan(last)
      expect(at(`syncFolder ${temporary}`)).toBeGreaterThan(at(`sync ${temporary}/${file}`))
    }
    // The manifest is the last: a copy that was cut off has none.
    expect(Math.max(...written.filter(f => f !== 'manifest.json').map(f => at(`sync ${temporary}/${f}`)))).toBeLessThan(at(`open ${temporary}/manifest.json`))
    const renamed = at(`rename ${temporary} step-2`)
    expect(renamed).toBeGreaterThan(at(`syncFolder ${temporary}`))
    const above = calls.indexOf(`syncFolder ${where}`, renamed)
    expect(above).toBeGreaterThan(renamed)
    expect(at('rename step-1 step-1.tmp-abc')).toBeGreaterThan(above)
    expect(calls.findIndex(c => c.startsWith('remove'))).toBeGreaterThan(at('rename step-1 step-1.tmp-abc'))
  })

  test('the first checkpoint\'s own folder is on the disk before it', async () => {
    const fs = new MemoryFiles()
    const { checkpoints } = await openIn(fs, options)
    await checkpoints.save(1, await stateOf(1))
    await checkpoints.finish()
    expect(short(fs.calls).slice(0, 4)).toEqual(['makeFolder /run', 'syncFolder /', `makeFolder ${where}`, 'syncFolder /run'])
    for (const cut of cuts) expect(await loaded(fs.after(cut))).toEqual({ step: 1, seed: 1 })
  })
})
