/** What `npm test` takes a part of, `npm run test:deep` takes whole: no file is forgotten, and none is named that there is not. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { files, partsOf, root } from './deep/parts.ts'

/** Made of more than files: the op table by parts of its layouts, random programs by their seeds. */
const byParts = ['test/ops/simulate.test.ts', 'test/mpi/ops.test.ts', 'test/fuzz.test.ts']
const named = new Set(files.map(([file]) => file))

test('every file that asks how much is tested is there', () => {
  const asking = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.test.ts')).map(file => `test/${file}`)
    .filter(file => /^import \{[^}]*\b(all|every)\b[^}]*\} from '[./]*support\/depth\.ts'/m.test(readFileSync(join(root, file), 'utf8')))
  expect(asking.length).toBeGreaterThan(30)
  // Without an MPI there are no ranks to be tested, here and there.
  expect(asking.filter(file => !named.has(file) && !byParts.includes(file) && !file.startsWith('test/mpi/'))).toEqual([])
  expect(asking.filter(file => file.startsWith('test/mpi/') && !byParts.includes(file)).every(file => named.has(file))).toBe([...named].some(file => file.startsWith('test/mpi/')))
})
test('every file that is named is one, and each part has a name of its own', () => {
  expect([...named].filter(file => !existsSync(join(root, file)))).toEqual([])
  const ids = partsOf(1).map(part => part.id)
  expect(new Set(ids).size).toBe(ids.length)
})
