/** A GPT as a recipe names it: its schema, and how it is built. */
import { z } from 'zod'
import { configurable, type Configurable } from './configurable.ts'
import type { GptConfig } from './gpt-config.ts'
import { gpt, type Gpt } from './gpt.ts'

const count = z.int().min(1).max(2 ** 31 - 1)
type Shape = { [F in 'vocab' | 'seq' | 'layers' | 'embed' | 'heads' | 'headDim' | 'hidden']: z.ZodInt } & {
  dropout: z.ZodDefault<z.ZodNumber>
  attention: z.ZodDefault<z.ZodEnum<{ causal: 'causal'; prefix: 'prefix'; bidirectional: 'bidirectional' }>>
  packed: z.ZodDefault<z.ZodBoolean>
  masked: z.ZodDefault<z.ZodBoolean>
}
export const gptSchema: z.ZodObject<Shape, z.core.$strict> = z.strictObject({
  vocab: count, seq: count, layers: count, embed: count, heads: count, headDim: count, hidden: count, dropout: z.number().min(0).max(0.9).default(0),
  attention: z.enum(['causal', 'prefix', 'bidirectional']).default('causal'), packed: z.boolean().default(false), masked: z.boolean().default(false),
})

/** `model: gptModel({ vocab: 2048, seq: 128, … })`. */
export const gptModel: Configurable<z.output<typeof gptSchema>, z.input<typeof gptSchema>, Gpt> =
  configurable({ name: 'gpt', schema: gptSchema, build: (config, { batch, precision }): Gpt => gpt<GptConfig>(config, batch, precision) })
