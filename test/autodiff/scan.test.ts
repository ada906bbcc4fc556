/** Gradients through loops, whatever is kept and whatever is computed again. */
import { describe, expect, test } from 'vitest'
import { dims, expectDims, full, grad, input, iota, loose, mesh, param, plan, scan, totals, valueAndGrad, type AnyTensor, type Plan, type Remat, type Scalar, type Tree } from '../../src/engine/index.ts'
import { mergeScans } from '../../src/autodiff/merge-scans.ts'
import { reachable, type Node } from '../../src/graph/node.ts'
import { causalAttention, dropout, fold, gelu, keyOf, layerNorm } from '../../src/nn/index.ts'
import { draw } from '../support/values.ts'
import { given, valuesOf, type Operand, type T } from '../graph/support.ts'
import { gradientError } from './differences.ts'

const policies: readonly Remat[] = ['all-but-contractions', 'everything', 'nothing']
const d = dims({ l: 3, m: 2, batch: 2, seq: 3, kvSeq: 3, embed: 4, heads: 2, headDim: 2, hidden: 6 })
const { l, m, batch, seq, embed, heads, headDim, hidden } = d
type Shape = Parameters<typeof given>[0]

const random = (shape: Shape, seed: number): Operand => given(shape, Array.from({ length: shape.reduce((n, e) => n * e.size, 1) }, (_, i) => 1.6 * draw(seed, i) - 0.8))
const at = (x: readonly T[], i: number): T => {
  const found = x[i]
  if (found === undefined) throw new Error(`there is no operand ${i}`)
  return found
}
const scalar = (x: AnyTensor): Scalar => expectDims(x, [])
type Pair = { readonly up: T; readonly down: T }
const layer = (x: T, w: Pair): T => x.add(x.dot(w.up, embed).tanh().dot(w.down, hidden))

interface Loop { readonly in: readonly Shape[]; readonly f: (x: readonly T[]) => AnyTensor }
const loops: { readonly [name: string]: Loop } = {
  'residual layers': {
    in: [[batch, embed], [l, embed, hidden], [l, hidden, embed]],
    f: x => scan(l, at(x, 0), { up: at(x, 1), down: at(x, 2) }, (c: T, w: Pair) => [layer(c, w), {}])[0],
  },
  'stacked results, and the carry unused': {
    in: [[batch, embed], [l, embed, hidden]],
    f: x => scan(l, at(x, 0), at(x, 1), (c: T, w: T) => [c.mul(0.9), { y: c.dot(w, embed).tanh() }])[1].y,
  },
  'a captured tensor and one computed from it': {
    in: [[batch, embed], [embed], [l, embed]],
    f: x => scan(l, at(x, 0), at(x, 2), (c: T, w: T) => [c.mul(w).add(at(x, 1).exp()).tanh().mul(at(x, 1)), {}])[0],
  },
  'two carries that feed each other, one walked by index': {
    in: [[embed], [embed], [l, embed]],
    f: x => {
      const [c] = scan(l, { p: at(x, 0), q: at(x, 1) }, { w: at(x, 2), i: iota(l) }, ({ p, q }, { w, i }) =>
        [{ p: loose(p).mul(w).add(q).sin(), q: loose(q).add(loose(p).mul(loose(i).cast('f32'))) }, {}])
      return loose(c.p).add(c.q)
    },
  },
  'a loop in a loop': {
    in: [[batch, embed], [l, m, embed]],
    f: x => scan(l, at(x, 0), at(x, 1), (c: T, w: T) => [scan(m, c, w, (e: T, v: T) => [e.mul(v).add(e.sin()), {}])[0], {}])[0],
  },
  'a loop over the same dim in a loop': {
    in: [[embed], [l, embed]],
    f: x => scan(l, at(x, 0), at(x, 1), (c: T, w: T) => [scan(l, c, at(x, 1), (e: T, v: T) => [scan(l, e, at(x, 1), (s: T, u: T) => [s.mul(u).sin(), {}])[0].mul(v).add(e.sin()), {}])[0].mul(w), {}])[0],
  },
  'a gradient in a loop': {
    in: [[embed], [l, embed]],
    f: x => scan(l, at(x, 0), at(x, 1), (c: T, w: T) => [c.sub(grad((p: { c: T }) => scalar(p.c.mul(w).tanh().square().sum()))({ c }).c.mul(0.3)), {}])[0],
  },
  'the gradient of a loop, differentiated again': {
    in: [[batch, embed], [l, embed, hidden], [l, hidden, embed]],
    f: x => grad((p: { w: Pair }) => scalar(scan(l, at(x, 0), p.w, (c: T, w: Pair) => [layer(c, w), {}])[0].square().mean()))({ w: { up: at(x, 1), down: at(x, 2) } }).w.up,
  },
  'dropout, drawn anew in each layer': {
    in: [[batch, embed], [l, embed]],
    f: x => scan(l, at(x, 0), { w: at(x, 1), i: iota(l) }, (c: T, { w, i }) =>
      [dropout(fold(keyOf(full(3, [], 'i32')), expectDims(i, [])), c.mul(w).tanh(), 0.4).add(c), {}])[0],
  },
  'a Transformer': {
    in: [[batch, seq, embed], [l, embed], [l, embed, heads, headDim], [l, embed, heads, headDim], [l, embed, heads, headDim], [l, heads, headDim, embed]],
    f: x => scan(l, at(x, 0), { gain: at(x, 1), query: at(x, 2), key: at(x, 3), value: at(x, 4), out: at(x, 5) }, (c: T, w) =>
      [c.add(gelu(causalAttention(layerNorm(c, embed, w.gain as never, full(0, [embed])) as never, w as never, d))), {}])[0],
  },
}

