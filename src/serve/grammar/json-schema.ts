/** JSON Schema as a grammar. What comes out is always valid; not everything that is valid can come out: members stand in the schema's order, and blanks are at most one. */
import type { PlainObject } from '../../core/plain.ts'
import { any, literal, nothing, oneOf, repeat, rule, seq, without, everyCharacter, wrong, type Expr } from './expr.ts'
import { formats } from './formats.ts'
import { gap, jsonCharacter, jsonRules, member, text } from './json.ts'
import { integersIn, multiplesOf, numbersIn, type Bounds } from './numbers.ts'
import { parseRegex, patternExpr, searched } from './regex.ts'
import { matches, namesBy } from './keys.ts'
import { mergedSchema } from './merge-schemas.ts'

type Schema = PlainObject
const isObject = (x: unknown): x is Schema => typeof x === 'object' && x !== null && !Array.isArray(x)
const comma: Expr = seq(gap, literal(','), gap)

/** Of each type the words that say something of its values. */
const wordsOf: { readonly [type: string]: readonly string[] } = {
  object: ['properties', 'required', 'additionalProperties', 'patternProperties', 'minProperties', 'maxProperties'], array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'], number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'], integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'], boolean: [], null: [],
}
/** Words of the standard that are not enforced: a schema that has one is refused. */
const unsupported = ['not', 'if', 'then', 'else', 'contains', 'minContains', 'maxContains', 'uniqueItems', 'propertyNames', 'dependentRequired', 'dependentSchemas', 'dependencies', 'unevaluatedItems', 'unevaluatedProperties', '$dynamicRef', '$recursiveRef', 'additionalItems']
const deepest = 64
const mostSchemas = 20_000
/** Of a text or a list, as the least; and of a name among which others may come. */
const [mostLeast, longestName] = [100_000, 500]
/** That may not hold together, each of which is held against each. */
const mostCases = 300

