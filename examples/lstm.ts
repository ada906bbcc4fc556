// A language model of two LSTM layers on text, four ways over the batch; or two ways, and each layer's gates, like the vocabulary, over two devices.
//
//   npx meshwork train examples/lstm.ts                                      the State of the Union addresses, which come along
//   npx meshwork train examples/lstm.ts --data novel.txt --set model.embed=256
//   npx meshwork train examples/lstm.ts --batch 2 --model 2
import { textData } from 'meshwork/data'
import { lstmModel } from 'meshwork/models'
import { adamwCosine, defineRun, type Run } from 'meshwork/train'

const run: Run = defineRun({
  name: 'lstm',
  model: lstmModel({ vocab: 1024, seq: 64, layers: 2, embed: 128, dropout: 0.1 }),
  // Tokens are learnt from the text, as many as the model has, and the text is tokenised once.
  data: textData({ heldOut: 0.05 }),
  batch: 16,
  steps: 1000,
  optimizer: adamwCosine({ rate: 4e-3, warmup: 50, weightDecay: 0.01 }),
  mesh: { batch: 4, model: 1 },
  // Gates that are split exchange the state at each token and layer: right for layers that one device cannot hold, and slower for these.
  layout: { batch: 'batch', hidden: 'model', vocab: 'model' },
  // Optimizer slots rest in parts on the devices of the batch (ZeRO).
  state: { embed: 'batch', past: 'batch' },
  // A step whose loss leaps six standard deviations is undone, and the run goes on.
  guard: { policy: 'skip', spike: 6 },
  evaluation: { every: 250, batches: 16 },
})
export default run
