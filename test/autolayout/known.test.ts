/** Layouts that are known to be good come out of the search, or something that takes less time does: the Mesh-TensorFlow paper's, Megatron's, FSDP with tensor parallelism. */
import { expect, test } from 'vitest'
import { convNetModel, gptModel, llamaModel, mlp } from '../../src/models/index.ts'
import { adamwCosine, defineRun, findLayout, forecast, knownMachine, planRun, type Machine, type Run } from '../../src/train/index.ts'
import { all } from '../support/depth.ts'

const data = { batch: () => { throw new Error('a planned run reads no data') } }
const run = (fields: object): Run => defineRun({ name: 'run', data, steps: 10, optimizer: adamwCosine({ rate: 1e-3 }), mesh: { data: 1 }, layout: {}, ...fields } as never)
interface Known { readonly name: string; readonly fields: object; readonly laid: readonly object[]; readonly devices: number; readonly machine: Machine }

const [h100, cpu] = [knownMachine('8xh100'), knownMachine('cpu-25gbe')]
const halves = { precision: { compute: 'bf16' } }
const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const gpt = (size: object): object => gptModel({ vocab: 50_304, seq: 1024, layers: 4, headDim: 128, blockwise: 0, dropout: 0, ...size } as never)

const known: readonly Known[] = [
  {
    // Section 3 of the paper: data, model and both, of y = relu(x w) v.
    name: 'the two layers of the Mesh-TensorFlow paper', devices: 8, machine: cpu, fields: { model: mlp({ inputs: 1024, hidden: 65_536, outputs: 1024 }, 512), batch: 512 },
    laid: [{ mesh: { data: 8 }, layout: { batch: 'data' } }, { mesh: { model: 8 }, layout: { hidden: 'model' } }, { mesh: { data: 2, model: 4 }, layout: { batch: 'data', hidden: 'model' } }],
  },
  ...all ? [{
    // Section 4: `batch` on rows; `vocab`, `d_ff` and heads on columns.
    name: 'its Transformer', devices: 8, machine: cpu, fields: { model: gpt({ embed: 1024, heads: 8, hidden: 4096, layers: 2, seq: 256, vocab: 8192 }), batch: 16 },
    laid: [{ mesh: { data: 8 }, layout: { batch: 'data' } }, { mesh: { model: 8 }, layout: tensor }, { mesh: { data: 2, model: 4 }, layout: { batch: 'data', ...tensor } }, { mesh: { data: 4, model: 2 }, layout: { batch: 'data', ...tensor } }],
  }, {
    // f and g: heads and the hidden layer on one axis; with sequence parallelism between them (Korthikanti et al. 2022).
    name: 'Megatron\'s', devices: 8, machine: h100, fields: { model: gpt({ embed: 4096, heads: 32, hidden: 16_384, layers: 24 }), batch: 8, ...halves },
    laid: [{ mesh: { model: 8 }, layout: tensor }, { mesh: { model: 8 }, layout: tensor, layouts: { residual: { seq: 'model' } } }, { mesh: { data: 8 }, layout: { batch: 'data' }, params: { embed: 'data' } }],
  }, {
    name: 'FSDP with tensor parallelism for 70 B', devices: 128, machine: h100,
    fields: { model: llamaModel({ vocab: 128_256, seq: 4096, layers: 80, embed: 8192, heads: 64, kvHeads: 8, headDim: 128, hidden: 28_672, blockwise: 0 } as never), batch: 128, ...halves },
    laid: [{ mesh: { data: 16, model: 8 }, layout: { batch: 'data', kvHeads: 'model', ...tensor }, params: { embed: 'data' }, layouts: { residual: { seq: 'model' } }, remat: 'everything' }, { mesh: { data: 128 }, layout: { batch: 'data' }, params: { embed: 'data' }, remat: 'everything' }],
  }, {
    name: 'that of experts, 70 B, on 1,024', devices: 1024, machine: h100,
    fields: { model: llamaModel({ vocab: 32_000, seq: 4096, layers: 32, embed: 4096, heads: 32, kvHeads: 8, headDim: 128, hidden: 14_336, blockwise: 0, experts: { count: 16, chosen: 2, hidden: 10_240, capacity: 1.25 } } as never), batch: 1024, ...halves },
    laid: [{ mesh: { data: 1024 }, layout: { batch: 'data' }, params: { embed: 'data' }, remat: 'everything' }, { mesh: { data: 128, model: 8 }, layout: { batch: 'data', kvHeads: 'model', ...tensor, experts: 'model' }, params: { embed: 'data' }, remat: 'everything' }],
  }] : [],
]
test.each(known.map(k => [k.name, k] as const))('%s', (_, { fields, laid, devices, machine }) => {
  const found = findLayout(run(fields), { devices, machine })
  const theirs = laid.map(l => { const r = run({ ...fields, ...l }); return forecast(r, planRun(r), machine).predicted })
  const fitting = theirs.filter(p => p.fits).map(p => p.stepMs)
  expect(fitting.length).toBeGreaterThan(0)
  expect(found.predicted.stepMs).toBeLessThanOrEqual(Math.min(...fitting) * (1 + 1e-9))
})

test('images are split by their batch, and weights that are larger than what is computed with them are not sent', () => {
  const images = findLayout(run({ model: convNetModel({ height: 32, width: 32, channels: 3, features: [32, 64], hidden: 128 }), batch: 64 }), { devices: 4, machine: h100 })
  expect(Object.values(images.layout).length).toBeGreaterThan(0)
  const wide = findLayout(run({ model: mlp({ inputs: 64, hidden: 65_536, outputs: 64 }, 64), batch: 64 }), { devices: 4, machine: cpu })
  expect(wide.layout['hidden']).toBeDefined()
  expect(wide.layout['batch']).toBeUndefined()
})
