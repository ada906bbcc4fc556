/** Schemas that hold together, as one. */
import type { PlainObject } from '../../core/plain.ts'
import { matches } from './keys.ts'

const isObject = (x: unknown): x is PlainObject => typeof x === 'object' && x !== null && !Array.isArray(x)
type Fail = (what: string, fix: string) => Error
type Merge = (a: unknown, b: unknown) => unknown
const bound = (of: (a: number, b: number) => number): Merge => (a, b) => (typeof a === 'number' && typeof b === 'number' ? of(a, b) : NaN)
const [larger, smaller] = [bound(Math.max), bound(Math.min)]
const both: Merge = (a, b) => (a === undefined ? b : b === undefined || JSON.stringify(a) === JSON.stringify(b) ? a : { allOf: [a, b] })
const types = (x: unknown): unknown[] => (Array.isArray(x) ? x : [x])
const ways: ReadonlyMap<string, Merge> = new Map<string, Merge>([
  ...['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties'].map(word => [word, larger] as const), ...['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties'].map(word => [word, smaller] as const),
  ['required', (a, b) => [...new Set([...types(a), ...types(b)])]],
  ['type', (a, b) => types(a).flatMap(x => (types(b).includes(x) ? [x] : (x === 'number' && types(b).includes('integer')) || (x === 'integer' && types(b).includes('number')) ? ['integer'] : []))],
  ['enum', (a, b) => types(a).filter(x => types(b).some(y => JSON.stringify(x) === JSON.stringify(y)))], ['allOf', (a, b) => [...types(a), ...types(b)]],
])
/** Of these a schema has one, and what two of them say together cannot be said by one. */
const single = ['const', 'pattern', 'format', 'multipleOf', 'anyOf', 'oneOf', '$ref']
/** Words that say something only together. */
const together = ['properties', 'patternProperties', 'additionalProperties', 'prefixItems', 'items']

const objectIn = (schema: PlainObject, word: string): PlainObject => { const found = schema[word]; return isObject(found) ? found : {} }

/** What members must be that one of two lists, and the other does not: each says of them what it says of those that it does not list. */
function members(a: PlainObject, b: PlainObject, fail: Fail): PlainObject {
  const sides = [a, b].map(of => ({ properties: objectIn(of, 'properties'), patterns: objectIn(of, 'patternProperties'), additional: of['additionalProperties'] }))
  const says = ({ properties, patterns, additional }: (typeof sides)[number], name: string): unknown => (Object.hasOwn(properties, name) ? properties[name] : Object.keys(patterns).some(p => matches(p, name)) ? undefined : additional)
  const [x, y] = sides as [(typeof sides)[number], (typeof sides)[number]]
  for (const [one, other] of [[x, y], [y, x]] as const) {
    const closed = other.additional !== undefined && other.additional !== true
    if (closed && Object.keys(one.patterns).some(p => !Object.hasOwn(other.patterns, p))) throw fail('patterns of properties cannot be joined with what is said of all others', 'list the properties in one schema')
  }
  const joined = (word: 'properties' | 'patterns', of: (name: string) => unknown): PlainObject => Object.fromEntries([...new Set([...Object.keys(x[word]), ...Object.keys(y[word])])].map(name => [name, of(name)])) as PlainObject
  const [properties, patterns] = [joined('properties', name => both(says(x, name), says(y, name)) ?? true), joined('patterns', name => both(x.patterns[name], y.patterns[name]))]
  const additional = both(x.additional, y.additional)
  return {
    ...(a['properties'] === undefined && b['properties'] === undefined ? {} : { properties }), ...(Object.keys(patterns).length === 0 ? {} : { patternProperties: patterns }),
    ...(additional === undefined ? {} : { additionalProperties: additional }),
  } as PlainObject
}

/** The same of items: those at the beginning of one that the other does not list are what the other says of all that follow. */
function items(a: PlainObject, b: PlainObject): PlainObject {
  const sides = [a, b].map(of => {
    const rest = of['items']
    return Array.isArray(rest) ? { prefix: rest as readonly unknown[], rest: undefined } : { prefix: Array.isArray(of['prefixItems']) ? of['prefixItems'] as readonly unknown[] : [], rest }
  })
  const length = Math.max(...sides.map(s => s.prefix.length))
  const [x, y] = sides as [(typeof sides)[number], (typeof sides)[number]]
  const at = ({ prefix, rest }: typeof x, i: number): unknown => (i < prefix.length ? prefix[i] : rest)
  const rest = both(x.rest, y.rest)
  return { ...(length === 0 ? {} : { prefixItems: Array.from({ length }, (_, i) => both(at(x, i), at(y, i)) ?? true) }), ...(rest === undefined ? {} : { items: rest }) } as PlainObject
}

/** @param fail makes the error for what cannot be said in one schema @param count is told how much has been joined, and may refuse more */
export function mergedSchema(schemas: readonly unknown[], fail: Fail, count: (words: number) => void): unknown {
  let all: PlainObject = {}
  for (const schema of schemas) {
    if (schema === true) continue
    if (schema === false) return false
    if (!isObject(schema)) throw fail(`${JSON.stringify(schema) ?? 'nothing'} cannot be joined with others`, 'give objects')
    const next = new Map<string, unknown>(Object.entries(all))
    for (const [word, value] of Object.entries(schema)) {
      const before = next.get(word)
      if (together.includes(word)) continue
      if (before === undefined || JSON.stringify(before) === JSON.stringify(value)) next.set(word, value)
      else if (single.includes(word)) throw fail(`two kinds of "${word}" cannot be joined`, 'say it once')
      else next.set(word, ways.get(word)?.(before, value) ?? value)
      if (Number.isNaN(next.get(word))) throw fail(`two kinds of "${word}" cannot be joined`, 'give numbers')
    }
    for (const word of together) next.delete(word)
    count(next.size + Object.keys(objectIn(all, 'properties')).length)
    all = { ...Object.fromEntries(next), ...members(all, schema, fail), ...items(all, schema) } as PlainObject
  }
  return all
}
