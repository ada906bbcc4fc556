/** Ops that choose what runs: the devices must choose alike, as one program counter serves them all. */
import { word } from './attributes.ts'
import type { Scalar } from './element.ts'
import { check, only, opError, type Block, type Op } from './program.ts'
import type { Rule, Value } from './rule.ts'

/** The number that a choice hangs on, the same on every device. */
function agreed(op: Op, value: Value | undefined, what: string): number {
  const all = (value ?? []).map(store => Number(store[0] as Scalar))
  const [first = 0] = all
  if (all.every(n => n === first)) return first
  throw opError(op, 'devices-disagree', `the devices disagree on ${what}, which SPMD programs must not`, {
    'on each device': all.join(', '), fix: 'make it depend only on values that are the same on all devices, or reduce it over them first',
  })
}

const region = (op: Op, index: number): Block => only(op, op.regions, index)

const whileRule: Rule = (op, context) => {
  const [condition, body] = [context.region(region(op, 0)), context.region(region(op, 1))]
  return async (operands, run) => {
    let state = operands
    while (agreed(op, (await condition(state, run))[0], 'whether to go on') !== 0) state = await body(state, run)
    return state
  }
}

const ifRule: Rule = (op, context) => {
  const [yes, no] = [context.region(region(op, 0)), context.region(region(op, 1))]
  return ([condition], run) => (agreed(op, condition, 'the branch to take') !== 0 ? yes : no)([], run)
}

/** An index that no branch has means the last. */
const caseRule: Rule = (op, context) => {
  check(op, op.regions.length > 0, 'it has no branches')
  const branches = op.regions.map(block => context.region(block))
  const last = branches.length - 1
  return ([index], run) => {
    const n = agreed(op, index, 'the branch to take')
    return only(op, branches, n < 0 || n > last ? last : n)([], run)
  }
}

const call: Rule = (op, context) => context.call(op, word(op, 'callee'))

export const controlRules: readonly [string, Rule][] = [
  ['while', whileRule], ['if', ifRule], ['case', caseRule], ['func.call', call], ['optimization_barrier', () => operands => operands],
]
