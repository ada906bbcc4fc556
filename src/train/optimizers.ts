/** Optimizers as a recipe names them, so that `--set optimizer.rate=…` can change them. Any optimizer of `meshwork/optim` can be a recipe's as it is. */
import { z } from 'zod'
import { configurable, type Configurable } from '../core/configurable.ts'
import { adamw, chain, clipByGlobalNorm, cosine, type Transformation } from '../optim/index.ts'

/** What a run says of an optimizer beside its configuration. */
export interface OptimizerOptions {
  /** Steps of the run: the length of a schedule that has none of its own. */
  readonly steps: number
}

export interface AdamwCosine {
  /** The highest learning rate. */
  readonly rate: number
  /** Steps on which it rises; below 1 their share of the schedule. */
  readonly warmup: number
  /** Steps of the schedule, where they are others than the run's: a run that is made longer later says so from the beginning. */
  readonly length?: number | undefined
  /** The lowest rate, as a share of the highest. */
  readonly floor: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
  /** The norm that gradients are clipped to. */
  readonly clip: number
}
type AdamwCosineInput = Pick<AdamwCosine, 'rate'> & { readonly [F in Exclude<keyof AdamwCosine, 'rate'>]?: AdamwCosine[F] | undefined }

const largest = 2 ** 31 - 1
const decay = z.number().min(0).lt(1)
const adamwCosineSchema: z.ZodType<AdamwCosine, AdamwCosineInput> = z.strictObject({
  rate: z.number().positive(), warmup: z.number().min(0).max(largest).refine(n => n < 1 || Number.isInteger(n), 'give a whole number of steps, or a share below 1').default(0), length: z.int().min(1).max(largest).optional(), floor: z.number().min(0).max(1).default(0.1),
  beta1: decay.default(0.9), beta2: decay.default(0.95), epsilon: z.number().positive().default(1e-8), weightDecay: z.number().min(0).default(0.1), clip: z.number().positive().default(1),
})

/** AdamW on a warm-up and a cosine, of gradients clipped by their norm: `optimizer: adamwCosine({ rate: 3e-3, warmup: 100 })`. */
export const adamwCosine: Configurable<AdamwCosine, AdamwCosineInput, Transformation, OptimizerOptions> = configurable({
  name: 'adamw-cosine', schema: adamwCosineSchema,
  build: ({ rate, warmup, length, floor, clip, ...rest }, { steps: all }): Transformation => {
    const steps = length ?? all
    return chain(clipByGlobalNorm(clip), adamw({ rate: cosine({ peak: rate, warmup: warmup < 1 ? Math.floor(warmup * steps) : warmup, steps, floor }), ...rest })) as Transformation
  },
})
