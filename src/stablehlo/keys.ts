/**
 * Threefry ops on scalars, which is what keys are made of: those that do not wait for each other as one op on a vector. Written one by
 * one, XLA repeats each in every kernel that draws with it, and compiles them there again and again: more than half of what an initialisation took.
 */
import { shapeOf, reachable } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { emitConcat, emitSlice } from './rearranging.ts'
import { threefry } from './threefry.ts'
import type { Ssa, Writer } from './writer.ts'

/** What a key's words are computed by: ops on scalars without bodies, and without other devices. */
const plain: ReadonlySet<string> = new Set(['constant', 'input', 'unary', 'binary', 'compare', 'select', 'convert', 'threefry'])
const isThreefry = (n: LocalNode): n is LocalNode<'threefry'> => n.op === 'threefry'

/** Keys that can be computed at once, and the other nodes that their words need beyond those of the groups before. */
export interface KeyGroup { readonly before: readonly LocalNode[]; readonly keys: readonly LocalNode<'threefry'>[] }

/** The scalar Threefry ops among nodes that are in the order of their operands. */
export function keyGroups(order: readonly LocalNode[]): KeyGroup[] {
  /** How many Threefry ops lie one behind another before the node, of those computed by plain ops alone. */
  const depths = new Map<LocalNode, number>()
  for (const n of order) {
    if (!plain.has(n.op) || shapeOf(n).length > 0 || !n.inputs.every(i => depths.has(i))) continue
    depths.set(n, Math.max(0, ...n.inputs.map(i => (depths.get(i) ?? 0) + (isThreefry(i) ? 1 : 0))))
  }
  const needed = reachable([...depths.keys()].filter(isThreefry))
  const deepest = Math.max(-1, ...needed.map(n => depths.get(n) ?? 0))
  return Array.from({ length: deepest + 1 }, (_, depth) => {
    const here = needed.filter(n => depths.get(n) === depth)
    return { before: here.filter(n => !isThreefry(n)), keys: here.filter(isThreefry) }
  })
}

/** The words of keys, given the operands of each. */
export function emitKeys(operands: readonly (readonly Ssa[])[], w: Writer): Ssa[] {
  const listOf = (at: number): Ssa => emitConcat(w, operands.flatMap(o => o.slice(at, at + 1)).map(v => w.reshape(v, [1])), 0)
  const words = threefry([listOf(0), listOf(1), listOf(2), listOf(3)], w)
  // What XLA may not look through it does not repeat.
  const kept = w.op('optimization_barrier', [words], words)
  return operands.map((_, i) => w.reshape(operands.length === 1 ? kept : emitSlice(w, kept, 0, i, 1, 1), []))
}
