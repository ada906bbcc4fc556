/** One loop of loops that differ only in what they stack, and one choice of those that differ only in what they give: the forward pass as written and the one its gradient asked for. */
import { onBehalfOf } from '../core/site.ts'
import { inputNode } from '../graph/input.ts'
import { make } from '../graph/make.ts'
import { operand, reachable, withBodies, type Node, type TensorType } from '../graph/node.ts'
import type { Attrs, Graph } from '../graph/ops.ts'
import { rewriter } from '../graph/rewrite.ts'

type Loop = Node<'scan'> | Node<'cond'>
const isLoop = (n: Node): n is Loop => n.op === 'scan' || (n.op === 'cond' && n.attrs.atWork !== undefined)
/** How many of the results are what loops have in common. */
const carriesOf = (n: Loop): number => (n.op === 'scan' ? n.attrs.carries : 0)
/** What a result is made of, of a choice in either branch. */
const madeAs = (n: Loop, index: number): readonly Node[] => (n.op === 'scan' ? [n.attrs.body] : [n.attrs.yes, n.attrs.no]).flatMap(b => b.outputs.slice(index, index + 1))
const ids = (nodes: readonly Node[]): string => nodes.map(n => n.id).join()

/** The same outputs, each forward loop walked once. Bodies are merged within, too. */
export function mergeScans(outputs: readonly Node[]): Node[] {
  const bodies = new Map<Graph, Graph>()
  const mergedBody = (body: Graph): Graph => {
    const known = bodies.get(body)
    if (known !== undefined) return known
    const within = mergeScans(body.outputs)
    const same = within.every((n, i) => n === body.outputs[i])
    const merged = same ? body : { inputs: body.inputs, outputs: within }
    bodies.set(body, merged)
    return merged
  }
  const roots = mergedLoops([...outputs])
  const replaced = new Map<Node, Node>()
  const order = reachable(roots)
  for (const n of order) {
    const again = withBodies(make, n, mergedBody)
    if (again !== n) replaced.set(n, again)
  }
  return replaced.size === 0 ? roots : rewriteLoops(roots, order, replaced)
}

/** What loops must have in common to be one, but for what enters them. */
function keyOf(n: Loop): string {
  if (n.op === 'cond') return `${ids(n.attrs.yes.inputs)}|${ids(n.attrs.no.inputs)}`
  const { body, carries, over, reverse } = n.attrs
  return `${over.name}|${reverse}|${ids(body.inputs)}|${ids(body.outputs.slice(0, carries))}`
}

/** Loops that are one, what enters them, and what stands for their results until all of them are known. */
interface Group {
  readonly first: Loop
  readonly inputs: readonly Node[]
  readonly carried: Map<number, Node>
  readonly stacked: Map<string, { readonly made: readonly Node[]; readonly stand: Node }>
}

/**
 * What enters a loop may come out of others that become one, so loops are met in their order; what else a loop will stack is
 * known at the end. Until then inputs that nobody gave stand for its results, and in the end its results for them.
 */
function mergedLoops(roots: Node[]): Node[] {
  const order = reachable(roots)
  const counts = new Map<string, number>()
  for (const n of order) if (isLoop(n)) counts.set(keyOf(n), (counts.get(keyOf(n)) ?? 0) + 1)
  if ([...counts.values()].every(count => count === 1)) return roots

  const groups = new Map<string, Group>()
  const groupOf = new Map<Node, Group>()
  // Made only of what leads to loops that become one: all else is made again once, in the end.
  const images = new Map<Node, Node>()
  const image = rewriter<Attrs>(make, images)
  const projects: (readonly [project: Node, stand: Node])[] = []
  for (const n of order) {
    if (isLoop(n) && (counts.get(keyOf(n)) ?? 0) > 1) {
      const inputs = n.inputs.map(image)
      const key = `${keyOf(n)}|${inputs.map(i => i.id).join()}`
      const group = groups.get(key) ?? { first: n, inputs, carried: new Map(), stacked: new Map() }
      groups.set(key, group)
      groupOf.set(n, group)
      n.results.forEach((type, i) => {
        const made = madeAs(n, i)
        if (i < carriesOf(n)) { if (!group.carried.has(i)) group.carried.set(i, stand(type)) }
        else if (!group.stacked.has(ids(made))) group.stacked.set(ids(made), { made, stand: stand(type) })
      })
      continue
    }
    const loop = n.op === 'project' ? operand(n, 0) : undefined
    const group = loop === undefined ? undefined : groupOf.get(loop)
    if (n.op !== 'project' || loop === undefined || !isLoop(loop) || group === undefined) continue
    const found = n.attrs.index < carriesOf(loop) ? group.carried.get(n.attrs.index) : group.stacked.get(ids(madeAs(loop, n.attrs.index)))?.stand
    if (found === undefined) continue
    images.set(n, found)
    projects.push([n, found])
  }

  const results = new Map<Node, Node>()
  const settled = rewriter<Attrs>(make, results)
  for (const { first, inputs, carried, stacked } of groups.values()) {
    const carries = carriesOf(first)
    // A branch's results, or what a loop stacks behind its carries.
    const grown = (body: Graph, branch: number): Graph => {
      const outputs = [...body.outputs.slice(0, carries), ...[...stacked.values()].flatMap(s => s.made.slice(branch, branch + 1))]
      return outputs.length === body.outputs.length && outputs.every((y, i) => y === body.outputs[i]) ? body : { inputs: body.inputs, outputs }
    }
    const entering = inputs.map(settled)
    const merged = first.op === 'scan' ? make('scan', entering, { ...first.attrs, body: grown(first.attrs.body, 0) }, first.site)
      : make('cond', entering, { ...first.attrs, yes: grown(first.attrs.yes, 0), no: grown(first.attrs.no, 1) }, first.site)
    for (const [index, stand] of [...carried, ...[...stacked.values()].map((s, i) => [carries + i, s.stand] as const)]) results.set(stand, make('project', [merged], { index }, first.site))
  }
  for (const [project, stand] of projects) results.set(project, results.get(stand) ?? project)
  return roots.map(settled)
}
/** It is gone before anybody is told of it, so nobody looks for a line. */
const stand = (type: TensorType): Node => onBehalfOf(undefined, () => inputNode('merged', 'compute', type))

/** Loops get new bodies and, where their operands changed too, both at once. */
function rewriteLoops(roots: readonly Node[], order: readonly Node[], bodies: ReadonlyMap<Node, Node>): Node[] {
  const replaced = new Map<Node, Node>()
  const image = (n: Node): Node => replaced.get(n) ?? n
  for (const n of order) {
    const base = bodies.get(n) ?? n
    const inputs = n.inputs.map(image)
    if (base !== n || inputs.some((m, i) => m !== n.inputs[i])) replaced.set(n, make(base.op, inputs, base.attrs, n.site))
  }
  return roots.map(image)
}
