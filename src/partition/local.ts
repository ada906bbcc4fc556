/** The program of one device: the global ops on local sizes, the collectives written out, and which device this is. */
import type { Dim } from '../core/dim.ts'
import { isEight } from '../core/dtype.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Sharding } from '../core/layout.ts'
import { describeControl, describeOp } from '../graph/describe.ts'
import { bodyTypes } from '../graph/infer/control.ts'
import { infer } from '../graph/infer/table.ts'
import { typeOf, visit, type Infer, type NodeOf, type TableOf, type TensorType, type Typed } from '../graph/node.ts'
import type { Attrs, ReduceKind } from '../graph/ops.ts'
import { printGraph } from '../graph/print.ts'

type Shared = Omit<Attrs, 'scan' | 'cond' | 'while' | 'recompute' | 'named' | 'relayout' | 'stopGradient' | 'customGradient' | 'dot'>
type Axes = readonly string[]

export interface LocalAttrs extends Shared {
  /** Of half-precision operands it may give f32; of those of 8 bits, each of either format, it must. */
  dot: Attrs['dot'] & { readonly gives?: 'f32' }
  scan: { readonly over: Dim; readonly body: LocalBody; readonly carries: number; readonly xs: number; readonly reverse: boolean; readonly keepsCollectives?: true }
  /** `apart`: each device chooses for itself, or all that wait for each other in a branch do alike; along `axes`; and takes the first in that share of its runs, if it is known. */
  cond: { readonly yes: LocalBody; readonly no: LocalBody; readonly apart?: { readonly axes: Axes; readonly share?: number | undefined } }
  while: { readonly condition: LocalBody; readonly body: LocalBody; readonly carries: number }
  /** Which part of a dim that takes these axes is this device's, i32. */
  axisIndex: { readonly axes: Axes }
  /** The same on all devices along the axes: the elementwise sum, max or min of theirs. */
  allReduce: { readonly kind: ReduceKind; readonly axes: Axes }
  /** The parts of `dim` of all devices along the axes, `parts` of them, one after another. */
  allGather: { readonly dim: string; readonly axes: Axes; readonly parts: number }
  /** This device's part of `dim` of the sum along the axes. */
  reduceScatter: { readonly dim: string; readonly axes: Axes; readonly parts: number }
  /** Dim `from` is no longer split afterwards, and `to` is: each device keeps its part of `to` and gets the others' parts of `from`. */
  allToAll: { readonly from: string; readonly to: string; readonly axes: Axes; readonly parts: number }
  /** Part `source` along the axes goes to part `target`, for each pair; devices that get nothing hold zeros. */
  permute: { readonly axes: Axes; readonly pairs: readonly (readonly [source: number, target: number])[] }
}
export type LocalNode<K extends keyof LocalAttrs = keyof LocalAttrs> = NodeOf<LocalAttrs, K>
export type LocalTable<R, Args extends readonly unknown[] = []> = TableOf<LocalAttrs, R, Args>
export interface LocalBody { readonly inputs: readonly LocalNode<'input'>[]; readonly outputs: readonly LocalNode[] }

/** How an array that enters or leaves the program lies over the mesh. */
export interface Placement extends TensorType {
  readonly sharding: Sharding
  /** In the memory of the host, where the platform tells it from a device's. */
  readonly memory?: 'host'
}

export interface LocalGraph extends LocalBody {
  readonly mesh: Mesh
  /** Of the inputs and outputs, in their order; shapes are global. */
  readonly inputPlacements: readonly Placement[]
  readonly outputPlacements: readonly Placement[]
}

const first = (inputs: readonly Typed[]): TensorType => {
  const [n] = inputs
  if (n === undefined) throw new Error('an operand is missing')
  return typeOf(n)
}
const resized = (t: TensorType, name: string, size: (old: number) => number): TensorType =>
  ({ dtype: t.dtype, shape: t.shape.map(d => (d.name === name ? { name, size: size(d.size) } : d)) })

/** Of 8 bits what is contracted is as good as f32, whatever the format of each side. */
const asGiven = (n: Typed): Typed => (isEight(typeOf(n).dtype) ? { results: [{ ...typeOf(n), dtype: 'f32' }] } : n)

export const localInfer: Infer<LocalAttrs> = {
  ...infer,
  ...bodyTypes,
  dot: (a, inputs, site) => infer.dot(a, a.gives === undefined ? inputs : inputs.map(asGiven), site).map(t => ({ ...t, dtype: a.gives ?? t.dtype })),
  axisIndex: () => [{ shape: [], dtype: 'i32' }],
  allReduce: (_, inputs) => [first(inputs)],
  allGather: (a, inputs) => [resized(first(inputs), a.dim, size => size * a.parts)],
  reduceScatter: (a, inputs) => [resized(first(inputs), a.dim, size => size / a.parts)],
  allToAll: (a, inputs) => [resized(resized(first(inputs), a.from, size => size * a.parts), a.to, size => size / a.parts)],
  permute: (_, inputs) => [first(inputs)],
}

const describeAttrs: { readonly [K in keyof LocalAttrs]: (attrs: LocalAttrs[K]) => string } = {
  ...describeOp,
  ...describeControl,
  axisIndex: a => `axisIndex ${a.axes.join(', ')}`,
  allReduce: a => `ALL-REDUCE ${a.kind} along ${a.axes.join(', ')}`,
  allGather: a => `ALL-GATHER ${a.dim} along ${a.axes.join(', ')}`,
  reduceScatter: a => `REDUCE-SCATTER ${a.dim} along ${a.axes.join(', ')}`,
  allToAll: a => `ALL-TO-ALL ${a.from} whole, ${a.to} cut along ${a.axes.join(', ')}`,
  permute: a => `PERMUTE along ${a.axes.join(', ')}: ${a.pairs.map(p => p.join('→')).join(' ')}`,
}
/** One op in words. */
export const describeLocal = <K extends keyof LocalAttrs>(n: LocalNode<K>): string => describeAttrs[n.op](n.attrs)

/** The text of a device's program: dims by name with local sizes, collectives in capitals. */
export const printLocal = (graph: LocalGraph): string => printGraph<LocalAttrs>(graph, describeLocal)

/** Applies a rule table to a node. */
export const visitLocal = <R, Args extends readonly unknown[]>(table: LocalTable<R, Args>, n: LocalNode, ...args: Args): R =>
  visit<LocalAttrs, R, Args, typeof n.op>(table, n, ...args)

