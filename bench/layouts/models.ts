/** The ten models whose layouts are tried: small enough that a step takes milliseconds, and unlike each other in what is large. */
import { convNetModel, gptModel, llamaModel, lstmModel, mlp, t5Model, vitModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'
import { isQuick } from '../foresight/runs.ts'

const data = { batch: () => { throw new Error('a planned run reads no data') } }
const of = (fields: object): Run => defineRun({ name: 'run', data, batch: 16, steps: 10, optimizer: adamwCosine({ rate: 1e-3 }), mesh: { batch: 1 }, layout: {}, ...fields } as never)

const perceptrons: { readonly [model: string]: Run } = {
  'wide perceptron': of({ model: mlp({ inputs: 256, hidden: 8192, outputs: 256 }, 64), batch: 64 }),
  'many examples': of({ model: mlp({ inputs: 256, hidden: 512, outputs: 64 }, 4096), batch: 4096 }),
}
export const models: { readonly [model: string]: Run } = isQuick ? perceptrons : {
  ...perceptrons,
  GPT: of({ model: gptModel({ vocab: 1024, seq: 64, layers: 2, embed: 128, heads: 8, headDim: 16, hidden: 512, dropout: 0 }) }),
  'wide GPT': of({ model: gptModel({ vocab: 512, seq: 32, layers: 1, embed: 512, heads: 8, headDim: 64, hidden: 2048, dropout: 0 }), batch: 8 }),
  'large vocabulary': of({ model: gptModel({ vocab: 16_384, seq: 32, layers: 1, embed: 128, heads: 8, headDim: 16, hidden: 256, dropout: 0 }) }),
  Llama: of({ model: llamaModel({ vocab: 1024, seq: 64, layers: 2, embed: 128, heads: 8, kvHeads: 8, headDim: 16, hidden: 384 }) }),
  experts: of({ model: llamaModel({ vocab: 512, seq: 32, layers: 1, embed: 128, heads: 8, kvHeads: 8, headDim: 16, hidden: 256, experts: { count: 8, chosen: 2, hidden: 128 } }) }),
  T5: of({ model: t5Model({ vocab: 512, source: 32, target: 32, encoderLayers: 1, decoderLayers: 1, embed: 128, heads: 8, headDim: 16, hidden: 512 }) }),
  'conv net': of({ model: convNetModel({ height: 16, width: 16, channels: 8, features: [32, 64], hidden: 128 }), batch: 32 }),
  ViT: of({ model: vitModel({ height: 32, width: 32, channels: 4, classes: 16, patchHeight: 4, patchWidth: 4, layers: 2, embed: 128, heads: 8, hidden: 512 }) }),
  LSTM: of({ model: lstmModel({ vocab: 512, seq: 16, layers: 1, embed: 128 }) }),
}
