/** What a graph is lifted along, and what the rules of ops see of it: see `lift.ts`. */
import type { Dim } from '../core/dim.ts'
import type { Node } from '../graph/node.ts'

/** The batch, cut into parts of which each stage has one at a time. */
export interface Cut {
  /** The batch's dim as the program has it. */
  readonly whole: Dim
  /** Of the same name, as a stage has it: element r of part m is element r · parts + m of the whole. */
  readonly part: Dim
  readonly parts: number
  /** Which part each stage has, i32 over the stages. */
  readonly at: Node
}
export interface Along { readonly stage: Dim; readonly cut?: Cut | undefined }

/** What the rules of ops see while a graph is lifted. */
export interface Lifting extends Along {
  /** The value of a node: its own dims, the batch's smaller, behind the dim of the stages where stages differ in it. */
  readonly of: (n: Node) => Node
  readonly each: (nodes: readonly Node[]) => Node[]
  /** The operands of an op that works element by element: if one of them has the stages, all have. */
  readonly alike: (n: Node) => Node[]
  readonly spread: (n: Node) => Node
  readonly isLifted: (n: Node) => boolean
  /** A shape of the graph, as it is of one part of the batch. */
  readonly shrunk: (shape: readonly Dim[]) => readonly Dim[]
  /** Whether it is the batch's dim. */
  readonly isBatch: (d: Dim) => boolean
  readonly calls: (from: string, to: string) => void
  /** @throws DimError where the op works along the batch, unless it sums and sums are of all parts anyway */
  readonly apart: (n: Node, dims: readonly string[], sums?: boolean) => void
  /** The same for a graph within: of a loop, or of a gradient, which may sum over the batch. */
  readonly within: (given: ReadonlyMap<Node, Node>, sums?: boolean) => Lifting
  /** Stand-ins for a body's inputs, some of them with the stages. */
  readonly params: (inputs: readonly Node<'input'>[], lifted: (i: number) => boolean) => Node<'input'>[]
  /** A value lifted, as one of a type that is not is to have it: summed over the stages, or the same for all. */
  readonly like: (n: Node, other: Node) => Node
}
