/** Choices: an `if` whose branches see the values around them. */
import { communicates, countedIn } from '../partition/collectives.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import type { Scope } from './scope.ts'
import { typeOfNode, type Ssa, type Writer } from './writer.ts'

export function emitCond(n: LocalNode<'cond'>, [predicate, ...captures]: readonly Ssa[], w: Writer, scope: Scope): Ssa[] {
  if (predicate === undefined) throw new Error('a choice has a predicate')
  const { yes, no } = n.attrs
  // Where collectives are ordered, the token goes into both branches and comes out of the one that was taken.
  const token = scope.collectives.ordered && (communicates(yes) || communicates(no)) ? [w.takeToken()] : []
  // Who takes the branch with fewer collectives is in none meanwhile, and counts on by as many as the others run.
  const most = Math.max(countedIn(yes), countedIn(no))
  const branch = (body: LocalBody) => (): void => {
    for (const t of token) w.leaveToken(t)
    const given = new Map<LocalNode, Ssa>()
    body.inputs.forEach((p, i) => { const v = captures[i]; if (v !== undefined) given.set(p, v) })
    const out = scope.emitNodes(body.outputs, given, w, scope)
    if (n.attrs.apart !== undefined && countedIn(body) < most) scope.collectives.skip?.(w, most - countedIn(body))
    w.return([...out, ...token.map(() => w.takeToken())])
  }
  const types = yes.outputs.map(typeOfNode)
  const results = w.ops('if', [predicate], [...types, ...token.map(() => w.tokenType)], '', [branch(yes), branch(no)])
  for (const t of results.slice(types.length)) w.leaveToken(t)
  return results.slice(0, types.length)
}
