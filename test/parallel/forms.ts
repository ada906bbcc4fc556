/**
 * Every form of parallelism as a line of a table: what a recipe says of it. A form that is added here is trained and compared with one device;
 * those of `quick` by `npm test`, the others with MESHWORK_DEPTH=all.
 */
import { dims, initialisers, input, param, type Dim, type Tensor } from '../../src/engine/index.ts'
import { convNet } from '../../src/models/conv-net.ts'
import { expertsSchema, type ExpertsConfig } from '../../src/models/experts-config.ts'
import { gpt, llama, llamaSchema, type GptConfig, type LlamaConfig, type PipelineConfig } from '../../src/models/index.ts'
import type { AnyModel } from '../../src/models/model.ts'
import { conv, crossEntropy } from '../../src/nn/index.ts'
import { placesOf } from '../../src/parallel/index.ts'
import { draw } from '../support/values.ts'
import type { Form, Subject } from './harness.ts'

const batch = 16
export const transformer: GptConfig & { readonly dropout: number } = { vocab: 64, seq: 16, layers: 4, embed: 32, heads: 4, headDim: 8, hidden: 160, dropout: 0 } as never

/** Windows of sequences in which a token follows from the one before, but for one in eight. */
export function windows(step: number, rows: number, seq: number, vocab: number): { readonly tokens: Int32Array; readonly targets: Int32Array } {
  const [tokens, targets] = [new Int32Array(rows * seq), new Int32Array(rows * seq)]
  for (let r = 0; r < rows; r++) {
    let token = Math.floor(vocab * draw(step, r * (seq + 1)))
    for (let s = 0; s < seq; s++) {
      tokens[r * seq + s] = token
      const coin = draw(step, r * (seq + 1) + s + 1)
      token = coin < 1 / 8 ? Math.floor(8 * coin * vocab) : (5 * token + 3) % vocab
      targets[r * seq + s] = token
    }
  }
  return { tokens, targets }
}
const gptSubject = (more: Partial<GptConfig> = {}): Subject => ({
  build: precision => gpt({ ...transformer, ...more } as GptConfig, batch, precision), data: step => windows(step, batch, transformer.seq, transformer.vocab),
})
const plain = gptSubject()
/** Dropout depends on the key and on where an element is, not on the device. */
export const dropping: Subject = gptSubject({ dropout: 0.1 } as never)

/** Images of 16 × 16 with a bright spot, whose place is their class. */
const images: Subject = {
  build: precision => convNet({ height: 16, width: 16, channels: 2, classes: 4, features: [8, 8], kernel: 3, hidden: 16, dropout: 0, brightest: 255 }, 8, precision),
  data: step => {
    const [pixels, labels] = [new Uint8Array(8 * 16 * 16 * 2), new Int32Array(8)]
    for (let r = 0; r < 8; r++) {
      const label = Math.floor(4 * draw(step, r))
      labels[r] = label
      for (let y = 0; y < 16; y++) {
        for (let x = 0; x < 16; x++) {
          const near = Math.hypot(y - 4 - 8 * (label >> 1), x - 4 - 8 * (label & 1)) < 4
          for (let c = 0; c < 2; c++) pixels[((r * 16 + y) * 16 + x) * 2 + c] = Math.floor((near ? 160 : 0) + 90 * draw(step + 1000, ((r * 16 + y) * 16 + x) * 2 + c))
        }
      }
    }
    return { images: pixels, labels }
  },
}

/** The same by windows that begin elsewhere than the devices' blocks do: the gradients of those are misaligned, too. */
const misaligned: Subject = {
  data: step => images.data(step),
  build: () => {
    const d = dims({ batch: 8, height: 16, width: 16, channels: 2, tall: 5, broad: 5, third: 3, features: 8, more: 8, row: 6, column: 12, classes: 4 })
    const weight = <const S extends readonly Dim[]>(name: string, shape: S, over: S): Tensor<S[number]['name']> => param(name, shape, { init: initialisers.heNormal([...over] as never), decays: true })
    const params = {
      first: weight('first', [d.tall, d.broad, d.channels, d.features], [d.tall, d.broad, d.channels] as never), second: weight('second', [d.third, d.features, d.more], [d.third, d.features] as never),
      out: weight('out', [d.row, d.column, d.more, d.classes], [d.row, d.column, d.more] as never),
    }
    return {
      params, dims: d, itemsPerBatch: 8, batch: { images: input('images', [d.batch, d.height, d.width, d.channels], 'u8'), labels: input('labels', [d.batch], 'i32') },
      loss: (p: typeof params, b: { readonly images: Tensor<'batch' | 'height' | 'width' | 'channels'>; readonly labels: Tensor<'batch'> }) => {
        // 16 × 16 → 12 × 12, then every second row of three.
        const wide = conv(b.images.cast('f32').mul(1 / 255), p.first, { over: [d.channels], windows: [{ dim: 'height', kernel: d.tall }, { dim: 'width', kernel: d.broad }] }).relu()
        const found = conv(wide, p.second, { over: [d.features], windows: [{ dim: 'height', kernel: d.third, stride: 2, padding: [1, 1] }] }).relu()
        return { loss: crossEntropy(found.rename('height', 'row').rename('width', 'column').dot(p.out, d.row, d.column, d.more), d.classes, b.labels).mean() }
      },
    } as unknown as AnyModel
  },
}

