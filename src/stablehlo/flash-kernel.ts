/** What a kernel of attention computes, and how it is called: cuDNN's, and our own. */
import type { AttentionBounds } from '../core/platform.ts'
import type { Ssa, Writer } from './writer.ts'

/** Queries [batch, length, heads, group, size], keys and values [batch, length, heads, size]; what is seen [batch or 1, length, length of keys], all or what is not later unless said. */
export interface Attended { readonly q: Ssa; readonly k: Ssa; readonly v: Ssa; readonly mask: Ssa | undefined; readonly causal: boolean }
/** A result, and what its gradient needs beside it. */
export interface Given { readonly result: Ssa; readonly statistics: Ssa | undefined }

export interface FusedKernel extends AttentionBounds {
  /** How results lie: as operands do, or heads before places. */
  readonly gives: 'as operands' | 'heads first'
  readonly forward: (w: Writer, of: Attended, gradient: boolean) => Given
  /** Cotangents of queries, keys and values, given that of the result; and the result, where the kernel makes it again and it is `wanted`. */
  readonly backward: (w: Writer, of: Attended, cotangent: Ssa, again: { readonly forward: () => Given; readonly wanted: boolean }) => readonly Ssa[]
}
