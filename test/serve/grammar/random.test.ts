/** Schemas at random, of every word within each other: what they let out is valid by ajv, and nothing that they let come leads to where nothing can follow. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { UsageError } from '../../../src/core/errors.ts'
import { threefry2x32 } from '../../../src/core/threefry.ts'
import { compileConstraint, type Grammar, type GrammarPlace } from '../../../src/serve/grammar/index.ts'
import { allowedAt, vocabulary } from './support.ts'

const some = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values)
const maybe = (words: { readonly [word: string]: fc.Arbitrary<unknown> }): fc.Arbitrary<object> => fc.record(words, { requiredKeys: [] })
const name = some('a', 'b', 'ab', 'x-a', '')
const scalar: fc.Arbitrary<object | boolean> = fc.oneof(
  maybe({ minimum: fc.integer({ min: -10, max: 10 }), maximum: fc.integer({ min: 0, max: 20 }) }).map(s => ({ type: 'integer', ...s })),
  maybe({ exclusiveMinimum: some(-2.5, 0, 0.25, 1), maximum: some(0.5, 1, 3.75) }).map(s => ({ type: 'number', ...s })),
  maybe({ minLength: fc.nat(2), maxLength: some(2, 3, 4) }).map(s => ({ type: 'string', ...s })), some('^a', 'b$', '^[ab]{1,3}$', '[^a]').map(pattern => ({ type: 'string', pattern })),
  some<readonly unknown[]>([1, 'a'], ['ab', null, 0.5], [true]).map(values => ({ enum: values })), some<unknown>(1, 'a', null, [1], { a: 1 }).map(value => ({ const: value })),
  some<unknown>('null', 'boolean', ['integer', 'null'], ['string', 'boolean']).map(type => ({ type })), some<object | boolean>(true, {}, { minimum: 3 }, { maxLength: 2 }),
)
const schemas = fc.letrec<{ readonly schema: object | boolean }>(tie => {
  const of = tie('schema')
  const objects = maybe({
    type: some('object'), properties: fc.dictionary(name, fc.oneof({ weight: 6, arbitrary: of }, some(false)), { minKeys: 1, maxKeys: 3 }), patternProperties: fc.dictionary(some('^a', 'b', '^x-', 'a$', '^[ab]+$'), of, { minKeys: 1, maxKeys: 2 }),
    additionalProperties: fc.oneof(some(false, true), of), required: fc.array(name, { minLength: 1, maxLength: 1 }), minProperties: fc.nat(1), maxProperties: some(1, 2, 3),
  })
  const arrays = maybe({ type: some('array'), prefixItems: fc.array(of, { minLength: 1, maxLength: 2 }), items: fc.oneof(some(false, true), of), minItems: fc.nat(2), maxItems: some(1, 2, 3) })
  const two = fc.array(of, { minLength: 2, maxLength: 2 })
  const beside = (word: string): fc.Arbitrary<object> => fc.tuple(fc.oneof(some({}), objects, arrays), two).map(([rest, parts]) => ({ ...rest, [word]: parts }))
  return { schema: fc.oneof({ maxDepth: 3, depthSize: 'max', withCrossShrink: true }, { weight: 2, arbitrary: scalar }, { weight: 3, arbitrary: objects }, { weight: 2, arbitrary: arrays }, beside('anyOf'), { weight: 2, arbitrary: beside('allOf') }, beside('oneOf')) }
}).schema

/** An answer that ends as soon as it may, mostly; undefined where that takes long. */
function drawn(grammar: Grammar, seed: number): string | undefined {
  let place: GrammarPlace = grammar.start()
  const bytes: number[] = []
  for (let i = 0; i < 300; i++) {
    const allowed = allowedAt(place)
    if (place.mayEnd && (allowed.length === 0 || threefry2x32(seed, 1, i, 0) % 3 === 0 || i > 60)) return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes))
    expect(allowed.length).toBeGreaterThan(0)
    const closing = allowed.filter(id => id < 128 && '"}],'.includes(String.fromCharCode(id)))
    const from = closing.length > 0 && (i > 40 || threefry2x32(seed, 2, i, 0) % 3 === 0) ? closing : allowed
    const id = from[threefry2x32(seed, 3, i, 0) % from.length] as number
    bytes.push(...vocabulary.texts[id] ?? [])
    place = place.after(id) as GrammarPlace
  }
  return undefined
}

test('what random schemas let out is valid', () => {
  let found = 0
  fc.assert(fc.property(schemas, fc.nat(), (schema, seed) => {
    let grammar: Grammar
    try {
      grammar = compileConstraint({ type: 'json-schema', schema }, vocabulary)
    } catch (e) {
      expect(e).toBeInstanceOf(UsageError)
      return
    }
    const valid = new Ajv2020({ strict: false, ownProperties: true, validateFormats: false }).compile(schema)
    for (let k = 0; k < 3; k++) {
      const text = drawn(grammar, seed + k)
      // The judge reads numbers as doubles, which hold fifteen digits.
      if (text === undefined || /\d{16}/.test(text)) continue
      found++
      expect([text, valid(JSON.parse(text))]).toEqual([text, true])
    }
  }), { numRuns: process.env['MESHWORK_DEPTH'] === 'all' ? 5000 : 150 })
  expect(found).toBeGreaterThan(50)
}, 600_000)
