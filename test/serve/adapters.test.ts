/** Adapters that requests choose by name: each answer is that of the model with its adapter alone, whoever else is answered; they come and go between steps. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadInitial, saveWeights } from '../../src/checkpoint/index.ts'
import { UsageError } from '../../src/core/errors.ts'
import { broadcast, compile, initialise, input, keyOf, loose, mapTree, mesh as meshOf, openBackend, placementTrees, plan, type Arrays, type Backend, type Tree } from '../../src/engine/index.ts'
import { llama, llamaSchema, t5, t5Schema, withLora, type LoraOptions, type WritingModel } from '../../src/models/index.ts'
import { AdapterSlots } from '../../src/serve/adapter-slots.ts'
import type { FindAdapters } from '../../src/serve/adapters.ts'
import { Refused } from '../../src/serve/asking.ts'
import { openAnswering, type Generating, type Opened } from '../../src/serve/open.ts'
import { arrayTrees } from '../../src/serve/weights.ts'
import { asking, end, heard, letter, vocab } from './tiny.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-adapters-'))
let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
afterAll(async () => { await backend.close(); rmSync(folder, { recursive: true }) })

const sizes = { vocab, embed: 8, heads: 4, headDim: 4, hidden: 12, tied: true }
/** Models, and what their weights are multiplied by: larger than at first, so that texts differ. */
const kinds = {
  llama: { build: () => llama(llamaSchema.parse({ ...sizes, seq: 32, layers: 2, kvHeads: 2 }), 1) as unknown as WritingModel, times: 20, layout: { batch: 'batch', kvHeads: 'model', hidden: 'model' } },
  t5: { build: () => t5(t5Schema.parse({ ...sizes, source: 32, target: 32, encoderLayers: 2, decoderLayers: 1 }), 1) as unknown as WritingModel, times: 1.5, layout: { batch: 'batch', heads: 'model', hidden: 'model' } },
} as const
type Kind = typeof kinds[keyof typeof kinds]
const tokenizer = { vocab, endOfText: end, stream: () => ({ push: letter, end: () => '' }), tokens: [], added: [] } as never
/** The same on every mesh. */
const larger = ({ times }: Kind, params: Tree, seed: number): Generating['arrays'] => async where => {
  const make = await compile((s: Tree) => mapTree(initialise(params, keyOf(s as never)) as Tree, (p, path) => (path.includes('norm') ? p : loose(p).mul(path.includes('lora.') && path.endsWith('.up') ? 1 : times)).relayout('params')), [input('seed', [], 'i32') as Tree] as const, where)
  return await make(seed as never) as Arrays<Tree>
}

/** Adapters as files: `down` as it begins, `up` of chosen numbers, as if they had been trained. */
async function adapterFile({ build }: Kind, name: string, lora: LoraOptions, seed: number): Promise<{ readonly path: string; readonly find: Awaited<ReturnType<FindAdapters>> }> {
  const { params: { lora: factors } } = withLora(build() as never, lora)
  const make = await compile((s: Tree) => mapTree(initialise({ lora: factors } as unknown as Tree, keyOf(s as never)) as Tree, (p, path) => (path.endsWith('.up') ? loose(broadcast(loose(p).sum(...p.shape.map(d => d.name)), p.shape as never)).add(0.3 + seed / 10) : loose(p).mul(3))), [input('seed', [], 'i32') as Tree] as const, { mesh: meshOf({ batch: 1 }), backend, layout: {} })
  const arrays = await make(seed as never)
  const path = join(folder, `${name}.safetensors`)
  await saveWeights(path, arrayTrees.flatten(arrays).map(({ path: p, leaf }) => ({ path: p, value: leaf })), backend.processes)
  return { path, find: { weights: path, factors: factors as never, scale: (lora.alpha ?? 2 * lora.rank) / lora.rank } }
}

/** A model that has had an adapter all the time. */
async function always(kind: Kind, lora: LoraOptions, path: string): Promise<Opened> {
  const base = kind.build()
  const model = withLora(base as never, lora) as unknown as WritingModel
  const arrays: Generating['arrays'] = async where => {
    const { placements: [lies] } = plan((all: Tree) => mapTree(all, p => p.relayout('params')), [{ lora: (model.params as unknown as { readonly lora: Tree }).lora } as Tree] as const, where)
    const wanted = placementTrees.flatten(lies).map(({ path: p, leaf }) => ({ path: p, value: leaf }))
    const { arrays: found } = await loadInitial(path, wanted, {}, where.backend, where.mesh)
    const { lora: own } = placementTrees.rebuild(lies, wanted.map(w => found.get(w.path))) as unknown as { readonly lora: Arrays<Tree> }
    return { base: await larger(kind, base.params, 3)?.(where, base.params), lora: own } as never
  }
  return openAnswering({ weights: path, model: () => model, tokenizer, arrays }, { backend, mesh: { batch: 1, model: 1 }, layout: kind.layout, requests: 4, block: 4, chunk: 8 })
}

