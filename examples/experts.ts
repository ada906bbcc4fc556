// A small language model of experts on text: four ways over the batch, and eight experts, two on each device, to which tokens go and from which they come back.
//
//   npx meshwork train examples/experts.ts
//   npx meshwork train examples/experts.ts --set params.experts='["batch","model"]' --batch 2 --model 2      experts over both axes, attention over each
//   npx meshwork train examples/experts.ts --set model.experts.capacity=1.25                                 each expert takes so many times its even share
import { textData } from 'meshwork/data'
import { llamaModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const run: Run = defineRun({
  name: 'experts',
  model: llamaModel({
    vocab: 1024, seq: 64, layers: 2, embed: 64, heads: 4, kvHeads: 2, headDim: 16, hidden: 128,
    // Two of eight for each token, and one that all tokens go to.
    experts: { count: 8, chosen: 2, hidden: 96, shared: 96, balance: 0.01, zLoss: 0.001 },
  }),
  data: textData({ heldOut: 0.05 }),
  batch: 16,
  steps: 1000,
  optimizer: adamwCosine({ rate: 3e-3, warmup: 50 }),
  mesh: { batch: 4, model: 1 },
  layout: { batch: 'batch', kvHeads: 'model', sharedHidden: 'model', vocab: 'model' },
  params: { experts: 'batch' },
  evaluation: { every: 250, batches: 16 },
})
export default run
