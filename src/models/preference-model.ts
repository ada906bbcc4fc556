/** A configured language model that learns from pairs of answers, as a recipe names it: its own configuration under `base`, that of the loss under `preference`. */
import { z } from 'zod'
import type { Part } from '../core/configurable.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { Tree } from '../graph/types.ts'
import { configurable, type BuildOptions, type Configured } from './configurable.ts'
import type { AnyModel, Model } from './model.ts'
import { withPreference, type AnswerBatch, type PreferenceOptions } from './preference.ts'

export const preferenceSchema: z.ZodObject<{ beta: z.ZodDefault<z.ZodNumber>; labelSmoothing: z.ZodDefault<z.ZodNumber>; reference: z.ZodOptional<z.ZodEnum<{ base: 'base'; copy: 'copy' }>> }, z.core.$strict> = z.strictObject({
  beta: z.number().positive().default(0.1), labelSmoothing: z.number().min(0).lt(0.5).default(0), reference: z.enum(['base', 'copy']).optional(),
})

/** A configured model that learns from pairs. */
export interface PreferenceConfig { readonly base: unknown; readonly preference: PreferenceOptions }
export const preferenceName = 'preference'

/**
 * What a recipe's model becomes: `model: preferenceModel(loraModel(llamaModel({ … }), { rank: 16 }), { beta: 0.1 })`. Beside adapters no second copy of the weights is kept.
 * @throws UsageError that names the field
 */
export function preferenceModel(base: Part<AnyModel, BuildOptions>, preference: Partial<PreferenceOptions> = {}): Configured<PreferenceConfig, unknown, AnyModel> & { readonly base: Part<AnyModel, BuildOptions> } {
  const schema = z.strictObject({ base: base.kind.schema as z.ZodType, preference: preferenceSchema })
  const make = configurable<PreferenceConfig, unknown, AnyModel>({
    name: preferenceName, schema: schema as unknown as { readonly _output: PreferenceConfig; readonly _input: unknown; parse(value: unknown): PreferenceConfig },
    build: ({ base: own, preference: options }, build) => withPreference(base.with(own).build(build) as unknown as Model<Tree, AnswerBatch, string, LayoutNames>, options) as unknown as AnyModel,
  })
  const made = make({ base: base.config, preference })
  return { ...made, base, with: config => { const { base: own, preference: changed } = make(config).config; return preferenceModel(base.with(own), changed) } }
}
