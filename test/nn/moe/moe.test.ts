/** Layers of experts against tables of tokens × experts × places, values and gradients; what they tell of their use; and what is refused. */
import { describe, expect, test } from 'vitest'
import { DimError } from '../../../src/core/errors.ts'
import { expectDims, grad, input, leavesOf, loose, where, iota, type AnyTensor, type Dim, type Scalar } from '../../../src/engine/index.ts'
import { balancedBias, balanceLoss, moe, zLoss, type Capacity, type MoeOptions, type Router } from '../../../src/nn/index.ts'
import { valuesOf, type T } from '../../graph/support.ts'
import { relativeError } from '../../support/values.ts'
import { activation, gshard, layerOf, operandsOf } from './oracle.ts'

const small = { batch: 2, seq: 8, embed: 4, experts: 4, expertHidden: 3 }
const layer = layerOf(small)
const { weights, x, moeDims, d } = layer
const { bias, ...unbiased } = weights
const inputs = [x, weights.router, bias, ...leavesOf(weights.experts).map(l => l.leaf)]
const operands = operandsOf(...inputs)
const options = (router: Router, capacity?: Capacity): MoeOptions => ({ router, activation, ...(capacity === undefined ? {} : { capacity }) })
const cotangent = operandsOf(input('cotangent', [d.batch, d.seq, d.embed]))

/** The values of two functions of tokens and weights, and their gradients. */
function agree(a: (x: T, w: typeof weights) => T, b: (x: T, w: typeof weights) => T): void {
  const both = [a, b].map(f => {
    const of = (p: { readonly x: T; readonly w: typeof weights }): Scalar => expectDims(f(p.x, p.w).mul(cotangent[0]?.tensor ?? 1).sum(), [])
    const { x: dx, w: { router, experts } } = grad(of)({ x: loose(x), w: weights })
    return valuesOf([f(loose(x), weights), dx, router, ...leavesOf(experts).map(l => l.leaf)], [...operands, ...cotangent])
  })
  both[0]?.forEach((values, i) => { expect(relativeError(values, both[1]?.[i] ?? []), `result ${i}`).toBeLessThan(1e-9) })
}
const routers: { readonly [name: string]: Router } = {
  'Switch': { chosen: 1 }, 'top 2': { chosen: 2 }, 'top 3, renormalised': { chosen: 3, renormalised: true },
  'sigmoid with a bias': { chosen: 2, scores: 'sigmoid', renormalised: true, scale: 2.5 },
}
describe.each(Object.entries(routers))('%s', (_, router) => {
  const own = (w: typeof weights): typeof unbiased & { readonly bias?: typeof bias } => (router.scores === 'sigmoid' ? w : { router: w.router, experts: w.experts })
  test('without drops: every token meets all of its experts', () => {
    agree((y, w) => moe(y, own(w), moeDims, options(router)).value, (y, w) => gshard(y, own(w), layer, { router }))
  })
  test.each([1, 2, 3])('%i places: who comes last to an expert gets nothing of it', slots => {
    agree((y, w) => moe(y, own(w), moeDims, options(router, { slots })).value, (y, w) => gshard(y, own(w), layer, { router }, slots))
  })
})
test('units without gates, too', () => {
  const plain = layerOf(small, false)
  const run = (f: T): readonly number[][] => valuesOf([f], operandsOf(plain.x, plain.weights.router, ...leavesOf(plain.weights.experts).map(l => l.leaf)))
  const w = { router: plain.weights.router, experts: plain.weights.experts }
  expect(relativeError(run(moe(loose(plain.x), w, plain.moeDims, options({ chosen: 2 })).value)[0] ?? [], run(gshard(loose(plain.x), w, plain, { router: { chosen: 2 } }))[0] ?? [])).toBeLessThan(1e-9)
})
test('groups of a line have places of their own, as lines have', () => {
  const lines = loose(x).split('seq', [{ name: 'part', size: 2 }, { name: 'seq', size: 4 }] as readonly Dim[])
  const apart = gshard(lines, unbiased, layer, { router: { chosen: 2 } }, 2).merge(['part', 'seq'], d.seq as Dim as Dim<never>)
  const found = moe(loose(x), unbiased, moeDims, { ...options({ chosen: 2 }, { slots: 2 }), groups: 2 }).value
  const [a = [], b = [], whole = []] = valuesOf([found, expectDims(apart, x.shape), moe(loose(x), unbiased, moeDims, options({ chosen: 2 }, { slots: 4 })).value], operands)
  expect(relativeError(a, b)).toBeLessThan(1e-9)
  expect(relativeError(whole, b)).toBeGreaterThan(1e-3)
})

