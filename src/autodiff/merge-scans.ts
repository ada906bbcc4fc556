/** One loop of loops that differ only in what they stack: the forward pass as written and the one its gradient asked for. */
import { make, rewrite } from '../graph/make.ts'
import { operand, reachable, withBodies, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'

const isScan = (n: Node): n is Node<'scan'> => n.op === 'scan'

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
  let roots = [...outputs]
  // Merging a loop changes the operands of later ones, so one group is merged at a time, the earliest first.
  for (let again = true; again;) {
    again = false
    const groups = new Map<string, Node<'scan'>[]>()
    for (const n of reachable(roots).filter(isScan)) {
      const { body, carries, over, reverse } = n.attrs
      const key = [over.name, reverse, n.inputs.map(i => i.id), body.inputs.map(i => i.id), body.outputs.slice(0, carries).map(o => o.id)].join('|')
      groups.set(key, [...(groups.get(key) ?? []), n])
    }
    const group = [...groups.values()].find(g => g.length > 1)
    if (group === undefined) break
    again = true
    roots = mergeGroup(roots, group)
  }
  const replaced = new Map<Node, Node>()
  const order = reachable(roots)
  for (const n of order) {
    const again = withBodies(make, n, mergedBody)
    if (again !== n) replaced.set(n, again)
  }
  return replaced.size === 0 ? roots : rewriteLoops(roots, order, replaced)
}

function mergeGroup(roots: readonly Node[], group: readonly Node<'scan'>[]): Node[] {
  const [first] = group
  if (first === undefined) return [...roots]
  const { carries, body } = first.attrs
  const carried = body.outputs.slice(0, carries)
  const stacked = [...new Set(group.flatMap(n => n.attrs.body.outputs.slice(carries)))]
  const merged = make('scan', first.inputs, { ...first.attrs, body: { inputs: body.inputs, outputs: [...carried, ...stacked] } }, first.site)
  const members = new Set<Node>(group)
  const order = reachable(roots)
  const replaced = new Map<Node, Node>()
  for (const p of order) {
    if (p.op !== 'project') continue
    const loop = operand(p, 0)
    if (!isScan(loop) || !members.has(loop)) continue
    const y = loop.attrs.body.outputs[p.attrs.index]
    const index = p.attrs.index < carries || y === undefined ? p.attrs.index : carries + stacked.indexOf(y)
    replaced.set(p, make('project', [merged], { index }, p.site))
  }
  return rewrite(roots, order, replaced)
}

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
