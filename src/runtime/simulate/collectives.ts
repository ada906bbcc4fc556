/** Ops between devices: every process is a replica, as one program runs on one partition. */
import { integer, rows } from './attributes.ts'
import { elements, settle, type Cells, type Scalar, type Store } from './element.ts'
import { check, only, sameType, type Op } from './program.ts'
import { fold } from './region.ts'
import type { Context, Lowering, Step, Value } from './lowering.ts'
import { copier, sizeOf, stridesOf } from './strided.ts'

type Group = readonly number[]

/** The devices that work together, each list in the order that its parts have. */
function groupsOf(op: Op, { devices }: Context, all: boolean): readonly Group[] {
  const groups = rows(op, 'replica_groups')
  const members = groups.flat()
  if (members.length === 0) return [Array.from({ length: devices }, (_, d) => d)]
  check(op, new Set(members).size === members.length && members.every(d => d < devices),
    `replica_groups must name devices below ${devices}, none twice`)
  check(op, !all || members.length === devices, `replica_groups must name all ${devices} devices`)
  return groups
}

/** Where a channel makes an op work across partitions, there is nothing to work across. */
function checkChannel(op: Op): void {
  check(op, integer(op, 'channel_handle.handle', 0) <= 0,
    'with a channel it works across partitions, and there is one: leave out channel_handle')
}

/** What each member of a group gets, made from what all of them hold. */
type Work = (held: readonly Store[], result: number, group: Group) => readonly Store[]

/** What every member of each group gets from the group's operands; devices in no group get zeros. */
function withinGroups(op: Op, groups: readonly Group[], devices: number, work: Work): Step {
  return operands => op.results.map(({ type }, r) => {
    const value: Store[] = []
    for (const group of groups) {
      const made = work(group.map(d => operands[r]?.[d] as Store), r, group)
      group.forEach((device, i) => { value[device] = made[i] as Store })
    }
    return Array.from({ length: devices }, (_, d) => value[d] ?? elements[type.dtype].make(sizeOf(type.shape)))
  })
}

/** Sums, maxima, … of the members' arrays, kept in double until they are whole. */
function reducer(op: Op): (stores: readonly Store[]) => Store {
  const f = fold(op)
  const { dtype } = only(op, op.operands).type
  check(op, op.operands.every(({ type }) => type.dtype === dtype), 'its operands differ in element type')
  return stores => {
    const [first, ...others] = stores as [Store, ...Store[]]
    const out: Cells = elements[dtype].family === 'float' ? new Float64Array(first as Float32Array) : first.slice()
    for (const x of others) for (let i = 0; i < out.length; i++) out[i] = f(out[i] as Scalar, x[i] as Scalar, 0)
    return dtype === 'f64' || elements[dtype].family !== 'float' ? out as Store : settle(new Float32Array(out as Float64Array), dtype)
  }
}

const allReduce: Lowering = (op, context) => {
  const [groups, reduce] = [groupsOf(op, context, true), reducer(op)]
  check(op, op.operands.every(({ type }, i) => sameType(type, only(op, op.results, i).type)), 'operands and results differ in type')
  return withinGroups(op, groups, context.devices, (stores, _, group) => {
    const sum = reduce(stores)
    return group.map(() => sum)
  })
}

type BlockCopy = (target: Store, toStart: number, source: Store, fromStart: number) => void

/** Copies blocks of one size: from a place along a dim of the operand to a place along a dim of the result. */
function blockCopier(op: Op, result: number, block: readonly number[], fromDim: number, toDim: number): BlockCopy {
  const [from, to] = [only(op, op.operands, result).type, only(op, op.results, result).type]
  const [fromStrides, toStrides] = [stridesOf(from.shape), stridesOf(to.shape)]
  const copy = copier(block, toStrides, fromStrides)
  const [toStep, fromStep] = [toStrides[toDim] as number, fromStrides[fromDim] as number]
  return (target, toStart, source, fromStart) => { copy(target, toStart * toStep, source, fromStart * fromStep) }
}

/** The operand's shape with some dims resized, which must be the result's. */
function checkResized(op: Op, result: number, sizes: Readonly<Record<number, (n: number) => number>>): void {
  const [from, to] = [only(op, op.operands, result).type, only(op, op.results, result).type]
  const expected = from.shape.map((n, d) => sizes[d]?.(n) ?? n)
  check(op, sameType({ dtype: from.dtype, shape: expected }, to) && Object.keys(sizes).every(d => Number(d) < expected.length),
    `result ${result + 1} is not the operand with the dims resized for the groups`)
}

/** How many members every group has. */
function groupSize(op: Op, groups: readonly Group[]): number {
  const { length } = only(op, groups)
  check(op, groups.every(g => g.length === length), 'the groups differ in size')
  return length
}

