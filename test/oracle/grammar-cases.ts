/** What answers must be, for the judge of masks: schemas of every word, patterns and grammars; and what llguidance must be told so that it means the same. */
import type { Constraint } from '../../src/serve/asking.ts'

export interface Case {
  readonly name: string
  readonly constraint: Constraint
  /** The schema or grammar that llguidance gets, where it must be told more. */
  readonly theirs?: unknown
}
type Json = { readonly [word: string]: unknown } | boolean

const isObject = (x: unknown): x is { readonly [word: string]: unknown } => typeof x === 'object' && x !== null && !Array.isArray(x)
/** Objects that list members have no others with us, unless the schema says so. */
function closed(schema: unknown): unknown {
  if (!isObject(schema)) return schema
  const found: Record<string, unknown> = Object.fromEntries(Object.entries(schema).map(([word, value]) => [word,
    ['properties', 'patternProperties', '$defs'].includes(word) && isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, s]) => [name, closed(s)]))
      : ['anyOf', 'oneOf', 'prefixItems'].includes(word) && Array.isArray(value) ? value.map(closed) : ['items', 'additionalProperties'].includes(word) ? closed(value) : value]))
  if ((found['properties'] !== undefined || found['patternProperties'] !== undefined) && found['additionalProperties'] === undefined) found['additionalProperties'] = false
  return found
}
const schema = (name: string, s: Json, theirs: Json = closed(s) as Json): Case => ({ name, constraint: { type: 'json-schema', schema: s }, theirs })
const each = <T>(values: readonly T[], name: (x: T) => string, s: (x: T) => Json): Case[] => values.map(x => schema(name(x), s(x)))
const object = (properties: object, more: object = {}): Json => ({ type: 'object', properties, ...more })
const int = { type: 'integer' }
const text = { type: 'string' }

type Bounds = { readonly minimum?: number; readonly maximum?: number; readonly exclusiveMinimum?: number; readonly exclusiveMaximum?: number }
const bounds: readonly Bounds[] = [
  { minimum: 0 }, { minimum: 1 }, { minimum: 42 }, { minimum: -7 }, { minimum: 1000 }, { maximum: 0 }, { maximum: -1 }, { maximum: 99 }, { maximum: -250 }, { exclusiveMinimum: 0 }, { exclusiveMaximum: 0 }, { exclusiveMaximum: 128 },
  { minimum: 0, maximum: 9 }, { minimum: 0, maximum: 10 }, { minimum: 5, maximum: 5 }, { minimum: 1, maximum: 12 }, { minimum: 18, maximum: 120 }, { minimum: 99, maximum: 101 }, { minimum: -5, maximum: 5 }, { minimum: -100, maximum: -10 }, { minimum: -1, maximum: 1000 },
  { minimum: 1900, maximum: 2099 }, { exclusiveMinimum: -3, exclusiveMaximum: 3 }, { minimum: 0, exclusiveMaximum: 65536 }, { minimum: 123, maximum: 98765 },
]
const fractions: readonly Bounds[] = [
  { minimum: 0 }, { exclusiveMinimum: 0 }, { maximum: 0 }, { minimum: 0, maximum: 1 }, { exclusiveMinimum: 0, maximum: 1 }, { exclusiveMinimum: 0, exclusiveMaximum: 1 }, { minimum: -1, maximum: 1 }, { minimum: 0.5 }, { maximum: 2.75 }, { minimum: 0.25, maximum: 0.75 },
  { minimum: -1.5, maximum: 10 }, { minimum: 3.14, maximum: 3.15 }, { exclusiveMinimum: -273.15 }, { minimum: 100, maximum: 100.5 }, { minimum: -2.5, maximum: -0.5 }, { exclusiveMinimum: 1.05, exclusiveMaximum: 12.5 }, { minimum: 0.001, maximum: 1000 },
]
const told = (x: unknown): string => JSON.stringify(x).replaceAll('"', '')
const lengths = [{ minLength: 1 }, { minLength: 5 }, { maxLength: 0 }, { maxLength: 1 }, { maxLength: 4 }, { maxLength: 100 }, { minLength: 2, maxLength: 3 }, { minLength: 3, maxLength: 3 }, { minLength: 10, maxLength: 40 }]
const sizes = [{ minItems: 1 }, { minItems: 3 }, { maxItems: 0 }, { maxItems: 1 }, { maxItems: 3 }, { minItems: 2, maxItems: 2 }, { minItems: 1, maxItems: 5 }, { minItems: 4, maxItems: 6 }, { maxItems: 50 }]
const searched = ['a', '^a', 'a$', '^a$', '^[a-z]+$', '^[A-Z]{2,3}-\\d{4}$', '^(yes|no|maybe)$', '^\\w+@\\w+\\.com$', '^.{3,8}$', '^[^"\\\\]*$', '^(\\d{1,3}\\.){3}\\d{1,3}$', '^#[0-9a-f]{6}$', '^\\s*$', 'b+c', '^é+$', '^[東京]{1,2}$', '^x?y*z+$', '^(a|b)*abb$', '^$', '^\\S{1,10}$', '^[+-]?\\d+(\\.\\d+)?$', '^v\\d+\\.\\d+\\.\\d+$']
const formats = ['date', 'time', 'date-time', 'uuid', 'ipv4', 'hostname', 'email', 'uri']
const values: readonly unknown[] = [null, true, false, 0, 1, -3, 2.5, 'a', '', 'with "quotes"', 'new\nline', 'é', '東京', [], {}, [1, 2], { a: 1 }, { a: { b: [null] } }, 'a\\b']
const lists: readonly (readonly unknown[])[] = [['red', 'green', 'blue'], ['a', 'ab', 'abc'], [1, 2, 3], [1, 10, 100], [null, true, 'x', 2], ['é', 'è'], [[1], [2]], [{ k: 1 }, { k: 2 }], ['yes'], ['', ' '], [0, -1, 0.5]]
const types = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object']

