/** How often a device's program runs each of its ops: loops count with their turns, also those whose end is computed where that follows from numbers that are known beforehand. */
import { sizeOf } from '../core/dim.ts'
import { isFloat } from '../core/dtype.ts'
import { bodiesOf, dtypeOf, orderOf, shapeOf, visit, type Node } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import type { Context } from '../graph/reference/evaluator.ts'
import { reference } from '../graph/reference/table.ts'
import type { Value } from '../graph/reference/values.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'

/** How often each body runs: the program's own once, those of its loops and choices as it comes to them. */
export type Runs = ReadonlyMap<LocalBody, number>
/** What is known of a body's values before the program runs. */
type Known = Map<LocalNode, Value>
interface Ran { readonly runs: Runs; readonly outputs: readonly (Value | undefined)[] }

/** What a choice whose predicate is not known is decided by: the branch whose ops weigh more counts. */
export type Weight = (n: LocalNode) => number

/** Ops that indices and bounds of loops are computed by, and how large what they compute may be. */
const computing: ReadonlySet<string> = new Set(['constant', 'iota', 'broadcast', 'rename', 'stored', 'unary', 'binary', 'compare', 'select', 'convert', 'splitDim', 'mergeDims'])
const largest = 1024
/** More than any loop over blocks has. */
const mostTurns = 100_000

const context: Context = { run: () => { throw new Error('no such op has a body') } }
const first = (v: Value | undefined): number | undefined => v?.data[0]

/** The op's value if those of all its operands are known, it is small and of whole numbers. The ops named are the same in both languages. */
function computed(n: LocalNode, known: Known): Value | undefined {
  if (!computing.has(n.op) || isFloat(dtypeOf(n)) || sizeOf(shapeOf(n)) > largest) return undefined
  const operands = n.inputs.flatMap(i => known.get(i) ?? [])
  if (operands.length < n.inputs.length) return undefined
  const global = n as unknown as Node
  return visit<Attrs, readonly Value[], [readonly Value[], Context], typeof global.op>(reference, global, operands, context)[0]
}

/** In how many of its runs a device makes a choice; before a program is split, each of the places that choose apart. */
function shareOf({ attrs }: LocalNode<'cond'>): number {
  const { atWork } = attrs as Pick<Attrs['cond'], 'atWork'>
  return attrs.apart?.share ?? (atWork?.alone === true ? 1 : atWork?.share) ?? 1
}

/** Whether the number of turns of a loop in it is computed, as that of a loop over the blocks of attention that something is seen of. */
export const hasOpenLoop = (body: LocalBody): boolean => orderOf(body.outputs).some(n => n.op === 'while' || bodiesOf(n).some(hasOpenLoop))

/** Every op of the program, and how often it runs in all: one that is in several bodies as often as all of these do. Assumed is what `runsOf` assumes. */
export function turnsOf(program: LocalBody, weight: Weight): ReadonlyMap<LocalNode, number> {
  const counts = new Map<LocalNode, number>()
  for (const [body, times] of runsOf(program, weight)) for (const n of orderOf(body.outputs)) counts.set(n, (counts.get(n) ?? 0) + times)
  return counts
}

/**
 * Every body of the program, and how often it runs. What depends on what the program is given is assumed: a loop whose condition does so runs once, and of a choice
 * the branch that weighs more. What some devices alone choose counts by their share, or, where it is `waited` for, as if all did: then the others wait.
 */
