/** Loops: a `while` whose state is a counter, the carries, the stacks being filled, what the body reads, and a token. */
import { operand, reachable } from '../graph/node.ts'
import { communicates } from '../partition/collectives.ts'
import type { LocalNode } from '../partition/local.ts'
import { gathersAhead, sumsLate, type Late } from '../partition/overlap.ts'
import { ownCall } from './own-call.ts'
import type { Scope } from './scope.ts'
import { i64s, typeOfNode, type Ssa, type Writer } from './writer.ts'

const scalar = { sizes: [] as readonly number[], dtype: 'i32' as const }

/** [1, …rest] of a stack at `index`, as […rest]. */
function readSlice(w: Writer, stack: Ssa, index: Ssa, zero: Ssa): Ssa {
  const [, ...rest] = stack.sizes
  const starts = [index, ...rest.map(() => zero)]
  const cut = w.op('dynamic_slice', [stack, ...starts], { sizes: [1, ...rest], dtype: stack.dtype }, `slice_sizes = ${i64s([1, ...rest])}`)
  return w.reshape(cut, rest)
}
function writeSlice(w: Writer, stack: Ssa, value: Ssa, index: Ssa, zero: Ssa): Ssa {
  return w.op('dynamic_update_slice', [stack, w.reshape(value, [1, ...value.sizes]), index, ...value.sizes.map(() => zero)], stack)
}

/**
 * A stack that every turn writes a slice of. Where there are kernels it holds what is there in memory, as filling it takes as long as writing it; and it takes that memory once `after` is computed, when logits are
 * gone, while what hangs on nothing XLA makes at the beginning. Two calls with the same place would be one, and copied.
 */
const emptyStack = (w: Writer, type: Pick<Ssa, 'sizes' | 'dtype'>, after: readonly Ssa[], { kernels, choices }: Scope): Ssa =>
  (kernels && choices.stacks === 'unwritten' ? ownCall(w, 'unwritten', after, type, { config: `place = ${w.length} : i64` }) : w.constant(0, type.dtype, type.sizes))

/** What of a loop is under way from one turn to the next: gathers that a turn begins for the next one, and what a turn stacks and the next one waits for. */
function flightsOf(n: LocalNode<'scan'>, scope: Scope): { readonly ahead: readonly LocalNode[]; readonly late: readonly Late[] } {
  return scope.collectives.flights === undefined ? { ahead: [], late: [] } : { ahead: gathersAhead(n), late: sumsLate(n) }
}

