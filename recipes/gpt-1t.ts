/** A GPT of 10¹² parameters, to be planned rather than trained: split by batch, by model and by layers, `meshwork plan gpt-1t` says what a step would take of 1,024 devices. */
import { textData } from '../src/data/index.ts'
import { gptModel } from '../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../src/train/index.ts'

const run: Run = defineRun({
  name: 'gpt-1t',
  model: gptModel({
    vocab: 51_200, seq: 4096, layers: 96, embed: 29_184, heads: 240, headDim: 128, hidden: 116_736,
    // Blocks of attention are loops whose turns are counted as they run, which stages of a pipeline cannot have.
    blockwise: 0, pipeline: { stages: 4, microbatches: 32, schedule: '1f1b', remat: 'everything' },
  }),
  data: textData({}),
  batch: 1024,
  steps: { tokens: 20e12 },
  mesh: { batch: 16, model: 16, stage: 4 },
  layout: { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model', stage: 'stage', layers: 'stage' },
  // A stage's weights, their gradients and moments rest in parts along the batch's axis: a layer is gathered where a tick computes with it.
  params: { embed: 'batch' },
  layouts: { residual: { seq: 'model' } },
  precision: { compute: 'bf16' },
  optimizer: adamwCosine({ rate: 6e-5, warmup: 2000 }),
})
export default run
