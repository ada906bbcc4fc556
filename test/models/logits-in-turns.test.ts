/** The logits of a training step that are large are never whole on any device, and nothing is reduced or moved more often for it. */
import { expect, test } from 'vitest'
import { sizeOf } from '../../src/core/dim.ts'
import { mesh as meshOf, plan } from '../../src/engine/index.ts'
import { bodiesOf, orderOf } from '../../src/graph/node.ts'
import { gpt, llama, llamaSchema } from '../../src/models/index.ts'
import type { LocalBody } from '../../src/partition/local.ts'
import { stateOf, trainStep } from '../../src/train/program.ts'
import { optimizerOf } from '../oracle/cases.ts'

const sizes = { vocab: 65536, seq: 256, layers: 1, embed: 16, heads: 2, headDim: 8, hidden: 32, dropout: 0 } as const
const batch = 64
const tokens = batch * sizes.seq
const optimizer = optimizerOf({ rate: 1e-3, warmup: 1, steps: 10, floor: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1 })
const config = { optimizer, seed: 0, remat: 'all-but-contractions' } as const
const models = {
  gpt: gpt(sizes, batch),
  llama: llama(llamaSchema.parse({ ...sizes, kvHeads: 2, tied: true }), batch),
}

/** The most numbers of any value that has a dim of the vocabulary and others than the width. */
function mostLogits(body: LocalBody): number {
  return Math.max(0, ...orderOf(body.outputs).flatMap(n => [
    ...n.results.map(({ shape }) => (shape.some(d => d.name === 'vocab') && shape.some(d => d.name === 'seq') ? sizeOf(shape) : 0)),
    ...bodiesOf(n).map(mostLogits),
  ]))
}

test.each(Object.entries(models))('%s: in four turns, on one device and on four', (_, model) => {
  for (const [b, m] of [[1, 1], [2, 2]] as const) {
    const planned = plan(trainStep(model as typeof models.gpt, config), [stateOf(model as typeof models.gpt, config), model.batch] as const, {
      mesh: meshOf({ batch: b, model: m }), layout: { batch: 'batch', vocab: 'model' }, dims: model.dims, donate: [0],
    })
    expect(mostLogits(planned.local)).toBe(tokens * sizes.vocab / 4 / b / m)
    if (b === 1) continue
    // The embedding's gradient: what the logits give and what the tokens give are one sum along the batch, or two.
    const ofVocab = planned.collectives.filter(c => c.axes.includes('batch') && c.elements >= sizes.vocab * sizes.embed / m)
    expect(ofVocab.reduce((sum, c) => sum + c.count, 0)).toBeLessThanOrEqual(1)
    // In each turn a maximum, a sum and the target's logit of its tokens; what comes back to the states once behind the turns, as without them.
    const alongModel = planned.collectives.filter(c => c.axes.join() === 'model')
    expect(alongModel.filter(c => c.count === 4).reduce((sum, c) => sum + c.elements, 0)).toBe(tokens / 4 / b * 3)
    expect(alongModel.filter(c => c.count === 1 && c.elements === tokens / b * sizes.embed).length).toBeGreaterThanOrEqual(1)
  }
})

test('of very many tokens no turn has fewer than a sixteenth of a window: on many devices each has few of them', () => {
  const many = gpt(sizes, 4096)
  const { local } = plan(trainStep(many, config), [stateOf(many, config), many.batch] as const, { mesh: meshOf({ batch: 256 }), layout: { batch: 'batch' }, dims: many.dims, donate: [0] })
  expect(mostLogits(local)).toBe(4096 * sizes.seq * sizes.vocab / 16 / 256)
})
