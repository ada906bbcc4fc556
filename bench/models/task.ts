/** What both sides of the section on models are asked, one request a line, and what they answer. */
export type Compute = 'f32' | 'bf16'
export interface Times { readonly ms: readonly number[] }
export interface Memory { readonly peakBytes: number; readonly bytes: number }

export type Request =
  /** Queries, keys, values and a cotangent lie in `folder`: heads × seq × size each. */
  | { readonly do: 'attention'; readonly folder: string; readonly heads: number; readonly seq: number; readonly size: number }
  | { readonly do: 'forward' } | { readonly do: 'both' }
  /** A model with adapters; what they are at first and the batches lie in `data`. */
  | { readonly do: 'lora'; readonly folder: string; readonly data: string; readonly compute: Compute; readonly batch: number; readonly seq: number; readonly rank: number; readonly on: readonly string[]; readonly batches: number }
  | { readonly do: 'steps'; readonly count: number }
  /** Brings a folder of weights into another one. */
  | { readonly do: 'import'; readonly from: string; readonly to: string }
  /** Loads a model onto the devices of a mesh. */
  | { readonly do: 'load'; readonly folder: string; readonly batch: number; readonly model: number }
  /** Resident bytes, and the most that there have been. */
  | { readonly do: 'memory' }

export interface Answers {
  readonly attention: { readonly runtime: string }
  /** Sums of magnitudes, of the result or of the gradients. */
  readonly forward: { readonly ms: number; readonly sums: readonly number[] }
  readonly both: { readonly ms: number; readonly sums: readonly number[] }
  readonly lora: { readonly runtime: string }
  readonly steps: Times & { readonly losses: readonly number[] }
  readonly import: { readonly ms: number }
  /** Host memory beyond what there was before and what the devices hold, and the largest piece of an array that is one device's. */
  readonly load: { readonly ms: number; readonly beyondBytes: number; readonly pieceBytes: number; readonly deviceBytes: number }
  readonly memory: Memory
}
