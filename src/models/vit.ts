/** A Vision Transformer (Dosovitskiy et al. 2021): an image is cut into patches, which an encoder reads as BERT's reads tokens, and the first place tells the class. */
import { z } from 'zod'
import { dims, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import { initialisers, param } from '../graph/param.ts'
import { fold, type Key } from '../graph/random.ts'
import { concat, index } from '../graph/rearrange.ts'
import { broadcast } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import { layerNorm } from '../nn/functional.ts'
import { linear } from '../nn/linear.ts'
import { classOutcome, ignored } from './class-outcome.ts'
import { configurable, type Configurable, type Given } from './configurable.ts'
import { activationNames, type Activation } from './activation.ts'
import { blocksLinear, dropped, encoded, encoderBlocks, encoderLayouts, type BlockDims, type EncoderBlocks, type Scaling } from './encoder-blocks.ts'
import { imageFields, imageShape, pixelsOf, type ImageConfig } from './images.ts'
import { inFull, type Model, type Precision } from './model.ts'

type Count = 'classes' | 'patchHeight' | 'patchWidth' | 'layers' | 'embed' | 'heads' | 'hidden'
/** The patch divides the image, the heads divide `embed`. */
export type VitConfig = ImageConfig & { readonly [F in Count]: number } & {
  readonly activation: Activation
  /** Of layer norms. */
  readonly epsilon: number
  /** Shares zeroed in training: of activations, and of what attention takes. */
  readonly dropout: number
  readonly attentionDropout: number
  /** Whether queries, keys and values have biases. */
  readonly biases: boolean
}
export type VitInput = Given<VitConfig, 'brightest' | 'mean' | 'std' | 'channels' | 'activation' | 'epsilon' | 'dropout' | 'attentionDropout' | 'biases'>
const count = z.int().min(1).max(2 ** 31 - 1)
export const vitSchema: z.ZodType<VitConfig, VitInput> = z.strictObject({
  ...imageFields, classes: count, patchHeight: count, patchWidth: count, layers: count, embed: count, heads: count, hidden: count,
  activation: z.enum(activationNames).default('geluExact'), epsilon: z.number().min(0).default(1e-12), dropout: z.number().min(0).max(0.9).default(0), attentionDropout: z.number().min(0).max(0.9).default(0), biases: z.boolean().default(true),
}).superRefine((c, context) => {
  const divides = (path: string, part: number, what: string, whole: number): void => {
    if (whole % part !== 0) context.addIssue({ code: 'custom', path: [path], message: `${what} of ${whole} is not made of parts of ${part}: give a number that divides it` })
  }
  divides('heads', c.heads, 'embed', c.embed)
  divides('patchHeight', c.patchHeight, 'height', c.height)
  divides('patchWidth', c.patchWidth, 'width', c.width)
})

/** `seq` are the patches and the place before them; `tokens` the patches alone. */
type Dims = BlockDims & { readonly [N in 'height' | 'width' | 'channels' | 'patchHeight' | 'patchWidth' | 'rows' | 'columns' | 'tokens' | 'classes']: Dim<N> }
export type VitParams = {
  readonly patches: Tensor<'embed' | 'channels' | 'patchHeight' | 'patchWidth'>
  readonly patchesBias: Tensor<'embed'>
  /** What stands at the first place. */
  readonly first: Tensor<'embed'>
  readonly positions: Tensor<'seq' | 'embed'>
  readonly blocks: EncoderBlocks
  readonly norm: Scaling
  readonly out: Tensor<'classes' | 'embed'>
  readonly outBias: Tensor<'classes'>
}
type Images = Tensor<'batch' | 'height' | 'width' | 'channels'>
/** Bytes (u8), and a class of each image; −100 does not count. */
export type VitBatch = { readonly images: Images; readonly labels: Tensor<'batch'> }
export type Vit = Omit<Model<VitParams, VitBatch, keyof Dims, typeof encoderLayouts>, 'layouts'> & {
  readonly dims: Dims
  readonly layouts: typeof encoderLayouts
  /** batch classes. */
  readonly logits: (params: VitParams, batch: Pick<VitBatch, 'images'>, key?: Key) => Tensor<'batch' | 'classes'>
}

/** A classifier for batches of `batch` images. */
export function vit(config: VitConfig, batch: number, { params: dtype, compute }: Precision = inFull): Vit {
  const [rows, columns] = [config.height / config.patchHeight, config.width / config.patchWidth]
  const d: Dims = dims({
    batch, height: config.height, width: config.width, channels: config.channels, patchHeight: config.patchHeight, patchWidth: config.patchWidth, rows, columns, tokens: rows * columns, classes: config.classes,
    seq: rows * columns + 1, kvSeq: rows * columns + 1, embed: config.embed, heads: config.heads, headDim: config.embed / config.heads, hidden: config.hidden, layers: config.layers,
  })
  const [weight, bias] = [{ dtype, init: initialisers.truncatedNormal(0.02), decays: true }, { dtype, init: 0 }]
  const logits = (p: VitParams, { images }: Pick<VitBatch, 'images'>, key?: Key): Tensor<'batch' | 'classes'> => {
    const cut = pixelsOf(images, config, d.channels, compute).split(d.height, [d.rows, d.patchHeight]).split(d.width, [d.columns, d.patchWidth])
    const patches = cut.dot(p.patches.cast(compute), d.channels, d.patchHeight, d.patchWidth).add(p.patchesBias.cast(compute)).merge([d.rows, d.columns], d.tokens)
    const first = broadcast<'embed', readonly Dim<'batch' | 'tokens'>[]>(p.first.cast(compute), [...images.shape.filter((e): e is Dim<'batch'> => e.name === 'batch'), { name: 'tokens', size: 1 }] as never)
    const placed = concat([first, patches], d.tokens, { as: 'seq' }).add(p.positions.cast(compute))
    const options = { norms: 'before', activation: config.activation, epsilon: config.epsilon, compute, dropout: config.dropout, attentionDropout: config.attentionDropout } as const
    const last = encoded(dropped(placed, key, 0, config.dropout), p.blocks, d, key === undefined ? undefined : fold(key, 1), options)
    return linear(layerNorm(index(last, d.seq, 0), d.embed, p.norm.gain, p.norm.bias, config.epsilon), p.out, d.embed).add(p.outBias.cast(compute))
  }
  return {
    dims: d, linear: { ...blocksLinear, out: ['embed'] }, layouts: encoderLayouts, itemsPerBatch: batch, ignored, logits,
    params: {
      patches: param('patches', [d.embed, d.channels, d.patchHeight, d.patchWidth], weight), patchesBias: param('patchesBias', [d.embed], bias),
      first: param('first', [d.embed], { ...weight, decays: false }), positions: param('positions', [d.seq, d.embed], { ...weight, decays: false }),
      blocks: encoderBlocks(d, dtype, 0.02, config.biases), norm: { gain: param('norm.gain', [d.embed], { dtype, init: 1 }), bias: param('norm.bias', [d.embed], bias) },
      out: param('out', [d.classes, d.embed], weight), outBias: param('outBias', [d.classes], bias),
    },
    batch: { images: input('images', imageShape(d), 'u8'), labels: input('labels', [d.batch], 'i32') },
    loss: (p, { labels, ...given }, key) => classOutcome(logits(p, given, key), d.classes, labels, key),
  }
}

/** `model: vitModel({ height: 28, width: 28, channels: 1, classes: 10, patchHeight: 7, … })`. */
export const vitModel: Configurable<VitConfig, VitInput, Vit> =
  configurable({ name: 'vit', schema: vitSchema, build: (config, { batch, precision }): Vit => vit(config, batch, precision) })
