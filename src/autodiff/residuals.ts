/** What a backward pass takes from the forward one, and what it computes again. */
import { make } from '../graph/make.ts'
import { bodiesOf, operand, reachable, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import type { Keep } from './policy.ts'

/** Ops of several results are kept result by result. */
const oneValue = (n: Node): boolean => n.results.length === 1 && bodiesOf(n).length === 0

/** Nodes that depend on an input. */
function dependOnInputs(order: readonly Node[]): Set<Node> {
  const found = new Set<Node>()
  for (const n of order) if (n.op === 'input' || n.inputs.some(i => found.has(i))) found.add(n)
  return found
}

/** Loops, and choices that keep what their gradients need. */
const keepsWithin = (n: Node): boolean => n.op === 'scan' || (n.op === 'cond' && n.attrs.atWork !== undefined)

/** What these give within, that a backward pass runs for its own ends: of the body's values alone, with no cotangent in them. */
function loopsWithin(backward: readonly Node[], given: ReadonlySet<Node>): Set<Node> {
  const [made, foreign] = [new Set<Node>(), new Set<Node>()]
  for (const n of reachable(backward)) {
    if ((n.op === 'input' && !given.has(n)) || n.inputs.some(i => foreign.has(i))) foreign.add(n)
    else if (n.op === 'project' && keepsWithin(operand(n, 0))) made.add(n)
  }
  return made
}

/** The body's values that `backward` needs and does not compute again: carries always, others where `keep` says so. */
export function residuals(backward: readonly Node[], body: Graph, carries: number, keep: (n: Node) => boolean): Node[] {
  const order = reachable(body.outputs)
  const forward = dependOnInputs(order)
  const carry = new Set<Node>(body.inputs.slice(0, carries))
  const given = new Set<Node>(body.inputs)
  const within = loopsWithin(backward, given)
  // What has a name is the same value as what is named, and gradients speak of either: the latter is kept for both.
  const named = new Set(order.filter(n => n.op === 'named' && keep(n)).map(n => operand(n, 0)))
  const kept = (n: Node): boolean => n.op !== 'named' && (named.has(n) || keep(n))
  const saved = new Set<Node>()
  const seen = new Set<Node>()
  const stack = [...backward]
  for (let m = stack.pop(); m !== undefined; m = stack.pop()) {
    if (seen.has(m)) continue
    seen.add(m)
    if (carry.has(m) || ((forward.has(m) || within.has(m)) && !given.has(m) && oneValue(m) && kept(m))) saved.add(m)
    else stack.push(...m.inputs)
  }
  return [...body.inputs.slice(0, carries), ...reachable([...body.outputs, ...saved])].filter(m => saved.delete(m))
}

/** How what is saved is moved to the host and back: as it is, but for what the policy sends there. */
export function moved(body: Graph, keep: Keep): { readonly away: (saved: Node) => Node; readonly back: (saved: Node, taken: Node) => Node } {
  const { offloads } = keep
  const there = new Set(offloads === undefined ? [] : reachable(body.outputs).filter(offloads).map(n => operand(n, 0)))
  const stored = (n: Node, where: 'host' | 'device', is: Node): Node => (there.has(is) ? make('stored', [n], { in: where }, is.site) : n)
  return { away: saved => stored(saved, 'host', saved), back: (saved, taken) => stored(taken, 'device', saved) }
}
