/** The runs whose steps are predicted and measured: six models, each in several layouts of up to four devices. */
import { convNetModel, gptModel, llamaModel, mlp, t5Model } from '../../src/models/index.ts'
import { adamwCosine, defineRun, type Run } from '../../src/train/index.ts'

/** `MESHWORK_BENCH_QUICK=1`: small numbers, to see that it runs; its figures say nothing. */
export const isQuick: boolean = (process.env['MESHWORK_BENCH_QUICK'] ?? '') !== ''

const data = { batch: () => { throw new Error('a planned run reads no data') } }
const of = (fields: object): Run => defineRun({ name: 'run', data, batch: 8, steps: 10, optimizer: adamwCosine({ rate: 1e-3 }), ...fields } as never)
const small = <T>(whole: T, quick: T): T => (isQuick ? quick : whole)

const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const both = { batch: 'batch', ...tensor }
const one = { mesh: { batch: 1 }, layout: {} }
const batch4 = { mesh: { batch: 4 }, layout: { batch: 'batch' } }
const square = { mesh: { batch: 2, model: 2 } }
const four = { mesh: { model: 4 } }

const gpt = gptModel({ vocab: small(2048, 128), seq: small(128, 16), layers: small(4, 1), embed: small(128, 32), heads: 4, headDim: small(32, 8), hidden: small(512, 64) })
const wide = gptModel({ vocab: small(4096, 128), seq: small(128, 16), layers: 2, embed: small(512, 32), heads: 8, headDim: small(64, 4), hidden: small(2048, 64), dropout: 0 })
const llama = llamaModel({ vocab: small(2048, 128), seq: small(128, 16), layers: 2, embed: small(256, 32), heads: 8, kvHeads: 4, headDim: small(32, 4), hidden: small(768, 64) })
const t5 = t5Model({ vocab: small(2048, 128), source: small(64, 16), target: small(64, 16), encoderLayers: 2, decoderLayers: 2, embed: small(256, 32), heads: 8, headDim: small(32, 4), hidden: small(1024, 64) })
const images = convNetModel({ height: small(32, 8), width: small(32, 8), channels: 3, features: [small(32, 4), small(64, 8)], hidden: small(128, 16) })
const net = mlp({ inputs: small(512, 16), hidden: small(2048, 32), outputs: small(512, 16) }, 512)

/** By the model; layouts of one model are ranked. */
export const models: { readonly [model: string]: { readonly [layout: string]: Run } } = {
  GPT: {
    'one device': of({ model: gpt, ...one }), 'data': of({ model: gpt, ...batch4 }), 'data × tensor': of({ model: gpt, ...square, layout: both }), 'tensor': of({ model: gpt, ...four, layout: tensor }),
    'FSDP': of({ model: gpt, ...batch4, params: { embed: 'batch' } }), 'ZeRO-1': of({ model: gpt, ...batch4, state: { embed: 'batch' } }), 'sequence × tensor': of({ model: gpt, ...square, layout: both, layouts: { residual: { seq: 'model' } } }),
  },
  'wide GPT': {
    'one device': of({ model: wide, ...one }), 'data': of({ model: wide, ...batch4 }), 'data × tensor': of({ model: wide, ...square, layout: both }), 'tensor': of({ model: wide, ...four, layout: tensor }),
    'FSDP': of({ model: wide, ...batch4, params: { embed: 'batch' } }), 'two devices': of({ model: wide, mesh: { batch: 2 }, layout: { batch: 'batch' } }),
  },
  Llama: {
    'data': of({ model: llama, ...batch4 }), 'data × tensor': of({ model: llama, ...square, layout: { ...both, kvHeads: 'model' } }), 'tensor': of({ model: llama, ...four, layout: { ...tensor, kvHeads: 'model' } }),
    'recomputed': of({ model: llama, ...batch4, remat: 'everything' }), 'microbatches': of({ model: llama, ...square, layout: { ...both, kvHeads: 'model' }, microbatches: 2 }),
  },
  T5: {
    'one device': of({ model: t5, ...one }), 'data': of({ model: t5, ...batch4 }), 'data × tensor': of({ model: t5, ...square, layout: both }), 'tensor': of({ model: t5, ...four, layout: tensor }),
  },
  'conv net': {
    'one device': of({ model: images, batch: 64, ...one }), 'data': of({ model: images, batch: 64, ...batch4 }), 'two devices': of({ model: images, batch: 64, mesh: { batch: 2 }, layout: { batch: 'batch' } }),
    'features': of({ model: images, batch: 64, ...square, layout: { batch: 'batch', hidden: 'model' } }),
  },
  MLP: {
    'one device': of({ model: net, batch: 512, ...one }), 'data': of({ model: net, batch: 512, ...batch4 }), 'data × tensor': of({ model: net, batch: 512, ...square, layout: { batch: 'batch', hidden: 'model' } }),
    'tensor': of({ model: net, batch: 512, ...four, layout: { hidden: 'model' } }),
  },
}

/** Those that ranks can do: a rank is a device, and all take part. */
export const onRanks = (run: Run): boolean => Object.values(run.mesh).reduce((a, b) => a * b, 1) === 4

const order = Object.entries(models).flatMap(([model, layouts]) => Object.keys(layouts).map(layout => `${model} ${layout}`))
/** Every other run is held out: nothing of how a step is priced was chosen by looking at it. On ranks it is those that are not in one process. */
export const isHeldOut = ({ model, layout, where }: { readonly model: string; readonly layout: string; readonly where: string }): boolean => order.indexOf(`${model} ${layout}`) % 2 === (where === 'one process' ? 1 : 0)
