/** What our worker and JAX's are asked about an op, and what they answer. */
import type { Entry } from '../../test/oracle/exchange.ts'

export type Request =
  /** Compiles the loop around an op, and runs one turn; ours writes the operands into the folder. */
  | { readonly do: 'open'; readonly name: string; readonly folder: string }
  | { readonly do: 'time'; readonly turns: number }
  | { readonly do: 'close' }

export interface Answers {
  /** `sum`: of the result's magnitudes, to see that both compute the same. */
  readonly open: { readonly runtime: string; readonly sum: number; readonly arrays: readonly Entry[] }
  readonly time: { readonly ms: number }
  readonly close: Record<string, never>
}
