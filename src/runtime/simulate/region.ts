/** Bodies of reductions, scatters and sorts: functions of single elements. */
import type { BinaryName } from './arithmetic.ts'
import { word } from './attributes.ts'
import { elements, narrowOf, type Scalar } from './element.ts'
import { check, only, type Block, type Op, type Typed } from './program.ts'
import { scalarFunction, type ScalarFunction } from './scalar.ts'

/** The parameters' values in, the returned values out. */
export type Together = (...values: Scalar[]) => Scalar[]

/** An op's body as a function. */
export function together(op: Op): Together {
  const { parameters, ops, results } = only(op, op.regions)
  const places = new Map(parameters.map(({ name }, i) => [name, i]))
  const placeOf = ({ name }: Typed): number => {
    const found = places.get(name)
    check(op, found !== undefined, `its body uses ${name}, which is not in it`)
    return found
  }
  const constants: [number, Scalar][] = []
  const steps = ops.flatMap(inner => {
    const [from, { name, type }] = [inner.operands.map(placeOf), only(inner, inner.results)]
    const to = places.size
    places.set(name, to)
    const value = inner.attributes.get('value')
    if (inner.name === 'constant' && value?.kind === 'dense') {
      constants.push([to, value.store[0] as Scalar])
      return []
    }
    const [f, narrow, [x = 0, y = 0, z = 0]] = [scalarFunction(inner), narrowOf(type.dtype), from]
    return [(values: Scalar[]): void => { values[to] = narrow(f(values[x] as Scalar, values[y] as Scalar, values[z] as Scalar)) }]
  })
  const returned = results.map(placeOf)
  return (...values) => {
    for (const [to, value] of constants) values[to] = value
    for (const step of steps) step(values)
    return returned.map(place => values[place] as Scalar)
  }
}

/** The op that a body consists of, if it only applies one of these to its two parameters, in either order. */
function soleOp({ parameters, ops, results }: Block): Op | undefined {
  const [op, ...others] = ops
  if (op === undefined || others.length > 0 || !commutes.has(op.name)) return undefined
  const names = (list: readonly Typed[]): string => list.map(v => v.name).sort().join(' ')
  return names(op.operands) === names(parameters) && names(op.results) === names(results) ? op : undefined
}
const commuting = ['add', 'multiply', 'maximum', 'minimum', 'and', 'or', 'xor'] satisfies BinaryName[]
const commutes: ReadonlySet<string> = new Set(commuting)

/** The larger or smaller of two floats where a body says it in comparisons, (a > b or a ≠ a) ? a : b, NaN where either is one: many times as fast as op by op. */
function extremum({ parameters: [a, b], ops, results: [result] }: Block): ScalarFunction | undefined {
  const [better, odd, either, chosen, ...others] = ops
  const of = (op: Op | undefined, name: string, ...operands: readonly (Typed | undefined)[]): boolean =>
    op?.name === name && op.operands.length === operands.length && op.operands.every((v, i) => v.name === operands[i]?.name)
  const direction = better === undefined || better.name !== 'compare' ? '' : word(better, 'comparison_direction')
  const same = others.length === 0 && of(better, 'compare', a, b) && of(odd, 'compare', a, a) && odd !== undefined && word(odd, 'comparison_direction') === 'NE'
    && of(either, 'or', better?.results[0], odd.results[0]) && of(chosen, 'select', either?.results[0], a, b) && chosen?.results[0]?.name === result?.name
  if (!same || a === undefined || elements[a.type.dtype].family !== 'float') return undefined
  const found = { GT: Math.max, LT: Math.min }[direction]
  return found === undefined ? undefined : (x, y) => found(x as number, y as number)
}

/** A body of two parameters as a function of two elements, not rounded where it is a single op. */
export function fold(op: Op): ScalarFunction {
  const body = only(op, op.regions)
  check(op, body.parameters.length === 2 && body.results.length === 1, 'its body must take two elements and give one')
  const sole = soleOp(body)
  if (sole !== undefined) return scalarFunction(sole)
  const larger = extremum(body)
  if (larger !== undefined) return larger
  const f = together(op)
  return (x, y) => f(x, y)[0] as Scalar
}
