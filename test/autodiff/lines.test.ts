/** What is made, thrown or counted for a gradient bears the user's line of the forward op, not the line that asked for the gradient. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { DimError, type Site } from '../../src/core/errors.ts'
import { userSite } from '../../src/core/site.ts'
import {
  accumulate, cond, dims, expectDims, grad, input, mesh, param, plan, remat, scan, valueAndGrad, whileLoop, withGradient, type Layout, type Plan, type Scalar, type Tensor, type Tree,
} from '../../src/engine/index.ts'
import { softmax } from '../../src/nn/index.ts'

const source = readFileSync(fileURLToPath(import.meta.url), 'utf8').split('\n')
/** The mark at the end of the line of this file that a site names. */
const markAt = (site: Pick<Site, 'file' | 'line'> | undefined): string => {
  expect(site?.file).toMatch(/autodiff\/lines\.test\.ts$/)
  return /\/\/ (\w+)$/.exec(source[(site?.line ?? 0) - 1] ?? '')?.[1] ?? `unmarked line ${site?.line}`
}
/** Those of the collectives, sorted, each once. */
const marksOf = (p: Plan): string[] => [...new Set(p.collectives.map(c => `${c.kind} ${markAt(c.at)}`))].sort()
/** Those of the program's text. */
const textMarks = (p: Plan): Set<string> => new Set([...p.text.matchAll(/loc\("([^"]+)":(\d+):\d+\)/g)].map(m => markAt({ file: m[1] ?? '', line: Number(m[2]) })))

const { batch, embed, hidden, l } = dims({ batch: 8, embed: 4, hidden: 4, l: 3 })
type B = Tensor<'batch' | 'embed'>
const x = input('x', [batch, embed])
const up = param('up', [embed, hidden])
const down = param('down', [hidden, embed])
const layout: Layout = { batch: 'batch', hidden: 'model' }
const planned = <P extends Tree>(loss: (params: P) => Scalar, params: P): Plan =>
  plan((p: P) => valueAndGrad((q: P) => loss(q))(p), [params] as const, { mesh: mesh({ batch: 2, model: 2 }), layout }) // valueAndGrad

describe('collectives and text', () => {
  const params = { up, down, x }
  const names = ['first', 'second', 'squares', 'mean']
  const straight = (p: typeof params): Scalar => {
    const h = p.x.dot(p.up, embed).tanh() // first
    const y = h.dot(p.down, hidden) // second
    return y
      .square() // squares
      .mean() // mean
  }
  test('of plain ops', () => {
    const p = planned(straight, params)
    // The gradient of x is summed over the model axis where x was contracted, the weights' over the batch.
    expect(marksOf(p)).toContain('all-reduce first')
    expect(marksOf(p)).toContain('all-reduce second')
    for (const mark of textMarks(p)) expect(names).toContain(mark)
  })
  test('inside of remat, scan, cond and microbatches', () => {
    const within: readonly ((p: typeof params) => Scalar)[] = [
      p => remat((q: typeof params) => straight(q))(p), // around
      p => expectDims(scan(l, p.x, {}, (c: B) => { const h = c.dot(p.up, embed); // first
        return [h.tanh().dot(p.down, hidden), {}] })[0].mean(), []), // second
      p => cond(p.x.sum().greater(0), () => straight(p), () => p.x.mean()), // around
    ]
    for (const loss of within) {
      const p = planned(loss, params)
      expect(p.collectives.length).toBeGreaterThan(0)
      for (const mark of textMarks(p)) expect([...names, 'around']).toContain(mark)
      expect(marksOf(p).some(m => m.endsWith('first'))).toBe(true)
    }
    const parts = plan((p: { readonly up: typeof up }, b: typeof x) => accumulate((q, y) => valueAndGrad((w: { readonly up: typeof up }) => y.dot(w.up, embed).square().mean())(q), p, b, batch, 2), // around
      [{ up }, x] as const, { mesh: mesh({ batch: 2, model: 2 }), layout })
    expect([...textMarks(parts)]).toEqual(['around'])
  })
  test('of functions whose gradient is given: by the library their call, by the user the rule itself', () => {
    const p = planned((q: { readonly x: typeof x; readonly up: typeof up }) => {
      const s = softmax(q.x.dot(q.up, embed), hidden) // first
      return withGradient([s], ([y]) => y.exp(), (g, y) => [ // second
        g.mul(y), // rule
      ]).mean() // mean
    }, { x, up })
    expect([...textMarks(p)].sort()).toEqual(['first', 'mean', 'rule', 'second'])
  })
})

test('errors that a gradient rule throws name the forward op, and those of a user\'s rule the rule', () => {
  const at = (loss: (x: Tensor<'batch' | 'embed'>) => Scalar): string => {
    try {
      grad(loss)(x)
    } catch (e) {
      if (e instanceof DimError) return markAt(e.problem.at)
      throw e
    }
    return 'nothing was thrown'
  }
  expect(at(x => whileLoop((y: B) => y.sum().less(9), y => y.add(1), x) // forward
    .sum())).toBe('forward')
  expect(at(x => withGradient([x], ([x]) => x, g => [
    g.sum('nothing' as 'batch') as never, // rule
  ]).sum())).toBe('rule')
})

test('a place in a file is one site, found once', () => {
  const sites = Array.from({ length: 3 }, () => userSite()) // here
  expect(markAt(sites[0])).toBe('here')
  expect(sites[1]).toBe(sites[0])
  expect(sites[2]).toBe(sites[0])
})
