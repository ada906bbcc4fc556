/** The default: a small GPT on the State of the Union addresses, two ways over the batch and two over the model. */
import { defineRun, type Run } from '../src/train/run.ts'

const run: Run = defineRun({
  name: 'gpt-tiny',
  model: { vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 },
  batch: 8,
  steps: 2200,
  mesh: { batch: 2, model: 2 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' },
  optimizer: { rate: 3e-3, warmup: 100 },
  evalEvery: 500,
  sample: { prompt: 'The people', tokens: 80, temperature: 0.7 },
})
export default run
