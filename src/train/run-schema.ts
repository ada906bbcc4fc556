/** What a run is: its type, and the schema that every run is checked by, which the compiler holds to it. */
import { z } from 'zod'
import { gptSchema } from '../models/gpt-model.ts'

type Rules = { [dim: string]: string | string[] }

/** A run with nothing left open. */
export interface Run {
  name: string
  model: {
    /** Tokens of the vocabulary at most: short text may need fewer. */
    vocab: number
    seq: number
    layers: number
    embed: number
    heads: number
    headDim: number
    hidden: number
    dropout: number
  }
  /** Windows of `seq` tokens a step, all devices together. */
  batch: number
  /** Parts of a batch that are computed one after another: less memory, the same numbers but for dropout's. */
  microbatches: number
  steps: number
  seed: number
  mesh: { [axis: string]: number }
  layout: Rules
  /** Rules for parameters at rest, on top of `layout`, or of another one that `from` names. */
  params: Rules
  /** Rules for optimizer slots, on top of `params`. */
  state: Rules
  /** Those of the layouts that the model names, each on top of another: `{ residual: { from: 'compute', seq: 'model' } }`. */
  layouts: { [name: string]: Rules }
  precision: {
    /** Of the weights at rest, and in the run folder. */
    params: Float
    /** Of activations, and of weights where they meet them. What is summed of bf16 and f16 is f32: contractions, norms, softmax, the loss. */
    compute: Float
    /** Of the optimizer's slots. */
    state: Float
    /** Where `compute` is f16. */
    lossScale: {
      /** What the loss is multiplied by at first; halved at each step whose gradients overflow, which is left out. */
      initial: number
      /** Steps without overflow after which it is doubled. */
      growEvery: number
    }
  }
  optimizer: {
    /** The highest learning rate. */
    rate: number
    warmup: number
    floor: number
    beta1: number
    beta2: number
    epsilon: number
    weightDecay: number
    clip: number
  }
  /** UTF-8 text files; none: the State of the Union addresses. */
  data: string[]
  /** Steps between held-out losses. The last step is always followed by one. */
  evalEvery: number
  evalBatches: number
  sample: { prompt: string; tokens: number; temperature: number }
  /** What loops compute again in the backward pass. */
  remat: 'all-but-contractions' | 'everything' | 'nothing'
}
type Float = 'f32' | 'bf16' | 'f16' | 'f64'

/** `T` with some of its fields left open. */
type Open<T, K extends keyof T> = Omit<T, K> & { [F in K]?: T[F] | undefined }
type OpenPrecision = Open<Omit<Run['precision'], 'lossScale'>, 'params' | 'compute' | 'state'> & { lossScale?: Open<Run['precision']['lossScale'], 'initial' | 'growEvery'> | undefined }
/** A run as it may be given: what has a default may be left out. */
export type RunInput =
  Open<Omit<Run, 'model' | 'precision' | 'optimizer'>, 'microbatches' | 'seed' | 'mesh' | 'layout' | 'params' | 'state' | 'layouts' | 'data' | 'evalEvery' | 'evalBatches' | 'sample' | 'remat'>
  & { model: Open<Run['model'], 'dropout'>; precision?: OpenPrecision | undefined; optimizer: Open<Run['optimizer'], Exclude<keyof Run['optimizer'], 'rate'>> }

/** Steps are counted in i32 on the devices. */
const largest = 2 ** 31 - 1
const count = z.int().min(1).max(largest)
const share = z.number().min(0).max(1)
const decay = z.number().min(0).lt(1)
const axis = z.string().regex(/^[A-Za-z_]\w*$/)
const dtype = z.enum(['f32', 'bf16', 'f16', 'f64'])
const rules = z.record(z.string(), z.union([z.string(), z.array(z.string())]))

export const runSchema: z.ZodType<Run, RunInput> = z.strictObject({
  name: z.string().min(1),
  // Streams of text have no documents to pack, no prefix and no targets that do not count. A tokenizer has every byte and a few tokens more.
  model: gptSchema.omit({ attention: true, packed: true, masked: true }).extend({ vocab: z.int().min(264) }),
  batch: count,
  microbatches: count.default(1),
  steps: count,
  seed: z.int().min(0).max(largest).default(0),
  mesh: z.record(axis, count).default({ batch: 1, model: 1 }),
  layout: rules.default({ batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }),
  params: rules.default({}),
  state: rules.default({}),
  layouts: z.record(z.string(), rules).default({}),
  precision: z.strictObject({
    params: dtype.default('f32'),
    compute: dtype.default('f32'),
    state: dtype.default('f32'),
    lossScale: z.strictObject({
      initial: z.number().min(1).max(2 ** 24).default(2 ** 16),
      growEvery: count.default(2000),
    }).default({ initial: 2 ** 16, growEvery: 2000 }),
  }).default({ params: 'f32', compute: 'f32', state: 'f32', lossScale: { initial: 2 ** 16, growEvery: 2000 } }),
  optimizer: z.strictObject({
    rate: z.number().positive(), warmup: z.int().min(0).max(largest).default(0), floor: share.default(0.1), beta1: decay.default(0.9), beta2: decay.default(0.95),
    epsilon: z.number().positive().default(1e-8), weightDecay: z.number().min(0).default(0.1), clip: z.number().positive().default(1),
  }),
  data: z.array(z.string()).default([]),
  evalEvery: count.default(100),
  evalBatches: count.default(8),
  sample: z.strictObject({ prompt: z.string().min(1), tokens: count, temperature: z.number().min(0) }).default({ prompt: 'The', tokens: 80, temperature: 0.8 }),
  remat: z.enum(['all-but-contractions', 'everything', 'nothing']).default('all-but-contractions'),
})
