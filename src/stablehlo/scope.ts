/** What the writers of all ops of one program share. */
import { isHalf } from '../core/dtype.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Choices, Lowering } from '../core/platform.ts'
import { dtypeOf, operand } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import type { CollectiveWriter } from './collectives/writer.ts'
import type { Ssa, Writer } from './writer.ts'

/** A value that is `of` in another dtype, or where `index` is given the slice of a stack at that place of its first dim. */
export interface Origin { readonly of: Ssa; readonly index?: Ssa }

/** Of a stack that a loop fills, which one. */
export interface Place { readonly stack: Ssa; readonly index: Ssa }

/** A product that one node alone reads: when that asks for another in its place, `drop` takes it away, but for what others read of how its operands were arranged; `into` does and writes one into a stack, where it is a matrix. `isGone` once either was done. */
export interface Replaced { readonly drop: () => void; readonly isGone: () => boolean; readonly into?: (place: Place) => Ssa }

export interface Scope {
  readonly mesh: Mesh
  readonly collectives: CollectiveWriter
  /** How the platform wants things written. */
  readonly choices: Choices
  readonly contractions: Lowering['contractions']
  /** Whether programs may call our own kernels. */
  readonly kernels: boolean
  /** Whether loops and choices that take collectives are tied to other collectives by what is computed from what. */
  readonly tied: boolean
  /** Where programs may call our own kernels: of values by their names, what stack they are a slice of, and where in it. */
  readonly slices?: Map<string, Required<Origin>>
  /** Products in whose place another may be written, by the names of their values. */
  readonly products: Map<string, Replaced>
  /** Where all products are our own kernels': of values by their names, what they are a slice of, or were in fewer bits. */
  readonly origins?: Map<string, Origin>
  /** Of a turn of a loop, where collectives fly: those under way as it begins, by what they are waited for with; and those that it begins and another turn waits for, into which that is written. */
  readonly flights?: { readonly started: ReadonlyMap<LocalNode, Ssa>; readonly late: Map<LocalNode, Ssa | undefined> }
  /** The value of a node of the body that is being written, where it has been. */
  readonly ssaOf?: (n: LocalNode) => Ssa | undefined
  /** Whether of a body that is being written one node alone reads the value, once, and nothing else. */
  readonly readOnce?: (n: LocalNode) => boolean
  /** The walk over a program itself, for regions: the values of the roots, given those of the inputs. */
  readonly emitNodes: (roots: readonly LocalNode[], given: ReadonlyMap<LocalNode, Ssa>, w: Writer, scope: Scope) => Ssa[]
}

/** An operand that was only widened from halves, as it was before: for who widens it on the way. */
export function asStored(n: LocalNode, value: Ssa, ssaOf: Scope['ssaOf']): { readonly value: Ssa; readonly of: LocalNode } {
  const before = n.op === 'convert' && dtypeOf(n) === 'f32' && isHalf(dtypeOf(operand(n, 0))) ? operand(n, 0) : undefined
  const narrow = before === undefined ? undefined : ssaOf?.(before)
  return before === undefined || narrow === undefined ? { value, of: n } : { value: narrow, of: before }
}
