/** Two-dimensional weights: a small GPT of which every matrix is split over both axes of four devices, and every product summed along the axis of what it contracts. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'grid-tiny',
  model: gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 }),
  data: textData({}),
  batch: 8,
  steps: 2200,
  mesh: { rows: 2, columns: 2 },
  layout: { heads: 'columns', hidden: 'columns', vocab: 'columns', embed: 'rows' },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 100 }),
  evaluation: { every: 500 },
})
export default run
