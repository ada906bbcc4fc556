/**
 * Drops what nobody reads from ops with bodies: results of loops and choices, carries that only feed themselves, and operands
 * that no body looks at. Plain nodes that nobody reads are in no graph anyway.
 */
import { loopsOf, operand, orderOf, reachable, remade, type Make, type Node, type NodeOf } from './node.ts'
import type { Attrs, Graph } from './ops.ts'

type Maker = Make<Attrs>
type Inputs = readonly Node<'input'>[]
/** A node of which only some results are wanted: what stands for it, and the places of those results in it. */
interface Pruned { readonly node: Node; readonly index: ReadonlyMap<number, number> }

const among = <T>(list: readonly T[], keep: (item: T, i: number) => boolean): T[] => list.filter(keep)
const pick = <T>(list: readonly T[], at: readonly number[]): T[] => at.flatMap(i => list.slice(i, i + 1))
const needs = (outputs: readonly Node[]): (p: Node) => boolean => { const all = new Set(reachable(outputs)); return p => all.has(p) }
const places = (kept: readonly number[]): ReadonlyMap<number, number> => new Map(kept.map((old, now) => [old, now]))

/** The results to keep, those read and the carries that they depend on in the end; and these outputs, pruned. */
function keptResults(carries: number, read: ReadonlySet<number>, body: Graph, make: Maker, also: readonly Node[] = []): { readonly kept: readonly number[]; readonly outputs: readonly Node[] } {
  const kept = new Set(read)
  for (;;) {
    const at = [...kept].sort((a, b) => a - b)
    // What a kept output seems to need may be needed only by results of inner loops that are dead by now.
    const outputs = pruneOnce(pick(body.outputs, at), make)
    const needed = needs([...outputs, ...also])
    body.inputs.slice(0, carries).forEach((p, i) => { if (needed(p)) kept.add(i) })
    if (kept.size === at.length) return { kept: at, outputs }
  }
}

function pruneScan(n: Node<'scan'>, operands: readonly Node[], read: ReadonlySet<number>, make: Maker): Pruned {
  const { body, carries, xs } = n.attrs
  const { kept, outputs } = keptResults(carries, read, body, make)
  const needed = needs(outputs)
  const enters = among(body.inputs.map((_, i) => i), i => (i < carries ? kept.includes(i) : needed(body.inputs[i] ?? n)))
  const attrs = {
    ...n.attrs, body: sameOr(body, pick(body.inputs, enters), outputs),
    carries: kept.filter(i => i < carries).length, xs: enters.filter(i => i >= carries && i < carries + xs).length,
  }
  return { node: make('scan', pick(operands, enters), attrs, n.site), index: places(kept) }
}

function pruneCond(n: Node<'cond'>, operands: readonly Node[], read: ReadonlySet<number>, make: Maker): Pruned {
  const { yes, no } = n.attrs
  const kept = [...read].sort((a, b) => a - b)
  const [a = [], b = []] = [yes, no].map(branch => pruneOnce(pick(branch.outputs, kept), make))
  const needed = needs([...a, ...b])
  const enters = among(yes.inputs.map((_, i) => i), i => needed(yes.inputs[i] ?? n))
  const inputs = pick(yes.inputs, enters)
  const node = make('cond', [...operands.slice(0, 1), ...pick(operands.slice(1), enters)], { ...n.attrs, yes: sameOr(yes, inputs, a), no: sameOr(no, inputs, b) }, n.site)
  return { node, index: places(kept) }
}

function pruneWhile(n: Node<'while'>, operands: readonly Node[], read: ReadonlySet<number>, make: Maker): Pruned {
  const { condition, body, carries } = n.attrs
  const test = pruneOnce(condition.outputs, make)
  const { kept, outputs } = keptResults(carries, read, body, make, test)
  const needed = needs([...test, ...outputs])
  const enters = among(body.inputs.map((_, i) => i), i => (i < carries ? kept.includes(i) : needed(body.inputs[i] ?? n)))
  const inputs = pick(body.inputs, enters)
  const node = make('while', pick(operands, enters), { condition: sameOr(condition, inputs, test), body: sameOr(body, inputs, outputs), carries: kept.length }, n.site)
  return { node, index: places(kept) }
}

/** The graph itself where nothing in it changed: graphs count by identity. */
const sameOr = (graph: Graph, inputs: Inputs, outputs: readonly Node[]): Graph => {
  const same = (a: readonly Node[], b: readonly Node[]): boolean => a.length === b.length && a.every((x, i) => x === b[i])
  return same(graph.inputs, inputs) && same(graph.outputs, outputs) ? graph : { inputs, outputs }
}

function pruneOnce(outputs: readonly Node[], make: Maker): readonly Node[] {
  if (loopsOf(outputs).length === 0) return outputs
  const order = orderOf(outputs)
  const read = new Map<Node, Set<number>>()
  for (const n of order) if (n.op === 'project') read.set(operand(n, 0), (read.get(operand(n, 0)) ?? new Set()).add(n.attrs.index))
  const images = new Map<Node, Node>()
  const pruned = new Map<Node, Pruned>()
  const image = (n: Node): Node => images.get(n) ?? n
  for (const n of order) {
    const operands = n.inputs.map(image)
    const results = read.get(n) ?? new Set()
    if (n.op === 'scan') pruned.set(n, pruneScan(n, operands, results, make))
    else if (n.op === 'cond') pruned.set(n, pruneCond(n, operands, results, make))
    else if (n.op === 'while') pruned.set(n, pruneWhile(n, operands, results, make))
    else if (n.op === 'project') {
      const found = pruned.get(operand(n, 0))
      const again = make('project', [found?.node ?? image(operand(n, 0))], { index: found?.index.get(n.attrs.index) ?? n.attrs.index }, n.site)
      if (again !== n) images.set(n, again)
    } else if (operands.some((o, i) => o !== n.inputs[i])) images.set(n, remade(make, n, operands))
  }
  const after = outputs.map(image)
  return after.every((n, i) => n === outputs[i]) ? outputs : after
}

/**
 * The outputs again without what nobody reads. It knows loops and choices only, which read alike in the global language and
 * in a device's, and makes all other ops again as they are: so it serves both.
 */
export function prune<A>(outputs: readonly NodeOf<A>[], make: Make<A>): readonly NodeOf<A>[] {
  let now = outputs as unknown as readonly Node[]
  for (;;) {
    const next = pruneOnce(now, make as unknown as Maker)
    if (next === now) return next as unknown as readonly NodeOf<A>[]
    now = next
  }
}
