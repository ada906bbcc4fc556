/** What is wrong with a field of a configuration, said as its schema has it: where, what was given, what is wanted. */
import { UsageError } from './errors.ts'
import { didYouMean } from './nearest.ts'

/** As much of zod's schemas as messages need; one that cannot tell what it is made of has its own words. */
export interface Described { readonly toJSONSchema?: (params: { readonly io: 'input' }) => unknown }
/** One of a schema's complaints. */
export interface Issue { readonly code?: string | undefined; readonly path: readonly PropertyKey[]; readonly message: string; readonly keys?: readonly string[] }

/** The parts of JSON Schema that zod writes for a run. */
interface Kind {
  readonly type?: string
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Kind[]
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
  readonly exclusiveMaximum?: number
  readonly properties?: { readonly [field: string]: Kind }
  readonly additionalProperties?: Kind | false
  readonly items?: Kind
}
type Path = readonly PropertyKey[]

/** The schema of the field at a path, as far as the path goes. */
const kindAt = (schema: Described, path: Path): Kind => path.reduce<Kind>((kind, key) =>
  kind.properties?.[String(key)] ?? (kind.additionalProperties === false ? undefined : kind.additionalProperties) ?? kind.items ?? {},
(schema.toJSONSchema?.({ io: 'input' }) ?? {}) as Kind)

/** The fields of the object at a path; "any" where it takes every name, undefined where there is no object. */
export function keysAt(schema: Described, path: Path): readonly string[] | 'any' | undefined {
  const found = kindAt(schema, path)
  const kind = found.anyOf?.find(k => k.properties !== undefined) ?? found
  if (kind.properties !== undefined) return Object.keys(kind.properties)
  return kind.additionalProperties === undefined || kind.additionalProperties === false ? undefined : 'any'
}

/** Whether a number may stand at a path. */
export function takesNumbers(schema: Described, path: Path): boolean {
  const kind = kindAt(schema, path)
  return (kind.anyOf ?? [kind]).some(k => k.type === 'number' || k.type === 'integer')
}

const names: { readonly [type: string]: string } = { integer: 'a whole number', number: 'a number', string: 'text', boolean: 'true or false', null: 'null' }

/** In words; `value` is what was given instead. */
function describeKind(kind: Kind, value?: unknown): string {
  if (kind.anyOf !== undefined) return kind.anyOf.map(k => describeKind(k, value)).join(', or ')
  if (kind.enum !== undefined) return `one of ${kind.enum.join(', ')}`
  if (kind.type === 'array') return `a list [${describeKind(kind.items ?? {})}, …]`
  if (kind.properties !== undefined) return `an object with ${Object.keys(kind.properties).join(', ')}`
  if (kind.type === 'object') return `an object { name: ${describeKind(kind.additionalProperties === false ? {} : kind.additionalProperties ?? {})} }`
  const { minimum: least, exclusiveMinimum: above, maximum: most, exclusiveMaximum: below } = kind
  const bounds = [
    above === undefined ? '' : `above ${above}`, least === undefined ? '' : `at least ${least}`,
    below === undefined ? '' : `below ${below}`, most === undefined || (most > 1e6 && !(Number(value) > most)) ? '' : `at most ${most}`,
  ].filter(b => b !== '').join(' and ')
  return `${names[kind.type ?? ''] ?? 'a value'}${bounds === '' ? '' : `, ${bounds}`}`
}

const valueAt = (value: unknown, path: Path): unknown => path.reduce<unknown>((at, key) => (at as { readonly [k: PropertyKey]: unknown } | undefined)?.[key], value)
/** Numbers that JSON lacks read as they are; long values are cut. */
const show = (value: unknown): string => {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? String(value))
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** The first of a schema's complaints about `value`, which `where` gave; `whole` is what `value` is. */
export function fieldError(schema: Described, value: unknown, issue: Issue | undefined, where: string, whole = 'run', cause?: unknown): UsageError {
  const path = issue?.path ?? []
  const caused = cause === undefined ? {} : { cause }
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys ?? []
    const known = Object.keys(kindAt(schema, path).properties ?? {})
    return new UsageError({ code: 'unknown-field', what: `${where}: a ${whole} has no field "${[...path, key].map(String).join('.')}"`, fix: didYouMean(key, known), ...caused })
  }
  const field = path.map(String).join('.')
  if (issue?.code === 'invalid_key') {
    return new UsageError({ code: 'field', what: `${where}: ${field}: ${show(path.at(-1))} cannot be a name here`, fix: 'use letters, digits and "_", and begin with no digit', ...caused })
  }
  const given = valueAt(value, path)
  const kind = kindAt(schema, path)
  const [is, it] = [`${where}: ${field === '' ? `the ${whole}` : field} is ${given === undefined ? 'missing' : show(given)}`, field === '' ? 'it' : field]
  // What a schema says in words of its own is of no kind.
  if (issue?.code === 'custom' || Object.keys(kind).length === 0) return new UsageError({ code: 'field', what: is, fix: issue?.message ?? `give ${it} another value`, ...caused })
  return new UsageError({ code: 'field', what: is, fix: `give ${it} ${describeKind(kind, given)}`, ...caused })
}
