/** The loop of training: one step is under way while the last one's metrics are read; events keep their order, whatever ends the run. */
import { expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { adamw } from '../../src/optim/index.ts'
import { namedArrays } from '../../src/train/evaluate.ts'
import { fit } from '../../src/train/fit.ts'
import { train, type TrainResult } from '../../src/train/train.ts'
import type { TrainEvent } from '../../src/train/events.ts'
import { small } from '../support/parallel-runs.ts'
import { of, runFolder, stepsOf, tiny, tinyData, trained } from './tiny.ts'

const at = runFolder()

/** Trains and tells what happened, in order: each launch of the step's program, and the events that have a step. */
async function traced(steps: number, every: number, onEvent: (e: TrainEvent) => void = () => {}, signal?: AbortSignal): Promise<{ readonly log: readonly string[]; readonly result: TrainResult }> {
  const log: string[] = []
  await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
  let programs = 0
  const watched: Backend = Object.assign(Object.create(backend) as Backend, {
    compile: async (request: Parameters<Backend['compile']>[0]) => {
      const program = await backend.compile(request)
      // The step is compiled first.
      if (programs++ > 0) return program
      return Object.assign(Object.create(program) as typeof program, { execute: (...args: Parameters<typeof program.execute>) => { log.push('launch'); return program.execute(...args) }, dispose: () => program.dispose() })
    },
    liveBuffers: () => backend.liveBuffers(),
    put: (...args: Parameters<Backend['put']>) => backend.put(...args),
  })
  const result = await train({ ...small, steps, evaluation: { every, batches: 2 } }, {
    backend: watched, ...signal === undefined ? {} : { signal },
    onEvent: e => {
      if (e.type === 'step' || e.type === 'eval') log.push(`${e.type} ${e.step}`)
      onEvent(e)
    },
  })
  return { log, result }
}

test('the next step is launched before the last one is read, but for an evaluation, which follows its step', async () => {
  const { log, result } = await traced(5, 2)
  expect(log).toEqual([
    'launch', 'launch', 'step 0', 'step 1', 'eval 1', 'launch', 'launch', 'step 2', 'step 3', 'eval 3', 'launch', 'step 4', 'eval 4',
  ])
  expect(result).toMatchObject({ steps: 5, stopped: false, liveAfter: 0 })
  expect(result.losses).toHaveLength(5)
})

test('an interruption ends the run when what was launched has been read', async () => {
  const stop = new AbortController()
  const { log, result } = await traced(100, 50, e => { if (e.type === 'step' && e.step === 1) stop.abort() }, stop.signal)
  expect(log.filter(l => l === 'launch')).toHaveLength(3)
  expect(log.slice(-3)).toEqual(['step 1', 'step 2', 'eval 2'])
  expect(result).toMatchObject({ steps: 3, stopped: true, liveAfter: 0 })
})

test('what a listener throws ends the run, and nothing is left over', async () => {
  await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
  await expect(train({ ...small, steps: 5 }, { backend, onEvent: e => { if (e.type === 'step') throw new Error('no more') } })).rejects.toThrow('no more')
  expect(backend.liveBuffers()).toBe(0)
})

test.each(['skip', 'rewind'] as const)('steps that guard.policy=%s leaves out, or takes back, are time that was lost', async policy => {
  const { events } = await trained({ ...tiny, data: tinyData([{ step: 7, value: NaN }]), guard: { ...tiny.guard, policy } }, { out: at(policy) })
  const lost = stepsOf(events).filter((e, nth) => (policy === 'skip' ? e.skipped === true : nth >= 5 && nth <= 7))
  const [spent] = of(events, 'goodput')
  expect(lost).toHaveLength(policy === 'skip' ? 1 : 3)
  expect(spent?.lost).toBeGreaterThan(0)
  expect(spent?.lost).toBeLessThanOrEqual(lost.reduce((n, e) => n + e.time.stepMs, 0))
  expect(spent?.starts).toBe(1)
})

test('fit gives the parameters that the last step left', async () => {
  await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
  const values = async (steps: number): Promise<number[]> => {
    using fitted = await fit({ ...small, steps, optimizer: adamw({ rate: 1e-2 }) }, { backend })
    const all: number[] = []
    for (const { value } of namedArrays(fitted.params)) all.push(...Array.from(await value.read(), Number))
    return all
  }
  const [one, two] = [await values(1), await values(2)]
  expect([two.length, two.every(Number.isFinite), two.every((x, i) => x === one[i])]).toEqual([one.length, true, false])
  expect(backend.liveBuffers()).toBe(0)
})