export function schemaRules(root: unknown): Map<string, Expr> {
  const rules = new Map<string, Expr>(jsonRules)
  const refs = new Map<string, string>()
  let count = 0

  const at = (path: string): string => (path === '' ? 'the schema' : `the schema at ${path}`)
  const fail = (path: string, what: string, fix: string): Error => wrong(`${at(path)}: ${what}`, fix)
  const whole = (schema: Schema, name: string, path: string): number | undefined => {
    const value = schema[name]
    if (value === undefined) return undefined
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw fail(path, `${name} is ${JSON.stringify(value)}`, 'give a whole number from 0 on')
    if (name.startsWith('min') && value > mostLeast) throw fail(path, `${name} is ${value}`, `give ${mostLeast} at most`)
    return value
  }

  const merged = (schemas: readonly unknown[], path: string): unknown => mergedSchema(schemas, (what, fix) => fail(path, what, fix), words => {
    if ((count += words) > mostSchemas) throw fail(path, 'there are too many schemas to be joined', 'ask for less at once')
  })

  /** What a reference within the schema names. */
  function pointed(ref: string, path: string): unknown {
    if (!ref.startsWith('#')) throw fail(path, `$ref "${ref}" is not within the schema, and nothing is fetched`, 'put what it names under $defs')
    let found: unknown = root
    for (const part of ref.slice(1).split('/').slice(1)) {
      const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
      found = Array.isArray(found) ? found[Number(key)] : isObject(found) && Object.hasOwn(found, key) ? found[key] : undefined
    }
    if (found === undefined || (ref !== '#' && !ref.startsWith('#/'))) throw fail(path, `$ref "${ref}" names nothing`, 'name a part of the schema, such as #/$defs/name')
    return found
  }
  function referred(ref: string, path: string, depth: number): Expr {
    let name = refs.get(ref)
    if (name === undefined) {
      name = `ref ${ref}`
      refs.set(ref, name)
      const target = pointed(ref, path)
      rules.set(name, expr(target, ref, depth + 1))
    }
    return rule(name)
  }

  /** A schema as a rule of its own, for what is written more than once: or what lies in each other would double with each level. */
  function shared(schema: unknown, path: string, depth: number): Expr {
    const found = expr(schema, path, depth)
    if (found.op === 'rule' || found.op === 'bytes') return found
    const name = `part ${rules.size} ${path}`
    rules.set(name, found)
    return rule(name)
  }
  function expr(schema: unknown, path: string, depth: number): Expr {
    if (++count > mostSchemas || depth > deepest) throw fail(path, depth > deepest ? `schemas lie in each other more than ${deepest} deep` : 'there are too many schemas', 'ask for less at once')
    if (schema === true) return rule('value')
    if (schema === false) return any()
    if (!isObject(schema)) throw fail(path, `it is ${JSON.stringify(schema)?.slice(0, 40) ?? 'nothing'}, no schema`, 'give an object, true or false')
    const no = unsupported.find(word => schema[word] !== undefined && !(word === 'uniqueItems' && schema[word] === false))
    if (no !== undefined) throw fail(path, `"${no}" cannot be enforced`, 'leave it out, or say it otherwise')
    if (schema['allOf'] !== undefined) {
      const parts = list(schema, 'allOf', path)
      const { allOf: _, ...rest } = schema
      const resolve = (s: unknown): unknown => (isObject(s) && typeof s['$ref'] === 'string' && Object.keys(s).length === 1 ? resolve(pointed(s['$ref'], path)) : s)
      return expr(merged([rest, ...parts.map(resolve)], path), path, depth + 1)
    }
    if (schema['$ref'] !== undefined) {
      const { $ref: ref, ...rest } = schema
      if (typeof ref !== 'string') throw fail(path, '$ref is no text', 'name a part of the schema')
      if (Object.keys(rest).some(word => Object.hasOwn(keywords, word))) return expr({ ...rest, allOf: [pointed(ref, path)] }, path, depth + 1)
      return referred(ref, path, depth)
    }
    for (const word of ['anyOf', 'oneOf'] as const) {
      if (schema[word] === undefined) continue
      const parts = list(schema, word, path)
      if (word === 'oneOf') refuseOverlap(parts, path)
      const rest = Object.fromEntries(Object.entries(schema).filter(([key]) => key !== word))
      const more = Object.keys(rest).some(key => Object.hasOwn(keywords, key))
      return any(...parts.map((part, i) => expr(more ? merged([rest, isObject(part) && typeof part['$ref'] === 'string' ? pointed(part['$ref'], path) : part], path) : part, `${path}/${word}/${i}`, depth + 1)))
    }
    if (schema['const'] !== undefined || schema['enum'] !== undefined) {
      const known = schema['enum'] === undefined ? undefined : list(schema, 'enum', path)
      const same = (x: unknown): boolean => JSON.stringify(x) === JSON.stringify(schema['const'])
      return constants(schema['const'] === undefined ? known ?? [] : known?.filter(same) ?? [schema['const']], schema, path)
    }
    const types = typesOf(schema, path)
    if (types === undefined) return rule('value')
    return any(...types.map(type => typed(type, schema, path, depth)))
  }

  const list = (schema: Schema, word: string, path: string): readonly unknown[] => {
    const found = schema[word]
    if (!Array.isArray(found) || found.length === 0) throw fail(path, `${word} is no list of something`, 'give a list with one or more')
    return found
  }
  /** The types that a schema says, or of which its words speak. Undefined where it says nothing. */
  function typesOf(schema: Schema, path: string): readonly string[] | undefined {
    const given = schema['type']
    if (given !== undefined) {
      const types = Array.isArray(given) ? given : [given]
      for (const type of types) if (typeof type !== 'string' || !Object.hasOwn(wordsOf, type)) throw fail(path, `there is no type ${JSON.stringify(type)}`, `give one of ${Object.keys(wordsOf).join(', ')}`)
      return types as string[]
    }
    const spoken = ['object', 'array', 'string', 'number'].filter(type => (wordsOf[type] ?? []).some(word => schema[word] !== undefined))
    return spoken.length === 0 ? undefined : spoken
  }
  function constants(values: readonly unknown[], schema: Schema, path: string): Expr {
    const types = schema['type'] === undefined ? undefined : typesOf(schema, path)
    const other = Object.values(wordsOf).flat().find(word => schema[word] !== undefined)
    if (other !== undefined) throw fail(path, `"${other}" beside fixed values cannot be enforced`, 'leave out the values that it excludes, and it')
    const is = (value: unknown, type: string): boolean => (type === 'null' ? value === null : type === 'array' ? Array.isArray(value) : type === 'integer' ? Number.isInteger(value) : type === 'object' ? isObject(value) : typeof value === type)
    const kept = values.filter(value => types === undefined || types.some(type => is(value, type)))
    const texts = kept.map(value => JSON.stringify(value))
    // What is beyond a double is read as infinite, which no JSON can say.
    if (texts.some((text, i) => text === 'null' && kept[i] !== null)) throw fail(path, 'a fixed number is too large', 'give one that a double holds')
    return oneOf(texts)
  }
  function typed(type: string, schema: Schema, path: string, depth: number): Expr {
    if (type === 'null') return literal('null')
    if (type === 'boolean') return any(literal('true'), literal('false'))
    if (type === 'string') return texts(schema, path)
    if (type === 'object') return objects(schema, path, depth)
    if (type === 'array') return arrays(schema, path, depth)
    return numbers(type, schema, path)
  }
  function texts(schema: Schema, path: string): Expr {
    const [min, max] = [whole(schema, 'minLength', path), whole(schema, 'maxLength', path)]
    const { pattern, format } = schema
    const bounded = min !== undefined || max !== undefined
    if (pattern !== undefined && typeof pattern !== 'string') throw fail(path, 'pattern is no text', 'give a regular expression')
    if ([bounded, pattern !== undefined, format !== undefined && format !== null].filter(Boolean).length > 1) throw fail(path, 'lengths, a pattern and a format of one text cannot be enforced together', 'say it all by the pattern')
    const quoted = (inner: Expr): Expr => seq(literal('"'), inner, literal('"'))
    if (pattern !== undefined) return quoted(searched(parseRegex(pattern), jsonCharacter))
    if (format !== undefined && format !== null) {
      const known = typeof format === 'string' && Object.hasOwn(formats, format) ? formats[format] : undefined
      if (known === undefined) throw fail(path, `the format ${JSON.stringify(format)} cannot be enforced`, `give one of ${Object.keys(formats).join(', ')}, or a pattern`)
      return quoted(patternExpr(parseRegex(known), jsonCharacter))
    }
    if ((min ?? 0) > (max ?? Infinity)) throw fail(path, 'minLength is more than maxLength', 'give the smaller one as minLength')
    return bounded ? text(min ?? 0, max ?? Infinity) : rule('string')
  }
  function numbers(type: string, schema: Schema, path: string): Expr {
    const value = (name: string): number | undefined => {
      const x = schema[name]
      if (x === undefined || typeof x === 'boolean') return undefined
      if (typeof x !== 'number' || !Number.isFinite(x)) throw fail(path, `${name} is ${JSON.stringify(x)}`, 'give a number')
      return x
    }
    const bound = (closed: string, open: string, larger: boolean): Bounds['low'] => {
      const [a, b] = [value(closed), schema[open] === true ? undefined : value(open)]
      if (schema[open] === true && a !== undefined) return { at: a, open: true }
      if (b !== undefined && (a === undefined || (larger ? b >= a : b <= a))) return { at: b, open: true }
      return a === undefined ? undefined : { at: a, open: false }
    }
    const bounds: Bounds = { low: bound('minimum', 'exclusiveMinimum', true), high: bound('maximum', 'exclusiveMaximum', false) }
    const of = value('multipleOf')
    if (of === undefined) return type === 'integer' ? integersIn(bounds) : numbersIn(bounds)
    const places = -Math.log10(of)
    if (type === 'number' && Number.isInteger(places) && places > 0) return numbersIn(bounds, places)
    if (of === 1) return integersIn(bounds)
    if (!Number.isInteger(of) || of < 1 || of > 1000 || bounds.low !== undefined || bounds.high !== undefined) throw fail(path, `multipleOf ${of} cannot be enforced${bounds.low === undefined && bounds.high === undefined ? '' : ' between bounds'}`, 'give a whole number up to 1000 without bounds, or 0.1, 0.01, …')
    const { expr: found, rules: needed } = multiplesOf(of)
    for (const [name, e] of needed) rules.set(name, e)
    return found
  }
  function arrays(schema: Schema, path: string, depth: number): Expr {
    const [min, max] = [whole(schema, 'minItems', path) ?? 0, whole(schema, 'maxItems', path) ?? Infinity]
    const given = schema['items']
    const before = Array.isArray(given) ? given : (schema['prefixItems'] ?? []) as readonly unknown[]
    if (!Array.isArray(before)) throw fail(path, 'prefixItems is no list', 'give a list of schemas')
    const none = given === false
    const most = none ? Math.min(max, before.length) : max
    if (min > most) throw fail(path, `at least ${min} items, and at most ${most}`, 'give the smaller number as minItems')
    const prefix = before.map((s, i) => expr(s, `${path}/prefixItems/${i}`, depth + 1))
    const item = Array.isArray(given) || given === undefined ? rule('value') : none ? any() : shared(given, `${path}/items`, depth + 1)
    // From the last one on: what follows i items.
    let rest: Expr = most <= prefix.length ? nothing : prefix.length === 0
      ? most === 0 ? nothing : min === 0 ? any(nothing, seq(item, repeat(seq(comma, item), 0, most - 1), gap)) : seq(item, repeat(seq(comma, item), min - 1, most - 1), gap)
      : seq(repeat(seq(comma, item), Math.max(0, min - prefix.length), most - prefix.length), gap)
    for (let i = Math.min(prefix.length, most) - 1; i >= 0; i--) {
      const here = seq(i === 0 ? nothing : comma, prefix[i] as Expr, i === Math.min(prefix.length, most) - 1 && most <= prefix.length ? gap : rest)
      rest = min > i ? here : any(i === 0 ? nothing : gap, here)
    }
    return seq(literal('['), gap, rest, literal(']'))
  }
  function objects(schema: Schema, path: string, depth: number): Expr {
    const properties = schema['properties'] ?? {}
    const patterns = schema['patternProperties'] ?? {}
    const required = schema['required'] ?? []
    if (!isObject(properties) || !isObject(patterns)) throw fail(path, 'properties are no object', 'give a schema by name')
    if (!Array.isArray(required) || !required.every((r): r is string => typeof r === 'string')) throw fail(path, 'required is no list of names', 'give a list of names')
    const spoken = Object.keys(patterns)
    // What is not listed may come where nothing is listed, or where the schema says so.
    const additional = schema['additionalProperties'] ?? (Object.keys(properties).length === 0 && spoken.length === 0)
    const names = [...Object.keys(properties), ...required.filter(r => !Object.hasOwn(properties, r))]
    const joined = (parts: readonly unknown[]): unknown => (parts.length === 0 ? additional : parts.length === 1 ? parts[0] : { allOf: parts })
    const members = names.map(name => {
      const said = joined([...Object.hasOwn(properties, name) ? [properties[name]] : [], ...spoken.filter(p => matches(p, name)).map(p => patterns[p])])
      if (said === false && required.includes(name)) throw fail(path, `"${name}" is required, and ${Object.hasOwn(properties, name) ? 'nothing may stand there' : 'no schema says what it is'}`, 'add it to properties')
      return { must: required.includes(name), expr: member(literal(JSON.stringify(name)), shared(said, `${path}/properties/${name}`, depth + 1)) }
    })
    const prefix = `object ${rules.size} ${path}`
    // A name that is listed does not come among the others, too, nor do patterns that hold for one name get in each other's way.
    const found = spoken.length === 0 ? undefined : namesBy(spoken, names, `${prefix} name`)
    for (const [name, e] of found?.rules ?? []) rules.set(name, e)
    const others = found === undefined ? [{ matched: [] as readonly number[], expr: undefined }] : found.classes
    const extra = others.flatMap(({ matched, expr: name }) => {
      const said = joined(matched.map(k => patterns[spoken[k] as string]))
      return said === false ? [] : [member(name === undefined ? otherText(names, path) : seq(literal('"'), name, literal('"')), shared(said, `${path}/additionalProperties`, depth + 1))]
    })
    const [min, max] = [whole(schema, 'minProperties', path) ?? 0, whole(schema, 'maxProperties', path) ?? Infinity]
    const must = members.filter(m => m.must).length
    const [least, most] = [Math.max(0, min - must), max === Infinity ? Infinity : max - members.length]
    if ((least > 0 || most !== Infinity) && members.some(m => !m.must) && (least > 0 || (extra.length > 0 && most !== Infinity) || max < members.length)) throw fail(path, 'a number of properties beside optional ones cannot be enforced', 'require them, or leave the number out')
    if (most < 0 || least > most || (least > 0 && extra.length === 0)) throw fail(path, 'no object has as many properties as it must have, and no more than it may', 'change minProperties or maxProperties')
    // One name may come twice, and then it counts once.
    if (least > 1 && extra.length > 0) throw fail(path, 'more than one property beside those that are required cannot be enforced', 'require them')
    if (extra.length > 0) rules.set(`${prefix} more`, any(...extra))
    const more = rule(`${prefix} more`)
    const tail = (started: boolean): Expr => {
      if (extra.length === 0 || most === 0) return started ? gap : nothing
      if (started) return seq(repeat(seq(comma, more), least, most), gap)
      const some = seq(more, repeat(seq(comma, more), Math.max(0, least - 1), most - 1), gap)
      return least > 0 ? some : any(nothing, some)
    }
    // A rule for what follows each member, with and without one before it: they share what follows them.
    const after = (i: number, started: boolean): Expr => (i === members.length ? tail(started) : rule(`${prefix} ${i} ${started ? 1 : 0}`))
    members.forEach(({ must: always, expr: own }, i) => {
      for (const started of [true, false]) {
        const taken = seq(...started ? [comma] : [], own, after(i + 1, true))
        rules.set(`${prefix} ${i} ${started ? 1 : 0}`, always ? taken : any(taken, after(i + 1, started)))
      }
    })
    return seq(literal('{'), gap, after(0, false), literal('}'))
  }
  /** Cases of which one alone may hold are told apart by their types, or by what a property must be. */
  function refuseOverlap(parts: readonly unknown[], path: string): void {
    const resolved = parts.map(p => (isObject(p) && typeof p['$ref'] === 'string' ? pointed(p['$ref'], path) : p))
    const typesIn = (s: unknown): readonly string[] | undefined => {
      if (!isObject(s)) return undefined
      if (s['const'] !== undefined || Array.isArray(s['enum'])) return [...new Set((s['const'] !== undefined ? [s['const']] : s['enum'] as readonly unknown[]).map(v => (v === null ? 'null' : Array.isArray(v) ? 'array' : typeof v)))]
      // What has no type holds for all other types, too.
      return s['type'] === undefined ? undefined : typesOf(s, path)?.map(t => (t === 'integer' ? 'number' : t))
    }
    const valuesOf = (s: unknown): readonly string[] | undefined => (isObject(s) && s['const'] !== undefined ? [JSON.stringify(s['const'])] : isObject(s) && Array.isArray(s['enum']) ? s['enum'].map(v => JSON.stringify(v)) : undefined)
    const fixed = (s: unknown): ReadonlyMap<string, readonly string[]> => {
      if (!isObject(s) || !isObject(s['properties'])) return new Map()
      const required = Array.isArray(s['required']) ? s['required'] : []
      return new Map(Object.entries(s['properties']).flatMap(([name, p]) => { const values = valuesOf(p); return values === undefined || !required.includes(name) ? [] : [[name, values] as const] }))
    }
    const apart = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean => a !== undefined && b !== undefined && !a.some(x => b.includes(x))
    if (resolved.length > mostCases) throw fail(path, `oneOf has more than ${mostCases} cases`, 'use anyOf, or an enum')
    const told = resolved.map(s => ({ types: typesIn(s), values: valuesOf(s), fixed: fixed(s) }))
    for (const [i, a] of told.entries()) {
      for (const b of told.slice(i + 1)) {
        if (!apart(a.types, b.types) && !apart(a.values, b.values) && ![...a.fixed].some(([name, values]) => apart(values, b.fixed.get(name)))) throw fail(path, 'oneOf has cases that may hold together, which cannot be enforced', 'use anyOf, or tell them apart by a required property with a const')
      }
    }
  }
  /** Texts that are none of some others, so that no name comes twice: without escapes but those that must be. */
  function otherText(names: readonly string[], path: string): Expr {
    if (names.length === 0) return rule('string')
    if (names.some(name => name.length > longestName)) throw fail(path, `a name has more than ${longestName} characters`, 'give it a shorter one')
    rules.set('rest of a name', repeat(jsonCharacter(everyCharacter), 0, Infinity))
    const from = (rest: readonly string[]): Expr => {
      const firsts = new Map<string, string[]>()
      for (const name of rest) if (name !== '') { const [c = ''] = name; firsts.set(c, [...firsts.get(c) ?? [], name.slice(c.length)]) }
      const points = [...firsts.keys()].map(c => [c.codePointAt(0) as number, c.codePointAt(0) as number] as const)
      const others = seq(jsonCharacter(without(everyCharacter, points)), rule('rest of a name'))
      return any(...rest.includes('') ? [] : [nothing], others, ...[...firsts].map(([c, tails]) => seq(jsonCharacter([[c.codePointAt(0) as number, c.codePointAt(0) as number]]), from(tails))))
    }
    return seq(literal('"'), from(names), literal('"'))
  }
  const keywords: Readonly<Record<string, true>> = Object.fromEntries([...Object.values(wordsOf).flat(), 'type', 'enum', 'const', 'anyOf', 'oneOf', 'allOf', '$ref', ...unsupported].map(word => [word, true]))
  rules.set('root', expr(root, '', 0))
  return rules
}
