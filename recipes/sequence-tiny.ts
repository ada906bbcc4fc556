/** Sequence parallel beside tensor parallel: a small GPT, two ways over the batch and two over heads and hidden units, whose stream between layers is split by tokens. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'sequence-tiny',
  model: gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 }),
  data: textData({}),
  batch: 8,
  steps: 2200,
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' },
  layouts: { residual: { from: 'compute', seq: 'model' } },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
})
export default run
