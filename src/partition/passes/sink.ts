/**
 * Of what a loop stacks every device may keep only its own part: then each turn's part is taken, or summed by a reduce-scatter, in the turn. So the gradients
 * of a loop's layers are never whole at once: one layer's is, and the parts of the others (ZeRO-2 and 3: Rajbhandari et al. 2020).
 */
import { names, sizeOf } from '../../core/dim.ts'
import { dtypes } from '../../core/dtype.ts'
import { dtypeOf, nodesOf, operand, shapeOf, type Make } from '../../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { smallBytes } from './merge.ts'
import { usersOf, type Pass } from './rewrite.ts'
import { ownAxes } from './scatter.ts'

type Maker = Make<LocalAttrs>
export type Taking = LocalNode<'reduceScatter'> | LocalNode<'dynamicSlice'> | LocalNode<'allReduce'>

const bytesOf = (n: LocalNode): number => sizeOf(shapeOf(n)) * dtypes[dtypeOf(n)].bytes

/** What takes a device's part of a dim, and which; with `sums` whole sums, too. */
export function takes(n: LocalNode | undefined, sums: boolean): string | undefined {
  if (n?.op === 'allReduce' && sums && n.attrs.kind === 'sum') return `all ${n.attrs.axes.join()}`
  if (n?.op === 'reduceScatter') return `sum ${n.attrs.dim} ${n.attrs.axes.join()}`
  if (n?.op !== 'dynamicSlice' || n.attrs.dim !== n.attrs.to.name) return undefined
  const axes = ownAxes(n)
  return axes === undefined ? undefined : `part ${n.attrs.dim} ${axes.join()} ${n.attrs.to.size}`
}

/** In a turn: what takes the part of all turns' values does so of one. */
export const inTurn = (make: Maker, taking: Taking, y: LocalNode): LocalNode =>
  make(taking.op, [y, ...taking.inputs.slice(1)], taking.attrs, taking.site)

export const inOrder = (make: Maker, n: LocalNode, like: LocalNode): LocalNode =>
  (names(shapeOf(n)).join() === names(shapeOf(like)).join() ? n : make('broadcast', [n], { shape: shapeOf(like) }, like.site))

/** With `sums`, what is summed whole is summed in its turn, too: as many bytes in more collectives, which can be under way while the next turn is computed. */
export const sinkParts = (sums = false): Pass => (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  const loops = nodesOf<LocalAttrs, 'scan'>(body.outputs, 'scan')
  if (loops.length === 0) return replaced
  const users = usersOf(body)
  for (const loop of loops) {
    const { carries, over, body: turn } = loop.attrs
    const taken = (users.get(loop) ?? []).flatMap(project => {
      if (project?.op !== 'project' || project.attrs.index < carries) return []
      const own = users.get(project) ?? []
      // Its dims may be put in another order before.
      const [reorder] = own
      const ordered = own.length === 1 && reorder?.op === 'broadcast' && shapeOf(reorder).length === shapeOf(project).length ? reorder : project
      const found = ordered === project ? own : users.get(ordered) ?? []
      const [first] = found
      const how = takes(first, sums)
      const y = turn.outputs[project.attrs.index]
      if (how === undefined || y === undefined || !found.every(u => takes(u, sums) === how && operand(u as Taking, 0) === ordered)) return []
      const taking = first as Taking
      // A collective of its own a turn, where one would do for all turns, must be worth its latency; what comes of the loop by other ways is not taken apart.
      const worth = taking.op === 'dynamicSlice' || bytesOf(y) > smallBytes
      return (taking.op !== 'allReduce' && taking.attrs.dim === over.name) || !worth ? [] : [{ index: project.attrs.index, taking, users: found }]
    })
    if (taken.length === 0) continue
    const outputs = [...turn.outputs]
    for (const { index, taking } of taken) outputs[index] = inTurn(make, taking, outputs[index] ?? taking)
    const again = make('scan', loop.inputs, { ...loop.attrs, body: { inputs: turn.inputs, outputs } }, loop.site)
    replaced.set(loop, again)
    for (const { index, users: found } of taken) for (const u of found) if (u !== undefined) replaced.set(u, inOrder(make, make('project', [again], { index }, u.site), u))
  }
  return replaced
}