test.each(['dropless', { slots: 2 }] as const)('told apart along the batch, use is that of each line: %j', capacity => {
  const [whole, lines] = [moe(loose(x), unbiased, moeDims, options({ chosen: 2 }, capacity)), moe(loose(x), unbiased, moeDims, { ...options({ chosen: 2 }, capacity), apart: ['batch'] })]
  const summed = leavesOf(lines.usage).map(({ leaf }) => loose(leaf).sum('batch'))
  const values = valuesOf([whole.value, ...leavesOf(whole.usage).map(l => loose(l.leaf)), lines.value, ...summed], operands)
  values.slice(0, values.length / 2).forEach((v, i) => { expect(relativeError(values[values.length / 2 + i] ?? [], v)).toBeLessThan(1e-12) })
  expect(lines.usage.load.shape.map(e => e.name).sort()).toEqual(['batch', 'routes'])
  expect(valuesOf([lines.usage.tokens], operands)).toEqual([[8, 8]])
})
test('what is joined cannot be told apart', () => {
  for (const name of ['seq', 'embed', 'nothing']) expect(() => moe(loose(x), unbiased, moeDims, { ...options({ chosen: 2 }), apart: [name] })).toThrow(`moe: apart has "${name}"`)
})

test('groups of experts: only the best groups are open', () => {
  for (const by of ['best', 'bestTwo'] as const) {
    const { value } = moe(loose(x), unbiased, moeDims, options({ chosen: 2, within: { groups: 2, chosen: 1, by } }))
    // The same of scores of which those of the worse group are struck out by hand.
    const logits = loose(x).dot(loose(weights.router), 'embed')
    const scores = loose(logits.sub(logits.max('routes')).exp())
    const [found, values] = valuesOf([value, scores.div(scores.sum('routes'))], operands)
    const rows = Array.from({ length: 16 }, (_, i) => (values ?? []).slice(4 * i, 4 * i + 4))
    const chosen = rows.map(row => {
      const of = [row.slice(0, 2), row.slice(2)].map(group => (by === 'best' ? Math.max(...group) : (group[0] ?? 0) + (group[1] ?? 0)))
      return (of[0] ?? 0) >= (of[1] ?? 0) ? [1, 1, 0, 0] : [0, 0, 1, 1]
    })
    // Both experts of the best group: what is left to choose is nothing, so the sum over them is the answer.
    const w = operandsOf(...leavesOf(weights.experts).map(l => l.leaf)).map(o => o.data)
    const [gate = [], up = [], down = []] = w
    const xs = operands[0]?.data ?? []
    const expected = rows.flatMap((row, t) => Array.from({ length: 4 }, (_, e) => row.reduce((sum, p, n) => {
      if (chosen[t]?.[n] !== 1) return sum
      return sum + p * Array.from({ length: 3 }, (_, h) => {
        const [g, u] = [gate, up].map(m => Array.from({ length: 4 }, (_, i) => Number(xs[4 * t + i]) * Number(m[(n * 3 + h) * 4 + i])).reduce((a, b) => a + b)) as [number, number]
        return g / (1 + Math.exp(-g)) * u * Number(down[(n * 4 + e) * 3 + h])
      }).reduce((a, b) => a + b)
    }, 0)))
    expect(relativeError(found ?? [], expected)).toBeLessThan(1e-9)
  }
})

