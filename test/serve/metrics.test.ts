/** Metrics as sacrebleu, SQuAD's own script, scikit-learn and SciPy compute them (test/oracle/measure.py), and at their edges. */
import { describe, expect, it } from 'vitest'
import { tokens13a, bleu, bleuSums } from '../../src/serve/metrics/bleu.ts'
import { chrf, chrfSums } from '../../src/serve/metrics/chrf.ts'
import { classMetrics } from '../../src/serve/metrics/classes.ts'
import { pearson, ranks } from '../../src/serve/metrics/correlation.ts'
import { sharesOf } from '../../src/serve/tasks/classify.ts'
import { metricDifferences, readJudged } from './judged.ts'

it('are those of others', () => {
  const found = metricDifferences(readJudged())
  expect(found.length).toBeGreaterThan(35)
  expect(Math.max(...found)).toBeLessThan(1e-12)
})

describe('at their edges', () => {
  it('BLEU of too few words is 0, of the same ones 100', () => {
    expect(bleu(bleuSums('one two three', ['one two three']))).toBe(0)
    expect(bleu(bleuSums('one two three four', ['one two three four', 'x']))).toBeCloseTo(100, 10)
    expect(tokens13a('1,000.5 a.b -- c-d 3-4')).toEqual(['1,000.5', 'a', '.', 'b', '--', 'c-d', '3', '-', '4'])
  })
  it('chrF counts characters of all planes once, and none of white space', () => {
    expect(chrf(chrfSums('🙂 🙃', ['🙂🙃']))).toBeCloseTo(100, 10)
    expect(chrf(chrfSums('', ['x']))).toBe(0)
  })
  it('F1 leaves out classes that are neither right nor told', () => {
    expect(classMetrics([[2, 0, 0], [1, 1, 0], [0, 0, 0]])).toEqual({ accuracy: 0.75, macroF1: (0.8 + 2 / 3) / 2 })
  })
  it('ties share their ranks, and what is constant has no correlation', () => {
    expect(ranks([3, 1, 3, 2, 3])).toEqual([4, 1, 4, 2, 4])
    expect(pearson([1, 2, 3], [5, 5, 5])).toBeNaN()
  })
  it('two texts lose tokens from the longer one', () => {
    expect([sharesOf(3, 4, 10), sharesOf(2, 20, 10), sharesOf(20, 2, 10), sharesOf(20, 30, 11), sharesOf(30, 20, 11), sharesOf(5, 6, 10)]).toEqual([[3, 4], [2, 8], [8, 2], [5, 6], [6, 5], [5, 5]])
  })
})
