/** The recipes that come along: each is planned as it is, trained small, and sends what its form of parallelism does. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { every } from '../support/depth.ts'
import { jsonLines, openServer, root, run, temporaryPlace, text } from './support.ts'

const place = temporaryPlace()
const server = openServer()
afterAll(() => { place.remove() })
const env = { MESHWORK_CACHE_DIR: join(place.path, 'cache') }

const ofText = ['model.vocab=300', 'model.seq=16', 'model.layers=2', 'model.embed=16', 'model.headDim=4', 'model.hidden=32', 'evaluation.batches=1', 'sample.tokens=4']
const withoutSample = ofText.slice(0, -1)
interface Recipe { readonly sends: readonly string[]; readonly set: readonly string[] }
/** What each sends, kind and axes, and how it is made small; `gpt-1t` is planned alone. */
const recipes: { readonly [name: string]: Recipe } = {
  'gpt-tiny': { sends: ['all-reduce model', 'all-reduce batch'], set: ['batch=4', ...ofText] },
  'grid-tiny': { sends: ['all-reduce rows', 'all-reduce columns'], set: ['batch=4', ...withoutSample] },
  'fsdp-tiny': { sends: ['all-gather shard', 'reduce-scatter shard', 'all-reduce replica'], set: ['batch=4', ...withoutSample] },
  'sequence-tiny': { sends: ['all-gather model', 'reduce-scatter model', 'all-reduce batch'], set: ['batch=4', ...withoutSample] },
  'context-tiny': { sends: ['permute ring', 'all-to-all heads'], set: withoutSample },
  'pipeline-tiny': { sends: ['permute stage', 'all-reduce batch'], set: withoutSample },
  'moe-tiny': { sends: ['all-to-all batch,model', 'all-reduce model'], set: ['batch=4', ...ofText, 'model.experts.hidden=16', 'model.experts.shared=16'] },
  'spatial-tiny': { sends: ['permute down', 'permute across'], set: ['batch=4', 'model.features=[4,4]', 'model.hidden=8', 'evaluation.batches=1'] },
  'gpt-1t': { sends: ['permute stage', 'reduce-scatter model', 'reduce-scatter batch'], set: [] },
}

test('each is tried', () => {
  expect(readdirSync(join(root, 'recipes')).map(f => f.replace(/\.ts$/, '')).toSorted()).toEqual(Object.keys(recipes).toSorted())
})

test.each(Object.entries(recipes))('%s is planned, and sends what its form does', async (name, { sends }) => {
  const { code, out, err } = await server.run(['plan', name, '--json'], { cwd: place.path, env })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const { collectives } = JSON.parse(out) as { readonly collectives: readonly { readonly kind: string; readonly axes: readonly string[] }[] }
  const found = new Set(collectives.map(c => `${c.kind} ${c.axes.join()}`))
  expect(sends.filter(s => !found.has(s)), [...found].join('; ')).toEqual([])
})

// Every other one, as other tests train each form; the first by the command as a user starts it, the others by a process that does one after another.
test.each(every(2, Object.entries(recipes).filter(([name]) => name !== 'gpt-1t')).map((r, i) => [...r, i === 0 ? run : server.run] as const))('%s is trained', async (name, { set }, as) => {
  const data = name === 'spatial-tiny' ? [] : ['--data', place.file('text.txt', text)]
  const { code, err } = await as(['train', name, ...data, '--plugin', 'simulate', '--steps', '2', '--out', name, '--set', ...set], { cwd: place.path, env })
  expect(code, err).toBe(0)
  const rows = jsonLines(readFileSync(join(place.path, name, 'metrics.jsonl'), 'utf8'))
  expect(rows.filter(row => 'loss' in row).map(row => [row['step'], Number.isFinite(row['loss'])])).toEqual([[0, true], [1, true]])
})

test('one is given as the file of a clone, and is the model that its name is', async () => {
  // Not where runs of such names lie: a run's folder is what its name means there.
  const planned = async (recipe: string): Promise<unknown> => {
    const { code, out, err } = await run(['plan', recipe, '--json'], { cwd: root, env })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    return (JSON.parse(out) as { readonly collectives: unknown }).collectives
  }
  expect(await planned(join(root, 'recipes/gpt-tiny.ts'))).toEqual(await planned('gpt-tiny'))
})
