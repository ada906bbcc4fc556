/** Constraints that take long are worked out by a thread of their own: with the same masks, within a time, and nobody else waits for them. */
import { afterAll, expect, test } from 'vitest'
import type { Constraint } from '../../../src/serve/asking.ts'
import { constraints } from '../../../src/serve/constraints/constrain.ts'
import { compileConstraint, vocabularyOf } from '../../../src/serve/grammar/index.ts'
import type { Place } from '../../../src/serve/writing.ts'
import { bytes, events, served } from '../../server/support.ts'

const all = constraints(bytes)
afterAll(() => all.close())
const vocabulary = vocabularyOf(bytes.tokens.map((_, id) => bytes.textOf(id)))
const known = async (place: Place | undefined): Promise<Place | undefined> => { await place?.pending; return place?.gone === true ? undefined : place }

/** Of each place along a text whether its mask is that of the grammar itself, and how many were waited for. */
async function along(constraint: Constraint, text: string): Promise<{ readonly same: boolean; readonly waited: number }> {
  let [wanted, place, waited]: [ReturnType<ReturnType<typeof compileConstraint>['start']> | undefined, Place | undefined, number] = [compileConstraint(constraint, vocabulary).start(), all.begin(constraint), 0]
  for (const id of [...bytes.encode(text), undefined]) {
    if (place?.pending !== undefined) waited++
    const found: Place | undefined = await known(place)
    if (wanted?.mayEnd !== found?.mayEnd || wanted?.mask.join() !== found?.mask.join()) return { same: false, waited }
    if (id !== undefined) [wanted, place] = [wanted?.after(id), found?.after(id)]
  }
  return { same: true, waited }
}

const large: Constraint = { type: 'json-schema', schema: { type: 'object', properties: Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`property${i}`, { type: 'string', maxLength: 40 }])) } }

test('the same masks, wherever they are worked out', async () => {
  const small = await along({ type: 'json-schema', schema: { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] } }, '{"a": "b"}')
  expect(small).toEqual({ same: true, waited: 0 })
  const text = '{"property3": "abc", "property7": "d"}'
  expect(await along(large, text)).toEqual({ same: true, waited: text.length + 1 })
  // What cannot come leads nowhere, there as here.
  expect(await along(large, '{"x')).toMatchObject({ same: true })
})

test('what begins small, and becomes much, goes on elsewhere', async () => {
  const found = await along({ type: 'regex', pattern: 'x{120}(a{1,40}){1,30}!' }, `${'x'.repeat(120)}${'a'.repeat(30)}`)
  expect(found.same).toBe(true)
  expect(found.waited).toBeGreaterThan(0)
  expect(found.waited).toBeLessThan(60)
})

test('what is wrong is told, and what takes too long is refused: another thread goes on', async () => {
  const own = constraints(bytes, { deadline: 1 })
  const hostile: Constraint = { type: 'regex', pattern: '.*a.{1000}' }
  await expect(own.begin(hostile).pending).rejects.toThrow('takes too long')
  await own.close()
  await expect(all.begin({ type: 'regex', pattern: 'a?'.repeat(10_000) }).pending).rejects.toThrow('too many ways')
  expect(await along(large, '{')).toMatchObject({ same: true })
})

test('a stream beside a hostile constraint goes on', async () => {
  const { server, steps, ask } = await served({}, {}, { tokenizer: bytes, template: { render: messages => messages.map(m => m.content).join('') } })
  try {
    steps.delay = 5
    const stream = ask('/v1/completions', { model: 'org/letters', prompt: 'abc', max_tokens: 400, ignore_eos: true, stream: true })
    const began = steps.steps
    const refused = await ask('/v1/completions', { model: 'org/letters', prompt: 'abc', max_tokens: 4, guided_regex: '[^,]*,'.repeat(5000) })
    expect(refused.status).toBe(400)
    expect(await refused.text()).toContain('too large')
    // While it was worked out, steps were taken for the other one.
    expect(steps.steps - began).toBeGreaterThan(10)
    const answered = await ask('/v1/completions', { model: 'org/letters', prompt: 'abc', max_tokens: 3, response_format: { type: 'json_schema', json_schema: { schema: (large as { readonly schema: unknown }).schema } } })
    expect(((await answered.json()) as { readonly choices: readonly { readonly text: string }[] }).choices[0]?.text).toMatch(/^\{/)
    const { objects, done } = await events(await stream)
    expect([done, objects.length > 100]).toEqual([true, true])
  } finally { await server.close() }
})
