/** A program on one device, as a measure of it on many: what its kernels read and write, what lies in memory at its peak, and how much of each is split by which dims. */
import { isHidden, names, sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { localShape, shardingOf, type Layouts } from '../core/layout.ts'
import { mesh as meshOf, partsOf, type Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { choices, type Written } from '../core/platform.ts'
import { memoryOf } from '../cost/memory.ts'
import { runsOf } from '../cost/turns.ts'
import { workOf } from '../cost/work.ts'
import { bodiesOf, dtypeOf, reachable, shapeOf, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import type { LocalBody, LocalGraph, LocalNode } from '../partition/local.ts'
import { allNodes, partition } from '../partition/partition.ts'
import type { Streamed } from './tables.ts'

/** Values of one kind that lie in memory at the peak. */
interface Lying { readonly bytes: number; readonly dims: readonly string[]; readonly layout: string }

export interface Reference {
  readonly graph: Graph
  readonly local: LocalGraph
  readonly runs: ReadonlyMap<readonly Node[], number>
  readonly streamed: readonly Streamed[]
  readonly lying: readonly Lying[]
  /** Dims that loops walk over. */
  readonly walked: ReadonlySet<string>
  /** Dims that operands and results of products have: others only stack weights. */
  readonly multiplied: ReadonlySet<string>
}

/** The layout that a kernel's values lie by: what only the optimizer has, its slots do. */
function layoutsIn(local: LocalBody): (n: LocalNode) => string {
  const slots = new Set<LocalNode>()
  for (const n of reachable(local.outputs)) if ((n.op === 'input' && n.attrs.role === 'state') || n.inputs.some(i => slots.has(i))) slots.add(n)
  return n => (slots.has(n) ? 'state' : 'compute')
}

/**
 * Tensors that look like a parameter, its gradient or its slot; or, of what no example has a part in, like one layer of a stack of them, or a stage's: at the peak there is one of each layer where a
 * pipeline's layers are not a loop, and each lies as parameters rest.
 */
const weightLike = (graph: Graph): ((dims: readonly string[]) => boolean) => {
  const weights = [...new Map(graph.inputs.filter(n => n.attrs.role === 'params').map(n => [names(shapeOf(n)).sort().join(), names(shapeOf(n))])).values()]
  const ofBatch = new Set(graph.inputs.filter(n => n.attrs.role === 'compute').flatMap(n => names(shapeOf(n))))
  return dims => weights.some(w => {
    const shared = dims.filter(d => w.includes(d)).length
    const [more, fewer] = [dims.length - shared, w.length - shared]
    return (more === 0 && fewer === 0) || (shared >= 2 && more <= 1 && fewer <= 1 && !dims.some(d => ofBatch.has(d)))
  })
}

/** `donations` as the step will have them; `written`: for which platform. */
export function referenceOf(graph: Graph, donations: (local: LocalGraph) => ReadonlyMap<number, number>, uses: Layouts['uses'], written: Written = choices.cpu): Reference {
  const local = partition(graph, meshOf({}), { layout: {}, ...(uses === undefined ? {} : { uses }) })
  const layout = layoutsIn(local)
  const seen = (n: LocalNode): string[] => {
    const shapes = [n, ...n.inputs].map(x => names(shapeOf(x)).filter(d => !isHidden(d)))
    return shapes.reduce((most, s) => (s.length > most.length ? s : most), [])
  }
  const grouped = new Map<string, Streamed>()
  for (const w of workOf(local)) {
    if (w.kind !== 'memory') continue
    const own = { bytes: w.bytes, operations: w.operations, ...(w.turned === true ? { turned: true } : {}), dims: seen(w.node), layout: layout(w.node) }
    const key = JSON.stringify(own)
    grouped.set(key, { ...own, times: (grouped.get(key)?.times ?? 0) + w.times })
  }
  const like = weightLike(graph)
  const spans = new Map<string, Lying>()
  for (const { bytes, type, node } of memoryOf(local, donations(local), written).largest) {
    const dims = names(type.shape).filter(d => !isHidden(d))
    const own = { dims, layout: layout(node) === 'state' || like(dims) ? 'state' : 'compute' }
    const key = JSON.stringify(own)
    spans.set(key, { ...own, bytes: bytes + (spans.get(key)?.bytes ?? 0) })
  }
  return {
    graph, local, streamed: [...grouped.values()], lying: [...spans.values()],
    // Ops of loops and choices are the same in both languages.
    runs: new Map([...runsOf(graph as unknown as LocalBody, n => (n.op === 'dot' ? 1 : 0), 'waited')].map(([body, times]) => [body.outputs as unknown as readonly Node[], times])),
    walked: new Set(allNodes(graph.outputs).flatMap(n => (n.op === 'scan' && !isHidden(n.attrs.over.name) && n.attrs.xs > 0 && bodiesOf(n).length > 0 ? [n.attrs.over.name] : []))),
    multiplied: new Set(allNodes(graph.outputs).flatMap(n => (n.op === 'dot' || n.op === 'conv' ? [n, ...n.inputs].flatMap(x => names(shapeOf(x))) : []))),
  }
}

/** What rests on each device, in bytes: exact. */
export const restingBytes = ({ graph }: Pick<Reference, 'graph'>, layouts: Layouts, mesh: Mesh): number => graph.inputs.reduce((sum, n) =>
  sum + sizeOf(localShape(shapeOf(n), shardingOf(rulesOf(layouts, n.attrs.role), mesh, shapeOf(n), n.attrs.name), mesh)) * dtypes[dtypeOf(n)].bytes, 0)

/** And what lies beside it at the peak: each value as one device has it, over the devices that its dims are split by. */
export function lyingBytes({ lying }: Reference, layouts: Layouts, mesh: Mesh): number {
  const rules = new Map<string, ReturnType<typeof rulesOf>>()
  return lying.reduce((sum, { bytes, dims, layout }) => {
    const own = rules.get(layout) ?? rulesOf(layouts, layout)
    rules.set(layout, own)
    return sum + bytes / partsOf(mesh, [...new Set(dims.flatMap(d => own[d] ?? []))])
  }, 0)
}
