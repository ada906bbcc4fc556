/** A pipeline: a small GPT in two stages, each of a batch that goes through them in eight microbatches, one forward and one back (1F1B), and two such pipelines beside each other. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'pipeline-tiny',
  model: gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512, pipeline: { stages: 2, microbatches: 8, schedule: '1f1b' } }),
  data: textData({}),
  batch: 16,
  steps: 1100,
  mesh: { batch: 2, stage: 2 },
  layout: { batch: 'batch', stage: 'stage', layers: 'stage' },
  optimizer: adamwCosine({ rate: 3e-3, warmup: 50 }),
  evaluation: { every: 250 },
})
export default run
