/**
 * The partition rule of choices. All devices choose alike, as the predicate is replicated, so a branch may hold collectives. Both
 * branches' results lie alike: as both do of themselves, else as the rules have it. Where the predicate has dims that all results are split alike along, and no
 * branch holds a collective, each device chooses by its own part of it: what none of its elements asks for it does not compute. A choice of who is at work at all falls away where
 * devices cannot choose so, and all work.
 */
import { isHidden, names, sizeOf } from '../core/dim.ts'
import { localShape, sameSharding, type Sharding } from '../core/layout.ts'
import { splatValue } from '../graph/make.ts'
import { operand, shapeOf, type Node } from '../graph/node.ts'
import type { AtWork, Attrs } from '../graph/ops.ts'
import { enterAll, projected } from './bodies.ts'
import type { LocalBody } from './local.ts'
import { bodyOf, samePartial, reduced, type Context, type Partial, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { agreed, ready } from './operands.ts'

export function partitionCond(n: Node<'cond'>, [predicate, ...operands]: readonly Value[], c: Context): readonly Value[] {
  if (predicate === undefined) throw new Error('a choice has a predicate')
  const { yes, no, atWork } = n.attrs
  const before = new Set(c.reduced)
  const fallen = (): readonly Value[] => {
    for (const origin of c.reduced) if (!before.has(origin)) c.reduced.delete(origin)
    return c.partitionNodes(yes.outputs, new Map(yes.inputs.flatMap((p, i) => operands.slice(i, i + 1).map(v => [p, v] as const))))
  }
  if (atWork?.alone === true) return partitionAlone(n, predicate, operands, c) ?? fallen()
  // What rests elsewhere moves only in the branch that needs it.
  const captured = operands.map(v => reduced(c, v))
  const { inputs, given } = enterAll(c, yes.inputs, captured)
  const [a = [], b = []] = [yes, no].map(branch => c.partitionNodes(branch.outputs, given))
  const zero = yes.outputs.map((_, i) => [yes, no].map(branch => splatValue(branch.outputs[i] ?? n) === 0))
  const pairs = a.map((v, i) => alike(c, [v, b[i] ?? v], zero[i] ?? []))
  const body = (side: 0 | 1): { readonly inputs: typeof inputs; readonly outputs: Value['node'][] } => bodyOf(c, { inputs, outputs: pairs.map(p => p[side].node) })
  const test = ready(c, predicate)
  const own = eachItsOwn(c, n.attrs, [body(0), body(1)], test, pairs.map(([v], i) => ({ v, addend: zero[i]?.[1] === true && v.partial?.kind === 'sum' ? v.partial.axes : [] })))
  if (atWork !== undefined && own === undefined) return fallen()
  const chooses = anyOf(c, test, own ?? new Map())
  const choice = c.make('cond', [chooses.node, ...captured.map(v => v.node)], { yes: body(0), no: body(1), ...(own === undefined ? {} : { apart: { axes: [...own.values()].flat(), share: atWork === undefined ? undefined : shareOf(atWork, predicate, own, c) } }) }, n.site)
  return projected(c, n, choice, pairs.map(([v]) => v))
}

/**
 * A choice of one device that works alone. What it makes are addends, of which the others have none. Undefined where that cannot be: places are not split, collectives go along their axis, or what is split along that are not places alone.
 */
function partitionAlone(n: Node<'cond'>, predicate: Value, operands: readonly Value[], c: Context): readonly Value[] | undefined {
  const { yes, no, atWork } = n.attrs
  const by = operand(n, 0)
  const [over, places] = [names(predicate.shape), c.target(predicate.shape)]
  const axes = [...places.values()].flat()
  if (axes.length === 0 || atWork === undefined) return undefined
  const other = (dim: string, axis: string): boolean => !over.includes(dim) && axes.includes(axis)
  const test = ready(c, predicate)
  // What it has kept of its own work comes back to it as it is; what rests elsewhere moves before, as all take part in that.
  const given = operands.map(v => (v.aloneBy === by ? reduced(c, without(v, axes)) : ready(c, v)))
  if (given.some(v => [...v.sharding].some(([dim, on]) => on.some(axis => other(dim, axis))))) return undefined
  const own = c.within(c, axes)
  const { inputs, given: entered } = enterAll(own, yes.inputs, given)
  const made = own.partitionNodes(yes.outputs, entered).map((v): Value => {
    const there = landedSum(own, v)
    return sameSharding(new Map([...there.sharding].filter(([name]) => over.includes(name))), places) ? there
      : { ...there, aloneBy: by, partial: { kind: 'sum', axes: [...there.partial?.axes ?? [], ...axes] } }
  })
  const zeros = own.partitionNodes(no.outputs, entered).map((v, i) => relayout(own, v, made[i]?.sharding ?? v.sharding))
  const bodies = [made, zeros].map(values => bodyOf(c, { inputs, outputs: values.map(v => v.node) }))
  const waits = bodies.map((body, i) => c.axesOf(body, i === 0 ? yes : no))
  const along = [...own.alone.asked].some(of => { const [dim = '', axis = ''] = of.split(' '); return other(dim, axis) })
  if (along || waits.some(w => !w.counted || (c.overlaps && w.axes.size > 0) || axes.some(a => w.axes.has(a)))) return undefined
  const [first, second] = bodies
  if (first === undefined || second === undefined) return undefined
  const choice = c.make('cond', [anyOf(c, test, places).node, ...given.map(v => v.node)], { yes: first, no: second, apart: { axes, share: shareOf(atWork, predicate, places, c) } }, n.site)
  return projected(c, n, choice, made)
}

/** Of a sum its addends; another is reduced, and what rests elsewhere moves. */
const landedSum = (c: Context, v: Value): Value => (v.resting === undefined && (v.partial === undefined || v.partial.kind === 'sum') ? v : ready(c, v))
/** A value whose addends along axes are known to be one. */
function without({ partial, ...v }: Value, axes: readonly string[]): Value {
  const left = partial?.axes.filter(a => !axes.includes(a)) ?? []
  return partial === undefined || left.length === 0 ? v : { ...v, partial: { ...partial, axes: left } }
}

/**
 * How the predicate is split where each device can choose by its own part of it: as all results are along its dims. Of a sum of addends, where the other branch adds nothing, each device has its own anyway.
 * Undefined where they cannot, or all devices have all of it.
 */
function eachItsOwn(c: Context, { yes, no }: Attrs['cond'], branches: readonly Pick<LocalBody, 'outputs'>[], predicate: Value, results: readonly { readonly v: Value; readonly addend: readonly string[] }[]): Sharding | undefined {
  const over = names(predicate.shape)
  const along = (v: Value): Sharding => new Map([...v.sharding].filter(([name, axes]) => over.includes(name) && axes.length > 0))
  const first = results.map(({ v }) => along(v)).find(s => s.size > 0)
  const axes = [...first?.values() ?? []].flat()
  const waits = branches.map((body, i) => c.axesOf(body, i === 0 ? yes : no))
  if (waits.some(w => !w.counted || (c.overlaps && w.axes.size > 0) || axes.some(a => w.axes.has(a)))) return undefined
  return first !== undefined && results.every(({ v, addend }) => sameSharding(along(v), first) || axes.every(axis => addend.includes(axis))) ? first : undefined
}

/** In how many of the runs a device is at work, which has that many places of those that the predicate tells of. */
function shareOf({ share, more }: AtWork, predicate: Value, own: Sharding, c: Context): number {
  const places = sizeOf(localShape(predicate.shape, own, c.mesh))
  return Math.min(1, share + (places - 1) * more)
}

/** One bool: whether any element of the predicate holds, of those that a device has. */
function anyOf(c: Context, predicate: Value, own: Sharding): Value {
  const over = names(predicate.shape)
  if (over.length === 0) return predicate
  const there = relayout(c, predicate, own)
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