export function emitScan(n: LocalNode<'scan'>, args: readonly Ssa[], w: Writer, scope: Scope): Ssa[] {
  const { body, over, carries, xs, reverse } = n.attrs
  const needed = new Set<LocalNode>(reachable(body.outputs))
  // What the body never reads does not enter the loop.
  const read = body.inputs.map((p, i) => ({ p, i })).filter(({ p, i }) => i >= carries && needed.has(p))
  const readArgs = read.flatMap(({ i }) => args.slice(i, i + 1))
  const ys = body.outputs.slice(carries)
  const stacks = ys.map(y => { const t = typeOfNode(y); return emptyStack(w, { ...t, sizes: [over.size, ...t.sizes] }, args.slice(0, carries), scope) })
  const { flights } = scope.collectives
  const { ahead, late } = flightsOf(n, scope)
  const lateYs = new Set(late.flatMap(l => l.ys))
  const integer = (value: number): Ssa => w.constant(value, 'i32')
  const sum = (a: Ssa, b: number): Ssa => w.op('add', [a, integer(b)], scalar)
  const within = (a: Ssa): Ssa => w.op('minimum', [w.op('maximum', [a, integer(0)], scalar), integer(over.size - 1)], scalar)
  const site = n.site

  /** What a turn reads, given all that the loop reads. */
  const readings = (reads: readonly Ssa[], index: Ssa, zero: Ssa): Map<LocalNode, Ssa> => new Map(read.flatMap(({ p, i }, k) => {
    const v = reads[k]
    if (v === undefined) return []
    const read = i < carries + xs ? readSlice(w, v, index, zero) : v
    if (read !== v) {
      scope.origins?.set(read.name, { of: v, index })
      scope.slices?.set(read.name, { of: v, index })
    }
    return [[p, read] as const]
  }))
  /** Begins the gathers of the turn that reads at `index`, if that is one. */
  const begin = (reads: readonly Ssa[], index: () => Ssa, when: readonly Ssa[]): Ssa[] => {
    if (flights === undefined || ahead.length === 0) return []
    const entering = scope.emitNodes(ahead.map(g => operand(g, 0)), readings(reads, index(), integer(0)), w, scope)
    return ahead.flatMap((g, k) => entering.slice(k, k + 1).map(x => {
      w.at(g.site)
      return flights.start(g, x, w, scope.mesh, when)
    }))
  }
  /** Stacks with what was begun by the turn that read at `index`, once `after` is computed. */
  const settle = (stacked: readonly Ssa[], tickets: readonly Ssa[], index: () => Ssa, after: readonly Ssa[]): Ssa[] => {
    if (flights === undefined || late.length === 0) return [...stacked]
    const got = new Map(late.flatMap(({ node }, k) => tickets.slice(k, k + 1).map(t => {
      w.at(node.site)
      return [node as LocalNode, flights.wait(node, t, after, w)] as const
    })))
    const tails = [...lateYs]
    const values = scope.emitNodes(tails.flatMap(i => body.outputs.slice(i, i + 1)), got, w, scope)
    w.at(site)
    const [zero, place] = [integer(0), index()]
    return stacked.map((stack, i) => {
      const value = values[tails.indexOf(carries + i)]
      return value === undefined || !lateYs.has(carries + i) ? stack : writeSlice(w, stack, value, place, zero)
    })
  }

  const early = begin(readArgs, () => integer(reverse ? over.size - 1 : 0), [])
  w.at(site)
  // Where collectives are ordered, the loop hands their token round.
  const token = scope.collectives.ordered && communicates(body) ? [w.takeToken()] : []
  const parts = [[integer(0)], args.slice(0, carries), stacks, readArgs, early, late.map(() => w.constant(0, 'u32')), token] as const
  const state = parts.flat()
  /** The same parts of what has the loop's state. */
  const apart = (all: readonly Ssa[]): readonly (readonly Ssa[])[] => {
    let at = 0
    return parts.map(p => all.slice(at, at += p.length))
  }
  const back = reverse ? 1 : -1

  const condition = (): void => {
    const [counter] = w.block(state)
    if (counter === undefined) return
    w.return([w.op('compare', [counter, integer(over.size)], { sizes: [], dtype: 'bool' }, 'comparison_direction = #stablehlo<comparison_direction LT>')])
  }
  const step = (): void => {
    const [[counter] = [], carried = [], filling = [], reads = [], tickets = [], before = [], tokens = []] = apart(w.block(state))
    if (counter === undefined) return
    const zero = integer(0)
    const index = reverse ? w.op('subtract', [integer(over.size - 1), counter], scalar) : counter
    for (const t of tokens) w.leaveToken(t)
    const given = new Map<LocalNode, Ssa>([...readings(reads, index, zero)])
    body.inputs.slice(0, carries).forEach((p, i) => { const v = carried[i]; if (v !== undefined) given.set(p, v) })
    const more = ahead.length === 0 ? [] : [w.op('compare', [counter, integer(over.size - 1)], { sizes: [], dtype: 'bool' }, 'comparison_direction = #stablehlo<comparison_direction LT>')]
    const next = begin(reads, () => within(sum(index, -back)), more)
    const begun = new Map<LocalNode, Ssa | undefined>(late.map(l => [l.node, undefined]))
    const here = body.outputs.map((_, i) => i).filter(i => !lateYs.has(i))
    const around = { started: new Map(ahead.flatMap((g, k) => tickets.slice(k, k + 1).map(t => [g as LocalNode, t] as const))), late: begun }
    const values = scope.emitNodes([...here.flatMap(i => body.outputs.slice(i, i + 1)), ...begun.keys()], given, w, flights === undefined ? scope : { ...scope, flights: around })
    const out = new Map(here.map((i, k) => [i, values[k]]))
    w.at(site)
    const filled = ys.map((_, i) => {
      const [stack, value] = [filling[i], out.get(carries + i)]
      if (stack === undefined || (value === undefined && !lateYs.has(carries + i))) throw new Error('a stack or its slice is missing')
      if (value === undefined) return stack
      const product = scope.products.get(value.name)?.into?.({ stack, index })
      w.at(site)
      return product ?? writeSlice(w, stack, value, index, zero)
    })
    const carry = here.filter(i => i < carries).flatMap(i => out.get(i) ?? [])
    const numbers = [...begun.values()].flatMap(t => t ?? [])
    // All of this turn is begun before the last one's is waited for. Of the first turn nothing is; what that writes, the second writes over.
    const settled = settle(filled, before, () => within(sum(index, back)), [...numbers, ...carry.filter(c => c.sizes.length > 0)])
    w.return([sum(counter, 1), ...carry, ...settled, ...reads, ...next, ...numbers, ...token.map(() => w.takeToken())])
  }
  const results = w.ops('while', state, state, '', [condition, step])
  const [, carry = [], filled = [], , , last = [], tokens = []] = apart(results)
  for (const t of tokens) w.leaveToken(t)
  return [...carry, ...settle(filled, last, () => integer(reverse ? 0 : over.size - 1), [])]
}
