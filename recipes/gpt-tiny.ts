/** The default: a small GPT on the State of the Union addresses, two ways over the batch and two over the model. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'gpt-tiny',
  model: gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 }),
  data: textData({}),
  batch: 8,
  steps: 1000,
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
  sample: { prompt: 'The people', tokens: 80, temperature: 0.5 },
})
export default run
