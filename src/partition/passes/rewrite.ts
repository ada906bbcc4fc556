/** Walks a device's program, loop bodies first, and makes again what a pass replaces. */
import { loopsOf, orderOf, withBodies, type Make } from '../../graph/node.ts'
import { rewriter } from '../../graph/rewrite.ts'
import type { LocalAttrs, LocalBody, LocalNode } from '../local.ts'

/** A pass over one body whose inner bodies are done: some nodes and what stands for them. */
export type Pass = (body: LocalBody, make: Make<LocalAttrs>) => ReadonlyMap<LocalNode, LocalNode>

/** The outputs again, each node replaced as said or made anew where an operand of it was. What replaces a node may hold others that are replaced too. */
export const replaceNodes = (body: LocalBody, make: Make<LocalAttrs>, replaced: ReadonlyMap<LocalNode, LocalNode>): LocalNode[] =>
  body.outputs.map(rewriter<LocalAttrs>(make, new Map(), replaced))

/** A body after a pass, the bodies of its loops and choices after it too. */
export function applied(body: LocalBody, make: Make<LocalAttrs>, pass: Pass): LocalBody {
  const loops = new Map<LocalNode, LocalNode>()
  for (const n of loopsOf(body.outputs)) {
    const again = withBodies(make, n, inner => applied(inner, make, pass))
    if (again !== n) loops.set(n, again)
  }
  // A loop is replaced with its operands as they were; these are walked through with it.
  const after = loops.size === 0 ? body : { inputs: body.inputs, outputs: replaceNodes(body, make, loops) }
  const replaced = pass(after, make)
  return replaced.size === 0 ? after : { inputs: after.inputs, outputs: replaceNodes(after, make, replaced) }
}

type Users = ReadonlyMap<LocalNode, readonly (LocalNode | undefined)[]>
/** What was found before, by the list of results: most passes change little. */
const found = new WeakMap<object, Users>()

/** Who uses each node; outputs count as uses by nobody. */
export function usersOf(body: LocalBody): Users {
  const known = found.get(body.outputs)
  if (known !== undefined) return known
  const users = new Map<LocalNode, (LocalNode | undefined)[]>()
  const add = (n: LocalNode, user: LocalNode | undefined): void => {
    const known = users.get(n)
    if (known === undefined) users.set(n, [user])
    else known.push(user)
  }
  for (const n of orderOf(body.outputs)) for (const i of n.inputs) add(i, n)
  for (const n of body.outputs) add(n, undefined)
  found.set(body.outputs, users)
  return users
}
