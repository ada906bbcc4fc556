/** Every case of the op table has its judge: `npm run oracle -- --only ops` asks it. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { everyCase } from '../cases/index.ts'
import { unjudged } from './unjudged.ts'

const text = readFileSync(fileURLToPath(new URL('ops.py', import.meta.url)), 'utf8')
const table = text.slice(text.indexOf('\nCASES = {'))
/** The names in the table of ops.py, an entry a line. */
const judged = [...table.matchAll(/^ {4}'([^']+)':/gm)].map(m => m[1] ?? '')
const names = everyCase.map(c => c.name)

test('JAX judges every case, or a reason says why not', () => {
  expect(names.length).toBeGreaterThan(200)
  expect(names.filter(name => !judged.includes(name) && !(name in unjudged))).toEqual([])
})
test('nothing is judged that is no case, or twice', () => {
  expect(judged.filter((name, i) => !names.includes(name) || judged.indexOf(name) !== i)).toEqual([])
  expect(Object.keys(unjudged).filter(name => !names.includes(name) || judged.includes(name))).toEqual([])
})
test('a name is one case\'s', () => {
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
})
