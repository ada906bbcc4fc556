/** What optimizers refuse, and in which words; and what orthogonalized matrices are. */
import { describe, expect, test } from 'vitest'
import { DimError, UsageError } from '../../src/core/errors.ts'
import { dims, full, input, param, type Tensor, type Tree } from '../../src/engine/index.ts'
import {
  adafactor, adagrad, adamw, applyUpdates, averageParameters, averagesIn, byParameter, chain, clipByGlobalNorm, clipByRms, clipByValue, freeze, lamb, lion, muon, orthogonalized, rmsprop, scaleByAverage, scaleByParameter, scaleByRate, scaleByMomentum, scaleByTrustRatio, sgd, transformation, under, withStateDtype,
} from '../../src/optim/index.ts'
import { given, valueOfTensor } from '../graph/support.ts'

const d = dims({ layers: 2, in: 4, out: 6, heads: 2 })
const params = { w: param('w', [d.in, d.out]), blocks: { bias: param('bias', [d.out]) } }
const adam = adamw({ rate: 1, weightDecay: 0 })
const slots = adam.slots(params)
const step = full(0, [])
const wrong = (x: unknown): never => x as never

test.each<[string, () => unknown, typeof DimError | typeof UsageError, string]>([
  ['no rate', () => adamw(wrong({})), UsageError, 'adamw: rate is not given'],
  ['a rate of text', () => adamw({ rate: wrong('1e-3') }), UsageError, 'adamw: rate is "1e-3"'],
  ['a rate below 0', () => sgd({ rate: -1 }), UsageError, 'sgd: rate is -1'],
  ['a bare function as a rate', () => sgd({ rate: wrong(() => 1) }), UsageError, 'sgd: rate is a function'],
  ['a beta of 1', () => adamw({ rate: 1, beta2: 1 }), UsageError, 'adamw: beta2 is 1'],
  ['a beta that is NaN', () => lion({ rate: 1, beta1: NaN }), UsageError, 'lion: beta1 is NaN'],
  ['an epsilon below 0', () => lamb({ rate: 1, epsilon: -1e-6 }), UsageError, 'lamb: epsilon is -0.000001'],
  ['an option that there is not', () => adamw(wrong({ rate: 1, beta_1: 0.9 })), UsageError, 'adamw: there is no option "beta_1"'],
  ['a rate for what takes none', () => lion(wrong({ rate: 1, epsilon: 1 })), UsageError, 'lion: there is no option "epsilon"'],
  ['a root that there is not', () => rmsprop({ rate: 1, root: wrong('within') }), UsageError, 'rmsprop: root is "within"'],
  ['a sum below 0', () => adagrad({ rate: 1, initial: -1 }), UsageError, 'adagrad: initial is -1'],
  ['dims that there are not', () => adafactor({ dims: wrong('first') }), UsageError, 'adafactor: dims is "first"'],
  ['a size of half a dim', () => adafactor({ atLeast: 0.5 }), UsageError, 'adafactor: atLeast is 0.5'],
  ['stacked dims that are no list', () => lamb({ rate: 1, stacked: wrong('layers') }), UsageError, 'lamb: stacked is "layers"'],
  ['Muon without its matrices', () => muon(wrong({ rate: 1, adamw: { rate: 1 } })), UsageError, 'muon: matrices is not given'],
  ['Muon with a wrong AdamW', () => muon({ rate: 1, matrices: [], adamw: wrong({ rate: 1, beta3: 1 }) }), UsageError, 'adamw: there is no option "beta3"'],
  ['a limit of 0', () => clipByGlobalNorm(0), UsageError, 'clipByGlobalNorm: the limit is 0'],
  ['no limit', () => clipByValue(wrong(undefined)), UsageError, 'clipByValue: the limit is undefined'],
  ['an infinite limit', () => clipByRms(Infinity), UsageError, 'clipByRms: the limit is Infinity'],
  ['momentum of 1', () => scaleByMomentum({ momentum: 1 }), UsageError, 'scaleByMomentum: momentum is 1'],
  ['an average of all', () => scaleByAverage(1), UsageError, 'scaleByAverage: beta is 1'],
  ['a share that is no function', () => scaleByParameter(wrong(0.5)), UsageError, 'scaleByParameter is 0.5'],
  ['what is no transformation', () => chain(clipByGlobalNorm(1), wrong('adamw')), UsageError, 'chain: a part is "adamw"'],
  ['one slot twice', () => chain(adam, averageParameters(), adamw({ rate: 1 })), UsageError, 'chain: two of its parts have a slot "first"'],
  ['a name that can be none', () => under('a.b', adam), UsageError, 'under: the name is "a.b"'],
  ['slots of whole numbers', () => withStateDtype(adam, 'i32'), DimError, 'withStateDtype: "i32" is no dtype of floats'],
  ['frozen by text', () => freeze(wrong('w'), adam), UsageError, 'freeze: the parameters is "w"'],
  ['nothing to choose from', () => byParameter(wrong(() => ''), {}), UsageError, 'byParameter: there is nothing to choose from'],
  // Once there are parameters:
  ['a frozen path that there is not', () => freeze(['block'], adam).slots(params), UsageError, 'freeze: there is no parameter "block"'],
  ['a choice that is none', () => freeze(wrong(() => 1), adam).slots(params), UsageError, 'freeze: what is chosen of "w" is 1'],
  ['a label that there is not', () => byParameter(wrong(() => 'lion'), { adam }).slots(params), UsageError, 'byParameter: "w" is to go by "lion", which there is not'],
  ['a share below 0', () => scaleByParameter(() => -1).update(params, {}, params, step), UsageError, 'scaleByParameter: what is given for "w" is -1'],
  ['a decay that is NaN', () => sgd({ rate: 1, weightDecay: () => NaN }).update(params, { momentum: {} }, params, step), UsageError, 'addDecayedWeights: what is given for "w" is NaN'],
  ['a vector for Muon', () => muon({ rate: 1, matrices: ['blocks'], adamw: { rate: 1 } }).slots(params), DimError, 'muon: parameter "blocks.bias" is no matrix'],
  ['a matrix of three dims for Muon', () => muon({ rate: 1, matrices: ['q'], adamw: { rate: 1 } }).slots({ q: param('q', [d.layers, d.in, d.heads, d.out]) }), DimError, 'muon: parameter "q" has 3 dims, of which some are inputs'],
  ['inputs that it lacks', () => muon({ rate: 1, matrices: ['w'], inputs: () => ['heads'], adamw: { rate: 1 } }).slots(params), DimError, 'muon: inputs: the tensor has no dim "heads"'],
  ['nothing but inputs', () => muon({ rate: 1, matrices: ['w'], inputs: p => p.shape, adamw: { rate: 1 } }).slots(params), DimError, 'muon: parameter "w" has nothing but inputs'],
  ['two parameters of one path', () => adam.slots({ 'a.b': param('x', []), a: { b: param('y', []) } }), DimError, 'an optimizer: two parameters have the path "a.b"'],
  ['a parameter within another', () => adam.slots({ 'a.b': param('x', []), a: param('y', []) }), DimError, 'an optimizer: two parameters have the path "a"'],
  ['whole numbers as parameters', () => adam.slots({ n: input('n', [], 'i32') }), DimError, 'an optimizer: parameter "n" is i32, which has no gradient'],
  ['gradients of another tree', () => adam.update(wrong({ w: params.w }), slots, params, step), DimError, 'two trees of tensors have different forms'],
  ['a gradient of other dims', () => adam.update(wrong({ w: params.w.sum(d.in), blocks: params.blocks }), slots, params, step), DimError, 'adamw: the gradient of "w" has other dims than expected'],
  ['slots of another optimizer', () => adam.update(params, wrong(lion({ rate: 1 }).slots(params)), params, step), DimError, 'adamw: the slots are not those of this optimizer for these parameters'],
  ['slots of other parameters', () => adam.update(params, adam.slots({ w: params.w }), params, step), DimError, 'adamw: the slots are not those of this optimizer for these parameters'],
  ['slots of other dims', () => adam.update(params, adam.slots({ w: param('w', [d.in]), blocks: params.blocks }), params, step), DimError, 'adamw: slot "first.w" has other dims than expected'],
  ['decay of what was not declared', () => adamw({ rate: 1 }).update({ w: input('w', []) }, adam.slots({ w: input('w', []) }), { w: input('w', []) }, step), DimError, 'decaysOf: "w" is no parameter'],
  ['averages that there are not', () => averagesIn(params, slots), DimError, 'averagesIn: the slots hold 0 averages of parameters'],
  ['updates of another tree', () => applyUpdates(params, wrong({ w: params.w })), DimError, 'two trees of tensors have different forms'],
  ['a rule that forgets a slot', () => transformation<{ readonly s: Tensor<string> }>({ description: { name: 'mine' }, declare: () => ({ s: { shape: [], dtype: 'f32', init: 0 } }), apply: updates => ({ updates, slots: wrong({}) }) }).update(params, { s: full(0, []) }, params, step), DimError, 'mine: what its rule returns: the slots are not those of this optimizer for these parameters'],
  ['a slot that begins as nothing', () => transformation<{ readonly s: Tensor<string> }>({ description: { name: 'mine' }, declare: () => ({ s: { shape: [], dtype: 'f32', init: { param: 'v' } } }), apply: (updates, slots) => ({ updates, slots }) }).init(params), UsageError, 'mine: a slot begins as parameter "v", which there is not'],
])('%s is refused', (_, make, kind, what) => {
  let thrown: unknown
  try { make() } catch (e) { thrown = e }
  expect(thrown).toBeInstanceOf(kind)
  expect((thrown as DimError).problem.what).toBe(what)
  expect((thrown as DimError).problem.fix ?? '').not.toBe('')
})

