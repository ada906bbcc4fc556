/**
 * What rests otherwise than it is computed with, used where it rests: the other operands move to meet it. That is done where it moves
 * fewer bytes than moving what rests: an op estimates both, and `partition` weighs whole programs.
 */
import { sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, isFloat, isHalf } from '../core/dtype.ts'
import { sameSharding, type Sharding } from '../core/layout.ts'
import { partsOf } from '../core/mesh.ts'
import { dtypeOf, operand, shapeOf } from '../graph/node.ts'
import { latency } from './collectives.ts'
import { reduced, type Context, type Value } from './context.ts'
import { relayout } from './moves/relayout.ts'
import { route } from './moves/search.ts'
import { agreed } from './operands.ts'

type Axes = readonly string[]
const axesOf = (sharding: Sharding, name: string): Axes => sharding.get(name) ?? []
const restricted = (sharding: Sharding, shape: readonly Dim[]): Sharding => new Map([...sharding].filter(([name]) => shape.some(d => d.name === name)))

/** The dims that rest otherwise than they are computed with. */
export const restingDims = (c: Context, v: Value): string[] => {
  if (v.resting === undefined) return []
  const want = c.target(v.shape)
  return v.shape.map(d => d.name).filter(name => axesOf(v.sharding, name).join() !== axesOf(want, name).join())
}

/** A kind of use where something rests: all of a program that are of one kind are decided alike. */
const useOf = (v: Value, dim: string, op: string): string => `${dim} → ${axesOf(v.sharding, dim).join(', ')} ${op}`

/** Whether an op of one operand is done where that rests. */
export function staysAtRest(c: Context, v: Value): boolean {
  const uses = restingDims(c, v).map(d => useOf(v, d, 'met'))
  for (const u of uses) c.tempted.add(u)
  return uses.length > 0 && uses.every(u => c.atRest.has(u))
}

/** The bytes that a device receives when a value moves; broadcasts move before they grow. */
function costOf(c: Context, v: Value, to: Sharding): number {
  if (sameSharding(v.sharding, to)) return 0
  let { node, shape } = v
  if (node.op === 'broadcast') {
    if (v.resting === undefined) return 0
    node = operand(node, 0)
    const own = new Set(shapeOf(node).map(d => d.name))
    shape = shape.filter(d => own.has(d.name))
  }
  const half = node.op === 'convert' && isFloat(dtypeOf(node)) && isHalf(dtypeOf(operand(node, 0))) ? operand(node, 0) : node
  return route(shape, dtypes[dtypeOf(half)].bytes, restricted(v.sharding, shape), restricted(to, shape), c.mesh).cost
}
/** And when addends of a result are reduced to parts. */
function reducing(c: Context, values: readonly Value[], sharding: Sharding, over: readonly string[]): number {
  const addends = addendsOf(sharding, over)
  const [first] = values
  if (addends.length === 0 || first === undefined) return 0
  const out = jointShape(values).filter(d => !over.includes(d.name))
  const parts = partsOf(c.mesh, addends)
  return latency + sizeOf(out) * dtypes[dtypeOf(first.node)].bytes / partsOf(c.mesh, [...restricted(sharding, out).values()].flat()) * (parts - 1) / parts
}
const costOfAll = (c: Context, values: readonly Value[], sharding: Sharding, over: readonly string[]): number =>
  values.reduce((sum, v) => sum + costOf(c, v, restricted(sharding, v.shape)), reducing(c, values, sharding, over))

const addendsOf = (sharding: Sharding, over: readonly string[]): string[] => over.flatMap(name => axesOf(sharding, name))
const jointShape = (values: readonly Value[]): Dim[] => {
  const all = values.flatMap(v => v.shape)
  return all.filter((d, i) => all.findIndex(e => e.name === d.name) === i)
}

/** The operands' layout around some of them that stay as `fixed` says; others keep of theirs what is free. */
function around(values: readonly Value[], fixed: ReadonlyMap<Value, Sharding>): Sharding | undefined {
  const sharding = new Map<string, Axes>()
  const settled = new Set<string>()
  for (const [v, own] of fixed) {
    for (const { name } of v.shape) {
      const axes = axesOf(own, name)
      if (settled.has(name) && axes.join() !== axesOf(sharding, name).join()) return undefined
      settled.add(name)
      if (axes.length > 0) sharding.set(name, axes)
    }
  }
  const taken = new Set([...sharding.values()].flat())
  if (taken.size < [...sharding.values()].flat().length) return undefined
  for (const v of values) {
    for (const { name } of v.shape) {
      if (sharding.has(name)) continue
      const axes = axesOf(v.sharding, name)
      const clash = axes.findIndex(a => taken.has(a))
      const free = clash < 0 ? axes : axes.slice(0, clash)
      if (free.length === 0) continue
      sharding.set(name, free)
      for (const a of free) taken.add(a)
    }
  }
  return sharding
}

const subsets = (dims: readonly string[]): string[][] =>
  dims.reduce<string[][]>((all, d) => [...all, ...all.map(s => [...s, d])], [[]]).filter(s => s.length > 0)
