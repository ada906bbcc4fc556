/** Meshes and layouts that cannot be: each refused before anything is compiled, in words that name the tensor, the rule and the line. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { LayoutError } from '../../src/core/errors.ts'
import type { Mesh } from '../../src/core/mesh.ts'
import {
  accumulate, concat, dim, dims, expectDims, full, index, input, loose, mesh, param, plan, printLocal, scan, slice, slot, stack, unstack, valueAndGrad, type AnyTensor, type Layouts, type Tensor,
} from '../../src/engine/index.ts'
import { dequantize, quantize, sumPool } from '../../src/nn/index.ts'

type T = Tensor<string>
const source = readFileSync(fileURLToPath(import.meta.url), 'utf8').split('\n')
const d = dims({ batch: 8, seq: 6, embed: 16, hidden: 32, l: 4, other: 8 })
const { batch, seq, embed, hidden, l } = d
const grid = mesh({ batch: 2, model: 4 })
const x = input('x', [batch, seq, embed]) as T
const w = param('w', [embed, hidden]) as T

/** The message, its line in this file replaced by what stands there from the column on. */
function refusal(f: (...args: T[]) => AnyTensor, args: readonly T[], layouts: Layouts, sizes: Mesh = grid): string {
  try {
    plan(f as (...args: readonly T[]) => AnyTensor, args, { mesh: sizes, ...layouts })
  } catch (e) {
    if (!(e instanceof LayoutError)) throw e
    return e.message.replace(/test\/partition\/legality\.test\.ts:(\d+):(\d+)/, (_, line: string, column: string) => (source[Number(line) - 1] ?? '').slice(Number(column) - 1))
  }
  return 'legal'
}
/** Where no op is to blame, the error names the line that asks for the program. */
const place = '\n  at   plan(f as (...args: readonly T[]) => AnyTensor, args, { mesh: sizes, ...layouts })'
const same = (x: T): T => x.exp()

describe('rules that name what is not there', () => {
  test('an unknown dim, with the nearest name', () => {
    expect(refusal(same, [x], { layout: { bacth: 'batch' } })).toBe(
      'LayoutError[unknown-dim] the layout names dim "bacth", which the model does not have\n  fix  did you mean "batch"? there are: batch, seq, embed' + place)
    expect(refusal(same, [x], { layout: {}, params: { hidden: 'batch' } })).toContain('[unknown-dim] the layout names dim "hidden"')
    expect(refusal(same, [x], { layout: {}, state: { hidden: 'batch' } })).toContain('[unknown-dim] the layout names dim "hidden"')
  })
  test('an unknown axis, with the nearest name', () => {
    expect(refusal(same, [x], { layout: { batch: 'modle' } })).toBe(
      'LayoutError[unknown-axis] the mesh has no axis "modle"\n  fix  did you mean "model"? there are: batch, model' + place)
    expect(refusal(same, [x], { layout: { batch: ['batch', 'data'] } })).toContain('the mesh has no axis "data"\n  fix  there are: batch, model')
    expect(refusal(same, [x], { layout: { batch: 'batch' } }, mesh({}))).toContain('the mesh has no axis "batch"\n  fix  there are none')
  })
  test('a dim of another program of the same model may be named', () => {
    expect(plan(same, [x], { mesh: grid, layout: { hidden: 'model' }, dims: d }).collectives).toEqual([])
  })
})