test('what was left out or undefined has its default', () => {
  expect(adamw({ rate: 1, ...{ beta1: undefined } as object }).description).toEqual(adamw({ rate: 1 }).description)
  expect(scaleByRate(0.5).rate?.(3)).toBe(0.5)
  expect(scaleByTrustRatio().description).toEqual({ name: 'scaleByTrustRatio', stacked: ['layers'] })
})

describe('orthogonalized', () => {
  /** Eigenvalues of a symmetric matrix, by Jacobi's rotations. */
  function eigenvalues(of: readonly (readonly number[])[]): number[] {
    const a = of.map(row => [...row])
    const n = a.length
    const get = (i: number, j: number): number => a[i]?.[j] ?? 0
    const set = (i: number, j: number, x: number): void => { (a[i] ?? [])[j] = x }
    for (let sweep = 0; sweep < 60; sweep++) {
      for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
        const angle = 0.5 * Math.atan2(2 * get(p, q), get(q, q) - get(p, p))
        const [c, s] = [Math.cos(angle), Math.sin(angle)]
        for (let k = 0; k < n; k++) { const [x, y] = [get(k, p), get(k, q)]; set(k, p, c * x - s * y); set(k, q, s * x + c * y) }
        for (let k = 0; k < n; k++) { const [x, y] = [get(p, k), get(q, k)]; set(p, k, c * x - s * y); set(q, k, s * x + c * y) }
      }
    }
    return a.map((_, i) => get(i, i))
  }
  const random = (n: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(12.9898 * (i + 1)) * 43758.5453 % 1)

  test.each<[string, Tensor<string>, string[], string[]]>([
    ['wide', input('g', [d.in, d.out]) as Tensor<string>, ['in'], ['out']],
    ['tall', input('g', [d.out, d.in]) as Tensor<string>, ['out'], ['in']],
    ['of several dims a side', input('g', [d.heads, d.in, d.out]) as Tensor<string>, ['in'], ['heads', 'out']],
    ['one of whose sides is a number', input('g', [dims({ one: 1 }).one, d.out]) as Tensor<string>, ['one'], ['out']],
  ])('%s: singular values are about 1', (_, g, rows, columns) => {
    const size = (names: readonly string[]): number => g.shape.filter(s => names.includes(s.name)).reduce((n, s) => n * s.size, 1)
    const x = orthogonalized(g, rows, columns)
    const short = size(rows) <= size(columns) ? rows : columns
    const long = short === rows ? columns : rows
    const across = short.reduce((y, name) => y.rename(name, `${name}2`), x)
    const square = x.dot(across, ...long)
    const gram = valueOfTensor(square, { ...given(g.shape, random(size(rows) * size(columns))), tensor: g })
    const n = size(short)
    expect(square.shape.reduce((m, s) => m * s.size, 1)).toBe(n * n)
    const values = eigenvalues(Array.from({ length: n }, (_, i) => gram.slice(i * n, (i + 1) * n))).map(Math.sqrt)
    for (const value of values) { expect(value).toBeGreaterThan(0.5); expect(value).toBeLessThan(1.5) }
  })
  test('nothing stays nothing', () => {
    const g = given([d.in, d.out], new Array<number>(24).fill(0))
    expect(valueOfTensor(orthogonalized(g.tensor, ['in'], ['out']), g)).toEqual(new Array<number>(24).fill(0))
  })
})

test('what holds no parameters is an optimizer\'s, too', () => {
  const empty: Tree = {}
  expect(adam.update(empty, adam.slots(empty), empty, step)).toEqual({ updates: {}, slots: { first: {}, second: {} } })
})
