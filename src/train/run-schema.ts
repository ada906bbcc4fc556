/** What every run says, whatever it trains: types, and the schema that every run is checked by, which the compiler holds to them. */
import { z } from 'zod'

type Rules = { [dim: string]: string | string[] }
type Float = 'f32' | 'bf16' | 'f16' | 'f64'
/** How long a run is. */
export type Length = number | { epochs: number } | { tokens: number }

/** The settings of a run with nothing left open; its model, data and optimizer have configurations of their own. */
export interface Settings {
  name: string
  /** Examples a step, all devices together. */
  batch: number
  /** Parts of a batch that are computed one after another: less memory, the same numbers but for dropout's. */
  microbatches: number
  /** Steps, those that were left out included; or so many epochs of the data, or so many tokens (examples, of what has none). */
  steps: Length
  seed: number
  mesh: { [axis: string]: number }
  layout: Rules
  /** Rules for parameters at rest, on top of `layout`, or of another one that `from` names. */
  params: Rules
  /** Rules for optimizer slots, on top of `params`. */
  state: Rules
  /** Rules for gradients while those of microbatches are summed, on top of `params`: `{ from: 'state' }` is ZeRO-2. */
  gradients: Rules
  /** Axes that numbers cross in bf16, whatever they are: `{ batch: 'bf16' }` halves what gradients move. The run's numbers then depend on its mesh, by a rounding of each addend. */
  wire: { [axis: string]: 'bf16' | 'int8' }
  /** Those of the layouts that the model names, each on top of another: `{ residual: { from: 'compute', seq: 'model' } }`. */
  layouts: { [name: string]: Rules }
  precision: {
    /** Of the weights at rest, and in the run folder. */
    params: Float
    /** Of activations, and of weights where they meet them. What is summed of bf16 and f16 is f32: contractions, norms, softmax, the loss. */
    compute: Float
    /** Of the optimizer's slots. */
    state: Float
    /** What contractions with weights multiply: `compute`, the numbers that are there; `fp8`, those rounded to 8 bits, each tensor by a scale of its own (see `fp8`). */
    contractions: 'compute' | 'fp8'
    /** Where `compute` is f16. */
    lossScale: {
      /** What the loss is multiplied by at first; halved at each step whose gradients overflow, which is left out. */
      initial: number
      /** Steps without overflow after which it is doubled. */
      growEvery: number
    }
  }
  evaluation: {
    /** Steps between held-out losses. The last step is always followed by one. */
    every: number
    /** Batches of it at most. */
    batches: number
  }
  checkpoint: {
    /** Steps between checkpoints; 0 for none but that of an interruption. */
    every: number
    /** Which stay: the newest so many, those whose step is a multiple, and the so many with the least held-out loss. */
    keep: { last: number; every?: number | undefined; best?: number | undefined }
    /** Seconds from a SIGTERM until the process is ended by force: what cannot be saved within is not begun. */
    deadline: number
  }
  guard: {
    /**
     * What is done about a step whose loss or gradient is no number, or leaps: the run stops; or the step is undone on every device (`skip`); or the run goes on from the
     * last checkpoint without the batches since (`rewind`).
     */
    policy: 'stop' | 'skip' | 'rewind'
    /** So many standard deviations above the mean is a leap; null: only what is no number is bad. */
    spike: number | null
    /** Steps that mean and deviation are taken over, and that have to be taken before a leap is one. */
    over: number
    after: number
    /** Bad steps in a row, or rewinds in all, after which the run stops. */
    limit: number
  }
  /** Where the optimizer's slots rest between steps: `host` brings each to the device for its update and back, where the platform has memory of the host for programs (on a CPU they are one). */
  slots: 'device' | 'host'
  /** What loops compute again in the backward pass. */
  remat: 'all-but-contractions' | 'everything' | 'nothing'
  /** Weights that the run starts from, instead of its seed alone: a file, a folder in Hugging Face's layout, a run's; all of them, or those of some names, in which `*` stands for any characters. */
  initFrom: { path: string; only?: string[] | undefined; except?: string[] | undefined } | null
  /** Text that `meshwork train` draws at the end, of models that write text; with `every` above 0 also behind every so many steps. */
  sample: { prompt: string; tokens: number; temperature: number; every: number }
}

/** `T` with all of it left open, at any depth. */
type Open<T> = T extends readonly unknown[] | string | number | boolean | null ? T : string extends keyof T ? T : { [K in keyof T]?: Open<T[K]> | undefined }
/** Settings as they may be given: what has a default may be left out. */
export type SettingsInput = Pick<Settings, 'name' | 'batch' | 'steps'> & Open<Omit<Settings, 'name' | 'batch' | 'steps'>>

/** Steps are counted in i32 on the devices. */
const largest = 2 ** 31 - 1
const count = z.int().min(1).max(largest)
const axis = z.string().regex(/^[A-Za-z_]\w*$/)
const dtype = z.enum(['f32', 'bf16', 'f16', 'f64'])
const rules = z.record(z.string(), z.union([z.string(), z.array(z.string())]))

const lossScale = z.strictObject({ initial: z.number().min(1).max(2 ** 24).default(2 ** 16), growEvery: count.default(2000) })
const precision = z.strictObject({ params: dtype.default('f32'), compute: dtype.default('f32'), state: dtype.default('f32'), contractions: z.enum(['compute', 'fp8']).default('compute'), lossScale: lossScale.prefault({}) })
const evaluation = z.strictObject({ every: count.default(100), batches: count.default(8) })
const keep = z.strictObject({ last: count.default(2), every: count.optional(), best: count.optional() })
const checkpoint = z.strictObject({ every: z.int().min(0).max(largest).default(500), keep: keep.prefault({}), deadline: z.number().positive().max(86400).default(25) })
const guard = z.strictObject({
  policy: z.enum(['stop', 'skip', 'rewind']).default('stop'), spike: z.number().positive().nullable().default(null), over: count.default(128), after: count.default(128), limit: count.default(10),
})
const sample = z.strictObject({ prompt: z.string().min(1).default('The'), tokens: count.default(80), temperature: z.number().min(0).default(0.8), every: z.int().min(0).max(largest).default(0) })

const settings = {
  name: z.string().min(1),
  batch: count,
  microbatches: count.default(1),
  steps: z.union([count, z.strictObject({ epochs: z.number().positive() }), z.strictObject({ tokens: z.int().min(1) })]),
  seed: z.int().min(0).max(largest).default(0),
  mesh: z.record(axis, count).default({ batch: 1, model: 1 }),
  layout: rules.default({ batch: 'batch' }),
  params: rules.default({}),
  state: rules.default({}),
  gradients: rules.default({}),
  wire: z.record(axis, z.enum(['bf16', 'int8'])).default({}),
  layouts: z.record(z.string(), rules).default({}),
  precision: precision.prefault({}),
  evaluation: evaluation.prefault({}),
  checkpoint: checkpoint.prefault({}),
  guard: guard.prefault({}),
  slots: z.enum(['device', 'host']).default('device'),
  remat: z.enum(['all-but-contractions', 'everything', 'nothing']).default('all-but-contractions'),
  initFrom: z.strictObject({ path: z.string().min(1), only: z.array(z.string()).optional(), except: z.array(z.string()).optional() }).nullable().default(null),
  sample: sample.prefault({}),
} satisfies { readonly [K in keyof Settings]: z.ZodType<Settings[K]> }

/** The schema of a run with such parts, each of which has one of its own. */
export const runSchema = (parts: { readonly [name: string]: z.ZodType }): z.ZodType<Settings & { readonly [part: string]: unknown }> => z.strictObject({ ...settings, ...parts })
