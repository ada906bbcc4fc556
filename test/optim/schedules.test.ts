/** Schedules as tables, against others' and at their edges: one formula, on the host and in a program. */
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/core/errors.ts'
import { full, type Scalar } from '../../src/engine/index.ts'
import { constant, cosine, inverseSqrt, linear, piecewise, product, relativeStep, schedule, warmupStableDecay, type Schedule } from '../../src/optim/index.ts'
import { given, valueOfTensor } from '../graph/support.ts'
import { judged } from './problem.ts'

const [W, N, peak] = [10, 100, 3e-3]
const falling = { peak, warmup: W, steps: N, floor: 0.1 }
/** By the names of the oracle's tables. */
const schedules: { readonly [name: string]: Schedule } = {
  cosine: cosine(falling),
  linear: linear(falling),
  'cosine without warm-up': cosine({ peak, steps: N }),
  constant: constant(peak),
  piecewise: piecewise([{ from: 0, rate: peak }, { from: 55, rate: cosine(falling) }]),
  product: product(cosine({ ...falling, peak: 1 }), linear({ peak: 1, steps: N }), 0.5),
  'wsd linear': warmupStableDecay({ ...falling, tail: 20 }),
  'wsd cosine': warmupStableDecay({ ...falling, tail: 0.2, shape: 'cosine' }),
  'wsd 1-sqrt': warmupStableDecay({ ...falling, shape: '1-sqrt' }),
  inverseSqrt: inverseSqrt({ peak, warmup: W }),
  relativeStep: relativeStep(),
  'relativeStep warmed up': relativeStep({ warmup: true }),
}
/** What a program makes of a step, its floats in f64. */
const inProgram = (of: Schedule, step: number): number => {
  const k = given([], [step], 'i32')
  return valueOfTensor(of(k.tensor as unknown as Scalar), k)[0] ?? NaN
}

test('every table of the oracle is tried, and nothing else', () => expect(Object.keys(schedules).sort()).toEqual(Object.keys(judged.schedules).sort()))

describe.each(Object.entries(schedules))('%s', (name, of) => {
  test('is what others have, on the host and in a program', () => {
    for (const [step, rate] of judged.schedules[name] ?? []) {
      // optax counts in f64, but some of its schedules round to f32 on the way.
      expect(Math.abs(of(step) - rate), `step ${step}`).toBeLessThanOrEqual(1e-7 * peak)
      expect(Math.abs(inProgram(of, step) - of(step)), `step ${step}`).toBeLessThanOrEqual(1e-13 * of(step))
    }
  })
  test('is told as plain data', () => expect(JSON.parse(JSON.stringify(of.description))).toEqual(of.description))
  test('is f32 in a program, or f64 where the step is', () => {
    expect([full(3, [], 'i32'), full(3, [], 'bf16'), full(3, [], 'f64')].map(step => of(step).dtype)).toEqual(['f32', 'f32', 'f64'])
  })
})