describe.each(policies)('keeping what `%s` keeps', remat => {
  test.each(Object.entries(loops))('%s', (_, loop) => {
    const operands = loop.in.map((shape, i) => random(shape, 50 + i))
    expect(gradientError(loop.f, operands, 9, { remat })).toBeLessThan(1e-6)
  })
})

test('what is computed again is the same to the last bit', () => {
  for (const loop of Object.values(loops)) {
    const operands = loop.in.map((shape, i) => random(shape, 80 + i))
    const gradients = policies.map(remat => valuesOf(grad((p: readonly T[]) => scalar(loose(loop.f(p)).sum()), { remat })(operands.map(o => o.tensor)), operands))
    expect(gradients[1]).toEqual(gradients[0])
    expect(gradients[2]).toEqual(gradients[0])
  }
})

const isScan = (n: Node): n is Node<'scan'> => n.op === 'scan'
const loopsIn = (roots: readonly Node[]): Node<'scan'>[] => reachable(roots).filter(isScan).flatMap(n => [n, ...loopsIn(n.attrs.body.outputs)])

/** A layer as tensor parallelism has it: two contractions whose results are reduced. */
const weights = { query: param('query', [l, embed, hidden]), out: param('out', [l, hidden, embed]), up: param('up', [l, embed, hidden]), down: param('down', [l, hidden, embed]) }
type Weights = typeof weights
const x = input('x', [batch, embed])
const deep = (p: Weights): Scalar => scan(l, x, p, (c, w) => {
  const y = c.add(c.dot(w.query, embed).tanh().dot(w.out, hidden))
  return [y.add(gelu(y.dot(w.up, embed)).dot(w.down, hidden)), {}]
})[0].square().mean()
const planned = (remat: Remat): Plan => plan((p: Weights, _: typeof x) => valueAndGrad(deep, { remat })(p), [weights, x],
  { mesh: mesh({ batch: 2, model: 2 }), layout: { batch: 'batch', hidden: 'model' } })

describe('merging', () => {
  test.each(policies)('value and gradient walk the forward loop once (%s)', remat => {
    const { value, grads } = valueAndGrad(deep, { remat })(weights)
    const roots = [value, ...Object.values(grads)].map(t => t.node)
    expect(loopsIn(roots).filter(n => !n.attrs.reverse).length).toBeGreaterThan(1)
    const merged = mergeScans(roots)
    expect(loopsIn(merged).map(n => n.attrs.reverse)).toEqual([false, true])
    expect(mergeScans(merged)).toEqual(merged)
  })

  test('loops that carry otherwise, or walk other things, stay apart', () => {
    const loop = (by: number, w: T): Node => scan(l, full(0, [embed]) as T, w, (c: T, s: T) => [c.add(s.mul(by)), {}])[0].node
    const [v, w] = [param('v', [l, embed]) as T, param('w', [l, embed]) as T]
    expect(loopsIn(mergeScans([loop(1, v), loop(2, v), loop(1, w)])).length).toBe(3)
  })

  test('what was stacked twice is stacked once', () => {
    const merged = loopsIn(planned('all-but-contractions').graph.outputs)
    for (const { attrs: { body } } of merged) expect(new Set(body.outputs).size).toBe(body.outputs.length)
  })
})

describe('collectives of the loops', () => {
  /** All-reduces along `model` in one step of the forward loop and of the backward one. */
  const inLoops = (p: Plan): number[] => {
    const local: number[] = []
    const walk = (roots: Plan['local']['outputs']): void => {
      for (const n of reachable(roots)) if (n.op === 'scan') local.push(reachable(n.attrs.body.outputs).filter(b => b.op === 'allReduce').length)
    }
    walk(p.local.outputs)
    return local
  }
  test.each([['all-but-contractions', [2, 2]], ['nothing', [2, 2]], ['everything', [2, 3]]] as const)('keeping what `%s` keeps: %j in each layer', (remat, expected) => {
    expect(inLoops(planned(remat))).toEqual(expected)
  })

  test('gradients of the parameters are reduced once, after the loop', () => {
    const along = totals(planned('all-but-contractions').collectives).filter(c => c.axes.join() === 'batch')
    const bytes = Object.values(weights).reduce((sum, w) => sum + w.shape.reduce((n, e) => n * e.size, 4) / 2, 0)
    expect(along).toEqual([{ kind: 'all-reduce', axes: ['batch'], count: 2, bytes: bytes + 4 }])
  })

  test('a gradient accumulated over microbatches stays partial until the loop is done', () => {
    const xs = input('xs', [m, batch, embed])
    const w = param('w', [embed, hidden])
    const accumulate = (w: T, xs: T): Tree => scan(m, full(0, w.shape) as T, xs, (sum: T, x: T) =>
      [sum.add(grad((p: { w: T }) => scalar(x.dot(p.w, embed).tanh().square().mean()))({ w }).w), {}])[0]
    const p = plan(accumulate as (w: AnyTensor, xs: AnyTensor) => Tree, [w, xs], { mesh: mesh({ batch: 2, model: 2 }), layout: { batch: 'batch', hidden: 'model' } })
    expect(totals(p.collectives)).toEqual([{ kind: 'all-reduce', axes: ['batch'], count: 1, bytes: embed.size * hidden.size * 4 / 2 }])
  })
})
