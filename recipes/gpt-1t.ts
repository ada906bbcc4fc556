/** A GPT of 10¹² parameters, to be planned rather than trained: `meshwork plan gpt-1t` says what it would take. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'gpt-1t',
  model: gptModel({ vocab: 51_200, seq: 4096, layers: 96, embed: 29_184, heads: 240, headDim: 128, hidden: 116_736 }),
  data: textData({}),
  batch: 2048,
  microbatches: 32,
  steps: { tokens: 20e12 },
  mesh: { batch: 64, model: 16 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' },
  params: { embed: 'batch' },
  layouts: { residual: { seq: 'model' } },
  precision: { compute: 'bf16' },
  remat: 'everything',
  optimizer: adamwCosine({ rate: 6e-5, warmup: 2000 }),
})
export default run
