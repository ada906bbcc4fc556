/** Gathers that every turn of a loop would repeat are done once, before it; large ones are not. */
import { describe, expect, test } from 'vitest'
import { collectives, cond, dims, expectDims, full, iota, loose, mesh, param, plan, scan, type AnyTensor, type Scalar } from '../../src/engine/index.ts'
import type { T } from '../graph/support.ts'

const scalar = (x: AnyTensor): Scalar => expectDims(x, [])

function gathers(embed: number, body: (c: T, w: T, i: T) => T): number[] {
  const { l, m, ...d } = dims({ l: 3, m: 5, batch: 2, embed })
  const f = (x: T, w: T): T => scan(l, x, {}, (c: T) => [scan(m, c, iota(m), (e: T, i) => [body(e, w, loose(i)), {}])[0], {}])[0]
  const p = plan(f, [param('x', [d.batch, d.embed]) as T, param('w', [d.embed]) as T], { mesh: mesh({ data: 2 }), layout: {}, params: { embed: 'data' } })
  return collectives(p.local).filter(c => c.kind === 'all-gather').map(c => c.count)
}

describe('hoisting', () => {
  test('a captured parameter is gathered once for both loops', () => {
    expect(gathers(8, (c, w) => c.add(c.dot(w, 'embed')).sin())).toEqual([1])
  })
  test('what is computed from it before it is gathered goes along', () => {
    expect(gathers(8, (c, w) => c.mul(w.relayout('params').exp().relayout({})).sin())).toEqual([1])
  })
  test('what depends on the turn stays', () => {
    expect(gathers(8, (c, w, i) => c.mul(w.relayout('params').mul(i.cast('f32')).relayout({})).sin()).sort()).toEqual([1, 15])
  })
  test('what only a branch needs stays in it', () => {
    expect(gathers(8, (c, w, i) => cond(scalar(i.equal(full(2, [], 'i32'))), () => c.mul(w), () => c)).sort()).toEqual([1, 15])
  })
  test('what is large stays', () => {
    expect(gathers(2 ** 25, (c, w) => c.mul(w).sin()).sort()).toEqual([1, 15])
  })
})
