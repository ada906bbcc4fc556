/** A batch that spoils a step: under each policy, what is left is bit for bit what a run without that batch would have. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openBackend, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { mlp } from '../../src/models/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { defineRun, fit, train, type Run, type RunOf, type TrainEvent } from '../../src/train/index.ts'
import type { Mlp } from '../../src/models/mlp.ts'
import { BadStep } from '../../src/train/loop.ts'
import { namedArrays } from '../../src/train/evaluate.ts'
import { draw } from '../support/values.ts'

type Given = RunOf<Mlp, { readonly batch: number }>
/** Batch n of a source is number `order(n)` of all; those in `bad` have a NaN in one row. */
function runOf(more: Partial<Pick<Given, 'guard' | 'checkpoint' | 'steps' | 'mesh' | 'precision'>>, { order = (n: number) => n, bad = [] as readonly number[] } = {}): Run {
  const batch = (step: number, { from, to }: { readonly from: number; readonly to: number }) => {
    const n = order(step)
    const values = (seed: number, size: number): Float32Array => Float32Array.from({ length: (to - from) * size }, (_, i) => draw(seed, 1000 * n + from * size + i) - 0.5)
    const x = values(1, 3)
    if (bad.includes(n) && from <= 5 && to > 5) x[(5 - from) * 3] = NaN
    return { x, y: values(2, 2) }
  }
  return defineRun({ name: 'spoilt', steps: 8, model: mlp({ inputs: 3, hidden: 4, outputs: 2 }, 8), data: { batch }, optimizer: adamw({ rate: 1e-2 }), mesh: { batch: 1 }, layout: { batch: 'batch' }, ...more })
}

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 2 }) })
afterAll(async () => { await backend.close() })
let folder: string
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'meshwork-policies-')) })
afterEach(() => { rmSync(folder, { recursive: true, force: true }) })

const weights = (): Buffer => readFileSync(join(folder, 'run', 'model.safetensors'))
const lines = (): { readonly [key: string]: unknown }[] => readFileSync(join(folder, 'run', 'metrics.jsonl'), 'utf8').trim().split('\n').map(l => JSON.parse(l) as { readonly [key: string]: unknown })
async function trained(run: Run): Promise<{ readonly events: readonly TrainEvent[]; readonly losses: readonly number[]; readonly bytes: Buffer }> {
  const events: TrainEvent[] = []
  const { losses, liveAfter } = await train(run, { backend, out: join(folder, 'run'), onEvent: e => events.push(e) })
  expect(liveAfter).toBe(0)
  return { events, losses, bytes: weights() }
}
const of = <T extends TrainEvent['type']>(events: readonly TrainEvent[], type: T) => events.filter((e): e is Extract<TrainEvent, { readonly type: T }> => e.type === type)
async function without(order: (n: number) => number, steps: number): Promise<{ readonly bytes: Buffer; readonly losses: readonly number[] }> {
  const found = await trained(runOf({ steps }, { order }))
  rmSync(join(folder, 'run'), { recursive: true })
  return found
}