describe('what a layer tells of its use', () => {
  const counts = iota(d.seq).less(5)
  test('each token is counted once for each of its experts, padding never', () => {
    for (const capacity of ['dropless', { slots: 1 }] as const) {
      const [all, some] = [moe(x, unbiased, moeDims, options({ chosen: 2 }, capacity)).usage, moe(x, unbiased, moeDims, { ...options({ chosen: 2 }, capacity), counts: loose(counts) }).usage]
      const [load = [], tokens, dropped, less = [], fewer] = valuesOf([all.load, all.tokens, all.dropped, some.load, some.tokens], operands)
      expect([load.reduce((a, b) => a + b), tokens?.[0]]).toEqual([32, 16])
      expect([less.reduce((a, b) => a + b), fewer?.[0]]).toEqual([20, 10])
      // One place of each expert in each of two lines.
      if (capacity === 'dropless') expect(dropped).toEqual([0])
      else expect(dropped?.[0]).toBeGreaterThanOrEqual(32 - 8)
    }
  })
  test('padding takes no place and gets no answer, and what it holds changes nothing', () => {
    const wild = where(counts, loose(x), 1e3)
    const [a, b] = [x, wild].map(y => {
      const { value, usage } = moe(loose(y), unbiased, moeDims, { ...options({ chosen: 2 }, { slots: 2 }), counts: loose(counts) })
      return [value, balanceLoss(usage), zLoss(usage), usage.load, usage.grouped]
    }).map(found => valuesOf(found, operands))
    expect(a).toEqual(b)
    const rows = Array.from({ length: 16 }, (_, t) => (a?.[0] ?? []).slice(4 * t, 4 * t + 4))
    expect(rows.filter((_, t) => t % 8 >= 5).flat().every(n => n === 0)).toBe(true)
  })
  test('losses are those of the formulas', () => {
    const { usage } = moe(x, unbiased, moeDims, options({ chosen: 2 }))
    const logits = loose(x).dot(loose(weights.router), 'embed')
    const [balance, z, grouped, raw = []] = valuesOf([balanceLoss(usage), zLoss(usage), usage.grouped.div(usage.tokens), logits], operands)
    const rows = Array.from({ length: 16 }, (_, i) => raw.slice(4 * i, 4 * i + 4))
    const soft = rows.map(row => { const e = row.map(Math.exp); const s = e.reduce((a, b) => a + b); return e.map(n => n / s) })
    const best = soft.map(row => row.map((_, i) => i).sort((i, j) => (row[j] ?? 0) - (row[i] ?? 0)).slice(0, 2))
    const of = (among: readonly number[]): number => 4 * [0, 1, 2, 3].reduce((sum, e) => sum + among.filter(t => best[t]?.includes(e)).length / among.length * among.reduce((s, t) => s + (soft[t]?.[e] ?? 0), 0) / among.length, 0)
    const every = rows.map((_, i) => i)
    expect(balance?.[0]).toBeCloseTo(of(every), 9)
    expect(grouped?.[0]).toBeCloseTo((of(every.slice(0, 8)) + of(every.slice(8))) / 2, 9)
    expect(z?.[0]).toBeCloseTo(rows.reduce((s, row) => s + Math.log(row.map(Math.exp).reduce((a, b) => a + b)) ** 2, 0) / 16, 9)
  })
  test('biases rise where few tokens go and fall where many do', () => {
    const load = input('load', [d.routes])
    const [found] = valuesOf([balancedBias(bias, load, 0.25)], [{ tensor: bias as AnyTensor as T, data: [1, 1, 1, 1] }, { tensor: load as AnyTensor as T, data: [9, 4, 0, 7] }])
    expect(found).toEqual([0.75, 1.25, 1.25, 0.75])
    expect(() => balancedBias(bias, load, -1)).toThrow(DimError)
  })
})

