/** No partial sum reaches an op that needs the value: the training steps of forms read again, and programs of which a collective was taken out. */
import { describe, expect, test } from 'vitest'
import { broadcast, dims, input, loose, mesh as meshOf, param, plan, type Tensor } from '../../src/engine/index.ts'
import { reachable } from '../../src/graph/node.ts'
import type { LocalGraph, LocalNode } from '../../src/partition/local.ts'
import { adamw } from '../../src/optim/index.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import type { Model } from '../../src/models/index.ts'
import type { Tree } from '../../src/engine/index.ts'
import { forms, quick, usual } from '../parallel/forms.ts'
import { checkAddends } from '../support/addends.ts'
import { all } from '../support/depth.ts'

const optimizer = adamw({ rate: 1e-3 })
// Those that are trained each time, and of the others each third; where tests are deep, all.
test.each(Object.entries(forms).filter(([name], i) => all || quick.includes(name) || i % 3 === 0))('%s', (_, { mesh, subject = usual, microbatches = 1, remat = 'all-but-contractions', compute, ...layouts }) => {
  const model = subject.build({ params: 'f32', compute: compute ?? 'f32' }) as unknown as Model<Tree, Tree>
  const { local, collectives } = plan(trainStep(model, { seed: 0, remat, optimizer, microbatches }), [stateOf(model, { optimizer }), model.batch] as const, { mesh: meshOf(mesh), dims: model.dims, ...layouts } as never)
  expect(collectives.length).toBeGreaterThan(0)
  checkAddends(local)
})

describe('what is found', () => {
  const d = dims({ batch: 8, embed: 4, hidden: 4 })
  const x = input('x', [d.batch, d.hidden])
  const w = param('w', [d.hidden, d.embed])
  type Given = readonly [typeof x, typeof w]
  const local = (f: (...given: Given) => Tensor<string>): LocalGraph => plan(f, [x, w] as const, { mesh: meshOf({ a: 2 }), layout: { hidden: 'a' }, dims: d }).local
  /** The program as it would be without its sums. */
  const unsummed = (graph: LocalGraph): LocalGraph => {
    const reduces = (n: LocalNode): boolean => n.op === 'allReduce'
    expect(reachable(graph.outputs).some(reduces)).toBe(true)
    const skip = (n: LocalNode): LocalNode => (n.op === 'input' ? n : reduces(n) ? skip(n.inputs[0] as LocalNode) : { ...n, inputs: n.inputs.map(skip) } as LocalNode)
    return { ...graph, outputs: graph.outputs.map(skip) }
  }
  const cases: { readonly [what: string]: readonly [f: (...given: Given) => Tensor<string>, message: RegExp] } = {
    'a function of a sum': [(x, w) => loose(x.dot(w, d.hidden).tanh()), /needs values; its operands are addends \(sum along a\)/],
    'a product of two': [(x, w) => { const y = x.dot(w, d.hidden); return loose(y.mul(y)) }, /multiplies addends/],
    'a value added': [(x, w) => loose(x.dot(w, d.hidden).add(w.max(d.hidden).mul(0).add(1))), /adds a value to addends|needs values/],
    'a result': [(x, w) => loose(x.dot(w, d.hidden)), /result 0 is made of addends: sum along a/],
    'the sum of maxima': [x => loose(x.max(d.hidden).sum(d.batch)), /is a sum of others/],
  }
  test.each(Object.entries(cases))('%s', (_, [f, message]) => {
    checkAddends(local(f))
    expect(() => checkAddends(unsummed(local(f)))).toThrow(message)
  })
  test('a sum along a split dim that came by a broadcast is one of addends, as far as can be told', () => {
    checkAddends(local(x => loose(broadcast(x.max(d.hidden), [d.hidden]).cos().sum(d.hidden).add(x.sum(d.hidden)))))
  })
})
