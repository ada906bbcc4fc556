/** Where the time of a run goes: of one start, and of several as one. */
import { afterEach, expect, test, vi } from 'vitest'
import { Clock, joined } from '../../src/train/clock.ts'

afterEach(() => { vi.useRealTimers() })
const none = { steps: 0, dataWait: 0, starting: 0, evaluation: 0, checkpoints: 0, restoring: 0, lost: 0 }

test('work is timed, what it throws included', async () => {
  vi.useFakeTimers({ toFake: ['performance'], now: 0 })
  const clock = new Clock()
  const result = await clock.time('evaluation', () => { vi.advanceTimersByTime(30); return Promise.resolve('done') })
  await expect(clock.time('checkpoints', () => { vi.advanceTimersByTime(5); return Promise.reject(new Error('full')) })).rejects.toThrow('full')
  await clock.time('evaluation', () => { vi.advanceTimersByTime(2); return Promise.resolve() })
  clock.add('steps', 100)
  vi.advanceTimersByTime(200)
  expect(result).toBe('done')
  expect(clock.spent).toEqual({ ...none, evaluation: 32, checkpoints: 5, steps: 100 })
  expect(clock.elapsed).toBe(237)
})

test('steps that are taken back are lost, and took no more time for it', () => {
  vi.useFakeTimers({ toFake: ['performance'], now: 0 })
  const clock = new Clock()
  clock.add('steps', 50)
  vi.advanceTimersByTime(60)
  clock.lose(20)
  expect(clock.spent).toEqual({ ...none, steps: 30, lost: 20 })
  expect(joined([clock])).toEqual({ ...none, steps: 30, lost: 20, other: 10, starts: 1 })
})

test('what the process before lost is time of the run that no clock of it told', () => {
  vi.useFakeTimers({ toFake: ['performance'], now: 0 })
  const clock = new Clock()
  clock.lostBefore(70)
  clock.add('steps', 25)
  vi.advanceTimersByTime(40)
  expect(clock.elapsed).toBe(110)
  expect(joined([clock])).toEqual({ ...none, steps: 25, lost: 70, other: 15, starts: 1 })
})

test('several starts are one run', () => {
  const spent = { steps: 10, dataWait: 1, starting: 2, evaluation: 3, checkpoints: 4, restoring: 5, lost: 6 }
  const found = joined([{ spent, elapsed: 40 }, { spent: { ...none, steps: 7 }, elapsed: 8 }])
  expect(found).toEqual({ ...spent, steps: 17, other: 48 - 38, starts: 2 })
  const { starts: _, ...all } = found
  expect(Object.values(all).reduce((a, b) => a + b)).toBe(48)
  // Clocks that do not agree make no negative time.
  expect(joined([{ spent: { ...none, steps: 7 }, elapsed: 6 }]).other).toBe(0)
  expect(joined([])).toEqual({ ...none, other: 0, starts: 0 })
})
