/** A GPT as a recipe names it: its schema, and how it is built. */
import { z } from 'zod'
import { configurable, type Configurable, type Configured } from './configurable.ts'
import type { GptConfig } from './gpt-config.ts'
import { checkInContext, contextSchema } from './in-context.ts'
import { pipelineSchema } from './pipelined.ts'
import { gpt, type Gpt, type GptBatch, type GptBatchOf } from './gpt.ts'

const count = z.int().min(1).max(2 ** 31 - 1)
type Shape = { [F in 'vocab' | 'seq' | 'layers' | 'embed' | 'heads' | 'headDim' | 'hidden']: z.ZodInt } & {
  dropout: z.ZodDefault<z.ZodNumber>
  attentionDropout: z.ZodDefault<z.ZodNumber>
  attention: z.ZodDefault<z.ZodEnum<{ causal: 'causal'; prefix: 'prefix'; bidirectional: 'bidirectional' }>>
  packed: z.ZodDefault<z.ZodBoolean>
  masked: z.ZodDefault<z.ZodBoolean>
  biases: z.ZodDefault<z.ZodEnum<{ mlp: 'mlp'; all: 'all' }>>
  places: z.ZodOptional<z.ZodInt>
  pipeline: typeof pipelineSchema
  blockwise: z.ZodDefault<z.ZodUnion<readonly [z.ZodLiteral<'auto'>, z.ZodInt]>>
  context: typeof contextSchema
}
export const gptSchema: z.ZodObject<Shape, z.core.$strict> = z.strictObject({
  vocab: count, seq: count, layers: count, embed: count, heads: count, headDim: count, hidden: count, dropout: z.number().min(0).max(0.9).default(0), attentionDropout: z.number().min(0).max(0.9).default(0),
  attention: z.enum(['causal', 'prefix', 'bidirectional']).default('causal'), packed: z.boolean().default(false), masked: z.boolean().default(false),
  biases: z.enum(['mlp', 'all']).default('mlp'), places: count.optional(), blockwise: z.union([z.literal('auto'), z.int().min(0)]).default('auto'), context: contextSchema, pipeline: pipelineSchema,
}).superRefine((c, issues) => { checkInContext(c, (path, message) => { issues.addIssue({ code: 'custom', path: [path], message }) }) })

type Whole = z.output<typeof gptSchema>
type Given = z.input<typeof gptSchema>
type Attention = Whole['attention']
/** What it takes in a batch; where a configuration is not known to the compiler, what all of them take. */
type BatchOf<P extends boolean, A extends Attention> = [P, A] extends [false, 'causal' | 'bidirectional'] ? GptBatch : GptBatchOf<{ readonly packed: P; readonly attention: A }>
type GptOf = Pick<Configurable<Whole, Given, Gpt>, 'kind'>
  & (<const P extends boolean = false, const A extends Attention = 'causal'>(config: Omit<Given, 'packed' | 'attention'> & { readonly packed?: P | undefined; readonly attention?: A | undefined }) => Configured<Whole, Given, Gpt<BatchOf<P, A>>>)

/** `model: gptModel({ vocab: 2048, seq: 128, … })`. */
export const gptModel: GptOf = configurable({ name: 'gpt', schema: gptSchema, build: (config, { batch, precision }): Gpt => gpt<GptConfig>(config, batch, precision) }) as unknown as GptOf