/** Llamas of the same size: with experts without drops, whose numbers no mesh changes, and with windows that devices share. */
const llamaSubject = (more: Partial<LlamaConfig>): Subject => ({
  build: precision => llama({ ...llamaSchema.parse({ vocab: 64, seq: 16, layers: 4, embed: 32, heads: 4, kvHeads: 2, headDim: 8, hidden: 96 }), ...more } as LlamaConfig, batch, precision) as unknown as AnyModel,
  data: step => windows(step, batch, transformer.seq, transformer.vocab),
})
const ofExperts = (more: Partial<ExpertsConfig> = {}): Partial<LlamaConfig> => ({ experts: expertsSchema.parse({ count: 4, chosen: 2, hidden: 32, shared: 32, balance: 0.01, ...more }) })
const experts = llamaSubject(ofExperts())
/** What is balanced of each window by itself is the same of a microbatch; so are an expert's places. */
const placed = ofExperts({ balanceOver: 'groups', capacity: 1.25, zLoss: 0.001, biasRate: 0.001 })
const alone = llamaSubject(placed)
const expertsIn = (pipeline: PipelineConfig, more = ofExperts()): Subject => ({ ...llamaSubject({ ...more, pipeline }), places: placesOf(transformer.layers, pipeline) })
const shared = llamaSubject({ context: { form: 'zigzag', blocks: 2 } })

const tensor = { heads: 'model', hidden: 'model', vocab: 'model' }
const both = { batch: 'data', ...tensor }
const onStages = { stage: 'stage', layers: 'stage' }
const piped = (pipeline: PipelineConfig, more: Partial<GptConfig> = {}): Subject => ({ ...gptSubject({ ...more, pipeline }), places: placesOf(transformer.layers, pipeline) })
const sequence = { residual: { from: 'compute', seq: 'model' } } as const

