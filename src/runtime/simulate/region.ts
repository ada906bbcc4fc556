/** Bodies of reductions, scatters and sorts: functions of single elements. */
import { fitOf, type Scalar } from './element.ts'
import { binary } from './arithmetic.ts'
import { check, only, type Block, type Op } from './program.ts'
import { scalarFunction, type ScalarFunction } from './scalar.ts'

/** The parameters' values in, the returned values out. */
export type Together = (...values: Scalar[]) => Scalar[]

/** A region as a function. */
export function together(block: Block): Together {
  const places = new Map(block.parameters.map(({ name }, i) => [name, i]))
  const placeOf = (op: Op | undefined, name: string): number => {
    const found = places.get(name)
    if (found !== undefined) return found
    if (op !== undefined) check(op, false, `${name} is from outside the body, which cannot see it`)
    throw new Error(`a region returns ${name}, which it does not have`)
  }
  const constants: [number, Scalar][] = []
  const steps: ((values: Scalar[]) => void)[] = []
  for (const op of block.ops) {
    const result = only(op, op.results)
    const from = op.operands.map(({ name }) => placeOf(op, name))
    const to = places.size
    places.set(result.name, to)
    const value = op.attributes.get('value')
    if (op.name === 'constant' && value?.kind === 'dense') {
      constants.push([to, value.store[0] as Scalar])
      continue
    }
    const [f, fit, [x = 0, y = 0, z = 0]] = [scalarFunction(op), fitOf(result.type.dtype), from]
    steps.push(values => { values[to] = fit(f(values[x] as Scalar, values[y] as Scalar, values[z] as Scalar)) })
  }
  const results = block.results.map(({ name }) => placeOf(undefined, name))
  return (...values) => {
    for (const [to, value] of constants) values[to] = value
    for (const step of steps) step(values)
    return results.map(place => values[place] as Scalar)
  }
}

/** The op, if a region does nothing but apply one of two operands to its two parameters, in either order. */
export function soleOp(block: Block): Op | undefined {
  const [op, ...others] = block.ops
  const [x, y, ...more] = block.parameters.map(p => p.name)
  const returned = block.results.map(r => r.name)
  if (op === undefined || others.length > 0 || more.length > 0 || !commutes.has(op.name)) return undefined
  const [a, b] = op.operands.map(o => o.name)
  return returned.length === 1 && returned[0] === op.results[0]?.name && ((a === x && b === y) || (a === y && b === x)) ? op : undefined
}
const commutes: ReadonlySet<string> = new Set(['add', 'multiply', 'maximum', 'minimum', 'and', 'or', 'xor'] satisfies (keyof typeof binary)[])

/** A region of two parameters as a function of two elements, not rounded where it is a single op. */
export function fold(block: Block): ScalarFunction {
  const sole = soleOp(block)
  if (sole !== undefined) return scalarFunction(sole)
  const f = together(block)
  return (x, y) => f(x, y)[0] as Scalar
}
