/** Docs are run: the README's program is the example, the examples work, and what the README shows of their output is there. */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(`${root}/${path}`, 'utf8')
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, l]) => l === language).map(([, , body]) => body ?? '')
const runExample = (file: string) => spawnSync(process.execPath, ['--import', 'tsx', file], { cwd: root, encoding: 'utf8', timeout: 100_000 })

test('the README shows examples/two-layers.ts, and lines of what it prints', () => {
  const readme = read('README.md')
  expect(blocks(readme, 'ts')).toEqual([read('examples/two-layers.ts')])
  const { stdout, status, stderr } = runExample('examples/two-layers.ts')
  expect(stderr).toBe('')
  expect(status).toBe(0)
  const shown = blocks(readme, '').filter(b => b.includes('ALL-REDUCE')).flatMap(b => b.split('\n')).filter(l => l.startsWith('%'))
  expect(shown.length).toBeGreaterThan(5)
  for (const line of shown) expect(stdout.split('\n')).toContain(line)
  const loss = Number(/loss ([\d.]+)/.exec(stdout)?.[1])
  expect(loss).toBeLessThan(0.09)
})

test.each(readdirSync(`${root}/examples`).filter(f => f.endsWith('.ts') && f !== 'two-layers.ts').map(f => [f]))('examples/%s runs', file => {
  const { status, stderr } = runExample(`examples/${file}`)
  expect(stderr).toBe('')
  expect(status).toBe(0)
})

test('every folder of the README\'s tree is there', () => {
  const tree = blocks(read('README.md'), '').find(b => b.includes('src/core/')) ?? ''
  const named = [...tree.matchAll(/^(src\/)?([\w/ ]+?)\/ {2,}/gm)]
  expect(named.length).toBeGreaterThan(10)
  for (const [, src = '', folders = ''] of named) {
    for (const folder of folders.split('/ ')) expect(readdirSync(`${root}/${src}${folder}`).length, folder).toBeGreaterThan(0)
  }
})

test('the commands of the README exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const text of [read('README.md'), read('CONTRIBUTING.md')]) {
    for (const [, name = ''] of text.matchAll(/npm run (\w+)/g)) expect(Object.keys(scripts)).toContain(name)
  }
})