/** More dims than these do not rest otherwise at once. */
const mostDims = 4

/** How a value that rests lies with only these dims of it where they rest. */
const partlyResting = (c: Context, v: Value, kept: readonly string[]): Sharding => {
  const want = c.target(v.shape)
  return new Map(v.shape.map(({ name }) => [name, axesOf(kept.includes(name) ? v.sharding : want, name)] as const).filter(([, axes]) => axes.length > 0))
}
/** What an op may do: keep these dims where they rest, and move the operands to this layout. */
interface Way { readonly cost: number; readonly kept: readonly string[]; readonly sharding?: Sharding }

export interface Meeting { readonly values: readonly Value[]; readonly sharding: Sharding; /** The result rests as its operands do. */ readonly resting?: string }

/**
 * The operands of an op that contracts `over`, moved to meet those that rest where they rest; undefined where these move instead.
 * What would be less is noted, allowed or not.
 */
export function met(c: Context, values: readonly Value[], over: readonly string[], op = 'met'): Meeting | undefined {
  if (values.every(v => v.resting === undefined)) return undefined
  const dims = [...new Set(values.flatMap(v => restingDims(c, v)))]
  if (dims.length === 0 || dims.length > mostDims) return undefined
  // What is looked up in a table by numbers that lie on the table's own axis meets nowhere: no tensor has the dims of both.
  const asked = jointShape(values).flatMap(d => [...c.target([d]).values()].flat())
  if (new Set(asked).size < asked.length) return undefined
  const usual = values.map(({ resting, ...v }) => (resting === undefined ? v : { ...v, sharding: c.target(v.shape) }))
  const rules = agreed(c, usual, over.length === 0)
  const fetching = values.reduce((sum, v, i) => sum + costOf(c, v, usual[i]?.sharding ?? v.sharding), 0)
  const gathering: Way = { cost: fetching + costOfAll(c, usual, rules, over), kept: [] }
  let [least, allowed] = [gathering, gathering]
  const usesOf = (kept: readonly string[]): string[] => values.flatMap(v => restingDims(c, v).filter(d => kept.includes(d)).map(d => useOf(v, d, op)))
  for (const kept of subsets(dims)) {
    const resting = values.filter(v => v.resting !== undefined).map(v => [v, partlyResting(c, v, kept)] as const)
    const sharding = around(values, new Map(resting))
    if (sharding === undefined) continue
    const cost = costOfAll(c, values, sharding, over)
    if (cost < least.cost) least = { cost, kept, sharding }
    if (cost < allowed.cost && usesOf(kept).every(u => c.atRest.has(u))) allowed = { cost, kept, sharding }
  }
  for (const u of usesOf(least.kept)) c.tempted.add(u)
  const { sharding, kept } = allowed
  if (sharding === undefined) return undefined
  const moved = values.map(v => {
    const to = restricted(sharding, v.shape)
    const { resting: _, ...own } = v
    return sameSharding(v.sharding, to) ? reduced(c, own) : relayout(c, v, to)
  })
  const isNumber = (v: Value): boolean => shapeOf(v.node.op === 'broadcast' ? operand(v.node, 0) : v.node).length === 0
  const alone = over.length === 0 && kept.length === dims.length && values.every(v => v.resting !== undefined || isNumber(v))
  const resting = alone ? values.find(v => v.resting !== undefined)?.resting : undefined
  return { values: moved, sharding, ...(resting === undefined ? {} : { resting }) }
}

/**
 * Where operands of a contraction differ and one of them lies off the rules, because of what it met: as that one does, if no more
 * addends are left so and fewer bytes move. So the gradient of what rests is made where it rests.
 */
export function stayed(c: Context, values: readonly Value[], over: readonly string[]): Sharding | undefined {
  const away = values.filter(v => v.strayed)
  if (away.length === 0) return undefined
  const rules = agreed(c, values)
  const sharding = around(values, new Map(away.map(v => [v, v.sharding])))
  if (sharding === undefined) return undefined
  const [left, usual] = [addendsOf(sharding, over), addendsOf(rules, over)]
  if (left.length > usual.length || !left.every(a => usual.includes(a))) return undefined
  return costOfAll(c, values, sharding, over) < costOfAll(c, values, rules, over) ? sharding : undefined
}

/** The value where the rules have it. */
export const home = (c: Context, v: Value): Value => (v.strayed === undefined ? v : relayout(c, v, c.target(v.shape)))

/**
 * The result of an op on operands that met, or of an op on such results. It stays there, for the next op may meet something there too, as
 * long as its work is shared among as many devices as by the rules; else it goes where the rules have it.
 */
export function wherever(c: Context, v: Value): Value {
  const { strayed: _, ...own } = v
  if (own.resting !== undefined) return own
  const home = c.target(v.shape)
  if (sameSharding(v.sharding, home)) return own
  const used = new Set([...[...v.sharding.values()].flat(), ...v.partial?.axes ?? []])
  return [...home.values()].flat().every(a => used.has(a)) ? { ...own, strayed: true } : relayout(c, own, home)
}
