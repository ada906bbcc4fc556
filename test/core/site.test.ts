/** The user's line is a line that a user wrote: not Node's, not a library's, not one of the layers'. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { userSite } from '../../src/core/site.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-site-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a file of that name, which calls it when nobody else is on the stack, makes of `userSite`. */
async function calledFrom(path: string): Promise<ReturnType<typeof userSite>> {
  const file = join(folder, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, 'export const later = f => new Promise(resolve => {\n  setImmediate(() => resolve(f()))\n})\n')
  const { later } = await import(/* @vite-ignore */ pathToFileURL(file).href) as { later: (f: typeof userSite) => Promise<ReturnType<typeof userSite>> }
  return later(userSite)
}

test('a line of a library is none', async () => {
  expect(await calledFrom('node_modules/commander/lib/command.mjs')).toBeUndefined()
  expect(await calledFrom('deep/node_modules/@scope/name/index.mjs')).toBeUndefined()
})

test('a line of a user is', async () => {
  expect(await calledFrom('mine/command.mjs')).toMatchObject({ file: expect.stringMatching(/mine\/command\.mjs$/) as string, line: 2 })
  expect(userSite()).toMatchObject({ file: 'test/core/site.test.ts' })
})
