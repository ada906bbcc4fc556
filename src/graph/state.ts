/** What a loop hands from turn to turn, and what two branches both return: trees that must not change. */
import { formatShape } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { inOrderOf } from '../core/tree.ts'
import { broadcastTo } from './make.ts'
import { typeOf, type Node, type TensorType } from './node.ts'
import { userSite } from '../core/site.ts'
import { leavesOf } from './tensor.ts'
import type { Tree } from './types.ts'

const sorted = (t: TensorType): string => t.shape.map(d => `${d.name}=${d.size}`).sort().join(' ')
const paths = (leaves: readonly { readonly path: string }[]): string => leaves.map(l => l.path).join(' ')

export interface Difference { readonly what: string; readonly before: string; readonly after: string }

/** How the second tree differs from the first in form, dtypes or dims; the order of keys and of dims is no difference. */
export function difference(before: Tree, after: Tree): Difference | undefined {
  const a = leavesOf(before)
  const b = inOrderOf(leavesOf(after), a.map(l => l.path))
  if (b === undefined) return { what: 'form', before: paths(a), after: paths(leavesOf(after)) }
  for (const [i, { path, leaf }] of a.entries()) {
    const [was, is] = [typeOf(leaf.node), typeOf(b[i]?.leaf.node ?? leaf.node)]
    const at = path || 'its only leaf'
    if (was.dtype !== is.dtype) return { what: `dtype at ${at}`, before: was.dtype, after: is.dtype }
    if (sorted(was) !== sorted(is)) return { what: `dims at ${at}`, before: formatShape(was.shape), after: formatShape(is.shape) }
  }
  return undefined
}

/** The leaves of `after` and their dims, both in the order of those of `before`, a tree of the same form. */
export const alike = (before: Tree, after: Tree): Node[] => {
  const leaves = leavesOf(before)
  return (inOrderOf(leavesOf(after), leaves.map(l => l.path)) ?? []).map(({ leaf }, i) => broadcastTo(leaf.node, leaves[i]?.leaf.shape ?? leaf.shape))
}

/** The next state's leaves. @throws DimError where it differs from the last. */
export function sameState(loop: string, state: string, before: Tree, after: Tree): Node[] {
  const found = difference(before, after)
  if (found === undefined) return alike(before, after)
  throw new DimError({
    code: `${state}-changes`, what: `${loop}: the ${state} changes its ${found.what}`, details: { before: found.before, after: found.after },
    fix: `return a ${state} like the one the body was given`, at: userSite(),
  })
}
