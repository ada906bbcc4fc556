/** The examples that are runs, trained by the command line as a user does, in projects of all kinds, as small as `--set` can make them. */
import { copyFileSync, cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test, vi } from 'vitest'
import { all } from '../support/depth.ts'
import { jsonLines, openServer, root, run, temporaryPlace, text } from './support.ts'

vi.setConfig({ maxConcurrency: 2 })

const place = temporaryPlace()
const server = openServer()
afterAll(() => { place.remove() })

const digits = (part: string): string => JSON.stringify({ images: `digits/${part}-images.idx.gz`, labels: `digits/${part}-labels.idx.gz` })
interface Small { readonly set: readonly string[]; readonly flags?: readonly string[]; readonly said: readonly (string | RegExp)[]; readonly metrics: readonly string[] }
/** How each is made small, and what is said of it. */
const small: { readonly [name: string]: Small } = {
  // The digits, whether or not the package with Fashion-MNIST is there.
  'fashion-mnist': {
    set: [`data.train=${digits('train')}`, `data.heldOut=${digits('test')}`, 'model.height=8', 'model.width=8', 'model.brightest=16', 'model.features=[4,8]', 'model.hidden=16', 'evaluation.batches=2'],
    said: ['batch 2 × line 2: 4 devices', '1,437 rows', /permute +along line/, /accuracy 0\.\d{4}/], metrics: ['accuracy'],
  },
  lstm: { flags: ['--data', 'text.txt', '--batch', '2', '--model', '2'], set: ['model.vocab=300', 'model.seq=8', 'model.embed=16', 'evaluation.batches=1'], said: ['batch 2 × model 2: 4 devices', /text\.txt \(your own\): [\d,]+ tokens/], metrics: [] },
  experts: {
    flags: ['--data', 'text.txt'], set: ['model.vocab=300', 'model.seq=8', 'model.layers=1', 'model.embed=8', 'model.headDim=4', 'model.hidden=8', 'model.experts.hidden=32', 'model.experts.shared=4', 'model.experts.capacity=1', 'evaluation.batches=1'],
    said: ['batch 4 × model 1: 4 devices', /all-to-all +along batch/], metrics: ['accuracy', 'balance', 'dropped', 'busiest'],
  },
  seq2seq: {
    set: ['model.embed=16', 'model.headDim=4', 'model.hidden=16', 'model.encoderLayers=1', 'model.decoderLayers=1', 'evaluation.batches=1'], said: ['a source of its own', 'tokens/s'], metrics: ['accuracy'],
  },
  vit: {
    set: [`data.train=${digits('train')}`, `data.heldOut=${digits('test')}`, 'model.height=8', 'model.width=8', 'model.patchHeight=4', 'model.patchWidth=4', 'model.brightest=16', 'model.layers=1', 'model.embed=8', 'model.hidden=8', 'evaluation.batches=2'],
    said: ['batch 2 × model 2: 4 devices', '1,437 rows', /accuracy 0\.\d{4}/], metrics: ['accuracy'],
  },
  'long-context': {
    flags: ['--data', 'text.txt'], set: ['model.vocab=300', 'model.seq=16', 'model.layers=1', 'model.embed=8', 'model.headDim=4', 'model.hidden=8', 'evaluation.batches=1'],
    said: ['ring 4 × heads 2: 8 devices', /permute +along ring/, /all-to-all +along heads/], metrics: ['accuracy'],
  },
  sequences: {
    flags: ['--data', 'text.txt'], set: ['model.vocab=300', 'model.seq=8', 'model.layers=1', 'model.embed=8', 'model.headDim=4', 'model.hidden=8', 'evaluation.batches=1'],
    said: ['model 4: 4 devices', /reduce-scatter +along model/, /all-gather +along model/], metrics: ['accuracy'],
  },
  language: { set: ['model.layers=1', 'model.embed=8', 'model.hidden=8', 'evaluation.batches=1'], said: ['a source of its own', /accuracy 0\.\d{4}/], metrics: ['accuracy'] },
  translate: { set: ['model.embed=8', 'model.headDim=2', 'model.hidden=8', 'model.encoderLayers=1', 'model.decoderLayers=1', 'evaluation.batches=1'], said: ['a source of its own', 'tokens/s'], metrics: ['accuracy'] },
  preference: {
    set: ['model.base.layers=1', 'model.base.embed=8', 'model.base.headDim=4', 'model.base.hidden=8', 'evaluation.batches=1'], said: ['batch 2 × model 2: 4 devices', 'a source of its own', /margin 0\.\d{4}|margin -0\.\d{4}/, /accuracy 0\.\d{4}|accuracy 1\.0000/], metrics: ['accuracy', 'margin', 'chosenReward', 'rejectedReward'],
  },
  'own-model': { set: ['model.width=8', 'model.depth=2', 'evaluation.batches=1'], said: [/the best so far: \d+\.\d % of the points/], metrics: ['accuracy'] },
}
const recipes = readdirSync(join(root, 'examples')).filter(f => f.endsWith('.ts') && readFileSync(join(root, 'examples', f), 'utf8').includes('\nexport default ')).map(f => f.slice(0, -3))
// A project whose package.json says `commonjs` or nothing, or that has none, is as good as one of ES modules.
const types = ['module', 'commonjs', undefined] as const

