/**
 * The partition rule of choices. All devices choose alike, as the predicate is replicated, so a branch may hold collectives. Both
 * branches' results lie alike: as both do of themselves, else as the rules have it. Where the predicate has dims that all results are split alike along, and no
 * branch holds a collective, each device chooses by its own part of it: what none of its elements asks for it does not compute.
 */
import { isHidden, names } from '../core/dim.ts'
import { sameSharding, type Sharding } from '../core/layout.ts'
import { splatValue } from '../graph/make.ts'
import { shapeOf, type Node } from '../graph/node.ts'
import { enterAll, projected } from './bodies.ts'
import { communicates } from './collectives.ts'
import { samePartial, reduced, type Context, type Partial, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { agreed, ready } from './operands.ts'

export function partitionCond(n: Node<'cond'>, [predicate, ...operands]: readonly Value[], c: Context): readonly Value[] {
  if (predicate === undefined) throw new Error('a choice has a predicate')
  const { yes, no } = n.attrs
  // What rests elsewhere moves only in the branch that needs it.
  const captured = operands.map(v => reduced(c, v))
  const { inputs, given } = enterAll(c, yes.inputs, captured)
  const [a = [], b = []] = [yes, no].map(branch => c.partitionNodes(branch.outputs, given))
  const pairs = a.map((v, i) => alike(c, [v, b[i] ?? v], [yes, no].map(branch => splatValue(branch.outputs[i] ?? n) === 0)))
  const body = (side: 0 | 1): { readonly inputs: typeof inputs; readonly outputs: Value['node'][] } => ({ inputs, outputs: pairs.map(p => p[side].node) })
  const chooses = chosenBy(c, ready(c, predicate), pairs.map(([v]) => v), communicates(body(0)) || communicates(body(1)))
  const choice = c.make('cond', [chooses.node, ...captured.map(v => v.node)], { yes: body(0), no: body(1) }, n.site)
  return projected(c, n, choice, pairs.map(([v]) => v))
}

/** One bool: whether any element of the predicate holds, of those that a device's results are of. */
function chosenBy(c: Context, predicate: Value, results: readonly Value[], together: boolean): Value {
  const over = names(predicate.shape)
  if (over.length === 0) return predicate
  const along = (v: Value): Sharding => new Map([...v.sharding].filter(([name]) => over.includes(name)))
  const [first] = results
  const alike = first !== undefined && results.every(v => sameSharding(along(v), along(first)))
  const there = relayout(c, predicate, alike && !together ? along(first) : new Map())
  return { shape: [], sharding: new Map(), node: c.make('reduce', [there.node], { kind: 'max', over: names(shapeOf(there.node)) }) }
}

/** The two values of one result, laid out alike. Addends stay addends where the other branch has the same, or zero. */
function alike(c: Context, [yes, no]: readonly [Value, Value], zero: readonly boolean[]): readonly [Value, Value] {
  const kept: Partial | undefined = samePartial(yes.partial, no.partial) ? yes.partial
    : zero[1] === true && yes.partial?.kind === 'sum' ? yes.partial : zero[0] === true && no.partial?.kind === 'sum' ? no.partial : undefined
  const resting = yes.resting !== undefined || no.resting !== undefined
  if (kept !== undefined && !resting && sameSharding(yes.sharding, no.sharding)) return [{ ...yes, partial: kept }, { ...no, partial: kept }]
  if (!resting && sameSharding(yes.sharding, no.sharding)) return [reduced(c, yes), reduced(c, no)]
  // A zero lies anywhere: where the other branch's value does, as the gradients of weights that rest in parts.
  if (!resting && zero[1] === true) return besides(c, yes, no)
  if (!resting && zero[0] === true) { const [there, zeros] = besides(c, no, yes); return [zeros, there] }
  // Of what has dims that only an op knows the rules say nothing: what is cut less is cut as the other is, which costs nothing.
  const target = !resting && yes.shape.some(d => isHidden(d.name)) ? agreed(c, [yes, no], true) : c.target(yes.shape)
  return [relayout(c, yes, target), relayout(c, no, target)]
}

/** A value where it lies, and zeros beside it. */
function besides(c: Context, v: Value, zeros: Value): readonly [Value, Value] {
  const there = reduced(c, v)
  return [there, { ...relayout(c, zeros, there.sharding), ...(there.strayed === undefined ? {} : { strayed: there.strayed }) }]
}
