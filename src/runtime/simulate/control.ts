/** Ops that choose what runs. The devices must choose alike, as one program counter serves them all; but of branches each may take its own where those that wait for each other in one take the same. */
import type { DType } from '../../core/dtype.ts'
import { rows, word } from './attributes.ts'
import type { Scalar } from './element.ts'
import { check, only, opError, sameTypes, type Block, type Op, type Typed } from './program.ts'
import { communicating } from './collectives.ts'
import type { Body, Context, Lowering, Value } from './lowering.ts'

/** The number that a choice hangs on, the same on every device. */
function agreed(op: Op, value: Value | undefined, what: string): number {
  const all = (value ?? []).map(store => Number(store[0] as Scalar))
  const [first = 0] = all
  if (all.every(n => n === first)) return first
  throw opError(op, 'devices-disagree', `the devices disagree on ${what}, which SPMD programs must not`, {
    'on each device': all.join(', '), fix: 'make it depend only on values that are the same on all devices, or reduce it over them first',
  })
}

function checkChoice(op: Op, { type }: Typed, dtype: DType): void {
  check(op, type.dtype === dtype && type.shape.length === 0, `what decides must be a scalar of ${dtype}`)
}

function branch(op: Op, context: Context, block: Block): Body {
  check(op, block.parameters.length === 0 && sameTypes(block.results, op.results), 'its branches must take nothing and give its results')
  return context.region(block)
}

const lowerWhile: Lowering = (op, context) => {
  const [test, loop] = [only(op, op.regions), only(op, op.regions, 1)]
  check(op, [op.results, test.parameters, loop.parameters, loop.results].every(list => sameTypes(list, op.operands)),
    'operands, results and what its regions take and give must be of the same types')
  checkChoice(op, only(op, test.results), 'bool')
  const [condition, body] = [context.region(test), context.region(loop)]
  return async (operands, run) => {
    let state = operands
    while (agreed(op, (await condition(state, run))[0], 'whether to go on') !== 0) state = await body(state, run)
    return state
  }
}

const lowerIf: Lowering = (op, context) => {
  checkChoice(op, only(op, op.operands), 'bool')
  const [yes, no] = [branch(op, context, only(op, op.regions)), branch(op, context, only(op, op.regions, 1))]
  const together = op.regions.flatMap(region => waiting(region, context.devices))
  return async ([condition = []], run) => {
    const taken = condition.map(store => Number(store[0] as Scalar) !== 0)
    if (together.some(group => group.some(d => taken[d] !== taken[group[0] ?? 0]))) agreed(op, condition, 'the branch to take')
    const results = taken.includes(true) ? await yes([], run) : []
    const others = taken.includes(false) ? await no([], run) : []
    if (others.length === 0 || results.length === 0) return others.length === 0 ? results : others
    return results.map((value, r) => value.map((store, device) => (taken[device] === true ? store : others[r]?.[device] ?? store)))
  }
}

/** The devices that wait for each other in it, group by group. What a call does is not looked into. */
const waiting = (block: Block, devices: number): readonly (readonly number[])[] => block.ops.flatMap(op => {
  const groups = communicating.has(op.name) ? membersOf(op) : []
  const all = op.name === 'func.call' || (communicating.has(op.name) && groups.length === 0) ? [Array.from({ length: devices }, (_, d) => d)] : groups
  return [...all, ...op.regions.flatMap(region => waiting(region, devices))]
})
/** The groups that an op names, or the pairs that it moves between. */
const membersOf = (op: Op): readonly (readonly number[])[] => rows(op, op.name === 'collective_permute' ? 'source_target_pairs' : 'replica_groups')

/** An index that no branch has means the last. */
const lowerCase: Lowering = (op, context) => {
  checkChoice(op, only(op, op.operands), 'i32')
  check(op, op.regions.length > 0, 'it has no branches')
  const branches = op.regions.map(block => branch(op, context, block))
  const last = branches.length - 1
  return ([index], run) => {
    const n = agreed(op, index, 'the branch to take')
    return only(op, branches, n < 0 || n > last ? last : n)([], run)
  }
}

const call: Lowering = (op, context) => context.call(op, word(op, 'callee'))

export const controlLowerings: readonly [string, Lowering][] = [
  ['while', lowerWhile], ['if', lowerIf], ['case', lowerCase], ['func.call', call], ['optimization_barrier', () => operands => operands],
]