describe.each([1, 2])('on %i devices', devices => {
  const mesh = { batch: devices }

  test('stop: the run ends, says why, and keeps its checkpoints', async () => {
    const run = runOf({ mesh, checkpoint: { every: 2 } }, { bad: [3] })
    await expect(train(run, { backend, out: join(folder, 'run') })).rejects.toThrow(BadStep)
    expect(backend.liveBuffers()).toBe(0)
    expect(lines().map(l => [l['step'], typeof l['loss']])).toEqual([[0, 'number'], [1, 'number'], [2, 'number'], [3, 'string']])
    expect(JSON.parse(readFileSync(join(folder, 'run', 'summary.json'), 'utf8'))).toMatchObject({ state: 'failed', why: expect.stringMatching(/step 4 is bad: its loss is NaN/) as string })
    const again: TrainEvent[] = []
    await expect(train(run, { backend, out: join(folder, 'run'), onEvent: e => again.push(e) })).rejects.toThrow(/\[bad-step\] step 4 is bad/)
    expect(of(again, 'started')).toMatchObject([{ from: 2 }])
  })

  test('skip: the step is undone, and its batch is all that is missing', async () => {
    const expected = await without(n => (n < 3 ? n : n + 1), 7)
    const { events, losses, bytes } = await trained(runOf({ mesh, guard: { policy: 'skip' } }, { bad: [3] }))
    if (devices === 1) expect(bytes).toEqual(expected.bytes)
    expect(losses[3]).not.toSatisfy(Number.isFinite)
    losses.toSpliced(3, 1).forEach((loss, i) => { expect(loss).toBeCloseTo(expected.losses[i] ?? NaN, 6) })
    expect(of(events, 'skipped').map(e => [e.step, e.why])).toEqual([[3, expect.stringMatching(/its loss is NaN/)]])
    expect(of(events, 'step').filter(e => e.skipped).map(e => e.step)).toEqual([3])
    expect(lines().filter(l => l['type'] === 'skipped')).toHaveLength(1)
    // The step that is not in the result is no time that it took.
    const [goodput] = of(events, 'goodput')
    expect(goodput?.lost).toBeGreaterThan(0)
    const spoilt = of(events, 'step').find(e => e.skipped)?.time.stepMs ?? NaN
    expect(goodput?.lost).toBeLessThanOrEqual(spoilt)
  })

  test('rewind: from the checkpoint before, on behind the bad batch', async () => {
    const expected = await without(n => (n < 2 ? n : n + 2), 8)
    const { events, losses, bytes } = await trained(runOf({ mesh, guard: { policy: 'rewind' }, checkpoint: { every: 2 } }, { bad: [3] }))
    if (devices === 1) expect(bytes).toEqual(expected.bytes)
    expect(losses).toHaveLength(8)
    losses.forEach((loss, i) => { expect(loss).toBeCloseTo(expected.losses[i] ?? NaN, 6) })
    expect(of(events, 'rewind')).toMatchObject([{ step: 3, to: 2 }])
    expect(lines().map(l => l['type'] ?? l['step'])).toEqual([0, 1, 'rewind', 2, 3, 4, 5, 6, 7])
    const [spent] = of(events, 'goodput')
    expect(spent?.starts).toBe(1)
    const taken = of(events, 'step').slice(2, 4).reduce((n, e) => n + e.time.stepMs, 0)
    expect(spent?.lost).toBeGreaterThan(0)
    expect(spent?.lost).toBeLessThanOrEqual(taken)
  })
})

test('skip: after as many as the limit, the run stops', async () => {
  await expect(train(runOf({ guard: { policy: 'skip', limit: 3 } }, { bad: [1, 3, 4] }), { backend })).rejects.toThrow(/step 5 is bad: its loss is NaN, and so were 2 of the 100 before it/)
  expect(backend.liveBuffers()).toBe(0)
})

test('rewind: a batch that is bad every time is passed over once, and too many stop the run', async () => {
  await expect(trained(runOf({ guard: { policy: 'rewind', limit: 2 }, checkpoint: { every: 2 } }, { bad: [2, 3, 4] }))).rejects.toThrow(/is bad: .* after 2 rewinds/)
  expect(backend.liveBuffers()).toBe(0)
})

test('rewind without a folder says that there is nothing to go back to', async () => {
  await expect(train(runOf({ guard: { policy: 'rewind' } }, { bad: [3] }), { backend })).rejects.toThrow(/there is nothing to go back to/)
  expect(backend.liveBuffers()).toBe(0)
})

test('fit gives the parameters, as they are after the last step that counts', async () => {
  const values = async (run: Run): Promise<number[]> => {
    using fitted = await fit(run, { backend })
    const all: number[] = []
    for (const { value } of namedArrays(fitted.params) as { readonly value: MeshArray }[]) all.push(...Array.from(await value.read(), Number))
    return all
  }
  const found = await values(runOf({ guard: { policy: 'skip' } }, { bad: [3] }))
  expect(found).toEqual(await values(runOf({ steps: 7 }, { order: n => (n < 3 ? n : n + 1) })))
  expect(found.length).toBe(3 * 4 + 4 + 4 * 2)
  expect(backend.liveBuffers()).toBe(0)
})
