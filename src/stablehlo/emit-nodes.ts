/** Walks a device's program and writes each node by the table. */
import { operand, reachable } from '../graph/node.ts'
import { attentionIn } from '../partition/attention.ts'
import { visitLocal, type LocalNode } from '../partition/local.ts'
import { scheduled, type Step } from '../partition/overlap.ts'
import { tiesIn } from '../partition/ties.ts'
import { waitingFor } from './after.ts'
import { attentionKernel, emitFlash, type Flashes } from './flash.ts'
import { emitKeys, keyGroups } from './keys.ts'
import type { Scope } from './scope.ts'
import { table } from './table.ts'
import type { Ssa, Writer } from './writer.ts'

/** The values of the roots, given those of the inputs. */
export function emitNodes(roots: readonly LocalNode[], given: ReadonlyMap<LocalNode, Ssa>, w: Writer, scope: Scope): Ssa[] {
  const values = new Map<LocalNode, readonly Ssa[]>([...given].map(([n, v]) => [n, [v]]))
  const valueOf = (n: LocalNode): Ssa => {
    const v = n.op === 'project' ? values.get(operand(n, 0))?.[n.attrs.index] : values.get(n)?.[0]
    if (v === undefined) throw new Error(`op ${n.op} was not emitted`)
    return v
  }
  const { flights: around, ...others } = scope
  const { flights } = scope.collectives
  const [started, late] = [new Map(around?.started ?? []), around?.late ?? new Map<LocalNode, Ssa | undefined>()]
  const within = (n: LocalNode): boolean => !started.has(n) && !given.has(n)
  const whole = reachable(roots, within)
  const kernel = attentionKernel(scope)
  const fused = kernel === undefined ? undefined : attentionIn(whole, roots, within, kernel)
  // Where collectives fly, their own order has everything.
  const found = fused !== undefined && flights === undefined ? fused.order : whole
  const { order, ties } = scope.tied ? tiesIn(found) : { order: found, ties: new Map<LocalNode, readonly LocalNode[]>() }
  const written = (n: LocalNode): Ssa | undefined => (n.op === 'project' ? values.get(operand(n, 0))?.[n.attrs.index] ?? values.get(n)?.[0] : values.get(n)?.[0])
  const flashes: Flashes | undefined = kernel === undefined || fused === undefined ? undefined : { kernel, found: fused.found, calls: new Map(), written }
  const readers = new Map<LocalNode, number>()
  for (const n of [...whole.flatMap(n => n.inputs), ...roots]) readers.set(n, (readers.get(n) ?? 0) + 1)
  /** What a collective is waited for behind: its value is read by that, too. */
  const awaited = new Set<LocalNode>()
  const here: Scope = { ...others, ssaOf: n => values.get(n)?.[0], readOnce: n => readers.get(n) === 1 && !awaited.has(n) }
  // What depends on no input is shared with other programs and may have been made on a line of theirs.
  const shared = new Set<LocalNode>()
  for (const n of order) if (n.op !== 'input' && !given.has(n) && n.inputs.every(i => shared.has(i))) shared.add(n)
  const at = (n: LocalNode): void => w.at(shared.has(n) ? undefined : n.site)
  const emit = (n: LocalNode): void => {
    if (n.op === 'project' || values.has(n)) return
    at(n)
    const attended = n.op === 'dot' && flashes !== undefined ? emitFlash(n, w, flashes) : undefined
    const others = ties.get(n)
    const operands = (): readonly Ssa[] => (others === undefined ? n.inputs.map(valueOf) : waitingFor(others, n, n.inputs.map(valueOf), o => values.get(o) ?? [], w))
    const made = attended === undefined ? visitLocal(table, n, operands(), w, here) : [attended]
    values.set(n, made)
    // Of a product in whose place this was written nothing is left: who waits until that is computed waits for this.
    for (const i of n.inputs) if (scope.products.get(written(i)?.name ?? '')?.isGone() === true) values.set(i, made)
  }
  const fly = (step: Step): void => {
    if (flights === undefined) return
    if ('run' in step) emit(step.run)
    else if ('start' in step) {
      const n = step.start
      at(n)
      const ticket = flights.start(n, valueOf(operand(n, 0)), w, scope.mesh, [])
      started.set(n, ticket)
      if (late.has(n)) late.set(n, ticket)
    } else {
      const n = step.wait
      const ticket = started.get(n)
      if (ticket === undefined) throw new Error(`${n.op} was not begun`)
      const after = step.after.flatMap(h => values.get(h)?.slice(0, 1) ?? [])
      for (const h of step.after) awaited.add(h)
      for (const v of after) scope.products.delete(v.name)
      at(n)
      values.set(n, [flights.wait(n, ticket, after, w)])
    }
  }
  for (const { before, keys } of keyGroups(order)) {
    before.forEach(emit)
    keys.slice(0, 1).forEach(at)
    const words = emitKeys(keys.map(k => k.inputs.map(valueOf)), w)
    keys.forEach((k, i) => values.set(k, words.slice(i, i + 1)))
  }
  if (flights === undefined) order.forEach(emit)
  else for (const step of scheduled(roots, scope.mesh, { given: new Set(given.keys()), started: new Set(started.keys()), late: new Set(late.keys()) })) fly(step)
  return roots.map(n => (late.has(n) ? started.get(n) ?? valueOf(n) : valueOf(n)))
}
