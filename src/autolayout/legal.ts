/** Whether rules fit every tensor of a program: what `checkGraph` throws about, asked thousands of times. */
import { formatShape, isHidden, type Dim } from '../core/dim.ts'
import { leavingTo, type Layout, type Layouts } from '../core/layout.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { shapeOf } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import { allNodes } from '../partition/partition.ts'

export interface Asked { readonly layout: string; readonly shape: readonly Dim[]; /** How many parts it takes of some dims at most. */ readonly parts: { readonly [dim: string]: number }; readonly derives: boolean; /** A dim that other rules leave their axes to: see `relayout`. */ readonly first?: string | undefined }

/** The tensors of a program that a layout is asked about, each once. */
export class Tensors {
  /** By the layout that they lie by. */
  readonly asked: readonly Asked[]
  private readonly derived: (d: Dim) => boolean
  private readonly named: { readonly [name: string]: string }

  constructor(graph: Graph, derived: (d: Dim) => boolean) {
    const found = new Map<string, Asked>()
    const ask = (layout: string, shape: readonly Dim[], derives: boolean, parts: { readonly [dim: string]: number } = {}, first?: string): void => {
      found.set(`${layout} ${derives} ${first ?? ''} ${JSON.stringify(parts)} ${[...shape].map(d => `${d.name}=${d.size}`).sort().join()}`, { layout, shape, parts, derives, first })
    }
    for (const n of [...graph.inputs, ...allNodes(graph.outputs)]) {
      for (const r of n.results) ask('compute', r.shape, true)
      if (n.op === 'relayout' && typeof n.attrs.to === 'string') ask(n.attrs.to, shapeOf(n), true, n.attrs.parts?.of, n.attrs.first)
      if (n.op === 'input' && n.attrs.role !== 'compute') ask(n.attrs.role, shapeOf(n), false)
    }
    this.asked = [...found.values()]
    this.derived = derived
    this.named = namedIn(graph)
  }

  /** Dims that tensors have and rules can name. */
  dims(): string[] { return [...new Set(this.asked.filter(a => a.layout === 'compute').flatMap(a => a.shape.map(d => d.name)))].filter(d => !isHidden(d) && !d.startsWith('~')) }

  /** The first tensor that rules do not fit, in words; undefined where they fit all. */
  wrong(given: Layouts, mesh: Mesh): string | undefined {
    const layouts = { ...given, uses: { ...this.named, ...given.uses } }
    const rules = new Map<string, Layout>()
    for (const { layout, shape, parts, derives, first } of this.asked) {
      const all = rules.get(layout) ?? rulesOf(layouts, layout)
      rules.set(layout, all)
      const own = first === undefined ? all : leavingTo(first, all)
      const taken = new Set<string>()
      for (const d of shape) {
        const rule = Object.hasOwn(own, d.name) ? own[d.name] : undefined
        if (rule === undefined || isHidden(d.name)) continue
        const axes = typeof rule === 'string' ? [rule] : rule
        const cut = partsOf(mesh, axes)
        if (cut === 1) continue
        const divides = d.size % cut === 0
        if (!divides && !(derives && this.derived(d))) return `dim "${d.name}" of ${formatShape(shape)} cannot be cut into ${cut} equal parts`
        if (!divides) continue
        for (const a of axes) {
          if (taken.has(a)) return `two dims of ${formatShape(shape)} lie on axis "${a}"`
          taken.add(a)
        }
        if (parts[d.name] !== undefined && (parts[d.name] ?? 1) % cut !== 0) return `dim "${d.name}" cannot lie in ${cut} parts there`
      }
    }
    return undefined
  }
}

/** The layouts that a program names, and what each starts from. */
export const namedIn = (graph: Graph): { readonly [name: string]: string } =>
  Object.fromEntries(allNodes(graph.outputs).flatMap(n => (n.op === 'relayout' && typeof n.attrs.to === 'string' && !['compute', 'params', 'state', 'gradients'].includes(n.attrs.to) ? [[n.attrs.to, n.attrs.otherwise ?? 'compute'] as const] : [])))
