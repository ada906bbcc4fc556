/**
 * Of what devices choose apart each may keep only its own part: then the branch that makes it takes the part, or sums it by a reduce-scatter, and where that is behind a loop it sinks into its turns. So the gradients of a stage's
 * layers are never whole at once, though idle stages make none.
 */
import { dtypeOf, nodesOf, operand, shapeOf, type Make } from '../../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../local.ts'
import { usersOf, type Pass } from './rewrite.ts'
import { inOrder, inTurn, takes, type Taking } from './sink.ts'

type Maker = Make<LocalAttrs>

/** Whether it is zero everywhere. */
function isZero(n: LocalNode): boolean {
  let of = n
  while (of.op === 'broadcast' || of.op === 'dynamicSlice') of = operand(of, 0)
  return of.op === 'constant' && of.attrs.value === 0
}
const zerosLike = (make: Maker, n: LocalNode): LocalNode => {
  const zero = make('constant', [], { value: 0, dtype: dtypeOf(n) })
  return shapeOf(n).length === 0 ? zero : make('broadcast', [zero], { shape: shapeOf(n) })
}

/** Where those who wait for each other choose alike, and the other branch has zeros. */
export const sinkIntoChoices: Pass = (body, make) => {
  const replaced = new Map<LocalNode, LocalNode>()
  const choices = nodesOf<LocalAttrs, 'cond'>(body.outputs, 'cond')
  if (choices.length === 0) return replaced
  const users = usersOf(body)
  for (const choice of choices) {
    if (choice.attrs.apart === undefined) continue
    const { yes, no, apart } = choice.attrs
    const taken = (users.get(choice) ?? []).flatMap(project => {
      if (project?.op !== 'project') return []
      const own = users.get(project) ?? []
      const [reorder] = own
      const ordered = own.length === 1 && reorder?.op === 'broadcast' && shapeOf(reorder).length === shapeOf(project).length ? reorder : project
      const found = ordered === project ? own : users.get(ordered) ?? []
      const how = takes(found[0], false)
      const { index } = project.attrs
      const zero = no.outputs[index]
      if (how === undefined || zero === undefined || !isZero(zero) || !found.every(u => takes(u, false) === how && operand(u as Taking, 0) === ordered)) return []
      const taking = found[0] as Taking
      if (taking.op === 'reduceScatter' && taking.attrs.axes.some(a => apart.axes.includes(a))) return []
      return [{ index, taking, users: found }]
    })
    if (taken.length === 0) continue
    const [first, second] = [[...yes.outputs], [...no.outputs]]
    for (const { index, taking } of taken) {
      const y = first[index]
      if (y === undefined) continue
      const part = inTurn(make, taking, y)
      first[index] = part
      second[index] = zerosLike(make, part)
    }
    const again = make('cond', choice.inputs, { ...choice.attrs, yes: { ...yes, outputs: first }, no: { ...no, outputs: second } }, choice.site)
    replaced.set(choice, again)
    for (const { index, users: found } of taken) for (const u of found) if (u !== undefined) replaced.set(u, inOrder(make, make('project', [again], { index }, u.site), u))
  }
  return replaced
}
