/** Structured output: what may come, what may not, and that masks say the same as bytes. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import formatsOfAjv from 'ajv-formats'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../../src/core/errors.ts'
import type { Constraint } from '../../../src/serve/asking.ts'
import { compileConstraint, type GrammarPlace } from '../../../src/serve/grammar/index.ts'
import { refused, schemas } from './schemas.ts'
import { accepts, allowedAt, drawn, vocabulary } from './support.ts'

const ajv = new Ajv2020({ strict: false })
;(formatsOfAjv as unknown as (a: Ajv2020) => void)(ajv)

describe.each(schemas)('$name', ({ schema, yes, no }) => {
  const constraint: Constraint = { type: 'json-schema', schema }
  const valid = ajv.compile(schema)
  test('lets out what is valid', () => {
    for (const text of yes) {
      // The judge agrees that it is.
      expect([text, valid(JSON.parse(text))]).toEqual([text, true])
      expect([text, accepts(constraint, text)]).toEqual([text, true])
    }
    for (const text of no) expect([text, accepts(constraint, text)]).toEqual([text, false])
  })
  test('lets out nothing else', () => {
    let found = 0
    for (let seed = 0; seed < 16; seed++) {
      const text = drawn(constraint, seed)
      // The judge reads numbers as doubles, which hold fifteen digits.
      if (text === undefined || /\d{16}/.test(text)) continue
      found++
      expect([text, valid(JSON.parse(text))]).toEqual([text, true])
    }
    expect(found).toBeGreaterThan(2)
  })
})

test('a mask has the tokens whose bytes may come, and no others', () => {
  for (const [i, { schema }] of schemas.entries()) {
    let place = compileConstraint({ type: 'json-schema', schema }, vocabulary).start()
    for (let n = 0; n < 12; n++) {
      const allowed = allowedAt(place)
      expect(allowed).toEqual(Array.from({ length: vocabulary.size }, (_, id) => id).filter(id => {
        let at: GrammarPlace | undefined = vocabulary.texts[id] === undefined ? undefined : place
        for (const byte of vocabulary.texts[id] ?? []) at = at?.after(byte)
        return at !== undefined
      }))
      if (allowed.length === 0) break
      place = place.after(allowed[(i * 7 + n * 13) % allowed.length] as number) as GrammarPlace
    }
  }
})

test.each(refused.map(([schema, says]) => ({ schema, says })))('refused, with the reason: $says', ({ schema, says }) => {
  const make = (): unknown => compileConstraint({ type: 'json-schema', schema }, vocabulary)
  expect(make).toThrow(UsageError)
  expect(make).toThrow(says)
})

describe('patterns, choices and grammars', () => {
  const regex = (pattern: string) => (text: string): boolean => accepts({ type: 'regex', pattern }, text)
  test.each([
    ['a|bc*', ['a', 'b', 'bcc'], ['ab', '']], ['^\\d{3}-\\d{2,}$', ['123-45', '123-456'], ['12-45', '123-4']], ['[^a-c]+', ['xyz', '東'], ['a', '']], ['(?:yes|no)!?', ['yes', 'no!'], ['yesno']], ['\\u{6771}|\\x41', ['東', 'A'], ['B']], ['.{2}', ['東京', 'ab'], ['a', 'a\nb']],
    ['(a{1,20}){1,20}', ['a', 'a'.repeat(30)], ['']], ['(a*)*b', ['b', 'aaab'], ['a']], ['', [''], ['a']], ['[\\w.-]+@[a-z]+', ['a.b@c'], ['@c']],
  ] as const)('/%s/', (pattern, yes, no) => {
    for (const text of yes) expect([text, regex(pattern)(text)]).toEqual([text, true])
    for (const text of no) expect([text, regex(pattern)(text)]).toEqual([text, false])
  })
  test('what can be read in too many ways is refused before anything is answered, or once it is', () => {
    expect(() => compileConstraint({ type: 'regex', pattern: '(a{1,200}){1,200}' }, vocabulary)).toThrow('too many ways')
    // Only what comes late is not foreseen.
    expect(() => accepts({ type: 'regex', pattern: 'x{300}(a{1,200}){1,200}' }, `${'x'.repeat(300)}${'a'.repeat(300)}`)).toThrow('too many ways')
  })
  test('texts to choose from', () => {
    const constraint: Constraint = { type: 'choice', choices: ['red', 'green', 'reddish'] }
    for (const text of ['red', 'green', 'reddish']) expect(accepts(constraint, text)).toBe(true)
    for (const text of ['re', 'blue', 'redgreen', '']) expect(accepts(constraint, text)).toBe(false)
  })
  test('EBNF', () => {
    const constraint: Constraint = { type: 'ebnf', grammar: '# sums\nroot ::= term ( ("+" | "-") term )*\nterm ::= number | "(" root ")"\nnumber ::= [0-9]{1,3} ( "." [0-9]+ )?\n' }
    for (const text of ['1', '1+2', '(1-(2+3.5))+999']) expect([text, accepts(constraint, text)]).toEqual([text, true])
    for (const text of ['', '1+', '(1', '1234', '1.']) expect([text, accepts(constraint, text)]).toEqual([text, false])
    for (const grammar of ['root ::= root "a"', 'start ::= "a"', 'root ::= nothing', 'root ::= "a', 'root ::= [a', 'root ::= (', '::=', 'root ::= "\\UFFFFFFFF"', 'root ::= "a" root', `root ::= ${'('.repeat(1000)}`]) expect(() => compileConstraint({ type: 'ebnf', grammar }, vocabulary)).toThrow(UsageError)
  })
  test('any object', () => {
    expect(accepts({ type: 'json-object' }, '{"a": [1, {"b": null}]}')).toBe(true)
    expect(accepts({ type: 'json-object' }, '[1]')).toBe(false)
  })
  test('what is hostile is refused or answered within a moment', () => {
    const hostile: Constraint[] = [
      { type: 'regex', pattern: '.*a.{1000}' }, { type: 'regex', pattern: '(.*a){30}' }, { type: 'regex', pattern: '(.*){50}' }, { type: 'regex', pattern: '[^,]*,'.repeat(5000) }, { type: 'regex', pattern: 'a?'.repeat(10_000) }, { type: 'regex', pattern: Array.from({ length: 3000 }, (_, i) => `.*w${i}`).join('|') },
      { type: 'json-schema', schema: { type: 'object', properties: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`p${i}`, {}])) } }, { type: 'json-schema', schema: { type: 'object', patternProperties: { '(a|b)*a(a|b){12}$': {} }, additionalProperties: { type: 'integer' } } },
      { type: 'ebnf', grammar: `${Array.from({ length: 40 }, (_, i) => `r${i} ::= r${i + 1} r${i + 1}`).join('\n')}\nr40 ::= "x"?\nroot ::= r0` },
    ]
    for (const constraint of hostile) {
      const started = performance.now()
      try {
        let place: GrammarPlace | undefined = compileConstraint(constraint, vocabulary).start()
        for (let i = 0; i < 20 && place !== undefined; i++) place = place.after(allowedAt(place)[i * 7 % Math.max(1, allowedAt(place).length)] ?? 0)
      } catch (e) {
        expect(e).toBeInstanceOf(UsageError)
      }
      expect([constraint.type, performance.now() - started < 20_000]).toEqual([constraint.type, true])
    }
  })
  test('nested as deeply as may be, it still comes to its end', () => {
    const schema = { $defs: { node: { type: 'object', properties: { v: { type: 'string' }, of: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/node' }] }, w: { type: 'string' } }, required: ['v', 'of', 'w'] } }, $ref: '#/$defs/node' }
    let place = compileConstraint({ type: 'json-schema', schema }, vocabulary).start()
    for (let i = 0, opened = 0; !place.mayEnd; i++) {
      const allowed = allowedAt(place).filter(id => id < 256)
      expect([i, allowed.length > 0 && i < 20_000]).toEqual([i, true])
      // As deep as it goes, and out again.
      const id = ['"', '{', 'v', 'o', 'f', ':', ',', 'n', 'u', 'l', 'w', '}'].map(c => c.charCodeAt(0)).find(c => allowed.includes(c)) ?? allowed[0] as number
      if (id === '{'.charCodeAt(0)) opened++
      place = place.after(id) as GrammarPlace
      if (place.mayEnd) expect(opened).toBeGreaterThan(50)
    }
  })
  test('nested deeply, without end, in bounded time', () => {
    let place: GrammarPlace | undefined = compileConstraint({ type: 'json-schema', schema: {} }, vocabulary).start()
    for (let i = 0; i < 1000 && place !== undefined; i++) place = place.after('['.charCodeAt(0))
    expect(place).toBeUndefined()
  })
})
