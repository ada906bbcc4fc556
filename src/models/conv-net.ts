/** A convolutional net for small images, as LeNet is (LeCun et al. 1998): convolutions and pools in turn, then two dense layers. */
import { z } from 'zod'
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import type { Outcome } from '../graph/outcome.ts'
import { initialisers, param } from '../graph/param.ts'
import { dropout, type Key } from '../graph/random.ts'
import type { Tensor } from '../graph/types.ts'
import { conv } from '../nn/convolution.ts'
import { crossEntropy, weightedMean } from '../nn/functional.ts'
import { maxPool } from '../nn/pooling.ts'
import { configurable, type Configurable } from './configurable.ts'
import { inFull, type Model, type Precision } from './model.ts'

export interface ConvNetConfig {
  readonly height: number
  readonly width: number
  /** Colours of a pixel. */
  readonly channels: number
  readonly classes: number
  /** What each convolution finds; each is followed by a pool that halves the image. */
  readonly features: readonly number[]
  /** Odd. */
  readonly kernel: number
  readonly hidden: number
  /** Share of the hidden layer zeroed in training. */
  readonly dropout: number
  /** The value of a full pixel: 255, or 1 of floats. */
  readonly brightest: number
}
type ConvNetInput = { readonly [F in keyof ConvNetConfig]?: ConvNetConfig[F] | undefined }
const count = z.int().min(1).max(2 ** 31 - 1)
export const convNetSchema: z.ZodType<ConvNetConfig, ConvNetInput> = z.strictObject({
  height: count.default(28), width: count.default(28), channels: count.default(1), classes: count.default(10), features: z.array(count).min(1).default([32, 64]),
  kernel: count.default(3), hidden: count.default(128), dropout: z.number().min(0).max(0.9).default(0), brightest: z.number().positive().default(255),
})

type Dims = { readonly [N in 'batch' | 'height' | 'width' | 'channels' | 'kernelHeight' | 'kernelWidth' | 'features' | 'rows' | 'columns' | 'hidden' | 'classes']: Dim<N> }
type Filter = { readonly kernel: Tensor<'kernelHeight' | 'kernelWidth' | 'channels' | 'features'>; readonly bias: Tensor<'features'> }
export type ConvNetParams = {
  readonly filters: readonly Filter[]
  readonly hidden: Tensor<'rows' | 'columns' | 'channels' | 'hidden'>
  readonly hiddenBias: Tensor<'hidden'>
  readonly out: Tensor<'hidden' | 'classes'>
  readonly outBias: Tensor<'classes'>
}
type Images = Tensor<'batch' | 'height' | 'width' | 'channels'>
/** Bytes (u8), and a class of each image; −100 does not count, as where the last images of a set do not fill a batch. */
export type ConvNetBatch = { readonly images: Images; readonly labels: Tensor<'batch'> }
export type ConvNet = Model<ConvNetParams, ConvNetBatch, keyof Dims> & {
  readonly dims: Dims
  /** batch classes. */
  readonly logits: (params: ConvNetParams, batch: Pick<ConvNetBatch, 'images'>, key?: Key) => Tensor<'batch' | 'classes'>
}

/** A net for batches of `batch` images. It may be split over the batch, the images' height and width (neighbours exchange edges), features and hidden units. */
export function convNet(config: ConvNetConfig, batch: number, { params: dtype, compute }: Precision = inFull): ConvNet {
  const { features, kernel: k } = config
  const halved = (n: number): number => features.reduce(m => Math.max(1, Math.floor(m / 2)), n)
  const d: Dims = dims({
    batch, height: config.height, width: config.width, channels: config.channels, kernelHeight: k, kernelWidth: k, features: features[0] ?? 1,
    rows: halved(config.height), columns: halved(config.width), hidden: config.hidden, classes: config.classes,
  })
  const bias = { dtype, init: 0 }
  // The features of one convolution are the channels of the next: the same two names, in other sizes.
  const filters = features.map((size, i): Filter => {
    const [from, to]: readonly [Dim<'channels'>, Dim<'features'>] = [{ name: 'channels', size: features[i - 1] ?? config.channels }, { name: 'features', size }]
    return {
      kernel: param(`filter${i}.kernel`, [d.kernelHeight, d.kernelWidth, from, to], { dtype, init: initialisers.heNormal([d.kernelHeight, d.kernelWidth, from]), decays: true }),
      bias: param(`filter${i}.bias`, [to], bias),
    }
  })
  const last: Dim<'channels'> = { name: 'channels', size: features.at(-1) ?? 1 }
  const params: ConvNetParams = {
    filters,
    hidden: param('hidden', [d.rows, d.columns, last, d.hidden], { dtype, init: initialisers.heNormal([d.rows, d.columns, last]), decays: true }),
    hiddenBias: param('hiddenBias', [d.hidden], bias),
    out: param('out', [d.hidden, d.classes], { dtype, init: initialisers.lecunNormal([d.hidden]), decays: true }),
    outBias: param('outBias', [d.classes], bias),
  }
  const logits = (p: ConvNetParams, { images }: Pick<ConvNetBatch, 'images'>, key?: Key): Tensor<'batch' | 'classes'> => {
    const maps = p.filters.reduce<Images>((x, { kernel, bias }) => {
      const windows = [{ dim: d.height, kernel: d.kernelHeight, padding: 'same' }, { dim: d.width, kernel: d.kernelWidth, padding: 'same' }] as const
      const found = conv(x, kernel.cast(compute), { over: [d.channels], windows }).add(bias.cast(compute)).relu()
      const pooled = maxPool(found, [{ dim: d.height, size: sizeAlong(found, 'height') > 1 ? 2 : 1 }, { dim: d.width, size: sizeAlong(found, 'width') > 1 ? 2 : 1 }])
      return pooled.rename(d.features, d.channels)
    }, images.cast('f32').mul(1 / config.brightest).cast(compute))
    // What is left of the image has dims of its own: rules for height and width are those of whole images.
    const hidden = maps.rename(d.height, d.rows).rename(d.width, d.columns).dot(p.hidden.cast(compute), d.rows, d.columns, d.channels).add(p.hiddenBias.cast(compute)).relu()
    const kept = key === undefined || config.dropout === 0 ? hidden : dropout(key, hidden, config.dropout)
    return kept.dot(p.out.cast(compute), d.hidden).add(p.outBias.cast(compute))
  }
  return {
    dims: d, params, itemsPerBatch: batch, ignored: -100, logits,
    batch: { images: input('images', [d.batch, d.height, d.width, d.channels], 'u8'), labels: input('labels', [d.batch], 'i32') },
    loss: (p, { images, labels }, key): Outcome => {
      const found = logits(p, { images }, key)
      const counts = labels.notEqual(-100)
      const { value: loss, weight } = weightedMean(crossEntropy(found, d.classes, labels, { ignore: -100 }), counts)
      return { loss, weight, metrics: { accuracy: weightedMean(found.argmax(d.classes).equal(labels).cast('f32'), counts) } }
    },
  }
}
const sizeAlong = (x: { readonly shape: readonly Dim[] }, name: string): number => x.shape.find(d => d.name === name)?.size ?? 1

/** A convolutional net as a recipe names it: `model: convNetModel({})` is for Fashion-MNIST. */
export const convNetModel: Configurable<ConvNetConfig, ConvNetInput, ConvNet> =
  configurable({ name: 'conv-net', schema: convNetSchema, build: (config, { batch, precision }): ConvNet => convNet(config, batch, precision) })
