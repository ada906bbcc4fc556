/** T5 as a recipe names it: its schema, and how it is built. */
import { z } from 'zod'
import { configurable, type Configurable, type Given } from './configurable.ts'
import { activationNames } from './activation.ts'
import { t5, type SwitchConfig, type T5, type T5Config } from './t5.ts'

export type SwitchInput = Given<SwitchConfig, 'encoderEvery' | 'decoderEvery' | 'jitter' | 'balance' | 'zLoss'>
export type T5Input = Omit<Given<T5Config, 'buckets' | 'farthest' | 'gated' | 'activation' | 'tied' | 'epsilon' | 'padding' | 'dropout'>, 'experts'> & { readonly experts?: SwitchInput | undefined }
const count = z.int().min(1).max(2 ** 31 - 1)
const experts: z.ZodType<SwitchConfig, SwitchInput> = z.strictObject({
  count, slots: count, encoderEvery: count.default(2), decoderEvery: count.default(2), jitter: z.number().min(0).lt(1).default(0.01), balance: z.number().min(0).default(0.01), zLoss: z.number().min(0).default(0.001),
})
export const t5Schema: z.ZodType<T5Config, T5Input> = z.strictObject({
  vocab: count, source: count, target: count, encoderLayers: count, decoderLayers: count, embed: count, heads: count, headDim: count, hidden: count,
  buckets: z.int().min(4).multipleOf(2).default(32), farthest: count.default(128), gated: z.boolean().default(true), activation: z.enum(activationNames).default('gelu'), tied: z.boolean().default(false),
  epsilon: z.number().min(0).default(1e-6), padding: z.int().min(0).default(0), dropout: z.number().min(0).max(0.9).default(0), experts: experts.optional(),
}).superRefine((c, context) => {
  const wrong = (path: string, message: string): void => { context.addIssue({ code: 'custom', path: [path], message }) }
  for (const [layers, every] of [['encoderLayers', 'encoderEvery'], ['decoderLayers', 'decoderEvery']] as const) if (c.experts !== undefined && c[layers] % c.experts[every] !== 0) wrong('experts', `${every} is ${c.experts[every]}: give a number that divides ${layers}, which is ${c[layers]}`)
  if (c.experts !== undefined && c.gated) wrong('gated', 'experts have no gates: give false')
  // Of a decoder, half of all buckets have a distance each.
  if (c.farthest <= c.buckets / 2) wrong('farthest', `half of ${c.buckets} buckets have a distance each: give more than ${c.buckets / 2}`)
})

/** `model: t5Model({ vocab: 2048, source: 64, target: 64, … })`: version 1.1, as Flan-T5, unless said. */
export const t5Model: Configurable<T5Config, T5Input, T5> = configurable({ name: 't5', schema: t5Schema, build: (config, { batch, precision }): T5 => t5(config, batch, precision) })
