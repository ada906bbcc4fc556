/** Runs that are interrupted, and go on: the same run, bit for bit on the same mesh, and to rounding on others. */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { newestIn } from '../../src/checkpoint/index.ts'
import { sgd } from '../../src/optim/index.ts'
import type { DataSource } from '../../src/data/index.ts'
import type { Run, TrainEvent } from '../../src/train/index.ts'
import { differences, metricsOf } from '../soak/compare.ts'
import { killedAt, of, runFolder, stepsOf, tiny, tinyData, tinyModel, tinyOptimizer, trained } from './tiny.ts'

const at = runFolder()
beforeAll(async () => { await trained(tiny, { out: at('calm') }) })

/** Trains into a folder, and is asked to end when it tells of something. */
async function stopped(run: Run, out: string, when: (e: TrainEvent) => boolean) {
  const stop = new AbortController()
  return trained(run, { out, signal: stop.signal, onEvent: e => { if (when(e)) stop.abort() } })
}
const step = (n: number) => (e: TrainEvent): boolean => e.type === 'step' && e.step === n
const summary = (out: string): unknown => JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'))

describe('the same mesh: bit for bit', () => {
  test('asked to end behind many steps, before and behind checkpoints, and where evaluations are due', async () => {
    const out = at('stopped')
    // At once, behind the first step that is read, the third and so on: at the steps 0, 2, 3, 5, 10, 13 and 15.
    const reached: number[] = []
    for (const nth of [0, 1, 0, 1, 4, 2, 1]) {
      let seen = 0
      const { steps, stopped: ended, liveAfter } = await stopped(tiny, out, e => e.type === (nth === 0 ? 'started' : 'step') && ++seen >= nth)
      reached.push(steps)
      expect(ended).toBe(true)
      if (steps === 0) continue
      expect(liveAfter).toBe(0)
      expect(summary(out)).toMatchObject({ state: 'stopped', steps })
      expect((await newestIn(out))?.manifest.step).toBe(steps)
    }
    expect(new Set(reached.map(n => n % 5)).size).toBeGreaterThan(2)
    const last = await trained(tiny, { out })
    expect(last.stopped).toBe(false)
    expect(differences(at('calm'), out)).toEqual([])
  })

  test('asked to end within an evaluation: it is made anew, and told once', async () => {
    for (const [name, within] of [['due', 10], ['last', 20]] as const) {
      const out = at(`within-${name}`)
      const stop = new AbortController()
      const { source } = tinyData().heldOut ?? { source: tinyData() }
      let seen = 0
      const heldOut: DataSource<unknown> = { batch: (n, rows) => { if (++seen === (within === 10 ? 1 : 3)) stop.abort(); return source.batch(n, rows) } }
      const run: Run = { ...tiny, heldOut, evaluation: { every: 10, batches: 2 } }
      const ended = await trained(run, { out, signal: stop.signal })
      // There is time for it, behind the checkpoint: a run that has come to its end with it is finished.
      expect(ended).toMatchObject({ steps: within, stopped: within === 10 })
      if (within === 20) { expect(differences(at('calm'), out)).toEqual([]); continue }
      await trained(run, { out })
      expect(differences(at('calm'), out)).toEqual([])
    }
  })

  test('asked to end while data is prepared or programs are compiled: nothing is left of it', async () => {
    for (const type of ['preparing', 'compiling']) {
      const out = at(`before ${type}`)
      const ended = await stopped({ ...tiny, data: { open: async request => { request.onProgress({ stage: 'encode', done: 0, total: 1, tokens: 0, documents: 0 }); request.signal?.throwIfAborted(); return tinyData() } } }, out, e => e.type === type)
      expect(ended).toMatchObject({ steps: 0, planned: 20, stopped: true, folder: undefined, liveAfter: 0 })
      expect(existsSync(out)).toBe(false)
    }
  })

  test('killed three times within one epoch, and before anything new was saved', async () => {
    const out = at('killed')
    for (const n of [2, 7, 8, 9, 11]) await killedAt(tiny, out, step(n))
    const { events } = await trained(tiny, { out })
    expect(of(events, 'started')[0]).toMatchObject({ from: 10 })
    expect(differences(at('calm'), out)).toEqual([])
    // What a run in several starts took is told of as one run.
    expect(of(events, 'goodput')[0]?.starts).toBeGreaterThan(1)
  })

  test('from what another run has saved, in a folder of its own', async () => {
    await killedAt(tiny, at('first'), step(12))
    const resumed = at('resumed')
    await killedAt(tiny, resumed, step(11), { resume: at('first') })
    const { losses, events } = await trained(tiny, { out: resumed, resume: at('first') })
    expect(of(events, 'started')[0]).toMatchObject({ from: 10, checkpoint: join(at('first'), 'checkpoints/step-10') })
    expect(losses).toHaveLength(10)
    const behind = metricsOf(at('calm')).filter(row => Number(row['step']) >= 10)
    expect(metricsOf(resumed)).toEqual(behind)
    expect(readFileSync(join(resumed, 'model.safetensors'))).toEqual(readFileSync(join(at('calm'), 'model.safetensors')))
  })

  test('with more steps than before', async () => {
    const out = at('longer')
    await trained({ ...tiny, steps: 10 }, { out })
    await trained(tiny, { out })
    expect(differences(at('calm'), out)).toEqual([])
  })

  test('the newest checkpoint damaged, and one that was left half-written', async () => {
    const out = at('damaged')
    await killedAt(tiny, out, step(13))
    const folder = join(out, 'checkpoints')
    const { id } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')) as { id: string }
    cpSync(join(folder, 'step-5'), join(folder, `step-15.tmp-${id}`), { recursive: true })
    rmSync(join(folder, 'step-10', 'model.safetensors'))
    const { events } = await trained(tiny, { out })
    expect(of(events, 'warning').map(w => w.text)).toEqual([expect.stringMatching(/step-10 cannot be used/)])
    expect(of(events, 'started')[0]).toMatchObject({ from: 5 })
    expect(differences(at('calm'), out)).toEqual([])
    // With none that can be used it does not begin anew.
    await killedAt(tiny, at('none'), step(8))
    rmSync(join(at('none'), 'checkpoints/step-5', 'model.safetensors'))
    await expect(trained(tiny, { out: at('none') })).rejects.toThrow(/FileError\[.*step-5/s)
  })
})

describe('the state', () => {
  /** All that a state can have: a loss scale, averages and their counter, spike history. */
  const full: Run = {
    ...tiny, model: tinyModel(0.1, { params: 'f32', compute: 'f16' }), precision: { ...tiny.precision, compute: 'f16', lossScale: { initial: 2 ** 10, growEvery: 3 } },
    guard: { ...tiny.guard, policy: 'skip', spike: 6, over: 16, after: 4 },
  }
  test('is in the checkpoint, leaf by leaf, and each of them comes back', async () => {
    await trained(full, { out: at('full') })
    const tensors = (await newestIn(at('full')))?.manifest.tensors.map(t => `${t.group} ${t.path}`).sort()
    const params = ['bias', 'in', 'out']
    expect(tensors).toEqual([
      ...['gradNorm.mean', 'gradNorm.variance', 'loss.mean', 'loss.variance', 'taken'].map(n => `state history.${n}`), ...['scale', 'since'].map(n => `state scaling.${n}`), 'state step',
      ...params.map(p => `weights ${p}`),
    ].concat(tensors?.filter(t => t.startsWith('state slots.')) ?? []).sort())
    for (const p of params) expect(tensors?.filter(t => t.startsWith('state slots.') && t.split('.').includes(p))).toHaveLength(3)
    expect(tensors?.filter(t => t.includes('averaged'))).toHaveLength(1)
    // The scale has grown, so that it is not what a run begins with.
    expect(metricsOf(at('full')).filter(r => 'lossScale' in r).at(-1)?.['lossScale']).toBe(2 ** 16)
    const out = at('full-again')
    for (const n of [3, 8, 12, 17]) await killedAt(full, out, step(n))
    await trained(full, { out })
    expect(differences(at('full'), out)).toEqual([])
  })

  test('a leaf that the checkpoint lacks, or has too many, is an error that names it', async () => {
    await killedAt({ ...tiny, optimizer: sgd({ rate: 0.1 }) as never }, at('few'), step(6))
    await expect(trained(tiny, { out: at('more'), resume: at('few') })).rejects.toThrow(/slots\./)
    expect(existsSync(at('more'))).toBe(false)
    await expect(trained({ ...tiny, optimizer: sgd({ rate: 0.1 }) as never }, { out: at('more'), resume: at('calm') })).rejects.toThrow(/slots\./)
  })

  test('goes on with another guard', async () => {
    await killedAt(tiny, at('guard'), step(6))
    const { steps } = await trained({ ...tiny, guard: { ...tiny.guard, policy: 'skip', spike: 5 } }, { out: at('guard') })
    expect(steps).toBe(20)
  })
})

describe('other meshes', () => {
  const long: Run = { ...tiny, steps: 80, evaluation: { every: 40, batches: 2 } }
  const on: readonly Partial<Run>[] = [
    { mesh: { batch: 2, model: 2 } }, { mesh: { batch: 4, model: 1 }, params: { embed: 'batch' } }, { mesh: { batch: 1, model: 2 } }, { mesh: { batch: 1, model: 1 } },
  ]
  const losses = (folder: string): readonly number[] => metricsOf(folder).filter(r => 'gradNorm' in r).map(r => Number(r['loss']))
  const expectNear = (found: readonly number[], expected: readonly number[]): void => {
    expect(found).toHaveLength(expected.length)
    found.forEach((x, i) => { expect(Math.abs(x - (expected[i] ?? NaN)), `step ${i}`).toBeLessThan(1e-4) })
  }
  beforeAll(async () => { await trained(long, { out: at('one') }) })

  test('20 steps on each of four, in one folder: the curve of 80 steps on one device', async () => {
    const out = at('elastic')
    for (const [i, where] of on.entries()) {
      const { events } = await trained({ ...long, ...where, steps: 20 * (i + 1) }, { out })
      if (i > 0) expect(of(events, 'started')[0]).toMatchObject({ from: 20 * i })
    }
    expectNear(losses(out), losses(at('one')))
  })
  test('and each from the one before, in a folder of its own', async () => {
    const found: number[] = []
    for (const [i, where] of on.entries()) {
      const { events } = await trained({ ...long, ...where, steps: 20 * (i + 1) }, { out: at(`elastic-${i}`), ...(i === 0 ? {} : { resume: at(`elastic-${i - 1}`) }) })
      found.push(...stepsOf(events).map(e => e.loss))
    }
    expectNear(found, losses(at('one')))
  })
})

describe('weights from elsewhere', () => {
  test('those that are chosen; the rest is drawn, and slots begin anew', async () => {
    const { events, losses } = await trained({ ...tiny, initFrom: { path: at('calm'), only: ['in', 'b*'] } }, { out: at('init') })
    expect(of(events, 'note').map(n => n.text)).toEqual([expect.stringMatching(/^from .*: 2 of 3 parameters loaded; drawn from the seed: out$/)])
    expect(losses).toHaveLength(20)
    const first = stepsOf(events)[0]
    const calm = metricsOf(at('calm'))[0]
    expect(first?.step).toBe(0)
    expect(first?.loss).not.toBe(calm?.['loss'])
    // All of them: the loss goes on where it was.
    const all = await trained({ ...tiny, steps: 1, initFrom: { path: at('calm') } })
    expect(all.losses[0]).toBeLessThan(Number(calm?.['loss']))
  })
  test('killed before its first checkpoint it starts from them again', async () => {
    const from = { ...tiny, initFrom: { path: at('calm') } }
    await killedAt(from, at('init-killed'), step(3))
    await trained(from, { out: at('init-killed') })
    await trained(from, { out: at('init-calm') })
    expect(differences(at('init-calm'), at('init-killed'))).toEqual([])
  })
})

describe('refused', () => {
  test.each<[string, Partial<Run>, RegExp]>([
    ['another seed', { seed: 5 }, /holds another run: it differs in seed\n {2}there +4\n {2}here +5/],
    ['another optimizer', { optimizer: tinyOptimizer(0.3) as never }, /differs in optimizer\./],
    ['another model', { model: tinyModel(0.1, { params: 'bf16', compute: 'f32' }) }, /differs in model\.in/],
  ])('%s in the same folder', async (_, fields, message) => {
    const out = at('taken')
    if (!existsSync(out)) await killedAt(tiny, out, step(6))
    const before = readdirSync(out).sort()
    await expect(trained({ ...tiny, ...fields }, { out })).rejects.toThrow(message)
    expect(readdirSync(out).sort()).toEqual(before)
  })
  test('a run that is finished', async () => {
    await expect(trained(tiny, { out: at('calm') })).rejects.toThrow(/run-exists.*is finished, after 20 steps/s)
  })
  test('two runs in one folder', async () => {
    let second: Promise<unknown> | undefined
    const out = at('both')
    await trained(tiny, { out, onEvent: e => { if (e.type === 'started') second = trained(tiny, { out }).then(() => 'ran', (e: unknown) => e) } })
    expect(String(await second)).toMatch(new RegExp(`folder-taken.*is in use by process ${process.pid} on `, 's'))
    expect(differences(at('calm'), out)).toEqual([])
  })
})
