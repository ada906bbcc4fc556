/** Training runs whose memory is planned and then read from the compiled program: models, meshes, layouts and policies of all kinds, small enough to compile in seconds. */
import { bertMaskedModel, convNetModel, gptModel, llamaModel, loraModel, lstmModel, resnetModel, seq2seqModel, t5Model, vitModel } from '../../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'

const data = { batch: () => { throw new Error('a planned run reads no data') } }
const tensorRules = { batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }

const of = (name: string, fields: object): Run => defineRun({ name, data, batch: 8, steps: 10, optimizer: adamwCosine({ rate: 1e-3 }), ...fields } as never)

const gpt = gptModel({ vocab: 2048, seq: 128, layers: 4, embed: 128, heads: 4, headDim: 32, hidden: 512 })
const llama = llamaModel({ vocab: 512, seq: 64, layers: 4, embed: 64, heads: 4, kvHeads: 2, headDim: 16, hidden: 192 })

export const memoryRuns: readonly Run[] = [
  of('gpt-tiny 2×2', { model: gpt, mesh: { batch: 2, model: 2 }, layout: tensorRules }),
  of('gpt on one device', { model: gpt, mesh: { batch: 1 }, layout: {} }),
  of('gpt FSDP', { model: gpt, mesh: { batch: 4 }, layout: { batch: 'batch' }, params: { embed: 'batch' } }),
  of('gpt ZeRO-1', { model: gpt, mesh: { batch: 4 }, layout: { batch: 'batch' }, state: { embed: 'batch' } }),
  of('gpt sequence parallel', { model: gpt, mesh: { batch: 2, model: 2 }, layout: tensorRules, layouts: { residual: { seq: 'model' } } }),
  of('gpt microbatches', { model: gpt, mesh: { batch: 2, model: 2 }, layout: tensorRules, microbatches: 4 }),
  of('gpt recomputed', { model: gpt, mesh: { batch: 2, model: 2 }, layout: tensorRules, remat: 'everything' }),
  of('gpt nothing recomputed', { model: gpt, mesh: { batch: 2 }, layout: { batch: 'batch' }, remat: 'nothing' }),
  of('gpt bf16', { model: gpt, mesh: { batch: 2, model: 2 }, layout: tensorRules, precision: { compute: 'bf16' } }),
  // Its scores are the largest by far, where something holds them.
  of('gpt, windows of 512', { model: gptModel({ vocab: 256, seq: 512, layers: 2, embed: 64, heads: 8, headDim: 8, hidden: 128 }), batch: 4, mesh: { batch: 1 }, layout: {} }),
  of('llama', { model: llama, mesh: { batch: 2, model: 2 }, layout: { ...tensorRules, kvHeads: 'model' } }),
  of('llama LoRA', { model: loraModel(llama as never, { rank: 4 }), mesh: { batch: 2 }, layout: { batch: 'batch' } }),
  of('conv net', { model: convNetModel({}), batch: 32, mesh: { batch: 4 }, layout: { batch: 'batch' } }),
  of('images in colour', { model: convNetModel({ height: 32, width: 32, channels: 3, features: [32, 64], hidden: 128 }), batch: 64, mesh: { batch: 2 }, layout: { batch: 'batch' } }),
  of('ResNet', { model: resnetModel({ height: 32, width: 32, classes: 10, stem: 16, features: [32, 64], depths: [1, 1] }), batch: 16, mesh: { batch: 2 }, layout: { batch: 'batch' } }),
  of('ViT', { model: vitModel({ height: 32, width: 32, channels: 3, classes: 10, patchHeight: 4, patchWidth: 4, layers: 4, embed: 64, heads: 4, hidden: 256 }), mesh: { batch: 2, model: 2 }, layout: { batch: 'batch', heads: 'model', hidden: 'model' } }),
  of('BERT', { model: bertMaskedModel({ vocab: 512, seq: 64, layers: 4, embed: 64, heads: 4, hidden: 256 }), mesh: { batch: 2, model: 2 }, layout: tensorRules }),
  of('T5', { model: t5Model({ vocab: 512, source: 32, target: 32, encoderLayers: 2, decoderLayers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128 }), mesh: { batch: 2, model: 2 }, layout: tensorRules }),
  of('sequence to sequence', { model: seq2seqModel({ vocab: 512, source: 32, target: 32, encoderLayers: 2, decoderLayers: 2, embed: 64, heads: 4, headDim: 16, hidden: 128 }), mesh: { batch: 4 }, layout: { batch: 'batch' } }),
  of('LSTM', { model: lstmModel({ vocab: 512, seq: 32, layers: 2, embed: 64 }), mesh: { batch: 2 }, layout: { batch: 'batch' } }),
]