describe('experts that choose', () => {
  test('take the tokens with the highest scores, and add up', () => {
    const found = moe(x, unbiased, moeDims, options({ chosen: 2, by: 'experts' }, { factor: 1 }))
    const [value = [], load, scores = [], ...answers] = valuesOf([found.value, found.usage.load, ...(() => {
      const logits = loose(x).dot(loose(weights.router), 'embed')
      const e = logits.sub(logits.max('routes')).exp()
      const all = activation(loose(x).dot(loose(weights.experts.gate as AnyTensor), 'embed')).mul(loose(x).dot(loose(weights.experts.up), 'embed')).dot(loose(weights.experts.down), 'expertHidden')
      return [e.div(e.sum('routes')), expectDims(all, [d.batch, d.seq, d.experts, d.embed] as readonly Dim[])]
    })()], operands)
    // 2 of 8 tokens × 4 experts: 4 places each, in each of two lines.
    expect(load).toEqual([8, 8, 8, 8])
    const all = answers[0] ?? []
    const expected = new Array<number>(64).fill(0)
    for (const line of [0, 1]) {
      for (const n of [0, 1, 2, 3]) {
        const order = [0, 1, 2, 3, 4, 5, 6, 7].sort((a, b) => (scores[(line * 8 + b) * 4 + n] ?? 0) - (scores[(line * 8 + a) * 4 + n] ?? 0)).slice(0, 4)
        for (const t of order) for (const e of [0, 1, 2, 3]) expected[(line * 8 + t) * 4 + e] = (expected[(line * 8 + t) * 4 + e] ?? 0) + (scores[(line * 8 + t) * 4 + n] ?? 0) * (all[((line * 8 + t) * 4 + n) * 4 + e] ?? 0)
      }
    }
    expect(relativeError(value, expected)).toBeLessThan(1e-9)
  })
  test('take every token where there are places for all, and then the sum is that of dense layers', () => {
    agree((y, w) => moe(y, { router: w.router, experts: w.experts }, moeDims, options({ chosen: 4, by: 'experts' }, { factor: 1 })).value, (y, w) => gshard(y, { router: w.router, experts: w.experts }, layer, { router: { chosen: 4 } }))
  })
})

describe('what no layer of experts can have is refused', () => {
  const message = (change: object, dimsGiven: object = {}): string => {
    try { moe(x, unbiased, { ...moeDims, ...dimsGiven } as typeof moeDims, { ...options({ chosen: 2 }), ...change } as MoeOptions); return 'none' } catch (e) { return e instanceof DimError ? e.problem.what : String(e) }
  }
  test.each([
    [{ router: { chosen: 5 } }, 'moe: router.chosen is 5'],
    [{ router: { chosen: 0 } }, 'moe: router.chosen is 0'],
    [{ router: { chosen: 1.5 } }, 'moe: router.chosen is 1.5'],
    [{ router: { chosen: 2, scale: NaN } }, 'moe: router.scale is NaN'],
    [{ capacity: { factor: 0 } }, 'moe: capacity.factor is 0'],
    [{ capacity: { factor: -1 } }, 'moe: capacity.factor is -1'],
    [{ capacity: { slots: 0 } }, 'moe: capacity.slots is 0'],
    [{ groups: 3 }, 'moe: groups is 3, and there are 8 tokens along "seq"'],
    [{ router: { chosen: 2, by: 'experts' } }, 'moe: experts choose tokens, and it is not said how many'],
    [{ router: { chosen: 1, within: { groups: 3, chosen: 1, by: 'best' } } }, 'moe: router.within.groups is 3'],
    [{ router: { chosen: 1, within: { groups: 2, chosen: 3, by: 'best' } } }, 'moe: router.within.chosen is 3'],
    [{ router: { chosen: 1, within: { groups: 4, chosen: 1, by: 'bestTwo' } } }, 'moe: groups of 1 have no best two experts'],
    [{ router: { chosen: 3, within: { groups: 2, chosen: 1, by: 'best' } } }, 'moe: 1 groups of 2 experts have fewer than 3'],
  ] as const)('%j', (change, what) => { expect(message(change)).toBe(what) })
  test('and dims that do not fit', () => {
    expect(message({}, { routes: { name: 'routes', size: 5 } })).toBe('moe: the router tells 5 experts apart, and there are 4')
    expect(message({}, { tokens: { name: 'time', size: 8 } })).toContain('time')
  })
})
