/** What there is to set of a GPT. */
import { z } from 'zod'

export interface GptConfig {
  readonly vocab: number
  /** Tokens in a window. */
  readonly seq: number
  readonly layers: number
  readonly embed: number
  readonly heads: number
  readonly headDim: number
  readonly hidden: number
  /** Share of activations zeroed in training. */
  readonly dropout: number
  /**
   * What a token sees: those before it (`causal`, the default); the marked `prefix` of its sequence besides; or all, as to find tokens that
   * were masked (`bidirectional`; Devlin et al. 2019).
   */
  readonly attention?: 'causal' | 'prefix' | 'bidirectional' | undefined
  /** Windows of several documents: `segments` says whose a token is, `positions` where in it. Documents do not see each other. */
  readonly packed?: boolean | undefined
  /** Whether targets of −100 do not count. They never count where documents are packed, or where attention is not causal. */
  readonly masked?: boolean | undefined
}

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