const allGather: Lowering = (op, context) => {
  const [groups, dim] = [groupsOf(op, context, true), integer(op, 'all_gather_dim')]
  const members = groupSize(op, groups)
  const copies = op.operands.map(({ type }, r) => {
    checkResized(op, r, { [dim]: n => n * members })
    return blockCopier(op, r, type.shape, dim, dim)
  })
  return withinGroups(op, groups, context.devices, (stores, r, group) => {
    const [from, { type }] = [only(op, op.operands, r).type, only(op, op.results, r)]
    const out = elements[type.dtype].make(sizeOf(type.shape))
    stores.forEach((store, i) => { copies[r]?.(out, i * (from.shape[dim] as number), store, 0) })
    return group.map(() => out)
  })
}

const reduceScatter: Lowering = (op, context) => {
  const [groups, dim, reduce] = [groupsOf(op, context, true), integer(op, 'scatter_dimension'), reducer(op)]
  const members = groupSize(op, groups)
  checkResized(op, 0, { [dim]: n => n / members })
  const { shape, dtype } = only(op, op.results).type
  const copy = blockCopier(op, 0, shape, dim, dim)
  return withinGroups(op, groups, context.devices, (stores, _, group) => {
    const sum = reduce(stores)
    return group.map((_, i) => {
      const out = elements[dtype].make(sizeOf(shape))
      copy(out, 0, sum, i * (shape[dim] as number))
      return out
    })
  })
}

const allToAll: Lowering = (op, context) => {
  checkChannel(op)
  const groups = groupsOf(op, context, true)
  const [split, concat, parts] = [integer(op, 'split_dimension'), integer(op, 'concat_dimension'), integer(op, 'split_count')]
  check(op, groupSize(op, groups) === parts, `split_count is ${parts}, which is not the size of the groups`)
  const copies = op.operands.map(({ type }, r) => {
    checkResized(op, r, split === concat ? {} : { [split]: n => n / parts, [concat]: n => n * parts })
    const block = type.shape.map((n, d) => (d === split ? n / parts : n))
    const copy = blockCopier(op, r, block, split, concat)
    return (out: Store, sender: number, store: Store, part: number): void => {
      copy(out, sender * (block[concat] as number), store, part * (block[split] as number))
    }
  })
  return withinGroups(op, groups, context.devices, (stores, r, group) => group.map((_, receiver) => {
    const { type } = only(op, op.results, r)
    const out = elements[type.dtype].make(sizeOf(type.shape))
    stores.forEach((store, sender) => { copies[r]?.(out, sender, store, receiver) })
    return out
  }))
}

const collectivePermute: Lowering = (op, { devices }) => {
  checkChannel(op)
  const pairs = rows(op, 'source_target_pairs')
  for (const end of [0, 1]) {
    const ends = pairs.map(p => p[end] ?? devices)
    check(op, ends.every(d => d < devices) && new Set(ends).size === ends.length,
      `source_target_pairs must name devices below ${devices}, each at most once a side`)
  }
  const { type } = only(op, op.results)
  check(op, sameType(type, only(op, op.operands).type), 'operand and result differ in type')
  const sources = new Map(pairs.map(([source = 0, target = 0]) => [target, source]))
  const zeros = elements[type.dtype].make(sizeOf(type.shape))
  return ([x]) => [Array.from({ length: devices }, (_, d) => x?.[sources.get(d) ?? -1] ?? zeros)]
}

const collectiveBroadcast: Lowering = (op, context) => {
  checkChannel(op)
  check(op, op.operands.every(({ type }, i) => sameType(type, only(op, op.results, i).type)), 'operands and results differ in type')
  return withinGroups(op, groupsOf(op, context, false), context.devices, (stores, _, group) => group.map(() => stores[0] as Store))
}

/** Which device this is, counted by `number`. */
const numbered = (number: (device: number) => number): Lowering => (op, { devices }) => {
  const { type } = only(op, op.results)
  check(op, type.dtype === 'u32' && type.shape.length === 0, 'the result must be tensor<ui32>')
  const value: Value = Array.from({ length: devices }, (_, d) => Uint32Array.of(number(d)))
  return () => [value]
}

export const collectiveLowerings: readonly [string, Lowering][] = [
  ['all_reduce', allReduce], ['all_gather', allGather], ['reduce_scatter', reduceScatter], ['all_to_all', allToAll],
  ['collective_permute', collectivePermute], ['collective_broadcast', collectiveBroadcast],
  ['replica_id', numbered(d => d)], ['partition_id', numbered(() => 0)],
]
/** The ops that no device can do without others. */
export const communicating: ReadonlySet<string> = new Set(collectiveLowerings.map(([name]) => name).filter(name => !['replica_id', 'partition_id'].includes(name)))
