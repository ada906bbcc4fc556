/** What layouts of one program cost on one mesh, added up from tables of what each op does: the collectives, operations and milliseconds that a whole plan has, in thousandths of its time. */
import { dtypes } from '../core/dtype.ts'
import type { Layouts } from '../core/layout.ts'
import { partsOf, type Mesh } from '../core/mesh.ts'
import { rulesOf } from '../core/named-layouts.ts'
import { collectiveMs, groupOf, type Group } from '../cost/collective.ts'
import { contractionMs, figuresAt, memoryMs, operationCost } from '../cost/price.ts'
import { productOf, turnedFor, type Operations } from '../cost/work.ts'
import { productFlops } from '../graph/flops.ts'
import { bodiesOf, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import type { Machine } from '../machine/machine.ts'
import { received, type Collective } from '../partition/collectives.ts'
import { allNodes, checkGraph, withNames } from '../partition/partition.ts'
import { productDtype } from './fragment.ts'
import { namedIn } from './legal.ts'
import { performed, type Performed, type Sent } from './passes.ts'
import { Sketcher } from './sketch.ts'
import { unfolded } from './unfold.ts'

/** What a step's kernels that are no products read and write on one device that does it all, and by which rules devices share it. */
export interface Streamed { readonly times: number; readonly bytes: number; readonly operations: Operations; /** Whether it turns a matrix over. */ readonly turned?: boolean; readonly dims: readonly string[]; readonly layout: string }

/** Costs of a layout, as far as tables say them. */
export interface Tabled {
  readonly flops: number
  readonly collectives: readonly Collective[]
  readonly ms: number
  readonly productMs: number
  readonly collectiveMs: number
  /** What of these nothing waits for, as far as the machine can do it beside computation. */
  readonly besideMs: number
  readonly memoryMs: number
  /** Of the collectives, those along axes that something rests on and is not computed by: what meeting it there may save at most. */
  readonly restingMs: number
  /** The kind of collective, and the axes, that take most of it. */
  readonly most: { readonly kind: Collective['kind']; readonly axes: readonly string[]; readonly ms: number } | undefined
}

/** What layouts make of a program, before it is priced. */
export interface Laid { readonly tempted: ReadonlySet<string>; /** Uses of what rests that meet it there. */ readonly atRest: ReadonlySet<string>; readonly bodies: ReadonlyMap<readonly Node[], Performed>; readonly collectives: readonly Collective[]; /** Bytes received, by which `partition` decides. */ readonly cost: number }

export interface TableOptions {
  readonly graph: Graph
  readonly mesh: Mesh
  readonly machine: Machine
  /** How often bodies run, by the outputs of their graphs. */
  readonly runs: ReadonlyMap<readonly Node[], number>
  readonly streamed: readonly Streamed[]
}

/** Axes that parameters or slots rest on, and are not computed by. */
const restingAxes = ({ layout, params = {}, state = {} }: Layouts): ReadonlySet<string> =>
  new Set([params, state].flatMap(rules => Object.entries(rules).flatMap(([dim, rule]) => { const own = [layout[dim] ?? []].flat(); return [rule ?? []].flat().filter(a => !own.includes(a)) })))

export class Tables {
  private readonly sketcher: Sketcher
  private readonly given: TableOptions

  private readonly nodes: readonly Node[]
  private readonly groups = new Map<string, Group>()
  private readonly prices = new Map<string, number>()

  constructor(given: TableOptions) {
    const { graph, mesh } = given
    this.given = given
    this.sketcher = new Sketcher({ graph, mesh, derived: checkGraph(graph, mesh, { layout: {}, uses: namedIn(graph) }) })
    this.nodes = allNodes(graph.outputs)
  }

  /** The cost of layouts that fit the program, on the same axes in another order if `placed` says so. */
  of(layouts: Layouts, placed: Mesh = this.given.mesh): Tabled { return this.price(this.lay(layouts), layouts, placed) }

  /** What layouts make of the program. What rests is moved, or met where it rests, as `partition` decides; where `hopeless` says so of all moved, no other way is looked at. */
  lay(layouts: Layouts, hopeless: (laid: Laid) => boolean = () => false): Laid {
    const named = withNames(layouts, this.nodes)
    this.sketcher.forget()
    let [best, atRest] = [this.tried(named, new Set()), new Set<string>()]
    const tried = new Set<string>()
    while (!hopeless(best)) {
      const open = [...best.tempted].filter(use => !atRest.has(use))
      const key = (more: readonly string[]): string => [...new Set([...atRest, ...more])].sort().join(', ')
      const next = [...open.map(use => [use]), open].find(uses => uses.length > 0 && !tried.has(key(uses)))
      if (next === undefined) break
      tried.add(key(next))
      const more = new Set([...atRest, ...next])
      const trial = this.tried(named, more)
      if (trial.cost < best.cost) [best, atRest] = [trial, more]
    }
    return best
  }

  private tried(layouts: Layouts, atRest: ReadonlySet<string>): Laid {
    const found = this.sketcher.sketch(layouts, atRest)
    const sketch = { ...found, bodies: unfolded(found.bodies, this.sketcher.make) }
    const bodies = performed(sketch, this.given.mesh, this.given.graph.outputs, this.sketcher.make)
    const collectives = this.collectivesIn(this.given.graph.outputs, 1, bodies)
    return { tempted: sketch.tempted, atRest, bodies, collectives, cost: received(collectives) }
  }

  private collectivesIn(roots: readonly Node[], times: number, bodies: ReadonlyMap<readonly Node[], Performed>): Collective[] {
    const body = bodies.get(roots)
    if (body === undefined) return []
    const own = body.sent.map((s): Collective => ({ kind: s.kind, axes: s.axes, groupSize: s.groupSize, count: times, dtype: s.dtype, elements: s.elements, bytes: s.elements * dtypes[s.dtype].bytes, at: s.node.site }))
    const inner = body.loops.flatMap(({ node: n }) => {
      if (n.op === 'scan') return this.collectivesIn(n.attrs.body.outputs, times * n.attrs.over.size, bodies)
      const each = bodiesOf(n).map(b => this.collectivesIn((b as Graph).outputs, times, bodies))
      if (n.op !== 'cond') return each.flat()
      const [yes = [], no = []] = each
      const bytes = (list: readonly Collective[]): number => list.reduce((sum, c) => sum + c.count * c.bytes, 0)
      return bytes(no) > bytes(yes) ? no : yes
    })
    return [...own, ...inner]
  }

  /** Its price on a mesh of the same axes, in whatever order: the last of them lie within hosts. */
  price({ bodies, collectives: found }: Laid, layouts: Layouts, mesh: Mesh): Tabled {
    const { machine, runs, streamed, graph } = this.given
    const onHost = Math.min(mesh.size, machine.devicesPerHost)
    let [flops, products, sent, hideable, resting, turned] = [0, 0, 0, 0, 0, 0]
    const rests = restingAxes(layouts)
    const kinds = new Map<string, { readonly kind: Collective['kind']; readonly axes: readonly string[]; readonly ms: number }>()
    for (const [roots, body] of bodies) {
      const times = runs.get(roots) ?? 0
      for (const node of body.products) {
        flops += times * productFlops(node)
        products += times * this.known(`${node.id}`, () => contractionMs(machine, { ...productOf(node), dtype: productDtype(node) }, onHost))
      }
      for (const s of body.sent) {
        const ms = times * this.sentMs(s, mesh)
        sent += ms
        if (s.axes.some(a => rests.has(a))) resting += ms
        const key = `${s.kind} ${s.axes.join()}`
        kinds.set(key, { kind: s.kind, axes: s.axes, ms: ms + (kinds.get(key)?.ms ?? 0) })
        if (!s.waited) hideable += ms * machine.overlap.share
        if (machine.fusion === 'elements') for (const bytes of turnedFor(s.node)) turned += times * memoryMs(machine, 2 * bytes, 0, onHost, 'parts')
      }
    }
    const rules = new Map<string, ReturnType<typeof rulesOf>>()
    const memory = streamed.reduce((sum, k) => {
      const own = rules.get(k.layout) ?? rulesOf(layouts, k.layout)
      rules.set(k.layout, own)
      const parts = partsOf(mesh, [...new Set(k.dims.flatMap(d => own[d] ?? []))])
      const operations = k.operations.reduce((n, [op, dtype, count]) => n + count * operationCost(machine, op, dtype), 0)
      return sum + k.times * memoryMs(machine, k.bytes / parts, operations / parts, onHost, k.turned)
    }, turned)
    const loops = [...runs].reduce((sum, [roots, times]) => sum + (roots === graph.outputs ? 0 : times), 0)
    const { turnUs, stepUs, argumentUs } = figuresAt(machine, onHost).overhead
    const overhead = (loops * turnUs + stepUs + argumentUs * onHost * (graph.inputs.length + graph.outputs.length)) / 1000
    const beside = Math.min(hideable, products + memory)
    const [most] = [...kinds.values()].sort((a, b) => b.ms - a.ms)
    return { flops, most, collectives: found, productMs: products, collectiveMs: sent, restingMs: resting, besideMs: hideable, memoryMs: memory, ms: products + memory + sent + overhead - beside * (2 - machine.overlap.slowdown) }
  }

  private known(key: string, of: () => number): number {
    const known = this.prices.get(key) ?? of()
    this.prices.set(key, known)
    return known
  }
  private sentMs({ kind, axes, elements, dtype }: Sent, mesh: Mesh): number {
    const { machine } = this.given
    const at = `${mesh.axes.map(a => a.name).join()}: ${axes.join()}`
    const group = this.groups.get(at) ?? groupOf(machine, mesh, axes)
    this.groups.set(at, group)
    return this.known(`${kind} ${at} ${elements} ${dtype}`, () => collectiveMs(machine, group, kind, elements * dtypes[dtype].bytes))
  }
}
