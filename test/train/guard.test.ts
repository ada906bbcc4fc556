/** Which steps are taken: against the same rule in plain words, over a course with spikes and numbers that are none. */
import { describe, expect, test } from 'vitest'
import { dims, full, leavesOf, mesh as meshOf, plan, scan, totals, type Layouts, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { mlp } from '../../src/models/index.ts'
import { emptyHistory, judged, type Guard, type History } from '../../src/train/guard.ts'
import { adamwCosine } from '../../src/train/optimizers.ts'
import { stateOf, trainStep, type TrainerConfig } from '../../src/train/program.ts'
import { given, valueOfTensor } from '../graph/support.ts'

const losses = [4, 3.9, 3.8, 50, 3.85, NaN, 3.7, 3.75, Infinity, 3.6, 3.65, 9, 3.5, -Infinity, 3.4]
const norms = [1, 1.2, 0.9, 1, 1.1, 1, NaN, 1, 1, 1.3, 40, 1, 1.2, 1, 1.1]
const { steps } = dims({ steps: losses.length })

/** Which are taken, and the loss's mean and variance in the end. */
function onDevices(guard: Guard): { taken: boolean[]; mean: number; variance: number; count: number } {
  const [a, b] = [given([steps], losses), given([steps], norms)]
  const [history, takes] = scan(steps, emptyHistory(), { loss: a.tensor as Tensor<'steps'>, gradNorm: b.tensor as Tensor<'steps'> }, (history: History, seen: { loss: Scalar; gradNorm: Scalar }) => {
    const { take, history: next } = judged(seen, history, guard)
    return [next, take]
  })
  const value = (t: Parameters<typeof valueOfTensor>[0]): number[] => [...valueOfTensor(t, a, b)]
  return { taken: value(takes).map(Boolean), mean: value(history.loss.mean)[0] ?? NaN, variance: value(history.loss.variance)[0] ?? NaN, count: value(history.taken)[0] ?? NaN }
}

function inWords({ deviations, over, after }: Guard): ReturnType<typeof onDevices> {
  let [count, course] = [0, { loss: [0, 0], gradNorm: [0, 0] } as Record<'loss' | 'gradNorm', [number, number]>]
  const taken = losses.map((loss, i) => {
    const seen = { loss, gradNorm: norms[i] ?? NaN }
    const finite = Object.values(seen).every(Number.isFinite)
    const leaps = deviations !== undefined && count >= after && (['loss', 'gradNorm'] as const).some(k => seen[k] > course[k][0] + deviations * Math.sqrt(course[k][1]))
    if (!finite || leaps) return false
    const share = Math.max(1 / over, 1 / (count + 1))
    for (const k of ['loss', 'gradNorm'] as const) {
      const [mean, variance] = course[k]
      const off = seen[k] - mean
      course = { ...course, [k]: [mean + share * off, (1 - share) * (variance + share * off ** 2)] }
    }
    count++
    return true
  })
  return { taken, mean: course.loss[0], variance: course.loss[1], count }
}

test.each<[string, Guard]>([
  ['only what is no number', { over: 8, after: 0 }], ['spikes after three steps', { deviations: 6, over: 8, after: 3 }],
  ['spikes, evenly weighted', { deviations: 4, over: 1000, after: 2 }], ['a long beginning', { deviations: 6, over: 4, after: 100 }],
])('%s', (_, guard) => {
  const [found, expected] = [onDevices(guard), inWords(guard)]
  expect(found.taken).toEqual(expected.taken)
  expect(found.count).toBe(expected.count)
  expect(found.mean).toBeCloseTo(expected.mean, 5)
  expect(found.variance).toBeCloseTo(expected.variance, 4)
})

test('what is left out leaves no trace', () => {
  const bad = { loss: full(NaN, []), gradNorm: full(Infinity, []) }
  const { take, history } = judged(bad, emptyHistory(), { deviations: 3, over: 10, after: 0 })
  expect(valueOfTensor(take)).toEqual([0])
  expect(leavesOf(history).map(l => [...valueOfTensor(l.leaf)])).toEqual(leavesOf(emptyHistory()).map(() => [0]))
})

describe('a step that can be undone', () => {
  const model = mlp({ inputs: 4, hidden: 8, outputs: 4 }, 8)
  const optimizer = adamwCosine({ rate: 1e-3 }).build({ steps: 10 })
  const mesh = meshOf({ batch: 2, model: 2 })
  const layout = { batch: 'batch', hidden: 'model' }
  /** What moves, and how the state lies before and behind the step. */
  const planned = (more: Partial<TrainerConfig>, where: Omit<Layouts, 'layout'>): { readonly moved: unknown; readonly before: Map<string, string>; readonly after: Map<string, string> } => {
    const config = { seed: 0, remat: 'all-but-contractions', optimizer, ...more } as const
    const [state, step] = [stateOf(model, config), trainStep(model, config)]
    const { inputs, local, collectives } = plan(step, [state, model.batch] as const, { mesh, layout, ...where, dims: model.dims })
    const lies = ({ sharding }: { readonly sharding: ReadonlyMap<string, readonly string[]> }): string => JSON.stringify([...sharding])
    const results = leavesOf(step(state, model.batch)).map(({ path }, i) => [path, local.outputPlacements[i]] as const)
    return {
      moved: totals(collectives).map(({ kind, axes, count, bytes }) => `${kind} ${axes.join()} ${count} ${bytes}`).sort(),
      before: new Map(inputs.filter(i => i.path.startsWith('0.')).map(i => [i.path.slice(2), lies(i.placement)])),
      after: new Map(results.filter(([path]) => path.startsWith('state.')).map(([path, placement]) => [path.slice(6), lies(placement!)])),
    }
  }
  const guard = { deviations: 6, over: 8, after: 8, undo: true }
  test.each<[string, Omit<Layouts, 'layout'>]>([['FSDP', { params: { inputs: 'batch', outputs: 'batch' } }], ['ZeRO-1', { state: { inputs: 'batch', outputs: 'batch' } }]])('moves no more, and leaves its state where it rests: %s', (_, where) => {
    const plain = planned({}, where)
    for (const more of [{ guard }, { lossScaling: { initial: 16, growEvery: 100 } }, { guard, lossScaling: { initial: 16, growEvery: 100 } }]) {
      const found = planned(more, where)
      expect(found.moved).toEqual(plain.moved)
      expect(found.after).toEqual(found.before)
    }
  })
})
