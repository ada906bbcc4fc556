/** Schemas that hold together, as one. */
import type { PlainObject } from '../../core/plain.ts'

const isObject = (x: unknown): x is PlainObject => typeof x === 'object' && x !== null && !Array.isArray(x)
/** Words that tell, and ask for nothing. */
const telling = ['title', 'description', 'default', 'examples', '$comment', '$schema', '$id', 'deprecated', 'readOnly', 'writeOnly', '$defs', 'definitions']

type Merge = (a: unknown, b: unknown) => unknown
const larger: Merge = (a, b) => Math.max(Number(a), Number(b))
const smaller: Merge = (a, b) => Math.min(Number(a), Number(b))
const both: Merge = (a, b) => ({ allOf: [a, b] })
const types = (x: unknown): unknown[] => (Array.isArray(x) ? x : [x])
const ways: { readonly [word: string]: Merge } = {
  minimum: larger, exclusiveMinimum: larger, minLength: larger, minItems: larger, minProperties: larger, maximum: smaller, exclusiveMaximum: smaller, maxLength: smaller, maxItems: smaller, maxProperties: smaller,
  required: (a, b) => [...new Set([...types(a), ...types(b)])], type: (a, b) => types(a).flatMap(x => (types(b).includes(x) ? [x] : (x === 'number' && types(b).includes('integer')) || (x === 'integer' && types(b).includes('number')) ? ['integer'] : [])),
  enum: (a, b) => types(a).filter(x => types(b).some(y => JSON.stringify(x) === JSON.stringify(y))), items: both,
  properties: (a, b) => {
    const [x, y] = [isObject(a) ? a : {}, isObject(b) ? b : {}]
    return Object.fromEntries([...new Set([...Object.keys(x), ...Object.keys(y)])].map(name => [name, Object.hasOwn(x, name) && Object.hasOwn(y, name) ? both(x[name], y[name]) : x[name] ?? y[name]]))
  },
  allOf: (a, b) => [...types(a), ...types(b)],
}

/** @param fail makes the error for what cannot be said in one schema */
export function mergedSchema(schemas: readonly unknown[], fail: (what: string, fix: string) => Error): unknown {
  let all: PlainObject = {}
  for (const schema of schemas) {
    if (schema === true) continue
    if (!isObject(schema)) throw fail(`${JSON.stringify(schema) ?? 'nothing'} cannot be joined with others`, 'give objects')
    const closed = [all, schema].filter(s => s['additionalProperties'] !== undefined && s['additionalProperties'] !== true)
    if (closed.length > 0 && all['properties'] !== undefined && schema['properties'] !== undefined) throw fail('objects that are closed cannot be joined with others', 'list all properties in one schema')
    const next: Record<string, unknown> = { ...all }
    for (const [word, value] of Object.entries(schema)) {
      const before = next[word]
      if (before === undefined || telling.includes(word) || JSON.stringify(before) === JSON.stringify(value)) next[word] = value
      else if (word in ways) next[word] = (ways[word] as Merge)(before, value)
      else throw fail(`two kinds of "${word}" cannot be joined`, 'say it once')
    }
    all = next as PlainObject
  }
  return all
}