describe('the convention', () => {
  const falls = { linear: linear(falling), cosine: cosine(falling), 'wsd linear': warmupStableDecay(falling), 'wsd cosine': warmupStableDecay({ ...falling, shape: 'cosine' }), 'wsd 1-sqrt': warmupStableDecay({ ...falling, shape: '1-sqrt' }) }
  test.each(Object.entries(falls))('%s: the first step learns, the warm-up ends at the peak, the last step is exactly at the floor, and it stays there', (_, of) => {
    expect([0, 4, W - 1].map(k => of(k))).toEqual([peak / W, peak / 2, peak].map(x => expect.closeTo(x, 15)))
    expect(of(W - 1)).toBe(peak)
    expect([N - 1, N, N + 1, 10 * N].map(k => of(k))).toEqual(Array.from({ length: 4 }, () => 0.1 * peak))
    expect(of(N - 2)).toBeGreaterThan(0.1 * peak)
    const all = Array.from({ length: N }, (_, k) => of(k))
    expect(all.every(rate => rate > 0)).toBe(true)
    // Continuous where the pieces meet: no step changes the rate by more than the warm-up's do.
    for (const [k, rate] of all.entries()) if (k > 0) expect(Math.abs(rate - (all[k - 1] ?? 0))).toBeLessThanOrEqual(1.0001 * peak / W + (k >= N - 20 ? 0.25 * peak : 0))
  })

  test('lengths of 0 are defined', () => {
    const table = (of: Schedule): number[] => [0, 1, 2, 9, 10, 11].map(k => of(k))
    expect(table(linear({ peak: 1, steps: 0, floor: 0.5 }))).toEqual([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    expect(table(cosine({ peak: 1, steps: 1, floor: 0.5 }))).toEqual([0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    // As long a warm-up as the schedule, or longer: the floor follows it.
    for (const steps of [0, 5, 10]) expect(table(linear({ peak: 1, warmup: 10, steps }))).toEqual([0.1, 0.2, expect.closeTo(0.3, 15), 1, 0, 0])
    expect(table(cosine({ peak: 1, warmup: 10, steps: 11, floor: 0.25 }))).toEqual([0.1, 0.2, expect.closeTo(0.3, 15), 1, 0.25, 0.25])
    // Without a fall the peak holds to the last step.
    expect(table(warmupStableDecay({ peak: 1, steps: 10, tail: 0, floor: 0.5 }))).toEqual([1, 1, 1, 1, 0.5, 0.5])
    expect(table(warmupStableDecay({ peak: 1, steps: 10, tail: 1 }))).toEqual([1, 1, 1, 0, 0, 0])
    expect(table(warmupStableDecay({ peak: 1, warmup: 9, steps: 10, tail: 1 }))).toEqual([expect.closeTo(1 / 9, 15), expect.closeTo(2 / 9, 15), expect.closeTo(3 / 9, 15), 0, 0, 0])
    expect(table(warmupStableDecay({ peak: 1, steps: 0 }))).toEqual([0, 0, 0, 0, 0, 0])
    expect(inverseSqrt({ peak: 1 })(0)).toBe(Math.SQRT1_2)
    expect(table(constant(0))).toEqual([0, 0, 0, 0, 0, 0])
  })

  test('1/√ meets its warm-up, whatever its timescale', () => {
    for (const timescale of [1, 10, 1000]) {
      const of = inverseSqrt({ peak: 1, warmup: 10, timescale })
      expect(of(9)).toBe(1)
      expect(of(10)).toBeCloseTo(Math.sqrt(timescale / (timescale + 1)), 14)
    }
  })

  test('a length is apart from a run\'s: asked again, a step has the same rate', () => {
    const of = cosine(falling)
    expect([50, 500, 50].map(k => of(k))).toEqual([of(50), 0.1 * peak, of(50)])
  })
})

test('one of one\'s own is one formula', () => {
  const of = schedule({ name: 'harmonic', of: 2 }, (step, m) => m.div(m.number(2), m.add(step, 2)))
  expect([of(0), of(2), inProgram(of, 2)]).toEqual([1, 0.5, 0.5])
  expect(product(of, 3)(2)).toBe(1.5)
})

test.each<[string, () => unknown, string]>([
  ['a floor above the peak', () => cosine({ peak: 1, steps: 10, floor: 2 }), 'cosine: floor is 2'],
  ['no length', () => linear({ peak: 1 } as never), 'linear: steps is not given'],
  ['half a step', () => linear({ peak: 1, steps: 10.5 }), 'linear: steps is 10.5'],
  ['no number', () => linear({ peak: NaN, steps: 10 }), 'linear: peak is NaN'],
  ['a name that there is not', () => cosine({ peak: 1, steps: 10, warmUp: 3 } as never), 'cosine: there is no option "warmUp"'],
  ['what does not fit', () => warmupStableDecay({ peak: 1, warmup: 60, steps: 100, tail: 0.5 }), 'warmupStableDecay: a warm-up of 60 and a fall of 50 do not fit in 100 steps'],
  ['a tail of steps and a half', () => warmupStableDecay({ peak: 1, steps: 100, tail: 1.5 }), 'warmupStableDecay: tail is 1.5'],
  ['a shape that there is not', () => warmupStableDecay({ peak: 1, steps: 100, shape: 'sqrt' as never }), 'warmupStableDecay: shape is "sqrt"'],
  ['pieces that do not begin at 0', () => piecewise([{ from: 1, rate: 1 }]), 'piecewise: piece 0 begins at step 1'],
  ['pieces out of order', () => piecewise([{ from: 0, rate: 1 }, { from: 5, rate: 1 }, { from: 5, rate: 1 }]), 'piecewise: piece 2 begins at step 5'],
  ['no pieces', () => piecewise([]), 'piecewise is a list of 0'],
  ['a rate below 0', () => constant(-1), 'constant: the rate is -1'],
  ['a bare function', () => product(((step: number) => step) as never), 'product: a rate is a function'],
  ['nothing', () => cosine(undefined as never), 'cosine: undefined is given for the options'],
  ['a step that is text', () => cosine(falling)('3' as never), 'cosine: the step is 3'],
])('%s is refused', (_, make, what) => {
  let thrown: unknown
  try { make() } catch (e) { thrown = e }
  expect(thrown).toBeInstanceOf(UsageError)
  expect((thrown as UsageError).problem.what).toBe(what)
  expect((thrown as UsageError).problem.fix).not.toBe('')
})