export function runsOf(program: LocalBody, weight: Weight, counted: 'shared' | 'waited' = 'shared'): Runs {
  const weights = new Map<LocalBody, number>()
  const weightIn = (body: LocalBody): number => {
    const found = weights.get(body) ?? orderOf(body.outputs).reduce((sum, n) => sum + weight(n), 0)
    weights.set(body, found)
    return found
  }
  const weightOf = ({ runs }: Ran): number => [...runs].reduce((sum, [body, times]) => sum + times * weightIn(body), 0)
  const open = new Map<LocalBody, boolean>()
  const isOpen = (body: LocalBody): boolean => {
    const found = open.get(body) ?? hasOpenLoop(body)
    open.set(body, found)
    return found
  }
  const ran = new Map<LocalBody, Map<string, Ran>>()
  /** A body that is given the same runs the same. */
  const run = (body: LocalBody, given: readonly (Value | undefined)[]): Ran => {
    const known = new Map(body.inputs.flatMap((p, i) => { const v = given[i]; return v === undefined ? [] : [[p, v] as const] }))
    const key = body.inputs.map(p => known.get(p)?.data.join(' ') ?? '').join(';')
    const before = ran.get(body) ?? new Map<string, Ran>()
    ran.set(body, before)
    const found = before.get(key) ?? walk(body, known)
    before.set(key, found)
    return found
  }
  const walk = (body: LocalBody, known: Known): Ran => {
    const runs = new Map<LocalBody, number>([[body, 1]])
    const add = (more: Runs, times = 1): void => { for (const [b, k] of more) runs.set(b, (runs.get(b) ?? 0) + k * times) }
    const results = new Map<LocalNode, readonly (Value | undefined)[]>()
    // Nothing asks for numbers where every loop has a known length.
    const asked = isOpen(body) || known.size > 0
    for (const n of orderOf(body.outputs)) {
      const given = n.inputs.map(i => known.get(i))
      let value = n.op === 'project' ? results.get(n.inputs[0] ?? n)?.[n.attrs.index] : known.get(n) ?? (asked ? computed(n, known) : undefined)
      if (n.op === 'scan') results.set(n, scan(n, given, add))
      else if (n.op === 'while') results.set(n, loop(n, given, add))
      else if (n.op === 'cond') {
        const branches = [n.attrs.yes, n.attrs.no].map(b => run(b, given.slice(1)))
        const [yes, no] = branches
        const predicate = first(given[0])
        const taken = yes === undefined || no === undefined ? undefined : predicate !== undefined ? (predicate !== 0 ? yes : no) : weightOf(no) > weightOf(yes) ? no : yes
        if (taken !== undefined) add(taken.runs, predicate === undefined && taken === yes && counted === 'shared' ? shareOf(n) : 1)
        if (taken !== undefined && predicate !== undefined) results.set(n, taken.outputs)
      } else for (const inside of bodiesOf(n)) add(run(inside, given).runs)
      value ??= n.op === 'project' ? undefined : results.get(n)?.[0]
      if (value !== undefined) known.set(n, value)
    }
    return { runs, outputs: body.outputs.map(o => known.get(o)) }
  }
  type Add = (more: Runs, times?: number) => void
  const scan = (n: LocalNode<'scan'>, given: readonly (Value | undefined)[], add: Add): readonly (Value | undefined)[] => {
    const { body, over, carries, xs, reverse } = n.attrs
    if (!isOpen(body)) {
      add(run(body, []).runs, over.size)
      return []
    }
    let carried = given.slice(0, carries)
    for (let turn = 0; turn < over.size; turn++) {
      const i = reverse ? over.size - 1 - turn : turn
      const walked = given.slice(carries, carries + xs).map((v): Value | undefined => {
        const length = v === undefined ? 0 : v.data.length / over.size
        return v === undefined ? undefined : { shape: v.shape.slice(1), dtype: v.dtype, data: v.data.slice(i * length, (i + 1) * length) }
      })
      const { runs, outputs } = run(body, [...carried, ...walked, ...given.slice(carries + xs)])
      add(runs)
      carried = outputs.slice(0, carries)
    }
    return carried
  }
  const loop = (n: LocalNode<'while'>, given: readonly (Value | undefined)[], add: Add): readonly (Value | undefined)[] => {
    const { condition, body, carries } = n.attrs
    let carried = given.slice(0, carries)
    for (let turn = 0; turn < mostTurns; turn++) {
      const goes = run(condition, [...carried, ...given.slice(carries)])
      const on = first(goes.outputs[0])
      if (on === 0) return carried
      const { runs, outputs } = run(body, [...carried, ...given.slice(carries)])
      add(runs)
      add(goes.runs)
      if (on === undefined) return []
      carried = outputs.slice(0, carries)
    }
    return []
  }
  return run(program, []).runs
}