export const usual: Subject = plain
export const forms: { readonly [name: string]: Form } = {
  'data': { mesh: { data: 4 }, layout: { batch: 'data' } },
  'tensor': { mesh: { model: 4 }, layout: tensor },
  'data × tensor': { mesh: { data: 2, model: 2 }, layout: both },
  'data × tensor, dropout': { mesh: { data: 2, model: 2 }, layout: both, subject: dropping },
  'two-dimensional weights': { mesh: { rows: 2, columns: 2 }, layout: { heads: 'columns', hidden: 'columns', vocab: 'columns', embed: 'rows' } },
  'ZeRO-1': { mesh: { data: 4 }, layout: { batch: 'data' }, state: { embed: 'data' } },
  'ZeRO-2, microbatches': { mesh: { data: 4 }, layout: { batch: 'data' }, state: { embed: 'data' }, gradients: { from: 'state' }, microbatches: 2 },
  'ZeRO-3 (FSDP)': { mesh: { data: 4 }, layout: { batch: 'data' }, params: { embed: 'data' } },
  'ZeRO-3 (FSDP), everything recomputed': { mesh: { data: 4 }, layout: { batch: 'data' }, params: { embed: 'data' }, remat: 'everything' },
  'ZeRO-3 (FSDP), microbatches': { mesh: { data: 4 }, layout: { batch: 'data' }, params: { embed: 'data' }, microbatches: 2 },
  'hybrid: replicas of shards': { mesh: { replica: 2, shard: 2 }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' } },
  'hybrid, microbatches': { mesh: { replica: 2, shard: 2 }, layout: { batch: ['replica', 'shard'] }, params: { embed: 'shard' }, microbatches: 2 },
  'FSDP × tensor': { mesh: { data: 2, model: 2 }, layout: both, params: { embed: 'data' } },
  'FSDP × tensor, bf16': { mesh: { data: 2, model: 2 }, layout: both, params: { embed: 'data' }, compute: 'bf16' },
  'replicas × FSDP, bf16 between replicas': {
    mesh: { replica: 2, data: 2 }, layout: { batch: ['replica', 'data'] }, params: { embed: 'data' }, wire: { replica: 'bf16' },
    // Gradients are rounded on their way, as they are where bf16 is computed with.
    within: 2e-2,
  },
  'sequence × tensor': { mesh: { model: 4 }, layout: tensor, layouts: sequence },
  'sequence × tensor × data': { mesh: { data: 2, model: 2 }, layout: both, layouts: sequence },
  'sequence × tensor × data, dropout, microbatches': { mesh: { data: 2, model: 2 }, layout: both, layouts: sequence, microbatches: 2, subject: dropping, against: { microbatches: 2 } },
  'sequence × tensor × FSDP, microbatches, everything recomputed, bf16': {
    mesh: { data: 2, model: 2 }, layout: both, layouts: sequence, params: { embed: 'data' }, microbatches: 2, remat: 'everything', compute: 'bf16',
  },
  'replicas × FSDP × tensor': { mesh: { replica: 2, data: 2, model: 2 }, layout: { batch: ['replica', 'data'], ...tensor }, params: { embed: 'data' } },
  'FSDP × experts × tensor': { mesh: { data: 2, expert: 2, model: 2 }, layout: { batch: ['data', 'expert'], kvHeads: 'model', sharedHidden: 'model', vocab: 'model' }, params: { experts: 'expert', embed: 'data' }, subject: experts },
  'context (zigzag) × tensor × data': { mesh: { data: 2, ring: 2, model: 2 }, layout: { batch: 'data', seq: 'ring', kvHeads: 'model', hidden: 'model', vocab: 'model' }, subject: shared },
  'pipeline: GPipe': { mesh: { stage: 4 }, layout: onStages, subject: piped({ stages: 4, microbatches: 8 }), against: { subject: plain } },
  'pipeline: circular × data, dropout': { mesh: { data: 2, stage: 2 }, layout: { batch: 'data', ...onStages }, subject: piped({ stages: 2, microbatches: 4, schedule: 'circular' }, { dropout: 0.1 } as never), against: { subject: dropping } },
  'pipeline: 1F1B, unlike stages × tensor': { mesh: { model: 2, stage: 2 }, layout: { ...tensor, ...onStages }, subject: piped({ stages: [1, 3], microbatches: 4, schedule: '1f1b' }), against: { subject: plain } },
  'pipeline: 1F1B × tensor × data, dropout': { mesh: { data: 2, model: 2, stage: 2 }, layout: { ...both, ...onStages }, subject: piped({ stages: 2, microbatches: 4, schedule: '1f1b' }, { dropout: 0.1 } as never), against: { subject: dropping } },
  'pipeline: 1F1B × sequence × tensor × FSDP, everything recomputed': {
    mesh: { data: 2, model: 2, stage: 2 }, layout: { ...both, ...onStages }, layouts: sequence, params: { embed: 'data' }, subject: piped({ stages: 2, microbatches: 4, schedule: '1f1b', remat: 'everything' }), against: { subject: plain },
  },
  'pipeline: GPipe × tensor × data, bf16': { mesh: { data: 2, model: 2, stage: 2 }, layout: { ...both, ...onStages }, compute: 'bf16', subject: piped({ stages: 2, microbatches: 4 }), against: { subject: plain } },
  'pipeline: 1F1B × tensor × data, bf16': { mesh: { data: 2, model: 2, stage: 2 }, layout: { ...both, ...onStages }, compute: 'bf16', subject: piped({ stages: 2, microbatches: 4, schedule: '1f1b' }), against: { subject: plain } },
  'pipeline: GPipe × experts × data': { mesh: { data: 2, expert: 2, stage: 2 }, layout: { batch: ['data', 'expert'], ...onStages }, params: { experts: 'expert' }, subject: expertsIn({ stages: 2, microbatches: 4 }), against: { subject: experts } },
  'pipeline: 1F1B × experts × data, capacity': { mesh: { data: 2, expert: 2, stage: 2 }, layout: { batch: ['data', 'expert'], ...onStages }, params: { experts: 'expert' }, subject: expertsIn({ stages: 2, microbatches: 4, schedule: '1f1b' }, placed), against: { subject: alone } },
  'images by height': { mesh: { tall: 4 }, layout: { height: 'tall' }, subject: images },
  'images by height and width': { mesh: { tall: 2, wide: 2 }, layout: { height: 'tall', width: 'wide' }, subject: images },
  'images by height × data × features': { mesh: { data: 2, tall: 2, model: 2 }, layout: { batch: 'data', height: 'tall', features: 'model', hidden: 'model' }, subject: images },
  'images by height, misaligned windows': { mesh: { tall: 4 }, layout: { height: 'tall' }, subject: misaligned },
  'images by height and width, misaligned windows': { mesh: { tall: 2, wide: 2 }, layout: { height: 'tall', width: 'wide' }, subject: misaligned },
}
/** Those that every `npm test` trains: what is hardest to get right, each way of moving data once. */
export const quick: readonly string[] = ['pipeline: 1F1B × tensor × data, dropout', 'images by height and width, misaligned windows']
/** Compositions over three axes of eight devices, which ranks train as well. */
export const compositions: readonly string[] = ['pipeline: 1F1B × tensor × data, dropout', 'FSDP × experts × tensor', 'context (zigzag) × tensor × data', 'replicas × FSDP × tensor']
