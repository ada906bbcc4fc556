/** What the two ways to write collectives have in common: within one process, or between processes. */
import type { Mesh } from '../../core/mesh.ts'
import type { LocalNode } from '../../partition/local.ts'
import type { Ssa, Writer } from '../writer.ts'

export interface CollectiveWriter {
  /** This device's number in the mesh, u32. */
  device(w: Writer): Ssa
  allReduce(n: LocalNode<'allReduce'>, x: Ssa, w: Writer, mesh: Mesh): Ssa
  allGather(n: LocalNode<'allGather'>, x: Ssa, w: Writer, mesh: Mesh): Ssa
  reduceScatter(n: LocalNode<'reduceScatter'>, x: Ssa, w: Writer, mesh: Mesh): Ssa
  allToAll(n: LocalNode<'allToAll'>, x: Ssa, w: Writer, mesh: Mesh): Ssa
  permute(n: LocalNode<'permute'>, x: Ssa, w: Writer, mesh: Mesh): Ssa
  /** Whether collectives are chained by a token, in the order in which they are written. */
  readonly ordered: boolean
  /** Where ranks tell each other which collective they are in, by number: so many are left out here. */
  skip?(w: Writer, count: number): void
  /** Where collectives can be under way while a device computes. */
  readonly flights?: Flights
}

export interface Flights {
  /** Begins it; u32. Where `when` has a truth value that does not hold, nothing begins. */
  start(n: LocalNode, x: Ssa, w: Writer, mesh: Mesh, when: readonly Ssa[]): Ssa
  /** What came of it, once all of `after` is computed; zeros where nothing began. */
  wait(n: LocalNode, ticket: Ssa, after: readonly Ssa[], w: Writer): Ssa
}
