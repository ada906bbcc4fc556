/** The maker of global nodes, and the few helpers that every composition over them uses. */
import { names, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { legal } from './infer/checks.ts'
import { infer } from './infer/table.ts'
import { heldWeakly, interner, operand, remade, shapeOf, type Make, type Node } from './node.ts'
import type { Attrs } from './ops.ts'
import { userSite } from '../core/site.ts'

// One table for the whole process, held weakly: a node that nobody has any more leaves it. It can be seen in one place alone, the line of a
// node that depends on no input, which is that of who made it first; such nodes bear no line in a program's text.
const intern = interner(infer, userSite, heldWeakly(), (op, inputs) => {
  if (inputs.every(n => (n as Node | undefined)?.results !== undefined)) return
  throw new DimError({ code: 'not-a-tensor', what: `${op}: an operand is no tensor`, fix: 'make it one: input(), param(), full()', at: userSite() })
}, legal)

// Who is listening, innermost last; empty but while `madeBy` runs a function. Branches of a choice are functions of no arguments: what they
// make can be told in no other way.
const listeners: Set<Node>[] = []

export const make: Make<Attrs> = (op, inputs, attrs, site, like) => {
  const n = intern(op, inputs, attrs, site, like)
  for (const nodes of listeners) nodes.add(n as Node)
  return n
}

/** What `f` returns, and all nodes that it asked for, whether or not they were there before. */
export function madeBy<T>(f: () => T): { readonly result: T; readonly nodes: ReadonlySet<Node> } {
  const nodes = new Set<Node>()
  listeners.push(nodes)
  try {
    return { result: f(), nodes }
  } finally {
    listeners.splice(listeners.lastIndexOf(nodes), 1)
  }
}

export const constantNode = (value: number, dtype: DType): Node => make('constant', [], { value, dtype })

/** The node itself where its dims already lie so. */
export const broadcastTo = (n: Node, shape: readonly Dim[]): Node =>
  names(shapeOf(n)).join() === names(shape).join() ? n : make('broadcast', [n], { shape })

/** A tensor of one value. */
export const fullNode = (value: number, shape: readonly Dim[], dtype: DType): Node => broadcastTo(constantNode(value, dtype), shape)

/** The value of a node that is one constant everywhere, broadcast or not. */
export function splatValue(n: Node): number | undefined {
  let of = n
  while (of.op === 'broadcast') of = operand(of, 0)
  return of.op === 'constant' ? of.attrs.value : undefined
}

/** The roots again, with some nodes replaced by others and all that depends on them made anew. */
export function rewrite(roots: readonly Node[], order: readonly Node[], replaced: Map<Node, Node>): Node[] {
  const image = (n: Node): Node => replaced.get(n) ?? n
  for (const n of order) {
    if (replaced.has(n) || !n.inputs.some(i => replaced.has(i))) continue
    const again = remade(make, n, n.inputs.map(image))
    if (again !== n) replaced.set(n, again)
  }
  return roots.map(image)
}