test('each is tried, and short', () => {
  expect(recipes.toSorted()).toEqual(Object.keys(small).toSorted())
  for (const name of recipes) expect(readFileSync(join(root, 'examples', `${name}.ts`), 'utf8').split('\n').length, name).toBeLessThan(120)
})

// Every other one is trained, one of each type by the command as a user starts it, the others by a process that does one after another; of the rest it is told what would run.
const trains = (i: number): boolean => all || i % 2 === 0
/** A project with an example, and the command line that trains it. */
function prepared(name: string, type: string | undefined): { readonly cwd: string; readonly line: readonly string[] } {
  const { set, flags = [] } = small[name]!
  const cwd = place.project(name, type)
  copyFileSync(join(root, 'examples', `${name}.ts`), join(cwd, `${name}.ts`))
  cpSync(join(root, 'examples', 'digits'), join(cwd, 'digits'), { recursive: true })
  place.file(`${name}/text.txt`, text)
  return { cwd, line: ['train', `${name}.ts`, ...flags, '--plugin', 'simulate', '--steps', '3', '--set', 'batch=4', ...set] }
}

test.concurrent.each(recipes.flatMap((name, i) => (trains(i) ? [[name, types[i % types.length], i < 2 * types.length ? run : server.run] as const] : [])))('%s is trained in a project of type %s', async (name, type, as) => {
  const { said, metrics } = small[name]!
  const { cwd, line } = prepared(name, type)
  const { code, out, err } = await as(line, { cwd, env: { MESHWORK_CACHE_DIR: join(place.path, 'cache') } })
  expect(code, err).toBe(0)
  for (const what of said) expect(`${out}${err}`).toMatch(what)
  const rows = jsonLines(readFileSync(join(cwd, 'runs', `${name}-0`, 'metrics.jsonl'), 'utf8'))
  expect(rows.filter(row => 'loss' in row).map(row => [row['step'], Number.isFinite(row['loss'])])).toEqual([0, 1, 2].map(step => [step, true]))
  expect(Object.keys(rows.at(-1)?.['metrics'] as object)).toEqual(metrics)
})

test.concurrent.each(recipes.flatMap((name, i) => (trains(i) ? [] : [[name, types[i % types.length]] as const])))('%s is planned in a project of type %s', async (name, type) => {
  const { cwd, line } = prepared(name, type)
  const { code, out, err } = await server.run([...line, '--dry-run'], { cwd, env: { MESHWORK_CACHE_DIR: join(place.path, 'cache') } })
  expect(code, err).toBe(0)
  expect(out).toMatch(/^\S+: [\d,]+ parameters on .*\d devices?$/m)
})
