/** Docs are run: the README's program is the example, the examples work, and what the README shows of their output is there. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import * as engine from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import * as optim from '../src/optim/index.ts'
import { mistakes, printed, shownIn } from './support/guide.ts'
import { testLimit } from './support/limits.ts'
import { tinyLlama } from './support/tiny-models.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(`${root}/${path}`, 'utf8')
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, l]) => l === language).map(([, , body]) => body ?? '')
const runExample = (file: string) => spawnSync(process.execPath, ['--import', 'tsx', file], { cwd: root, encoding: 'utf8', timeout: testLimit })

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
  expect(loss).toBeLessThan(0.06)
})

/** Those that export a run are trained by `meshwork train`, in test/cli/examples.test.ts. */
const programs = readdirSync(`${root}/examples`).filter(f => f.endsWith('.ts') && f !== 'two-layers.ts' && !read(`examples/${f}`).includes('\nexport default '))
test.each(programs.map(f => [f]))('examples/%s runs', file => {
  const { status, stderr } = runExample(`examples/${file}`)
  expect(stderr).toBe('')
  expect(status).toBe(0)
})

/** The guides whose blocks are run, and how many of these at least say what they print. */
const guides = [['language', 8], ['optimizers', 3], ['foresight', 0]] as const

test.each(guides)('the guide docs/%s.md runs, and prints what it shows', (name, least) => {
  const shown = shownIn(read(`docs/${name}.md`))
  expect(shown.filter(b => b.output !== undefined).length).toBeGreaterThan(least)
  const { outputs, stderr, status } = printed(shown)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  for (const [i, { code, output }] of shown.entries()) expect(outputs[i], code).toBe(output ?? '')
})

test('the program of docs/serving.md answers', () => {
  const shown = shownIn(read('docs/serving.md'))
  expect(shown.length).toBe(1)
  expect(mistakes(shown)).toEqual([])
  // A small model where the guide has one that is fetched.
  const folder = mkdtempSync(join(tmpdir(), 'meshwork-guide-'))
  try {
    tinyLlama(join(folder, 'models', 'smollm2'), { positions: 128 })
    const { outputs, stderr, status } = printed(shown, folder)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(outputs[0]?.length).toBeGreaterThan(0)
  } finally { rmSync(folder, { recursive: true }) }
})

/** Each section of the page on parallelism is a program of its own. */
const sections = read('docs/parallelism.md').split(/^(?=## )/m).filter(s => shownIn(s).length > 0).map(s => [/^## (.*)$/m.exec(s)?.[1] ?? '', s] as const)
test.each(sections)('docs/parallelism.md, %s: it runs, prints what it shows, and the compiler accepts it', (_, section) => {
  const shown = shownIn(section)
  const { outputs, stderr, status } = printed(shown)
  expect(stderr).toBe('')
  expect(status).toBe(0)
  for (const [i, { code, output }] of shown.entries()) expect(outputs[i], code).toBe(output ?? '')
  expect(mistakes(shown)).toEqual([])
})

test('of every form of parallelism there is a recipe, a short example and a section', () => {
  const rows = read('README.md').split('\n').filter(line => /^\|.*\| `[\w-]+` \| \[[\w-]+\]\(examples\/[\w-]+\.ts\) \|$/.test(line))
  expect(rows.length).toBe(8)
  const headings = sections.map(([title]) => title.toLowerCase().replace(/[^\w -]/g, '').replaceAll(' ', '-'))
  const linked = rows.flatMap(row => /parallelism\.md#([\w-]+)/.exec(row)?.[1] ?? [])
  expect(linked.toSorted()).toEqual(headings.toSorted())
  for (const row of rows) {
    const [, recipe = '', example = ''] = /\| `([\w-]+)` \| \[([\w-]+)\]/.exec(row) ?? []
    expect(existsSync(`${root}/recipes/${recipe}.ts`), recipe).toBe(true)
    expect(read(`examples/${example}.ts`).split('\n').length, example).toBeLessThan(100)
  }
})

test('the guide to optimizers names every one of their functions', () => {
  const named = new Set(read('docs/optimizers.md').match(/^```ts$[\s\S]*?^```$|`[^`\n]+`/gm)?.join(' ').match(/\w+/g))
  // Those of loss scaling are the language's: a part of precision.
  const elsewhere = new Set(read('docs/language.md').match(/\w+/g))
  expect(Object.keys(optim).filter(name => !named.has(name) && !elsewhere.has(name))).toEqual([])
})

test('the guide names every function that is public', () => {
  const named = new Set(read('docs/language.md').match(/^```ts$[\s\S]*?^```$|`[^`\n]+`/gm)?.join(' ').match(/\w+/g))
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(engine.full(0, [])) as object).filter(m => !['constructor', 'shape', 'dtype'].includes(m))
  const functions = Object.entries({ ...engine, ...nn }).flatMap(([name, f]) => (/^[a-z]/.test(name) && typeof f === 'function' ? [name] : []))
  expect([...methods, ...functions].filter(name => !named.has(name))).toEqual([])
})

test.each(guides)('the compiler accepts docs/%s.md', name => expect(mistakes(shownIn(read(`docs/${name}.md`)))).toEqual([]))

test.each(readdirSync(`${root}/docs`, { recursive: true, encoding: 'utf8' }).filter(f => f.endsWith('.md')).map(f => [`docs/${f}`]).concat([['README.md'], ['CONTRIBUTING.md'], ['CHANGELOG.md']]))('the links of %s lead somewhere', file => {
  for (const [, to = ''] of read(file).replace(/^```[\s\S]*?^```$/gm, '').matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) expect(existsSync(new URL(to, `file://${root}/${file}`)), to).toBe(true)
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
