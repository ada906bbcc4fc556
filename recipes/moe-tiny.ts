/** A small model of experts on the State of the Union addresses: two ways over the batch and two over heads, experts over all four devices. */
import { textData } from '../src/data/index.ts'
import { llamaModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'moe-tiny',
  model: llamaModel({
    vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, kvHeads: 2, headDim: 32, hidden: 512,
    experts: { count: 8, chosen: 2, hidden: 256, shared: 256, dense: 1, capacity: 1.25, groups: 1, scores: 'sigmoid', balance: 0.001, balanceOver: 'groups', biasRate: 0.001 },
  }),
  data: textData({}),
  batch: 8,
  steps: 2200,
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', kvHeads: 'model', hidden: 'model', sharedHidden: 'model', vocab: 'model' },
  params: { experts: ['batch', 'model'] },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
  sample: { prompt: 'The people', tokens: 80, temperature: 0.7 },
})
export default run
