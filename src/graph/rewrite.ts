/** Graphs made again with some nodes replaced, in time proportional to what is walked, and without a stack however deep they are. */
import { remade, type Make, type NodeOf } from './node.ts'

/**
 * The image of a node: what `images` has for it, or what `pending` has, itself walked through, or the node made anew where an operand of it has another
 * image. Every image found is put into `images`, so that roots walked one after another cost as much as all of them at once.
 */
export function rewriter<A>(make: Make<A>, images: Map<NodeOf<A>, NodeOf<A>>, pending: ReadonlyMap<NodeOf<A>, NodeOf<A>> = new Map()): (root: NodeOf<A>) => NodeOf<A> {
  return root => {
    const known = images.get(root)
    if (known !== undefined) return known
    const entered = new Set<NodeOf<A>>()
    const stack = [root]
    for (let n = stack.at(-1); n !== undefined; n = stack.at(-1)) {
      if (images.has(n)) {
        stack.pop()
        continue
      }
      const other = pending.get(n)
      const waits = other === undefined || other === n ? n.inputs : [other]
      // Each node is met twice: before what it waits for, and after.
      if (!entered.has(n)) {
        entered.add(n)
        for (const m of waits) if (!images.has(m)) stack.push(m)
        continue
      }
      stack.pop()
      const found = waits.map(m => images.get(m) ?? m)
      images.set(n, waits !== n.inputs ? found[0] ?? n : found.some((m, i) => m !== n.inputs[i]) ? remade(make, n, found) : n)
    }
    return images.get(root) ?? root
  }
}
