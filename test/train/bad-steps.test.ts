/** Numbers that are none, and leaps, planted in batches: what becomes of the run under each policy. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { readManifest } from '../../src/checkpoint/folder.ts'
import { newestIn } from '../../src/checkpoint/index.ts'
import { openGroup } from '../../src/checkpoint/source.ts'
import { disk } from '../../src/io/files.ts'
import type { Run } from '../../src/train/index.ts'
import { differences, disorder, eventsOf, metricsOf, tensorsOf } from '../soak/compare.ts'
import { killedAt, of, runFolder, stepsOf, tiny, tinyData, tinyModel, trained, type Planted } from './tiny.ts'

const at = runFolder()
type Guard = Run['guard']
const guarded = (policy: Guard['policy'], planted: readonly Planted[], more: Partial<Guard> = {}, run: Partial<Run> = {}): Run =>
  ({ ...tiny, ...run, data: tinyData(planted), guard: { ...tiny.guard, policy, ...more } })
const nan: Planted = { step: 12, value: NaN }
const leap: Planted = { step: 12, value: 1e4 }
const spikes = { spike: 6, over: 16, after: 6 }
/** The documents of a batch are its rows. */
const documents = (batch: number): readonly string[] => Array.from({ length: 8 }, (_, i) => `rows document ${8 * batch + i}`)

