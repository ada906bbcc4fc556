/** Docs are run: the README's program is the example, the examples work, and what the README shows of their output is there. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import * as engine from '../src/index.ts'
import * as nn from '../src/nn/index.ts'
import * as optim from '../src/optim/index.ts'
import { mistakes, printed, ran, shownIn } from './support/guide.ts'
import { tinyLlama } from './support/tiny-models.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(`${root}/${path}`, 'utf8')
/** Of what has not run. */
const nothing = { out: '', err: 'it has not run', outputs: undefined, stderr: 'it has not run', status: null }
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].filter(([, l]) => l === language).map(([, , body]) => body ?? '')

test('the README shows examples/two-layers.ts, and lines of what it prints', async () => {
  const readme = read('README.md')
  expect(blocks(readme, 'ts')).toEqual([read('examples/two-layers.ts')])
  // As a user runs it; the others after one another in one process, and where tests are deep each in its own.
  const [{ out: stdout, err, status } = nothing] = await ran([`${root}/examples/two-layers.ts`], { together: false })
  expect(err).toBe('')
  expect(status).toBe(0)
  const shown = blocks(readme, '').filter(b => b.includes('ALL-REDUCE')).flatMap(b => b.split('\n')).filter(l => l.startsWith('%'))
  expect(shown.length).toBeGreaterThan(5)
  for (const line of shown) expect(stdout.split('\n')).toContain(line)
  const loss = Number(/loss ([\d.]+)/.exec(stdout)?.[1])
  expect(loss).toBeLessThan(0.06)
})

/** Those that export a run are trained by `meshwork train`, in test/cli/examples.test.ts. */
const programs = readdirSync(`${root}/examples`).filter(f => f.endsWith('.ts') && f !== 'two-layers.ts' && !read(`examples/${f}`).includes('\nexport default '))
describe('examples', () => {
  let found: Awaited<ReturnType<typeof ran>> = []
  beforeAll(async () => { found = await ran(programs.map(file => `${root}/examples/${file}`)) })
  test.each(programs.map((file, i) => [file, i] as const))('examples/%s runs', (_, i) => {
    expect(found[i]?.err).toBe('')
    expect(found[i]?.status).toBe(0)
  })
})

/** The guides whose blocks are run, and how many of these at least say what they print. */
const guides = [['language', 8], ['optimizers', 3], ['foresight', 0]] as const

test('the program of docs/serving.md answers', async () => {
  const shown = shownIn(read('docs/serving.md'))
  expect(shown.length).toBe(1)
  // A small model where the guide has one that is fetched.
  const folder = mkdtempSync(join(tmpdir(), 'meshwork-guide-'))
  try {
    tinyLlama(join(folder, 'models', 'smollm2'), { positions: 128 })
    const [{ outputs, stderr, status } = nothing] = await printed([shown], folder)
    expect(stderr).toBe('')
    expect(status).toBe(0)
    expect(outputs?.[0]?.length).toBeGreaterThan(0)
  } finally { rmSync(folder, { recursive: true }) }
})

/** Each section of the page on parallelism is a program of its own. */
const sections = read('docs/parallelism.md').split(/^(?=## )/m).filter(s => shownIn(s).length > 0).map(s => [/^## (.*)$/m.exec(s)?.[1] ?? '', s] as const)

describe('what guides show', () => {
  const programs = [...guides.map(([name, least]) => ({ name: `docs/${name}.md`, shown: shownIn(read(`docs/${name}.md`)), least })), ...sections.map(([title, section]) => ({ name: `docs/parallelism.md, ${title}`, shown: shownIn(section), least: -1 }))]
  let found: Awaited<ReturnType<typeof printed>> = []
  beforeAll(async () => { found = await printed(programs.map(p => p.shown)) })
  test.each(programs.map((p, i) => [p.name, p, i] as const))('%s runs, and prints what it shows', (_, { shown, least }, i) => {
    expect(shown.filter(b => b.output !== undefined).length).toBeGreaterThan(least)
    const { outputs, stderr, status } = found[i] ?? nothing
    expect(stderr).toBe('')
    expect(status).toBe(0)
    for (const [k, { code, output }] of shown.entries()) expect(outputs?.[k], code).toBe(output ?? '')
  })

  test('the compiler accepts all of it', async () => {
    const all = [...programs, { name: 'docs/serving.md', shown: shownIn(read('docs/serving.md')) }]
    expect((await mistakes(all.map(p => p.shown))).flatMap((found, i) => found.map(mistake => [all[i]?.name, mistake]))).toEqual([])
  })
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
