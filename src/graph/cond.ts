/** Choices that the program makes as it runs: only the branch chosen is computed. */
import { formatShape, sizeOf } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { closeOver } from './close.ts'
import { fullNode, madeBy, make, splatValue } from './make.ts'
import { dtypeOf, shapeOf, type Node } from './node.ts'
import type { AtWork, Attrs } from './ops.ts'
import { userSite } from '../core/site.ts'
import { alike, difference } from './state.ts'
import { isTensor, leavesOf, loose, rebuildTree, tensor, where } from './tensor.ts'
import type { AnyTensor, Scalar, Tree } from './types.ts'

/** The nodes of a choice's results. Of the params the branches are made of, `given` are the values. */
export function condNodes(
  predicate: Node, params: readonly Node<'input'>[], given: readonly Node[], yes: readonly Node[], no: readonly Node[], made?: ReadonlySet<Node>,
  how: Pick<Attrs['cond'], 'atWork'> = {},
): Node[] {
  const { body: { inputs, outputs }, captures } = closeOver(params, [...yes, ...no], made)
  const choice = make('cond', [predicate, ...given, ...captures], { yes: { inputs, outputs: outputs.slice(0, yes.length) }, no: { inputs, outputs: outputs.slice(yes.length) }, ...how })
  return yes.map((_, index) => make('project', [choice], { index }))
}

/**
 * What `yes` returns where the predicate holds, else what `no` returns. Only the branch chosen is computed: what its function
 * makes is inside it, tensors from outside are seen by both. `where` chooses element by element instead.
 * @throws DimError when the predicate is no bool scalar, or the branches differ in form, dims or dtypes.
 */
export function cond<T extends Tree>(predicate: Scalar, yes: () => T, no: () => NoInfer<T>): T {
  if (!isTensor(predicate) || predicate.dtype !== 'bool' || predicate.shape.length > 0) {
    throw new DimError({
      code: 'not-a-predicate', what: 'cond: what chooses must be a scalar of bool', details: { predicate: isTensor(predicate) ? `${predicate.dtype} ${formatShape(predicate.shape)}` : 'no tensor' },
      fix: 'compare two scalars; `where` chooses element by element', at: userSite(),
    })
  }
  return choice(predicate, yes, no)
}

/**
 * `where(p, yes(), no())`, element by element along p's dims, which all results have. What `yes` makes is computed only by devices that hold an element for
 * which p is true: so the work that a mask leaves out is left out. Numbers are those of `where`, on every mesh.
 * @throws DimError as `cond`, and where p is not of bools
 */
export function whereAny<T extends Tree>(p: AnyTensor, yes: () => T, no: () => T): T {
  const made = madeBy(no)
  return choice(p, () => {
    const own = new Map(leavesOf(yes()).map(l => [l.path, l.leaf]))
    return rebuildTree(made.result, leavesOf(made.result).map(({ path, leaf }) => where(loose(p), loose(own.get(path) ?? leaf), loose(leaf)))) as T
  }, () => made.result)
}

/**
 * What `work` makes, by devices that hold an element of p which is true; others have zeros of the same types. What elements get for which p is false is whatever either gives, so nobody may use it.
 * Some element of p is true whenever the program comes by: where devices cannot choose each for itself, all of them work, and nothing is chosen. `atWork` says how often elements are true. The gradient
 * keeps what loops keep.
 */
export const whereAtWork = <T extends Tree>(p: AnyTensor, atWork: AtWork, work: () => T): T => working(p, atWork, work)

/**
 * What `work` makes, by the one device that holds the element of p which is true: bools along a dim of places. It is made of what is the same for all places, and of sums over them in which all addends but that one's are 0. Where that
 * device cannot be alone, all make it together, as if nothing had been chosen: places are not split, or the work itself is along their axis.
 */
export const whereAlone = <T extends Tree>(p: AnyTensor, work: () => T): T => {
  const share = 1 / sizeOf(p.shape)
  return working(p, { share, more: share, alone: true }, work)
}

function working<T extends Tree>(p: AnyTensor, atWork: AtWork, work: () => T): T {
  const { result, nodes } = madeBy(work)
  // What is known beforehand is nobody's work.
  const leaves = leavesOf(result).flatMap(({ path, leaf }) => (splatValue(leaf.node) === undefined ? [{ path, node: leaf.node }] : []))
  const none = madeBy(() => leaves.map(({ node }) => fullNode(0, shapeOf(node), dtypeOf(node))))
  const results = condNodes(p.node, [], [], leaves.map(l => l.node), none.result, new Set([...nodes, ...none.nodes]), { atWork })
  const chosen = new Map(leaves.map(({ path }, i) => [path, results[i]] as const))
  return rebuildTree(result, leavesOf(result).map(({ path, leaf }) => tensor(chosen.get(path) ?? leaf.node)))
}

function choice<T extends Tree>(predicate: AnyTensor, yes: () => T, no: () => T): T {
  const [a, b] = [madeBy(yes), madeBy(no)]
  const found = difference(a.result, b.result)
  if (found !== undefined) {
    throw new DimError({
      code: 'branches-differ', what: `cond: the branches differ in their ${found.what}`, details: { yes: found.before, no: found.after },
      fix: 'return the same form, dims and dtypes from both', at: userSite(),
    })
  }
  const leaves = leavesOf(a.result).map(l => l.leaf.node)
  const made = new Set([...a.nodes, ...b.nodes])
  // Nodes that put the dims of one branch in the order of the other's are inside, too.
  const { result: other, nodes } = madeBy(() => alike(a.result, b.result))
  const results = condNodes(predicate.node, [], [], leaves, other, new Set([...made, ...nodes]))
  return rebuildTree(a.result, results.map(n => tensor(n)))
}