const options = { requests: 4, block: 4, chunk: 8 }
const first: LoraOptions = { rank: 2, alpha: 4 }
const second: LoraOptions = { rank: 3, alpha: 3, on: ['query', 'down'] }
const prompts = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13], [1, 2, 3, 4, 5, 6, 7, 8]]
const tellings = async (of: Opened, prompt: readonly number[], adapter?: string): Promise<readonly { readonly token: number; readonly logprob?: number }[]> =>
  (await heard(of.answering.ask(asking(prompt, { logprobs: 0, ignoreEnd: true, ...(adapter === undefined ? {} : { adapter }) })))).all.flatMap(t => (t.type === 'more' ? t.tokens : []))
const close = (found: Awaited<ReturnType<typeof tellings>>, wanted: typeof found): void => {
  expect(found.map(t => t.token)).toEqual(wanted.map(t => t.token))
  found.forEach((t, i) => { expect(t.logprob).toBeCloseTo(wanted[i]?.logprob ?? NaN, 4) })
}

test.each([{ of: 'llama', batch: 1, model: 1 }, { of: 'llama', batch: 2, model: 2 }, { of: 't5', batch: 2, model: 2 }] as const)('on %j', async ({ of, ...mesh }) => {
  const kind = kinds[of]
  const { build, layout } = kind
  const [a, b] = [await adapterFile(kind, 'a', first, 1), await adapterFile(kind, 'b', second, 2)]
  const files = new Map([['a', a], ['b', b]])
  const base = build()
  const opened = await openAnswering({ weights: 'none', model: build, tokenizer, arrays: larger(kind, base.params, 3) }, { ...options, backend, mesh, layout, adapters: { count: 2, rank: 4, find: path => { const found = files.get(path); return found === undefined ? Promise.reject(new UsageError({ code: 'adapter', what: `there is no ${path}`, fix: 'give another' })) : Promise.resolve(found.find) } } })
  const { adapters, answering } = opened
  expect(() => answering.ask(asking([1], { adapter: 'a' }))).toThrow(Refused)
  const plain = await Promise.all(prompts.map(p => tellings(opened, p)))
  await adapters?.load('a', 'a')
  await adapters?.load('b', 'b')
  expect(answering.adapters).toEqual(['a', 'b'])
  // All at once, and each as it is alone, bit for bit; the model without adapters as before they came.
  const names = [undefined, 'a', 'b']
  const together = await Promise.all(prompts.flatMap(p => names.map(name => tellings(opened, p, name))))
  for (const [i, p] of prompts.entries()) for (const [j, name] of names.entries()) expect(together[3 * i + j]).toEqual(name === undefined ? plain[i] : await tellings(opened, p, name))
  const [withA, withB] = [await always(kind, first, a.path), await always(kind, second, b.path)]
  for (const [i, p] of prompts.entries()) {
    close(together[3 * i + 1] as never, await tellings(withA, p))
    close(together[3 * i + 2] as never, await tellings(withB, p))
    expect(together[3 * i + 1]).not.toEqual(plain[i])
  }
  // Who has begun with one ends with it, though it is dropped and another takes its name meanwhile; there is room again then.
  const begun = answering.ask(asking(prompts[0] as number[], { logprobs: 0, ignoreEnd: true, adapter: 'a' }))
  expect(adapters?.drop('a')).toBe(true)
  expect(adapters?.drop('a')).toBe(false)
  await expect(adapters?.load('c', 'b')).rejects.toThrow('room for 2 adapters')
  expect((await heard(begun)).all.flatMap(t => (t.type === 'more' ? t.tokens : []))).toEqual(together[1])
  await adapters?.load('a', 'b')
  // What was kept of prompts with the one before is not taken for this one's.
  expect(await tellings(opened, prompts[0] as number[], 'a')).toEqual(together[2])
  await expect(adapters?.load('d', 'nowhere')).rejects.toThrow()
  expect(answering.load().blocksUsed).toBe(0)
  for (const o of [opened, withA, withB]) await o.close()
})

test('a place is free once nobody uses what was dropped from it', () => {
  const slots = new AdapterSlots(1)
  slots.fill(slots.place(), 'a')
  const [one, two] = [slots.pin('a'), slots.pin('a')]
  slots.drop('a')
  expect([slots.names, slots.pin('a')]).toEqual([[], undefined])
  if (one !== undefined) slots.leave(one)
  expect(() => slots.place()).toThrow('room for 1')
  if (two !== undefined) slots.leave(two)
  expect(slots.place()).toBe(1)
})