const node = { type: 'object', properties: { v: int, next: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/node' }] } }, required: ['v', 'next'], additionalProperties: false }
const arithmetic = { anyOf: [int, { type: 'object', properties: { op: { enum: ['+', '-'] }, left: { $ref: '#/$defs/e' }, right: { $ref: '#/$defs/e' } }, required: ['op', 'left', 'right'], additionalProperties: false }] }
const person = object({ name: text, age: { type: 'integer', minimum: 0, maximum: 150 }, mail: { type: 'string', format: 'email' } }, { required: ['name', 'age'] })

export const schemas: readonly Case[] = [
  schema('anything', {}), schema('true', true),
  ...each(types, t => `type ${t}`, type => ({ type })),
  ...each([['null', 'string'], ['integer', 'boolean'], ['array', 'null'], ['object', 'number'], ['string', 'integer', 'null']], t => `types ${t.join(' ')}`, type => ({ type })),
  ...each(bounds, b => `integer ${told(b)}`, b => ({ type: 'integer', ...b })), ...each(fractions, b => `number ${told(b)}`, b => ({ type: 'number', ...b })),
  ...each([2, 3, 5, 7, 10, 25, 100], n => `multiples of ${n}`, multipleOf => ({ type: 'integer', multipleOf })), ...each([0.1, 0.01, 0.001], n => `multiples of ${n}`, multipleOf => ({ type: 'number', multipleOf })),
  ...each(lengths, l => `text ${told(l)}`, l => ({ type: 'string', ...l })), ...each(searched, p => `pattern ${p}`, pattern => ({ type: 'string', pattern })), ...each(formats, f => `format ${f}`, format => ({ type: 'string', format })),
  ...each(values, v => `const ${JSON.stringify(v)}`, v => ({ const: v })), ...each(lists, l => `enum ${JSON.stringify(l)}`, l => ({ enum: l })), schema('enum of a type', { type: 'string', enum: ['a', 1, null, 'b'] }), schema('const of an enum', { enum: [1, 2], const: 2 }),
  ...each(sizes, s => `array ${told(s)}`, s => ({ type: 'array', items: int, ...s })), ...each(types, t => `array of ${t}`, type => ({ type: 'array', items: { type }, maxItems: 3 })),
  schema('array of arrays', { type: 'array', items: { type: 'array', items: { type: 'boolean' } } }), schema('nothing in it', { type: 'array', items: false }),
  schema('a pair', { type: 'array', prefixItems: [int, text], items: false }), schema('a whole pair', { type: 'array', prefixItems: [int, text], minItems: 2, items: false }), schema('a pair and more', { type: 'array', prefixItems: [text, int], items: { type: 'boolean' } }), schema('a tuple of any rest', { type: 'array', prefixItems: [int] }),
  schema('a tuple that may be longer', { type: 'array', prefixItems: [int, int], items: text, maxItems: 4 }), schema('a tuple that is shorter', { type: 'array', prefixItems: [int, int, int], maxItems: 2 }), schema('a tuple of at least', { type: 'array', prefixItems: [int], items: { type: 'null' }, minItems: 3 }),
  schema('an object', object({ a: int })), schema('a member that must be', object({ a: int }, { required: ['a'] })), schema('two members', object({ a: int, b: text }, { required: ['a', 'b'] })), schema('one of two', object({ a: int, b: text }, { required: ['b'] })), schema('three that may be', object({ a: int, b: text, c: { type: 'null' } })),
  schema('names that begin alike', object({ a: int, ab: int, abc: int }, { additionalProperties: { type: 'boolean' } })), schema('names with quotes', object({ 'a"b': int, 'c\\d': text }, { required: ['a"b'] })), schema('names of other scripts', object({ naïve: int, 東京: text }, { required: ['東京'] })), schema('an empty name', object({ '': int }, { required: [''] })),
  schema('closed', object({ a: int }, { additionalProperties: false })), schema('open', object({ a: int }, { additionalProperties: true })), schema('open for integers', object({ a: text }, { additionalProperties: int, required: ['a'] })), schema('a map', { type: 'object', additionalProperties: int }), schema('a map of maps', { type: 'object', additionalProperties: { type: 'object', additionalProperties: text } }), schema('no member', { type: 'object', additionalProperties: false }),
  schema('must be, and nothing said', { type: 'object', required: ['id'] }), schema('must be, of any others', { type: 'object', required: ['x', 'y'], additionalProperties: int }),
  schema('by pattern', { type: 'object', patternProperties: { '^s_': text }, additionalProperties: false }), schema('by two patterns', { type: 'object', patternProperties: { '^s_': text, '^i_': int }, additionalProperties: false }), schema('by a whole pattern', { type: 'object', patternProperties: { '^[a-z]{2}$': int }, additionalProperties: false }),
  schema('members and a pattern', object({ name: text }, { patternProperties: { '^x-': int }, required: ['name'] })), schema('a member that a pattern speaks of', object({ 'x-a': { minimum: 3 } }, { patternProperties: { '^x-': int }, required: ['x-a'], additionalProperties: false })),
  schema('at least one', { type: 'object', minProperties: 1, additionalProperties: int }), schema('at most two', { type: 'object', maxProperties: 2, additionalProperties: int }), schema('none at all', { type: 'object', maxProperties: 0 }), schema('one beside', object({ a: int }, { required: ['a'], minProperties: 2, additionalProperties: int })),
  schema('a person', person), schema('people', { type: 'array', items: person, minItems: 1 }), schema('in each other', object({ a: object({ b: object({ c: int }, { required: ['c'] }) }, { required: ['b'] }) }, { required: ['a'] })),
  schema('any of two', { anyOf: [int, text] }), schema('any of three', { anyOf: [{ type: 'null' }, { type: 'array', items: int }, object({ a: int }, { required: ['a'] })] }), schema('any of ranges', { anyOf: [{ type: 'integer', minimum: 10, maximum: 19 }, { type: 'integer', minimum: 15, maximum: 30 }] }), schema('any of texts', { anyOf: [{ const: 'auto' }, { type: 'string', pattern: '^[0-9]+$' }] }),
  schema('any, with a type', { type: 'integer', anyOf: [{ minimum: 100 }, { maximum: 9, minimum: 0 }] }), schema('any of objects', { anyOf: [object({ a: int }, { required: ['a'] }), object({ b: int }, { required: ['b'] })] }), schema('any of objects that begin alike', { anyOf: [object({ a: int, b: int }, { required: ['a', 'b'] }), object({ a: int, c: int }, { required: ['a', 'c'] })] }), schema('any of nothing', { anyOf: [false, int] }),
  schema('one of types', { oneOf: [int, text, { type: 'null' }] }), schema('one of kinds', { oneOf: [object({ kind: { const: 'cat' }, lives: int }, { required: ['kind'] }), object({ kind: { const: 'dog' }, name: text }, { required: ['kind'] })] }), schema('one of values', { oneOf: [{ const: 1 }, { const: 2 }] }), schema('one of an enum', { oneOf: [{ enum: ['a', 'b'] }, { enum: ['c'] }] }),
  schema('all of ranges', { allOf: [{ type: 'integer' }, { minimum: 3 }, { maximum: 12 }] }), schema('all of members', { allOf: [object({ a: int }, { required: ['a'] }), object({ b: text }, { required: ['b'] })] }, object({ a: int, b: text }, { required: ['a', 'b'], additionalProperties: false })),
  schema('all of types', { allOf: [{ type: ['integer', 'null', 'string'] }, { type: ['null', 'integer'] }] }), schema('all, of one closed', { allOf: [{ properties: { a: int } }], type: 'object', additionalProperties: { type: 'integer', minimum: 5 } }), schema('all of tuples', { type: 'array', allOf: [{ prefixItems: [int] }], items: { type: 'integer', minimum: 5 }, maxItems: 2 }), schema('all of enums', { allOf: [{ enum: ['a', 'b', 'c'] }, { enum: ['b', 'c', 'd'] }] }),
  schema('by reference', { $defs: { n: int }, $ref: '#/$defs/n' }), schema('a reference to a member', object({ a: int, b: { $ref: '#/properties/a' } }, { required: ['a', 'b'] })), schema('a reference with more', { $defs: { n: { type: 'integer', minimum: 2 } }, $ref: '#/$defs/n', maximum: 7 }), schema('a chain of references', { $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/c' }, c: { type: 'boolean' } }, $ref: '#/$defs/a' }), schema('an escaped reference', { $defs: { 'a/b': int, 'c~d': text }, type: 'array', prefixItems: [{ $ref: '#/$defs/a~1b' }, { $ref: '#/$defs/c~0d' }], items: false }),
  schema('a list of itself', { $defs: { node }, $ref: '#/$defs/node' }), schema('a tree', object({ name: text, children: { type: 'array', items: { $ref: '#' } } }, { required: ['name', 'children'] })), schema('sums', { $defs: { e: arithmetic }, $ref: '#/$defs/e' }), schema('lists in lists', { type: 'array', items: { $ref: '#' } }), schema('a map of itself', { type: 'object', additionalProperties: { $ref: '#' } }),
  schema('two that need each other', { $defs: { a: object({ b: { $ref: '#/$defs/b' } }), b: object({ a: { $ref: '#/$defs/a' } }) }, $ref: '#/$defs/a' }),
  schema('what never ends is left out', { $defs: { loop: object({ next: { $ref: '#/$defs/loop' } }, { required: ['next'] }) }, type: 'object', properties: { a: int, b: { $ref: '#/$defs/loop' } } }, object({ a: int }, { additionalProperties: false })), schema('a member that cannot be', object({ a: int, b: false })), schema('items that cannot be', { type: 'array', items: { anyOf: [false] } }),
  schema('a call', object({ name: { const: 'get_weather' }, arguments: object({ city: { type: 'string', minLength: 1 }, unit: { enum: ['c', 'f'] } }, { required: ['city'] }) }, { required: ['name', 'arguments'] })), schema('a title and nothing else', { title: 'x', description: 'y' }),
  schema('an invoice', object({ id: { type: 'string', pattern: '^INV-\\d{4}$' }, lines: { type: 'array', items: object({ sku: text, count: { type: 'integer', minimum: 1 }, price: { type: 'number', minimum: 0 } }, { required: ['sku', 'count', 'price'] }), minItems: 1, maxItems: 3 }, paid: { type: 'boolean' } }, { required: ['id', 'lines'] })),
]

const patterns = [
  'a', 'abc', 'a|b', 'a|ab|abc', 'a*', 'a+b?', '(ab)+', '[a-z]+', '[^a-z]+', '\\d{3}-\\d{4}', '\\d+(\\.\\d+)?', '[A-Z][a-z]*( [A-Z][a-z]*)*', '(yes|no)', '\\w+', '\\s?\\S+', '.', '.*', '.{5}', 'a{2,5}', 'a{3,}', '(a|b){4}', '(a{1,3}b){2,3}', 'é+', '[à-ÿ]{2}', '東京|大阪', '[^\\n]+\\n', '"[^"]*"', '\\{\\}', '(foo|bar)*baz', '(0|1)*1(0|1)(0|1)(0|1)',
  '[a-c][d-f]|[x-z]{2}', '\\d{1,3}(,\\d{3})*', '#[0-9a-fA-F]{6}', '([01]\\d|2[0-3]):[0-5]\\d', '-?(0|[1-9]\\d*)', '(a?){5}b', '(|a)b', '\\x41\\u0042', '[\\w.+-]+@[\\w-]+\\.[a-z]{2,4}', '(((a)))', '[ab]*a[ab]{3}', '\\t\\r\\n', '[\\]\\[-]', 'x(y|z)?', 'Answer: [A-D]\\.',
]
const choices = [['yes', 'no'], ['positive', 'negative', 'neutral'], ['a', 'ab', 'abc'], ['é', '東京', ' '], ['A', 'B', 'C', 'D']]
const grammars = [
  'root ::= "yes" | "no"', 'root ::= "a"* "b"', 'root ::= [0-9]+ "." [0-9]{2}', 'root ::= item ("," item)*\nitem ::= [a-z]+', 'root ::= "(" root ")" | "x"', '# sums\nroot ::= term ("+" term)*\nterm ::= num | "(" root ")"\nnum ::= [1-9] [0-9]{0,2}', 'root ::= "a" (b | c)?\nb ::= "b"\nc ::= "c" "d"',
  'root ::= "\\n" [^\\n]+ "\\n"', 'root ::= s s s\ns ::= "0" | "1"', 'root ::= "é" | "東" "京"?', 'root ::= line+\nline ::= "- " [a-z ]+ "\\n"', 'root ::= "<" name ">" root? "</>"\nname ::= [a-z] [a-z0-9]*', 'root ::= "a"{2,4} "b"{3}', 'root ::= ("x" | "y"){2} "z"', 'root ::= "\\x41" "\\u00e9"',
]

export const others: readonly Case[] = [
  ...patterns.map((pattern): Case => ({ name: `/${pattern}/`, constraint: { type: 'regex', pattern } })), ...choices.map((c): Case => ({ name: `one of ${c.join(' ')}`, constraint: { type: 'choice', choices: c } })),
  ...grammars.map((grammar): Case => ({ name: grammar.split('\n').at(-1) ?? '', constraint: { type: 'ebnf', grammar } })), { name: 'any object', constraint: { type: 'json-object' }, theirs: { type: 'object' } },
]
