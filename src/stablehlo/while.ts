/** Loops of unknown length: a `while` whose state is the carries, what its regions read, and a token. */
import { reachable } from '../graph/node.ts'
import { communicates } from '../partition/collectives.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import type { Scope } from './scope.ts'
import type { Ssa, Writer } from './writer.ts'

export function emitWhile(n: LocalNode<'while'>, args: readonly Ssa[], w: Writer, scope: Scope): Ssa[] {
  const { condition, body, carries } = n.attrs
  const needed = new Set<LocalNode>(reachable([...condition.outputs, ...body.outputs]))
  const enters = body.inputs.map((p, i) => ({ p, i })).filter(({ p, i }) => i < carries || needed.has(p))
  // The condition runs between two turns, so its collectives take the token of the turn before; it can hand none on, and need not.
  const token = scope.collectives.ordered && (communicates(condition) || communicates(body)) ? [w.takeToken()] : []
  const state = [...enters.flatMap(({ i }) => args.slice(i, i + 1)), ...token]
  const region = (graph: LocalBody, results: (out: readonly Ssa[], reads: readonly Ssa[]) => readonly Ssa[]) => (): void => {
    const block = w.block(state)
    const given = new Map<LocalNode, Ssa>()
    enters.forEach(({ p }, k) => { const v = block[k]; if (v !== undefined) given.set(p, v) })
    for (const t of block.slice(enters.length)) w.leaveToken(t)
    const out = scope.emitNodes(graph.outputs, given, w, scope)
    w.at(n.site)
    w.return(results(out, block.slice(carries, enters.length)))
  }
  const results = w.ops('while', state, state, '', [
    region(condition, out => out),
    region(body, (out, reads) => [...out, ...reads, ...token.map(() => w.takeToken())]),
  ])
  for (const t of results.slice(enters.length)) w.leaveToken(t)
  return results.slice(0, carries)
}
