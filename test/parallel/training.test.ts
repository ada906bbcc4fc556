/** Whole models, trained thirty steps by every form of parallelism: losses, gradient norms and final weights of one device, copies equal bit for bit. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBackend, type Backend } from '../../src/engine/index.ts'
import { all } from '../support/depth.ts'
import { dropping, forms, quick, usual } from './forms.ts'
import { aloneOf, farOff, trained, type Form, type Trained } from './harness.ts'

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'cpu', devices: 16, cache: false }) })
afterAll(async () => { await backend.close() })

const alone = new Map<unknown, Map<string, Promise<Trained>>>()
/** The same on one device, trained once for all forms that are compared with it. */
function expectedOf(of: Form): Promise<Trained> {
  const { subject, form } = aloneOf(of, usual)
  const known = alone.get(subject) ?? new Map<string, Promise<Trained>>()
  alone.set(subject, known)
  const key = JSON.stringify(form)
  const found = known.get(key) ?? trained(backend, subject, form)
  known.set(key, found)
  return found
}

function compare(found: Trained, expected: Trained, form: Form): void {
  expect(expected.losses.at(-1)).toBeLessThan(0.9 * (expected.losses[0] ?? 0))
  expect(farOff(found, expected, form)).toBe('')
}

test.each(Object.entries(forms).filter(([name]) => all || quick.includes(name)))('%s', async (_, form) => {
  const expected = await expectedOf(form)
  const found = await trained(backend, form.subject ?? usual, form)
  compare(found, expected, form)
})

test.each(all ? [['data × tensor, dropout', 'ZeRO-3 (FSDP)'], ['hybrid: replicas of shards', 'sequence × tensor']] as const : [])('dropout goes on the same on another mesh: %s, then %s', async (first, second) => {
  const [one, two] = [forms[first], forms[second]]
  if (one === undefined || two === undefined) throw new Error('there is no such form')
  const form: Form = { ...one, subject: dropping }
  compare(await trained(backend, dropping, form, { then: [two] }), await expectedOf(form), form)
})
