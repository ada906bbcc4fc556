/** Loops: a `while` whose state is a counter, the carries, the stacks being filled, what the body reads, and a token. */
import { reachable } from '../graph/node.ts'
import { communicates } from '../partition/collectives.ts'
import type { LocalNode } from '../partition/local.ts'
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

export function emitScan(n: LocalNode<'scan'>, args: readonly Ssa[], w: Writer, scope: Scope): Ssa[] {
  const { body, over, carries, xs, reverse } = n.attrs
  const needed = new Set<LocalNode>(reachable(body.outputs))
  // What the body never reads does not enter the loop.
  const read = body.inputs.map((p, i) => ({ p, i })).filter(({ p, i }) => i >= carries && needed.has(p))
  const readArgs = read.flatMap(({ i }) => args.slice(i, i + 1))
  const ys = body.outputs.slice(carries)
  const stacks = ys.map(y => { const t = typeOfNode(y); return w.constant(0, t.dtype, [over.size, ...t.sizes]) })
  // Where collectives are ordered, the loop hands their token round.
  const token = scope.collectives.ordered && communicates(body) ? [w.takeToken()] : []
  const state = [w.constant(0, 'i32'), ...args.slice(0, carries), ...stacks, ...readArgs, ...token]
  const site = n.site

  const condition = (): void => {
    const [counter] = w.block(state)
    if (counter === undefined) return
    const limit = w.constant(over.size, 'i32')
    w.return([w.op('compare', [counter, limit], { sizes: [], dtype: 'bool' }, 'comparison_direction = #stablehlo<comparison_direction LT>')])
  }
  const step = (): void => {
    const [counter, ...rest] = w.block(state)
    if (counter === undefined) return
    const zero = w.constant(0, 'i32')
    const index = reverse ? w.op('subtract', [w.constant(over.size - 1, 'i32'), counter], scalar) : counter
    const given = new Map<LocalNode, Ssa>()
    body.inputs.slice(0, carries).forEach((p, i) => { const v = rest[i]; if (v !== undefined) given.set(p, v) })
    const reads = rest.slice(carries + ys.length, carries + ys.length + readArgs.length)
    for (const t of rest.slice(carries + ys.length + readArgs.length)) w.leaveToken(t)
    read.forEach(({ p, i }, k) => {
      const v = reads[k]
      if (v === undefined) return
      const read = i < carries + xs ? readSlice(w, v, index, zero) : v
      if (read !== v) scope.origins?.set(read.name, { of: v, index })
      given.set(p, read)
    })
    const out = scope.emitNodes(body.outputs, given, w, scope)
    w.at(site)
    const filled = ys.map((_, i) => {
      const [stack, value] = [rest[carries + i], out[carries + i]]
      if (stack === undefined || value === undefined) throw new Error('a stack or its slice is missing')
      return writeSlice(w, stack, value, index, zero)
    })
    w.return([w.op('add', [counter, w.constant(1, 'i32')], scalar), ...out.slice(0, carries), ...filled, ...reads, ...token.map(() => w.takeToken())])
  }
  const results = w.ops('while', state, state, '', [condition, step])
  for (const t of results.slice(state.length - token.length)) w.leaveToken(t)
  return results.slice(1, 1 + carries + ys.length)
}
