/** Reading an op's attributes, in whichever of MLIR's spellings they come. */
import { check, type Attribute, type Op } from './program.ts'

function find(op: Op, name: string): Attribute | undefined {
  // `dot_dimension_numbers.lhs_batching_dimensions` is a field of the attribute before the point.
  const [outer = '', inner] = name.split('.')
  const attribute = op.attributes.get(outer)
  if (inner === undefined) return attribute
  return attribute?.kind === 'fields' ? attribute.entries.get(inner) : undefined
}

function numbers(op: Op, name: string, attribute: Attribute): number[] {
  if (attribute.kind === 'number') return [Number(attribute.text)]
  if (attribute.kind === 'dense') return Array.from(attribute.store, Number)
  check(op, attribute.kind === 'list', `attribute ${name} is no list of numbers`)
  return attribute.items.flatMap(item => numbers(op, name, item))
}

/** A list of numbers: `array<i64: 0, 1>`, `dense<[0, 1]>` or `[0, 1]`. */
export function integers(op: Op, name: string, absent?: readonly number[]): readonly number[] {
  const attribute = find(op, name)
  if (attribute !== undefined) return numbers(op, name, attribute)
  check(op, absent !== undefined, `attribute ${name} is missing`)
  return absent
}

export function integer(op: Op, name: string, absent?: number): number {
  const [value] = integers(op, name, absent === undefined ? undefined : [absent])
  check(op, value !== undefined, `attribute ${name} is empty`)
  return value
}

/** `LT` of `#stablehlo<comparison_direction LT>`, `f` of `@f`, `true`. */
export function word(op: Op, name: string, absent?: string): string {
  const attribute = find(op, name)
  const text = attribute?.kind === 'word' ? attribute.text : absent
  check(op, text !== undefined, `attribute ${name} is missing`)
  return text
}

/** A matrix of numbers, row by row; negative ones only fill up short rows. */
export function rows(op: Op, name: string): number[][] {
  const attribute = find(op, name)
  check(op, attribute?.kind === 'dense' && attribute.type.shape.length === 2, `attribute ${name} is no matrix`)
  const [count = 0, width = 0] = attribute.type.shape
  const all = Array.from(attribute.store, Number)
  return Array.from({ length: count }, (_, i) => all.slice(i * width, (i + 1) * width).filter(n => n >= 0))
}

/** The items of a list as they were written: `b`, `0`, `f`. */
export function texts(op: Op, name: string, absent?: readonly string[]): readonly string[] {
  const attribute = find(op, name)
  if (attribute === undefined && absent !== undefined) return absent
  check(op, attribute?.kind === 'list', `attribute ${name} is no list`)
  return attribute.items.map(item => (item.kind === 'word' || item.kind === 'number' ? item.text : ''))
}
