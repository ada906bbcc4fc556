// Tensor parallel, and sequences beside it: a decoder whose heads and hidden units are split four ways. Between the products of a layer every device would have the same tokens; the model names what goes through its
// layers `residual`, and a rule for that gives each device a quarter of the tokens there. What was an all-reduce is then a reduce-scatter and an all-gather of the same bytes, and norms, dropout and what
// is kept for the backward pass are a quarter.
//
//   npx meshwork train examples/sequences.ts
//   npx meshwork plan examples/sequences.ts --diff "--set layouts={}"                                                                   what it saves
//   npx meshwork train examples/sequences.ts --mesh rows=2,columns=2 --layout heads=columns,hidden=columns,embed=rows --set layouts={}    matrices over both axes instead
import { textData } from 'meshwork/data'
import { gptModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const run: Run = defineRun({
  name: 'sequences',
  model: gptModel({ vocab: 1024, seq: 128, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 256, dropout: 0.1 }),
  data: textData({ heldOut: 0.05 }),
  batch: 8,
  steps: 500,
  optimizer: adamwCosine({ rate: 3e-3, warmup: 50 }),
  mesh: { model: 4 },
  layout: { heads: 'model', hidden: 'model', vocab: 'model' },
  layouts: { residual: { from: 'compute', seq: 'model' } },
  // Kept is the split stream alone; what the gathers brought is gathered again.
  remat: 'everything',
  evaluation: { every: 100, batches: 8 },
})
export default run
