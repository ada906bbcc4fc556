/** A configured model with adapters on it, as a recipe names it: its own configuration under `base`, that of the adapters under `lora`. */
import { z } from 'zod'
import { configurable, type BuildOptions, type Configured } from './configurable.ts'
import type { Part } from '../core/configurable.ts'
import { withLora, type LoraOptions } from './lora.ts'
import type { AnyModel, Model } from './model.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { Tree } from '../graph/types.ts'

export const loraSchema: z.ZodObject<{ rank: z.ZodInt; alpha: z.ZodOptional<z.ZodNumber>; on: z.ZodOptional<z.ZodArray<z.ZodString>> }, z.core.$strict> = z.strictObject({
  rank: z.int().min(1).max(2 ** 16), alpha: z.number().positive().optional(), on: z.array(z.string().min(1)).min(1).optional(),
})

/** A configured model that has been given adapters. */
export interface LoraConfig { readonly base: unknown; readonly lora: LoraOptions }
export const loraName = 'lora'

/** What a recipe's model becomes: `model: loraModel(llamaModel({ … }), { rank: 16, on: ['query', 'value'] })`. @throws UsageError that names the field */
export function loraModel(base: Part<AnyModel, BuildOptions>, lora: LoraOptions): Configured<LoraConfig, unknown, AnyModel> & { readonly base: Part<AnyModel, BuildOptions> } {
  const schema = z.strictObject({ base: base.kind.schema as z.ZodType, lora: loraSchema })
  const make = configurable<LoraConfig, unknown, AnyModel>({
    name: loraName, schema: schema as unknown as { readonly _output: LoraConfig; readonly _input: unknown; parse(value: unknown): LoraConfig },
    build: (config, options) => withLora(base.with(config.base).build(options) as Model<Tree, Tree, string, LayoutNames>, config.lora) as unknown as AnyModel,
  })
  const made = make({ base: base.config, lora })
  return { ...made, base, with: config => { const { base: own, lora: changed } = make(config).config; return loraModel(base.with(own), changed) } }
}
