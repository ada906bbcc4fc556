/** BERTs as recipes name them: their schemas, and how they are built. */
import { z } from 'zod'
import { bertClassifier, type BertClassifier, type BertClassifierBatch, type BertClassifierConfig } from './bert-classifier.ts'
import { bertEmbedder, type BertEmbedder, type BertEmbedderConfig } from './bert-embedder.ts'
import { bertMasked, type BertMasked, type BertMaskedBatch, type BertMaskedConfig } from './bert-masked.ts'
import type { BertConfig } from './bert.ts'
import { configurable, type Configurable, type Configured, type Given } from './configurable.ts'
import { activationNames } from './activation.ts'

type Defaulted = 'positions' | 'types' | 'activation' | 'epsilon' | 'dropout' | 'attentionDropout'
export type BertMaskedInput = Given<BertMaskedConfig, Defaulted | 'padded' | 'paired' | 'packed' | 'tied'>
export type BertClassifierInput = Given<BertClassifierConfig, Defaulted | 'paired' | 'classifierDropout' | 'poolerDropout'>
export type BertEmbedderInput = Given<BertEmbedderConfig, Defaulted | 'pooling' | 'normalised' | 'pooler' | 'scale'>

const count = z.int().min(1).max(2 ** 31 - 1)
const rate = z.number().min(0).max(0.9)
const encoder = {
  vocab: count, seq: count, layers: count, embed: count, heads: count, hidden: count, positions: count.default(512), types: count.default(2),
  activation: z.enum(activationNames).default('geluExact'), epsilon: z.number().min(0).default(1e-12), dropout: rate.default(0), attentionDropout: rate.default(0), padding: z.int().min(0).optional(),
}
/** What no field says alone. */
const whole = <S extends z.ZodType<BertConfig>>(schema: S): S => schema.superRefine((c: BertConfig, context) => {
  const wrong = (path: string, message: string): void => { context.addIssue({ code: 'custom', path: [path], message }) }
  if (c.embed % c.heads !== 0) wrong('heads', `embed of ${c.embed} is not made of ${c.heads} heads: give a number that divides it`)
  const first = c.padding === undefined ? 0 : c.padding + 1
  if (c.positions < c.seq + first) wrong('positions', `a window of ${c.seq} tokens needs ${c.seq + first} positions`)
})
export const bertMaskedSchema: z.ZodType<BertMaskedConfig, BertMaskedInput> = whole(z.strictObject({
  ...encoder, padded: z.boolean().default(false), paired: z.boolean().default(false), packed: z.boolean().default(false), tied: z.boolean().default(true), headActivation: z.enum(activationNames).optional(),
}).superRefine((c, context) => {
  if (c.packed && c.padded) context.addIssue({ code: 'custom', path: ['padded'], message: 'in packed windows padding is a segment like others: set one of both' })
}))
export const bertClassifierSchema: z.ZodType<BertClassifierConfig, BertClassifierInput> = whole(z.strictObject({
  ...encoder, classes: count, paired: z.boolean().default(false), classifierDropout: rate.default(0), poolerDropout: z.boolean().default(false),
}))
export const bertEmbedderSchema: z.ZodType<BertEmbedderConfig, BertEmbedderInput> = whole(z.strictObject({
  ...encoder, pooling: z.enum(['mean', 'max', 'cls', 'pooler']).default('mean'), normalised: z.boolean().default(true), pooler: z.boolean().default(false), scale: z.number().positive().default(20),
}).superRefine((c, context) => {
  if (c.pooling === 'pooler' && !c.pooler) context.addIssue({ code: 'custom', path: ['pooling'], message: 'pooling through a pooler needs one: set pooler, or pool otherwise' })
}))

/** What there is in a batch where a configuration says so; where the compiler does not know it, it is. */
type Has<B extends boolean, F> = B extends true ? F : never
type MaskedOf<P extends boolean, T extends boolean, K extends boolean> = BertMasked<Pick<Required<BertMaskedBatch>, 'tokens' | 'targets' | Has<P, 'mask'> | Has<T, 'types'> | Has<K, 'segments' | 'positions'>>>
type MaskedModel = Pick<Configurable<BertMaskedConfig, BertMaskedInput, BertMasked>, 'kind'> & (<const P extends boolean = false, const T extends boolean = false, const K extends boolean = false>(
  config: Omit<BertMaskedInput, 'padded' | 'paired' | 'packed'> & { readonly padded?: P | undefined; readonly paired?: T | undefined; readonly packed?: K | undefined },
) => Configured<BertMaskedConfig, BertMaskedInput, MaskedOf<P, T, K>>)
type ClassifierOf<T extends boolean> = BertClassifier<Pick<Required<BertClassifierBatch>, 'tokens' | 'mask' | 'labels' | Has<T, 'types'>>>
type ClassifierModel = Pick<Configurable<BertClassifierConfig, BertClassifierInput, BertClassifier>, 'kind'> & (<const T extends boolean = false>(
  config: Omit<BertClassifierInput, 'paired'> & { readonly paired?: T | undefined },
) => Configured<BertClassifierConfig, BertClassifierInput, ClassifierOf<T>>)

/** `model: bertMaskedModel({ vocab: 2048, seq: 128, … })`: finds masked tokens. */
export const bertMaskedModel: MaskedModel =
  configurable({ name: 'bert', schema: bertMaskedSchema, build: (config, { batch, precision }): BertMasked => bertMasked(config, batch, precision) }) as unknown as MaskedModel
/** Tells classes. */
export const bertClassifierModel: ClassifierModel =
  configurable({ name: 'bert-classifier', schema: bertClassifierSchema, build: (config, { batch, precision }): BertClassifier => bertClassifier(config, batch, precision) }) as unknown as ClassifierModel
/** Embeds sentences. */
export const bertEmbedderModel: Configurable<BertEmbedderConfig, BertEmbedderInput, BertEmbedder> =
  configurable({ name: 'bert-embedder', schema: bertEmbedderSchema, build: (config, { batch, precision }): BertEmbedder => bertEmbedder(config, batch, precision) })
