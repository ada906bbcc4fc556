/** A residual net of convolutions (He et al. 2016; the strides of version 1.5): stages of blocks, each of two convolutions of 3 × 3, or of three that narrow, look around and widen. */
import { z } from 'zod'
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import { initialisers, param } from '../graph/param.ts'
import type { Key } from '../graph/random.ts'
import type { AnyTensor, Tensor } from '../graph/types.ts'
import { batchNorm, type BatchStatistics } from '../nn/batch-norm.ts'
import { conv } from '../nn/convolution.ts'
import { maxPool } from '../nn/pooling.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { configurable, type Configurable, type Given } from './configurable.ts'
import { activationNames, activations, type Activation } from './activation.ts'
import { imageFields, imageShape, pixelsOf, type ImageConfig } from './images.ts'
import { inFull, type Model, type Precision } from './model.ts'

export type ResnetConfig = ImageConfig & {
  readonly classes: number
  /** What the first convolution, of 7 × 7, finds. */
  readonly stem: number
  /** Features of each stage, and blocks in it. */
  readonly features: readonly number[]
  readonly depths: readonly number[]
  /** Blocks of three convolutions, which look around in a quarter of the features; else of two. */
  readonly bottleneck: boolean
  /** Behind the first convolution and behind each block; inside of blocks it is relu. */
  readonly activation: Activation
  /** Whether the first stage, too, halves the image. */
  readonly firstHalves: boolean
  /** Whether the first convolution of a bottleneck halves the image (version 1) and not the second. */
  readonly earlyStride: boolean
  /** How far running statistics go towards a batch's in each step. */
  readonly momentum: number
  /** Whether norms use the running statistics in training too, and leave them as they are: for fine-tuning on small batches. */
  readonly frozenStatistics: boolean
}
export type ResnetInput = Given<ResnetConfig, 'channels' | 'brightest' | 'mean' | 'std' | 'stem' | 'bottleneck' | 'activation' | 'firstHalves' | 'earlyStride' | 'momentum' | 'frozenStatistics'>
const count = z.int().min(1).max(2 ** 31 - 1)
export const resnetSchema: z.ZodType<ResnetConfig, ResnetInput> = z.strictObject({
  ...imageFields, classes: count, stem: count.default(64), features: z.array(count).min(1), depths: z.array(count).min(1), bottleneck: z.boolean().default(true), activation: z.enum(activationNames).default('relu'),
  firstHalves: z.boolean().default(false), earlyStride: z.boolean().default(false), momentum: z.number().min(0).max(1).default(0.1), frozenStatistics: z.boolean().default(false),
}).superRefine((c, context) => {
  if (c.depths.length !== c.features.length) context.addIssue({ code: 'custom', path: ['depths'], message: `${c.features.length} stages have features: give each its depth` })
  if (c.bottleneck && c.features.some(f => f % 4 !== 0)) context.addIssue({ code: 'custom', path: ['features'], message: 'a bottleneck has a quarter of the features: give numbers that 4 divides' })
})

type Dims = { readonly [N in 'batch' | 'height' | 'width' | 'channels' | 'features' | 'kernelHeight' | 'kernelWidth' | 'classes']: Dim<N> }
type Norm = BatchStatistics<'features'> & { readonly gain: Tensor<'features'>; readonly bias: Tensor<'features'> }
type Layer = { readonly kernel: Tensor<'features' | 'channels' | 'kernelHeight' | 'kernelWidth'>; readonly norm: Norm }
type Block = { readonly layers: readonly Layer[]; readonly shortcut?: Layer }
export type ResnetParams = { readonly stem: Layer; readonly stages: readonly (readonly Block[])[]; readonly out: Tensor<'classes' | 'channels'>; readonly outBias: Tensor<'classes'> }
type Maps = Tensor<'batch' | 'height' | 'width' | 'channels'>
/** Bytes (u8), and a class of each image; −100 does not count. */
export type ResnetBatch = { readonly images: Maps; readonly labels: Tensor<'batch'> }
export type Resnet = Model<ResnetParams, ResnetBatch, keyof Dims> & {
  readonly dims: Dims
  /** batch classes. */
  readonly logits: (params: ResnetParams, batch: Pick<ResnetBatch, 'images'>, key?: Key) => Tensor<'batch' | 'classes'>
}

/** Strides of a block's convolutions, and the size of their kernels. */
export interface ResnetLayer { readonly from: number; readonly to: number; readonly kernel: number; readonly stride: number }
export interface ResnetBlock { readonly layers: readonly ResnetLayer[]; readonly shortcut: ResnetLayer | undefined }
/** What a net of a configuration consists of. */
export function resnetBlocks(c: ResnetConfig): readonly (readonly ResnetBlock[])[] {
  return c.features.map((to, stage) => Array.from({ length: c.depths[stage] ?? 1 }, (_, i): ResnetBlock => {
    const from = i > 0 ? to : c.features[stage - 1] ?? c.stem
    const stride = i === 0 && (stage > 0 || c.firstHalves) ? 2 : 1
    const layer = (from: number, to: number, kernel: number, stride: number): ResnetLayer => ({ from, to, kernel, stride })
    const inner = to / 4
    return {
      layers: c.bottleneck ? [layer(from, inner, 1, c.earlyStride ? stride : 1), layer(inner, inner, 3, c.earlyStride ? 1 : stride), layer(inner, to, 1, 1)] : [layer(from, to, 3, stride), layer(to, to, 3, 1)],
      shortcut: from !== to || stride !== 1 ? layer(from, to, 1, stride) : undefined,
    }
  }))
}

