/** A decoder of the Llama family as a recipe names it. */
import { configurable, type Configurable, type Configured } from './configurable.ts'
import { llamaSchema, type LlamaConfig, type LlamaGiven } from './llama-config.ts'
import { llama, type Llama } from './llama.ts'
import type { GptBatch, GptBatchOf } from './next-token.ts'

type BatchOf<P extends boolean> = [P] extends [false] ? GptBatch : GptBatchOf<{ readonly packed: P }>
type LlamaOf = Pick<Configurable<LlamaConfig, LlamaGiven, Llama>, 'kind'>
  & (<const P extends boolean = false>(config: Omit<LlamaGiven, 'packed'> & { readonly packed?: P | undefined }) => Configured<LlamaConfig, LlamaGiven, Llama<BatchOf<P>>>)

/** `model: llamaModel({ vocab: 2048, seq: 128, heads: 8, kvHeads: 2, … })`. */
export const llamaModel: LlamaOf = configurable({ name: 'llama', schema: llamaSchema, build: (config, { batch, precision }): Llama => llama<LlamaConfig>(config, batch, precision) }) as unknown as LlamaOf