describe('rules that contradict', () => {
  test('one axis twice in a dim', () => {
    expect(refusal(same, [x], { layout: { batch: ['batch', 'batch'] } })).toBe(
      'LayoutError[axis-twice-in-dim] the layout gives dim "batch" an axis twice: batch, batch\n  fix  name each axis once' + place)
  })
  test('one axis on two dims of an argument', () => {
    expect(refusal(same, [x], { layout: { batch: ['batch', 'model'], embed: 'model' } })).toBe([
      'LayoutError[axis-used-twice] x: two dims lie on mesh axis "model"',
      '  tensor  batch=8 seq=6 embed=16',
      '  mesh    batch=2 × model=4',
      '  rules   batch → batch, model, embed → model',
      '  fix     drop the rule of "batch" or of "embed", or rename one of them before this op',
      '  at      input(\'x\', [batch, seq, embed]) as T',
    ].join('\n'))
  })
  test('one axis on two dims of a result, with the line that makes it', () => {
    const product = (x: T, w: T): T => x.dot(w, embed)
    expect(refusal(product, [x, w], { layout: { batch: 'model', hidden: 'model' } })).toBe([
      'LayoutError[axis-used-twice] dot: two dims lie on mesh axis "model"',
      '  tensor  batch=8 seq=6 hidden=32',
      '  mesh    batch=2 × model=4',
      '  rules   batch → model, hidden → model',
      '  fix     drop the rule of "batch" or of "hidden", or rename one of them before this op',
      '  at      dot(w, embed)',
    ].join('\n'))
  })
  test('the same inside a loop', () => {
    const loop = (x: T): T => scan(l, x, {}, (c: T) => {
      const scores = c.dot(c.rename(batch, 'other'), embed)
      return [c.add(scores.sum('other').sum(seq)), {}]
    })[0]
    expect(refusal(loop, [x], { layout: { batch: 'model', other: 'model' } })).toMatch(/\[axis-used-twice\] dot: (.|\n)* at {6}dot\(c\.rename\(batch, 'other'\), embed\)$/)
  })
  test('parameters and optimizer slots by their own rules', () => {
    const s = slot('first.w', [embed, hidden]) as T
    const product = (x: T, w: T): T => x.dot(w, embed)
    expect(refusal(product, [x, w], { layout: { hidden: 'model' }, params: { embed: 'model' } })).toMatch(/\[axis-used-twice\] w: (.|\n)*at {6}param\('w'/)
    expect(refusal((s: T) => s.relayout('state').neg(), [s], { layout: { hidden: 'model' }, state: { embed: 'model' } })).toMatch(/\[axis-used-twice\] first\.w: (.|\n)*at {6}slot\('first\.w'/)
    // A role's rules say nothing of other tensors.
    expect(refusal(same, [input('y', [embed, hidden]) as T], { layout: { hidden: 'model' }, params: { embed: 'model' } })).toBe('legal')
    // `undefined` takes a rule back.
    expect(refusal(product, [x, w], { layout: { hidden: 'model' }, params: { hidden: undefined, embed: 'model' } })).toBe('legal')
  })
})

describe('sizes', () => {
  test('a size that the axis does not divide', () => {
    expect(refusal(same, [x], { layout: { seq: 'model' } })).toBe([
      'LayoutError[does-not-divide] x: dim "seq" of size 6 cannot be cut into 4 equal parts',
      '  tensor  batch=8 seq=6 embed=16',
      '  mesh    batch=2 × model=4',
      '  rules   seq → model',
      '  fix     make "seq" a multiple of 4, or use a smaller axis',
      '  at      input(\'x\', [batch, seq, embed]) as T',
    ].join('\n'))
    expect(refusal(same, [x], { layout: { batch: ['batch', 'model'] } })).toBe('legal')
    expect(refusal(same, [x], { layout: { batch: ['batch', 'model'] } }, mesh({ batch: 4, model: 4 }))).toContain('"batch" of size 8 cannot be cut into 16 equal parts')
  })
  test('a mesh axis of no size', () => {
    const message = (f: () => unknown): string => { try { f() } catch (e) { return e instanceof LayoutError ? e.message : String(e) } return 'legal' }
    for (const size of [0, -1, 1.5, NaN]) {
      expect(message(() => mesh({ model: size }))).toContain(`LayoutError[axis-size] mesh axis "model" has size ${size}\n  fix  a size is a whole number, at least 1\n  at   test/partition/legality.test.ts`)
    }
  })
  test('an axis of size 1 splits nothing, so it may be used twice', () => {
    expect(refusal(same, [x], { layout: { batch: 'model', seq: 'model' } }, mesh({ model: 1 }))).toBe('legal')
  })
})

describe('relayouts', () => {
  const to = (rules: { readonly [dim: string]: string | readonly string[] }) => (x: T): T => x.relayout(rules)
  const line = '  at      relayout(rules)'
  test('are checked like layouts, with their own line', () => {
    expect(refusal(to({ seq: 'modle' }), [x], { layout: {} })).toBe('LayoutError[unknown-axis] the mesh has no axis "modle"\n  fix  did you mean "model"? there are: batch, model\n  at   relayout(rules)')
    expect(refusal(to({ hiden: 'model' }), [x], { layout: {} })).toBe('LayoutError[unknown-dim] relayout names dim "hiden", which the tensor does not have\n  fix  there are: batch, seq, embed\n  at   relayout(rules)')
    expect(refusal(to({ embed: ['model', 'model'] }), [x], { layout: {} })).toContain('[axis-twice-in-dim] relayout gives dim "embed" an axis twice')
    expect(refusal(to({ seq: 'model' }), [x], { layout: {} })).toMatch(new RegExp(`^LayoutError.does-not-divide. relayout: dim "seq" of size 6(.|\n)*${line.replace(/[()]/g, '\\$&')}$`))
    expect(refusal(to({ embed: 'model', batch: 'model' }), [x], { layout: {} })).toContain('[axis-used-twice] relayout: two dims lie on mesh axis "model"')
    expect(refusal(x => x.relayout('state'), [x], { layout: { embed: 'model' }, state: { batch: 'model' } })).toMatch(/\[axis-used-twice\] relayout: (.|\n)*at {6}relayout\('state'\)/)
  })
})

describe('named layouts', () => {
  const { batch, seq, embed } = dims({ batch: 8, seq: 8, embed: 16 })
  const x = input('x', [batch, seq, embed]) as T
  const norm = (x: T): T => x.relayout('residual').exp()
  const where = (layouts: NonNullable<Layouts['layouts']>, more: object = {}): Layouts => ({ layout: { batch: 'batch' }, layouts, ...more })
  const split = (l: Layouts, f = norm): string => printLocal(plan(f as (...args: readonly T[]) => AnyTensor, [x], { mesh: grid, ...l }).local).split('\n').at(-2) ?? ''
  const message = (l: Layouts, f: (...args: T[]) => AnyTensor = norm): string => refusal(f, [x], l)

  test('start from the one that they name, else from what the model says, else from compute', () => {
    expect(split(where({ residual: { seq: 'model' } }))).toContain('[batch=4 seq=2 embed=16]')
    expect(split(where({ residual: { from: 'compute', seq: 'model' } }))).toContain('[batch=4 seq=2 embed=16]')
    expect(split(where({ residual: { from: 'params', seq: 'model' } }, { params: { batch: undefined } }))).toContain('[batch=8 seq=2 embed=16]')
    expect(split(where({ residual: { from: 'scores', seq: 'model' }, scores: { batch: undefined } }, { uses: { scores: 'compute' } }))).toContain('[batch=8 seq=2 embed=16]')
    expect(split(where({ residual: {} }, { params: { embed: 'model' }, uses: { residual: 'params' } }))).toContain('[batch=4 seq=8 embed=4]')
    expect(split(where({ residual: { seq: 'model' } }, { params: { from: 'residual' } }), x => x.relayout('params').exp().add(x.relayout('residual')))).toContain('[batch=4 seq=2 embed=16]')
  })
  test('that a recipe does not speak of are what the model says, or an error', () => {
    expect(split(where({}), x => x.relayout('residual', 'compute').exp())).toContain('[batch=4 seq=8 embed=16]')
    expect(split(where({}, { params: { seq: 'model' } }), x => x.relayout('residual', 'params').exp())).toContain('[batch=4 seq=2 embed=16]')
    expect(split(where({}, { uses: { residual: 'compute' } }))).toContain('[batch=4 seq=8 embed=16]')
    expect(message(where({}))).toBe('LayoutError[unknown-layout] relayout: there is no layout "residual"\n  fix  there are: compute, params, state, gradients\n  at   relayout(\'residual\').exp()')
    expect(message(where({}), x => x.relayout('parms'))).toContain('there is no layout "parms"\n  fix  did you mean "params"? there are: compute, params, state, gradients\n  at   relayout(\'parms\')')
    expect(message(where({ residual: {} }), x => x.relayout('residual').relayout('residaul').exp())).toContain('there is no layout "residaul"\n  fix  did you mean "residual"?')
    expect(refusal(k => k, [input('k', [batch], 'f32', 'cache') as T], where({}))).toContain('k: there is no layout "cache"')
  })
  test('that the model does not use are errors, with the nearest one', () => {
    expect(message(where({ residual: {}, residaul: { seq: 'model' } }))).toBe(`LayoutError[unknown-layout] the model uses no layout "residaul"\n  fix  did you mean "residual"? there are: residual${place}`)
    expect(message(where({ residual: {}, residaul: {} }, { uses: { scores: 'compute' } }))).toContain('did you mean "residual"? there are: scores, residual')
    expect(plan(norm, [x], { mesh: grid, ...where({ residual: {}, scores: { seq: 'model' } }, { uses: { scores: 'compute' } }) }).collectives).toEqual([])
  })
  test('cannot start from nothing, or from themselves', () => {
    expect(message(where({ residual: { from: 'compte' } }))).toBe(`LayoutError[unknown-layout] layout "residual" starts from "compte", which is no layout\n  fix  did you mean "compute"? there are: compute, params, state, gradients, residual${place}`)
    expect(message(where({ residual: { from: 'scores' }, scores: { from: 'residual' } }, { uses: { scores: 'compute' } })))
      .toBe(`LayoutError[layout-circle] layout "scores" starts from itself\n  from  scores → residual → scores\n  fix   let one of them start from compute: { from: 'compute', … }${place.replace('at ', 'at  ')}`)
    expect(message({ layout: {}, params: { from: 'state' } }, same)).toContain('[layout-circle] layout "params" starts from itself\n  from  params → state → params')
    expect(message(where({ residual: { from: 'residual' } }))).toContain('from  residual → residual')
    expect(message(where({ residual: { from: ['batch'] } as never }))).toContain('[rule] layout "residual" starts from ["batch"]')
  })
  test('are checked like the others, and named in errors', () => {
    expect(message(where({ residual: { sec: 'model' } }))).toBe(`LayoutError[unknown-dim] the layout names dim "sec", which the model does not have\n  layout  residual\n  fix     did you mean "seq"? there are: batch, seq, embed${place.replace('at ', 'at    ')}`)
    expect(message(where({ residual: { seq: 'modle' } }))).toBe(`LayoutError[unknown-axis] the mesh has no axis "modle"\n  layout  residual\n  rule    seq → modle\n  fix     did you mean "model"? there are: batch, model${place.replace('at ', 'at    ')}`)
    expect(message(where({ residual: { seq: ['model', 'model'] } }))).toContain('[axis-twice-in-dim]')
    expect(message(where({ residual: { seq: 'model', embed: 'model' } }))).toBe([
      'LayoutError[axis-used-twice] relayout: two dims lie on mesh axis "model"',
      '  tensor  batch=8 seq=8 embed=16',
      '  mesh    batch=2 × model=4',
      '  layout  residual',
      '  rules   batch → batch, seq → model, embed → model',
      '  fix     drop the rule of "seq" or of "embed", or rename one of them before this op',
      '  at      relayout(\'residual\').exp()',
    ].join('\n'))
    expect(message({ layout: {}, layouts: { params: { seq: 'model' } } }, same)).toContain('a model cannot name a layout "params": every program has one\n  fix  lay it by the option params, which stands beside layouts')
    expect(message(where({ residual: 3 as never }))).toContain('[rule] layout "residual" is 3')
    expect(message(where({ 'a b': {} }), same)).toContain('[layout-name] "a b" cannot name a layout')
  })
  test('what rests by one is given so', () => {
    const cache = input('cache', [batch, seq, embed], 'f32', 'cache') as T
    const p = plan((c: T, x: T) => [c.relayout('cache').mul(2), c.add(x)], [cache, x], { mesh: grid, ...where({ cache: { seq: 'model' } }) })
    expect(p.inputs.map(i => [...i.placement.sharding])).toEqual([[['batch', ['batch']], ['seq', ['model']]], [['batch', ['batch']]]])
    expect(p.local.outputPlacements.map(o => [...o.sharding])).toEqual([[['batch', ['batch']], ['seq', ['model']]], [['batch', ['batch']]]])
    expect(p.collectives.map(c => c.kind)).toEqual(['all-gather'])
  })
})

describe('dims that ops make on their way', () => {
  const two = mesh({ m: 2 })
  const n = dim('n', 12)
  const v = input('v', [n]) as T
  const legal = (f: (...args: T[]) => AnyTensor, args: readonly T[], layout: Layouts['layout']): string => refusal(f, args, { layout }, two)

  test('are laid out as far as they can be, whatever their sizes', () => {
    const [a, s] = [dim('a', 3), dim('s', 2)]
    expect(legal((p, q) => stack([p, q] as never, s), [v, v.exp()].map((_, i) => input(`v${i}`, [n]) as T), { s: 'm' })).toBe('legal')
    expect(legal(x => sumPool(x, [{ dim: 'n', size: 4 }]), [v], { n: 'm' })).toBe('legal')
    expect(legal(x => quantize(x, 'n', { bits: 8, group: 4 }).scale, [v], { n: 'm' })).toBe('legal')
    expect(legal(x => dequantize(quantize(x, 'n', { bits: 4, group: 12 }), n as never), [v], { n: 'm' })).toBe('legal')
    expect(legal(x => accumulate((p: T, b: { readonly x: T }) => valueAndGrad((p: T) => expectDims(b.x.mul(p).mean(), []))(p), loose(full(1, [])), { x }, 'n', 4).grads, [v], { n: 'm' })).toBe('legal')
    expect(legal(x => concat([slice(x, 'n', { end: 5 }), slice(x, 'n', { start: 3, end: 4 }), x], 'n'), [v], { n: 'm' })).toBe('legal')
    // What the user made stays the user's.
    expect(legal(x => x.split('n', [a, dim('b', 4)]), [v], { a: 'm' })).toContain('dim "a" of size 3 cannot be cut into 2 equal parts')
  })

  test('have names that no user can write, and none can meet', () => {
    expect(() => dim('~n.one', 1)).toThrow('"~n.one" cannot name a dim')
    expect(legal(x => index(x, 'n', 0), [v], { '~n.one': 'm' })).toContain('the layout names dim "~n.one", which the model does not have')
    const taken = ['one', 'micro', 'window', 'group', 'pair', 'inner'].map(what => dim(`n.${what}`, 2))
    const full_ = input('v', [n, ...taken]) as T
    for (const f of [
      (x: T) => index(x, 'n', 0), (x: T) => stack(unstack(x, 'n') as never, n), (x: T) => sumPool(x, [{ dim: 'n', size: 4 }]), (x: T) => dequantize(quantize(x, 'n', { bits: 4, group: 4 }), n as never),
      (x: T) => accumulate((p: T, b: { readonly x: T }) => valueAndGrad((p: T) => expectDims(b.x.mul(p).mean(), []))(p), loose(full(1, [])), { x }, 'n', 4).grads,
    ]) expect(legal(f, [full_], {})).toBe('legal')
  })
})
