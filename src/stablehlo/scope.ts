/** What the writers of all ops of one program share. */
import type { Mesh } from '../core/mesh.ts'
import type { LocalNode } from '../partition/local.ts'
import type { CollectiveWriter } from './collectives/writer.ts'
import type { Ssa, Writer } from './writer.ts'

export interface Scope {
  readonly mesh: Mesh
  readonly collectives: CollectiveWriter
  /** The walk over a program itself, for regions: the values of the roots, given those of the inputs. */
  readonly emitNodes: (roots: readonly LocalNode[], given: ReadonlyMap<LocalNode, Ssa>, w: Writer, scope: Scope) => Ssa[]
}
