/** Values that are there only once others are: an order that lies in what is computed from what, which no compiler and no store of programs loses (ADR 72). */
import { sizeOf } from '../core/dim.ts'
import { dtypes } from '../core/dtype.ts'
import { bodiesOf, reachable, typeOf, type Typed } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { ownCall } from './own-call.ts'
import type { Ssa, Writer } from './writer.ts'

/** `x` as it is, once all of `others` are computed: a kernel of our own that copies it and reads nothing else. */
const after = (w: Writer, x: Ssa, others: readonly Ssa[]): Ssa => ownCall(w, 'after', [x, ...others], x)

const bytesOf = (t: Typed): number => sizeOf(typeOf(t).shape) * dtypes[typeOf(t).dtype].bytes
/** The place of the least. */
const leastOf = (places: readonly number[], bytes: (place: number) => number): number | undefined => places.reduce<number | undefined>((a, b) => (a === undefined || bytes(b) < bytes(a) ? b : a), undefined)

/** The operand that a loop or a choice waits with: the smallest that a turn reads, or what is decided by. */
function waiting(n: LocalNode): number | undefined {
  const bodies = bodiesOf(n)
  if (n.op !== 'scan' && n.op !== 'while') return 0
  const read = new Set<LocalNode>(bodies.flatMap(b => reachable(b.outputs)))
  return leastOf(n.inputs.map((_, i) => i).filter(i => bodies.some(b => { const p = b.inputs[i]; return p !== undefined && read.has(p) })), i => bytesOf(n.inputs[i] as LocalNode))
}

/** The result by which it is known that a node has run: of a loop the smallest that it does not hand through as it came. */
function resultOf(n: LocalNode, values: readonly Ssa[]): Ssa | undefined {
  const bodies = bodiesOf(n)
  const made = values.map((_, i) => i).filter(i => !bodies.every(b => { const out = b.outputs[i]; return out !== undefined && b.inputs.some(p => p === out) }))
  const bytes = (i: number): number => (values[i]?.sizes ?? []).reduce((a, b) => a * b, dtypes[values[i]?.dtype ?? 'f32'].bytes)
  const at = leastOf((made.length > 0 ? made : values.map((_, i) => i)).filter(i => bytes(i) > 0), bytes)
  return at === undefined ? undefined : values[at]
}

/** The operands of a node that has to wait for others, which have been written. */
export function waitingFor(others: readonly LocalNode[], n: LocalNode, operands: readonly Ssa[], valuesOf: (n: LocalNode) => readonly Ssa[], w: Writer): readonly Ssa[] {
  const at = waiting(n)
  const results = others.flatMap(o => resultOf(o, valuesOf(o)) ?? [])
  return operands.map((x, i) => (i === at && results.length > 0 ? after(w, x, results) : x))
}