/** A classifier for batches of `batch` images. */
export function resnet(config: ResnetConfig, batch: number, { params: dtype, compute }: Precision = inFull): Resnet {
  const d: Dims = dims({ batch, height: config.height, width: config.width, channels: config.channels, features: config.stem, kernelHeight: 7, kernelWidth: 7, classes: config.classes })
  const blocks = resnetBlocks(config)
  const stem: ResnetLayer = { from: config.channels, to: config.stem, kernel: 7, stride: 2 }
  const act = activations[config.activation]
  const layerOf = (name: string, { from, to, kernel: size }: ResnetLayer): Layer => {
    const [features, channels, kernelHeight, kernelWidth] = [{ name: 'features', size: to }, { name: 'channels', size: from }, { name: 'kernelHeight', size }, { name: 'kernelWidth', size }] as const
    const own = (part: string, init: number, frozen = false): Tensor<'features'> => param(`${name}.${part}`, [features], { dtype: frozen ? 'f32' : dtype, init, ...(frozen ? { frozen } : {}) })
    return {
      // By what comes out, as the weights of others are drawn.
      kernel: param(`${name}.kernel`, [features, channels, kernelHeight, kernelWidth], { dtype, init: initialisers.heNormal([features, kernelHeight, kernelWidth]), decays: true }),
      norm: { gain: own('gain', 1), bias: own('bias', 0), mean: own('mean', 0, true), variance: own('variance', 1, true) },
    }
  }
  const found = (p: ResnetParams, { images }: Pick<ResnetBatch, 'images'>, key: Key | undefined, updates: { [path: string]: AnyTensor } = {}): Tensor<'batch' | 'classes'> => {
    const applied = (x: Maps, w: Layer, { kernel: size, stride }: ResnetLayer, path: string): Maps => {
      const window = { stride, padding: Math.floor(size / 2) }
      const maps = conv(x, w.kernel.cast(compute), { over: ['channels'], windows: [{ dim: 'height', kernel: 'kernelHeight', ...window }, { dim: 'width', kernel: 'kernelWidth', ...window }] })
      const { value, statistics } = batchNorm(maps, 'features', w.norm, { training: key !== undefined && !config.frozenStatistics, momentum: config.momentum })
      if (statistics !== undefined) Object.assign(updates, { [`${path}.norm.mean`]: statistics.mean, [`${path}.norm.variance`]: statistics.variance })
      return value.rename('features', 'channels')
    }
    const first = act(applied(pixelsOf(images, config, d.channels, compute), p.stem, stem, 'stem'))
    const pool = { size: 3, stride: 2, padding: 1 }
    const start: Maps = maxPool(first, [{ dim: 'height', ...pool }, { dim: 'width', ...pool }])
    const last = p.stages.flatMap((stage, s) => stage.map((block, b) => ({ block, how: blocks[s]?.[b], path: `stages.${s}.${b}` }))).reduce<Maps>((x, { block, how, path }) => {
      const branch = block.layers.reduce<Maps>((y, w, i) => applied(i === 0 ? y : y.relu(), w, how?.layers[i] ?? stem, `${path}.layers.${i}`), x)
      return act(branch.add(block.shortcut === undefined ? x : applied(x, block.shortcut, how?.shortcut ?? stem, `${path}.shortcut`)))
    }, start)
    return last.mean('height', 'width').dot(p.out.cast(compute), 'channels').add(p.outBias.cast(compute))
  }
  const last: Dim<'channels'> = { name: 'channels', size: config.features.at(-1) ?? 1 }
  return {
    dims: d, itemsPerBatch: batch, ignored, logits: (p, given, key?: Key) => found(p, given, key),
    params: {
      stem: layerOf('stem', stem),
      stages: blocks.map((stage, s) => stage.map((block, b): Block => ({
        layers: block.layers.map((l, i) => layerOf(`stages.${s}.${b}.layers.${i}`, l)), ...(block.shortcut === undefined ? {} : { shortcut: layerOf(`stages.${s}.${b}.shortcut`, block.shortcut) }),
      }))),
      out: param('out', [d.classes, last], { dtype, init: initialisers.lecunNormal([last]), decays: true }), outBias: param('outBias', [d.classes], { dtype, init: 0 }),
    },
    batch: { images: input('images', imageShape(d), 'u8'), labels: input('labels', [d.batch], 'i32') },
    loss: (p, { labels, ...given }, key) => {
      const updates: { [path: string]: AnyTensor } = {}
      const outcome = classOutcome(found(p, given, key, updates), d.classes, labels, key)
      return Object.keys(updates).length === 0 ? outcome : { ...outcome, updates }
    },
  }
}

/** `model: resnetModel({ height: 32, width: 32, classes: 10, features: [64, 128], depths: [2, 2], bottleneck: false })`. */
export const resnetModel: Configurable<ResnetConfig, ResnetInput, Resnet> =
  configurable({ name: 'resnet', schema: resnetSchema, build: (config, { batch, precision }): Resnet => resnet(config, batch, precision) })
