/**
 * What a loop's gradient computes again of the loop, but for collectives: what one has brought is stacked by the loop that ran it,
 * and read by the one that would run it again. Gathers of what every turn is given (weights that rest in parts) are left: kept, they
 * would be as large as if they did not rest so.
 */
import { bodiesOf, nodesOf, operand, orderOf, typeOf, type Make } from '../../graph/node.ts'
import { collectiveKind } from '../collectives.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { replaceNodes, type Pass } from './rewrite.ts'

type Maker = Make<LocalAttrs>
export type LocalScan = LocalNode<'scan'>
type Scan = LocalScan
const isScan = (n: LocalNode): n is Scan => n.op === 'scan'

/** A collective in the body of `again`, and the same one in the body of the loop that it follows. */
interface Repeated { readonly again: LocalNode; readonly before: LocalNode }

/** The loops of the same turns whose stacks this one walks over. */
function followed(loop: Scan): Scan[] {
  const { carries, xs, over } = loop.attrs
  return [...new Set(loop.inputs.slice(carries, carries + xs).flatMap(x => (x.op === 'project' ? [operand(x, 0)] : [])).filter(isScan))].filter(f => f.attrs.over.size === over.size)
}

/**
 * What the inputs of a loop's body are in the body of the loop that it follows: what both are given, and what the first has stacked; `resultOf` tells which of its results a value is, if it is one.
 */
export function counterparts(loop: Scan, first: Scan, resultOf: (given: LocalNode) => number | undefined): Map<LocalNode, LocalNode> {
  const { body, carries, xs } = loop.attrs
  const found = new Map<LocalNode, LocalNode>()
  body.inputs.forEach((p, i) => {
    const given = loop.inputs[i]
    if (given === undefined || i < carries) return
    const walked = i < carries + xs
    const [from, to] = walked ? [first.attrs.carries, first.attrs.carries + first.attrs.xs] : [first.attrs.carries + first.attrs.xs, first.inputs.length]
    const at = first.inputs.findIndex((x, k) => k >= from && k < to && x === given)
    const result = walked ? resultOf(given) : undefined
    const stacked = result !== undefined && result >= first.attrs.carries ? first.attrs.body.outputs[result] : undefined
    const same = stacked ?? first.attrs.body.inputs[at]
    if (same !== undefined) found.set(p, same)
  })
  return found
}

function repeatedIn(loop: Scan, first: Scan, make: Maker): Repeated[] {
  const order = orderOf(loop.attrs.body.outputs)
  if (!order.some(n => collectiveKind(n) !== undefined)) return []
  const inFirst = orderOf(first.attrs.body.outputs)
  const there = new Set(inFirst)
  // What differs from turn to turn by more than what the loop is given.
  const carried = new Set<LocalNode>(first.attrs.body.inputs.slice(0, first.attrs.carries))
  for (const n of inFirst) if (n.inputs.some(i => carried.has(i))) carried.add(n)
  const images = counterparts(loop, first, x => (x.op === 'project' && operand(x, 0) === first ? x.attrs.index : undefined))
  const repeated: Repeated[] = []
  for (const n of order) {
    if (n.op === 'input' || bodiesOf(n).length > 0) continue
    const inputs = n.inputs.flatMap(i => images.get(i) ?? [])
    if (inputs.length < n.inputs.length) continue
    const image = make(n.op, inputs, n.attrs, n.site)
    images.set(n, image)
    if (collectiveKind(n) !== undefined && there.has(image) && carried.has(image)) repeated.push({ again: n, before: image })
  }
  return repeated
}

export const reuseCollectives: Pass = (body, make) => {
  const loops = nodesOf<LocalAttrs, 'scan'>(body.outputs, 'scan')
  const found = loops.filter(l => l.attrs.keepsCollectives === true)
    .flatMap(loop => followed(loop).map(first => ({ loop, first, repeated: repeatedIn(loop, first, make) })).filter(f => f.repeated.length > 0))
  const replaced = new Map<LocalNode, LocalNode>()
  // Each loop that is followed stacks all that any other needs of it.
  const stacking = new Map<Scan, LocalNode[]>()
  for (const { first, repeated } of found) stacking.set(first, [...new Set([...stacking.get(first) ?? [], ...repeated.map(r => r.before)])])
  // A loop may be followed and follow another itself: those before it are done.
  for (const loop of loops) {
    const { body, carries, xs } = loop.attrs
    const stacked = stacking.get(loop) ?? []
    const kept = found.filter(f => f.loop === loop).flatMap(({ first, repeated }) => repeated.map(r => {
      const index = first.attrs.body.outputs.length + (stacking.get(first) ?? []).indexOf(r.before)
      return { again: r.again, stack: make('project', [replaced.get(first) ?? first], { index }), slice: make('input', [], { name: 'kept', role: 'compute', serial: r.again.id, type: typeOf(r.again) }) }
    }))
    if (stacked.length + kept.length === 0) continue
    const outputs = replaceNodes({ inputs: body.inputs, outputs: [...body.outputs, ...stacked] }, make, new Map(kept.map(k => [k.again, k.slice])))
    const insert = <T>(list: readonly T[], more: readonly T[]): T[] => [...list.slice(0, carries + xs), ...more, ...list.slice(carries + xs)]
    const inputs = insert(body.inputs, kept.map(k => k.slice))
    replaced.set(loop, make('scan', insert(loop.inputs, kept.map(k => k.stack)), { ...loop.attrs, xs: xs + kept.length, body: { inputs, outputs } }, loop.site))
  }
  return replaced
}
