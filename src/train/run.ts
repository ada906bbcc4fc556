/** A run: everything that training needs to know, checked by one schema whoever says it. */
import { z } from 'zod'
import type { Layout, LayoutFrom } from '../core/layout.ts'
import type { gptDims, gptLayouts } from '../models/gpt.ts'
import { UsageError } from '../core/errors.ts'
import { fieldError } from './fields.ts'

/** Steps are counted in i32 on the devices. */
const largest = 2 ** 31 - 1
const count = z.int().min(1).max(largest)
const share = z.number().min(0).max(1)
const decay = z.number().min(0).lt(1)
const axis = z.string().regex(/^[A-Za-z_]\w*$/)
const dtype = z.enum(['f32', 'bf16', 'f16', 'f64'])
const rules = z.record(z.string(), z.union([z.string(), z.array(z.string())]))

export const runSchema = z.strictObject({
  name: z.string().min(1),
  model: z.strictObject({
    /** Tokens of the vocabulary at most: short text may need fewer. */
    vocab: z.int().min(264), seq: count, layers: count, embed: count, heads: count, headDim: count, hidden: count, dropout: z.number().min(0).max(0.9).default(0),
  }),
  /** Windows of `seq` tokens a step, all devices together. */
  batch: count,
  /** Parts of a batch that are computed one after another: less memory, the same numbers but for dropout's. */
  microbatches: count.default(1),
  steps: count,
  seed: z.int().min(0).max(largest).default(0),
  mesh: z.record(axis, count).default({ batch: 1, model: 1 }),
  layout: rules.default({ batch: 'batch', heads: 'model', hidden: 'model', vocab: 'model' }),
  /** Rules for parameters at rest, on top of `layout`, or of another one that `from` names. */
  params: rules.default({}),
  /** Rules for optimizer slots, on top of `params`. */
  state: rules.default({}),
  /** Those of the layouts that the model names, each on top of another: `{ residual: { from: 'compute', seq: 'model' } }`. */
  layouts: z.record(z.string(), rules).default({}),
  precision: z.strictObject({
    /** Of the weights at rest, and in the run folder. */
    params: dtype.default('f32'),
    /** Of activations, and of weights where they meet them. What is summed of bf16 and f16 is f32: contractions, norms, softmax, the loss. */
    compute: dtype.default('f32'),
    /** Of the optimizer's slots. */
    state: dtype.default('f32'),
    /** Where `compute` is f16. */
    lossScale: z.strictObject({
      /** What the loss is multiplied by at first; halved at each step whose gradients overflow, which is left out. */
      initial: z.number().min(1).max(2 ** 24).default(2 ** 16),
      /** Steps without overflow after which it is doubled. */
      growEvery: count.default(2000),
    }).default({ initial: 2 ** 16, growEvery: 2000 }),
  }).default({ params: 'f32', compute: 'f32', state: 'f32', lossScale: { initial: 2 ** 16, growEvery: 2000 } }),
  optimizer: z.strictObject({
    /** The highest learning rate. */
    rate: z.number().positive(), warmup: z.int().min(0).max(largest).default(0), floor: share.default(0.1), beta1: decay.default(0.9), beta2: decay.default(0.95),
    epsilon: z.number().positive().default(1e-8), weightDecay: z.number().min(0).default(0.1), clip: z.number().positive().default(1),
  }),
  /** UTF-8 text files; none: the State of the Union addresses. */
  data: z.array(z.string()).default([]),
  /** Steps between held-out losses. The last step is always followed by one. */
  evalEvery: count.default(100),
  evalBatches: count.default(8),
  sample: z.strictObject({ prompt: z.string().min(1), tokens: count, temperature: z.number().min(0) }).default({ prompt: 'The', tokens: 80, temperature: 0.8 }),
  /** What loops compute again in the backward pass. */
  remat: z.enum(['all-but-contractions', 'everything', 'nothing']).default('all-but-contractions'),
})

/** A run with nothing left open. */
export type Run = z.output<typeof runSchema>
type RunInput = z.input<typeof runSchema>
type Axes = { readonly [axis: string]: number }
type ModelDim = keyof ReturnType<typeof gptDims>
type ModelLayout = keyof typeof gptLayouts

/** A run as a recipe writes it: its layouts speak of the model's dims, its own mesh's axes and the names that the model uses, or it does not compile. */
export type RunOf<M extends Axes> = Omit<RunInput, 'mesh' | 'layout' | 'params' | 'state' | 'layouts'> & {
  readonly mesh: M
  readonly layout?: Layout<ModelDim, NoInfer<keyof M & string>>
  readonly params?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout>
  readonly state?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout>
  readonly layouts?: { readonly [K in ModelLayout]?: LayoutFrom<ModelDim, NoInfer<keyof M & string>, ModelLayout> }
}

/** Checks a run and fills in what it leaves open. @throws UsageError naming the field. */
export const defineRun = <const M extends Axes>(run: RunOf<M>): Run => parseRun(run, 'the recipe')

/** @throws UsageError naming the first field that is wrong; `where` says who gave the run. */
export function parseRun(value: unknown, where: string): Run {
  const parsed = runSchema.safeParse(value)
  if (parsed.success) {
    const { batch, microbatches } = parsed.data
    if (batch % microbatches === 0) return parsed.data
    throw new UsageError({ code: 'field', what: `${where}: microbatches is ${microbatches}, which does not divide batch, ${batch}`, fix: 'give it a number that does' })
  }
  throw fieldError(runSchema, value, parsed.error.issues[0], where)
}