describe('stop', () => {
  test.each<[string, Run, RegExp]>([
    ['a NaN', guarded('stop', [nan]), /BadStep\[bad-step\] step 13 is bad: its loss is NaN\n {2}batch +12\n {2}documents +rows document 96, .*rows document 103\n/],
    ['a leap', guarded('stop', [leap], spikes), /BadStep\[bad-step\] step 13 is bad: its loss, .*, or its gradient, .*, leaps\n/],
  ])('%s: an error that names step and documents, and the checkpoint of before', async (name, run, message) => {
    const out = at(`stop ${name}`)
    await expect(trained(run, { out })).rejects.toThrow(message)
    expect((await newestIn(out))?.manifest.step).toBe(10)
    expect(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'))).toMatchObject({ state: 'failed', steps: 13, why: expect.stringMatching(/^step 13 is bad/) })
    // What NaN is stays readable, and the step that is bad is the last that is told of.
    expect(metricsOf(out).at(-1)).toMatchObject({ step: 12, ...(name === 'a NaN' ? { loss: 'NaN' } : {}) })
    // The error's advice: with another policy the same folder goes on.
    const { steps, events } = await trained({ ...run, guard: { ...run.guard, policy: 'skip' } }, { out })
    expect([steps, of(events, 'started')[0]?.from, of(events, 'skipped').map(e => e.step)]).toEqual([20, 10, [12]])
  })
  test('before there is a checkpoint: what was told of the steps stays', async () => {
    const out = at('stop early')
    await expect(trained(guarded('stop', [{ step: 2, value: Infinity }]), { out })).rejects.toThrow(/step 3 is bad/)
    expect(metricsOf(out)).toHaveLength(3)
  })
})

describe('skip', () => {
  test.each<[string, readonly Planted[], Partial<Guard>]>([['a NaN', [nan], {}], ['a NaN in one row', [{ ...nan, row: 5 }], {}], ['infinity', [{ step: 12, value: Infinity }], {}], ['a leap', [leap], spikes]])('%s: weights, slots, step and history are bit for bit those of before', async (name, planted, more) => {
    // Checkpoints behind each step: that of the bad step has the tensors of the one before.
    const run = guarded('skip', planted, more, { checkpoint: { ...tiny.checkpoint, every: 1, keep: { last: 30 } } })
    const out = at(`skip ${name}`)
    const { events, steps } = await trained(run, { out })
    expect(steps).toBe(20)
    expect(of(events, 'skipped')).toEqual([{ type: 'skipped', step: 12, why: expect.stringMatching(/^its loss/), documents: documents(12) }])
    expect(stepsOf(events).map(e => e.skipped === true)).toEqual(Array.from({ length: 20 }, (_, i) => i === 12))
    const [before, after, next] = [12, 13, 14].map(n => Object.values(tensorsOf(out, n)))
    expect(after).toEqual(before)
    expect(next).not.toEqual(after)
    // The next step is what it would have been without the bad one.
    const calm = await trained({ ...run, data: without(12) }, {})
    expect(stepsOf(events).filter(e => e.step !== 12).map(e => e.loss)).toEqual(stepsOf(calm.events).slice(0, 19).map(e => e.loss))
    // And killed behind it, the run is the same.
    await killedAt(run, `${out} again`, e => e.type === 'step' && e.step === 14)
    await trained(run, { out: `${out} again` })
    expect(differences(out, `${out} again`)).toEqual([])
  })
  /** The same batches without one of them. */
  const without = (bad: number): Run['data'] => {
    const source = tinyData()
    return { ...source, batch: (step, rows) => source.batch(step < bad ? step : step + 1, rows) }
  }

  test('`limit` of them within a hundred steps end the run, with the documents of the last', async () => {
    const run = guarded('skip', [3, 7, 9].map(step => ({ step, value: NaN })), { limit: 3 })
    await expect(trained(run, { out: at('limit') })).rejects.toThrow(/step 10 is bad: its loss is NaN, and so were 2 of the 100 before it\n.*\n {2}documents +rows document 72/)
    // Counted over an interruption, too.
    await killedAt(run, at('limit killed'), e => e.type === 'step' && e.step === 8)
    await expect(trained(run, { out: at('limit killed') })).rejects.toThrow(/and so were 2 of the 100 before it/)
    expect((await trained(guarded('skip', [3, 7, 9].map(step => ({ step, value: NaN })), { limit: 4 }))).steps).toBe(20)
  })

  test('a NaN in one row, which one of four devices has: all of them leave the step out', async () => {
    const planted = [{ ...nan, row: 6 }]
    const one = await trained(guarded('skip', planted), { out: at('one device') })
    for (const [name, where] of [['2x2', { mesh: { batch: 2, model: 2 } }], ['4x1', { mesh: { batch: 4, model: 1 }, params: { embed: 'batch' } }]] as const) {
      const out = at(name)
      const { events, losses } = await trained(guarded('skip', planted, {}, { ...where, checkpoint: { ...tiny.checkpoint, every: 1, keep: { last: 30 } } }), { out })
      expect(of(events, 'skipped').map(e => e.step)).toEqual([12])
      expect(Object.values(tensorsOf(out, 13))).toEqual(Object.values(tensorsOf(out, 12)))
      losses.forEach((loss, i) => { if (i !== 12) expect(Math.abs(loss - (one.losses[i] ?? NaN))).toBeLessThan(1e-5) })
    }
  })

  test('one bad part of accumulated four leaves the whole step out', async () => {
    const run = guarded('skip', [{ ...nan, row: 2 }], {}, { microbatches: 4, model: tinyModel(0), checkpoint: { ...tiny.checkpoint, every: 1, keep: { last: 30 } } })
    const { events } = await trained(run, { out: at('parts') })
    expect(of(events, 'skipped').map(e => e.step)).toEqual([12])
    expect(Object.values(tensorsOf(at('parts'), 13))).toEqual(Object.values(tensorsOf(at('parts'), 12)))
    const atOnce = await trained({ ...run, microbatches: 1 })
    stepsOf(atOnce.events).forEach((e, i) => { if (i !== 12) expect(Math.abs(e.loss - (stepsOf(events)[i]?.loss ?? NaN)) / e.loss).toBeLessThan(1e-5) })
  })
})

describe('rewind', () => {
  const run = guarded('rewind', [nan, { step: 17, value: 1e4 }], spikes)
  const out = at('rewound')
  beforeAll(async () => { await trained(run, { out }) })

  test('goes back, passes over the batches since, and says so', async () => {
    const asked: { readonly step: number }[] = []
    const { events, steps, losses, evalLoss } = await trained({ ...run, data: tinyData([nan], asked as never) }, { out: at('told') })
    expect([steps, losses.length]).toEqual([20, 20])
    expect(of(events, 'rewind')).toEqual([{ type: 'rewind', step: 12, to: 10, batch: 13, why: 'its loss is NaN', documents: documents(12) }])
    // Batches 10 to 12 are passed over: behind the rewind, step 10 has batch 13.
    expect([...new Set(asked.map(a => a.step))]).toEqual(expect.arrayContaining([13, 22]))
    const rows = metricsOf(at('told'))
    expect(rows.filter(r => 'gradNorm' in r).map(r => r['step'])).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(rows.filter(r => r['type'] === 'rewind').map(r => [r['step'], r['to']])).toEqual([[12, 10]])
    expect(disorder(eventsOf(at('told')))).toBeUndefined()
    // The same run that never saw those batches: but for the history, which begins anew.
    const source = tinyData()
    const calm = await trained({ ...run, data: { ...source, batch: (step, rows) => source.batch(step < 10 ? step : step + 3, rows) } }, { out: at('untold') })
    expect(losses).toEqual(calm.losses)
    expect(evalLoss).toBe(calm.evalLoss)
    expect(readFileSync(join(at('told'), 'model.safetensors'))).toEqual(readFileSync(join(at('untold'), 'model.safetensors')))
  })

  test('a leap; history is cleared, so that what comes after is not measured by what was before', async () => {
    const { events } = await trained(guarded('rewind', [leap], spikes, { checkpoint: { ...tiny.checkpoint, every: 5, keep: { last: 10 } } }), { out: at('leap') })
    expect(of(events, 'rewind').map(e => [e.step, e.to])).toEqual([[12, 10]])
    const taken = (step: number): Promise<number> => countOf(at('leap'), step, 'history.taken')
    expect([await taken(10), await taken(15), await taken(20)]).toEqual([10, 5, 10])
  })

  test.each<[string, (e: { readonly type: string; readonly step?: number }, n: number) => boolean]>([
    ['before', e => e.type === 'step' && e.step === 11], ['at the bad step', e => e.type === 'step' && e.step === 12], ['when it is told of', e => e.type === 'rewind'],
    ['at the first step behind it', (e, rewinds) => e.type === 'step' && e.step === 10 && rewinds > 0], ['behind the next checkpoint', (e, rewinds) => e.type === 'step' && e.step === 16 && rewinds > 0],
  ])('killed %s it is the same run', async (name, when) => {
    const again = at(`killed ${name}`)
    let rewinds = 0
    await killedAt(run, again, e => { if (e.type === 'rewind') rewinds++; return when(e, rewinds) })
    await trained(run, { out: again })
    expect(differences(out, again)).toEqual([])
  })

  test('gives up after `limit` of them, also where it goes back to the same checkpoint each time', async () => {
    const planted = Array.from({ length: 40 }, (_, i) => ({ step: 12 + i, value: NaN }))
    await expect(trained(guarded('rewind', planted, { limit: 3 }), { out: at('gives up') })).rejects.toThrow(/step 11 is bad: its loss is NaN, after 3 rewinds\n/)
    // All that it went back for is in the log.
    expect(metricsOf(at('gives up')).filter(r => r['type'] === 'rewind').map(r => r['step'])).toEqual([12, 10, 10])
    expect((await newestIn(at('gives up')))?.manifest.step).toBe(10)
  })

  test('before there is a checkpoint of a step, and of a run that starts from another\'s', async () => {
    const early = await trained(guarded('rewind', [{ step: 2, value: NaN }]), { out: at('early') })
    expect(of(early.events, 'rewind').map(e => [e.step, e.to])).toEqual([[2, 0]])
    await killedAt(guarded('rewind', []), at('source'), e => e.type === 'step' && e.step === 11)
    const from = await trained(guarded('rewind', [nan]), { out: at('from'), resume: at('source') })
    expect(of(from.events, 'rewind').map(e => [e.step, e.to])).toEqual([[12, 10]])
    expect(from.steps).toBe(20)
  })

  test('without a folder there is nothing to go back to', async () => {
    await expect(trained(run)).rejects.toThrow(/no-checkpoint.*keeps no checkpoints/s)
    expect(existsSync(at('nothing'))).toBe(false)
  })
})

/** A whole number of a checkpoint's state. */
async function countOf(folder: string, step: number, name: string): Promise<number> {
  const path = join(folder, 'checkpoints', `step-${step}`)
  await using source = await openGroup(path, await readManifest(disk, path), 'state')
  const bytes = new Uint8Array(4)
  await source.tensors.get(name)?.read(bytes, 0)
  return Buffer.from(bytes).readInt32LE()
}
