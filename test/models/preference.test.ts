/** Pairs of answers: where training begins, what of a batch counts, how the reference is kept, and where its numbers lie in files. What the loss and its gradients are is in the fixtures. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadInitial, openWeights, saveWeights } from '../../src/checkpoint/index.ts'
import { compile, dims, initialisers, input, leavesOf, mesh, openBackend, param, placementTrees, trainedOf, type Arrays, type Backend, type MeshArray, type Tensor, type Tree } from '../../src/engine/index.ts'
import { filesOf, gpt, llama, llamaModel, loraModel, preferenceModel, withLora, withPreference, type AnswerBatch, type AnyModel, type LoraParams, type Model, type ReferenceParams } from '../../src/models/index.ts'
import { linear, type LinearWeight } from '../../src/nn/linear.ts'
import { adamw } from '../../src/optim/index.ts'
import { evaluated } from '../../src/models/evaluation.ts'
import { initialise, stateOf, trainStep } from '../../src/train/program.ts'
import { namedArrays } from '../../src/train/evaluate.ts'
import { draw } from '../support/values.ts'

const part = llamaModel({ vocab: 16, seq: 6, layers: 1, embed: 8, heads: 2, kvHeads: 1, headDim: 4, hidden: 8, masked: true })
// The next token by the last one: little to compile.
const d = dims({ batch: 4, seq: 6, vocab: 16, embed: 8 })
type Params = { readonly tokens: Tensor<'vocab' | 'embed'>; readonly head: Tensor<'vocab' | 'embed'> }
const ofIds = (name: string): Tensor<'batch' | 'seq'> => input(name, [d.batch, d.seq], 'i32')
const bigrams: Model<Params, AnswerBatch, keyof typeof d> = {
  dims: d, itemsPerBatch: 4, linear: { head: ['embed'] }, batch: { tokens: ofIds('tokens'), targets: ofIds('targets') },
  params: { tokens: param('tokens', [d.vocab, d.embed], { init: initialisers.normal(1) }), head: param('head', [d.vocab, d.embed], { init: initialisers.normal(1), decays: true }) },
  logits: (p, { tokens }) => linear(p.tokens.take(d.vocab, tokens), p.head as LinearWeight<'vocab' | 'embed'>, d.embed),
  loss: () => { throw new Error('only the logits are asked for') },
}
const [copied, adapted] = [withPreference(bigrams, { beta: 0.5 }), withPreference(withLora(bigrams, { rank: 2 }), { beta: 0.5 })]
const ids = (seed: number, from = 0): Int32Array => Int32Array.from({ length: 24 }, (_, i) => (i % 6 < from ? -100 : Math.floor(16 * draw(seed, i))))
const pairs = { chosen: { tokens: ids(1), targets: ids(2, 2) }, rejected: { tokens: ids(3), targets: ids(4, 3) } }
const config = { optimizer: adamw({ rate: 0.03 }), seed: 1, remat: 'nothing' as const }

let backend: Backend
beforeAll(async () => { backend = await openBackend({ plugin: 'simulate', devices: 4 }) })
const folder = mkdtempSync(join(tmpdir(), 'meshwork-preference-'))
afterAll(async () => { await backend.close(); rmSync(folder, { recursive: true, force: true }) })
const where = (sizes: { readonly batch: number; readonly model: number }) => ({ mesh: mesh(sizes), layout: { batch: 'batch', vocab: 'model' }, backend, dims: d } as const)
const bits = async (arrays: readonly { readonly value: MeshArray }[]): Promise<string[]> => Promise.all(arrays.map(async ({ value }) => Buffer.from((await value.read() as Float32Array).slice().buffer).toString('hex')))

describe.each([['a frozen copy', copied as unknown as AnyModel, 'reference.'], ['the weights without adapters', adapted as unknown as AnyModel, 'base.']] as const)('compared with %s', (_, model, frozen) => {
  test('a model begins at log 2, learns, and what it is compared with stays; on no mesh and in no parts are the numbers others', async () => {
    const losses = async (sizes: { readonly batch: number; readonly model: number }, microbatches: number): Promise<number[]> => {
      const at = { ...where(sizes), dims: { ...model.dims } }
      const init = await compile(initialise(model as never, config), [input('seed', [], 'i32')] as const, at)
      const step = await compile(trainStep(model as never, { ...config, microbatches }), [stateOf(model as never, config), model.batch] as const, { ...at, donate: [] })
      let state = await init(7) as Arrays<Tree>
      const still = (): Promise<string[]> => bits(namedArrays((state as unknown as { readonly params: unknown }).params).filter(a => a.path.startsWith(frozen)))
      const [before, found] = [await still(), [] as number[]]
      expect(before.length).toBe(2)
      for (let i = 0; i < 3; i++) {
        const next = await step(state as never, pairs as never)
        found.push(await next.metrics.loss.item())
        state = next.state as never
      }
      expect(await still()).toEqual(before)
      return found
    }
    const [expected, ...others] = [await losses({ batch: 1, model: 1 }, 1), await losses({ batch: 2, model: 2 }, 2)]
    expect(expected?.[0]).toBeCloseTo(Math.LN2, 6)
    expect(expected?.at(-1)).toBeLessThan(Math.LN2 - 0.005)
    for (const found of others) found.forEach((loss, i) => { expect(Math.abs(loss - (expected?.[i] ?? NaN))).toBeLessThan(1e-5) })
  })
})

test('a pair without a target that counts does not count, in the loss and in every metric', async () => {
  const program = await compile(evaluated(copied), [copied.params, copied.batch] as const, where({ batch: 2, model: 2 }))
  const init = await compile(initialise(copied, config), [input('seed', [], 'i32')] as const, where({ batch: 2, model: 2 }))
  const { params } = await init(3) as unknown as { readonly params: Arrays<ReferenceParams<Tree>> }
  // Another reference than the policy, so that there is something to measure.
  const other = await init(4) as unknown as { readonly params: Arrays<ReferenceParams<Tree>> }
  const given = { policy: params.policy, reference: other.params.policy }
  const measured = async (batch: typeof pairs): Promise<{ [name: string]: { value: number; weight: number } }> =>
    Object.fromEntries(await Promise.all(Object.entries(await program(given as never, batch as never)).map(async ([name, { value, weight }]) => [name, { value: await value.item(), weight: await weight.item() }] as const)))
  const without = (side: typeof pairs.chosen): typeof pairs.chosen => ({ ...side, targets: side.targets.map((t, i) => (i < 18 ? t : -100)) })
  const [all, some] = [await measured(pairs), await measured({ chosen: without(pairs.chosen), rejected: without(pairs.rejected) })]
  expect(Object.keys(all).sort()).toEqual(['accuracy', 'chosenReward', 'loss', 'margin', 'rejectedReward'])
  for (const { weight } of Object.values(all)) expect(weight).toBe(4)
  for (const { weight } of Object.values(some)) expect(weight).toBe(3)
  const alone = await measured({ chosen: { ...pairs.chosen, targets: pairs.chosen.targets.map((t, i) => (i < 18 ? -100 : t)) }, rejected: { ...pairs.rejected, targets: pairs.rejected.targets.map((t, i) => (i < 18 ? -100 : t)) } })
  for (const name of Object.keys(all)) expect(all[name]?.value, name).toBeCloseTo((3 * (some[name]?.value ?? NaN) + (alone[name]?.value ?? NaN)) / 4, 5)
  expect(all['margin']?.value).toBeCloseTo((all['chosenReward']?.value ?? NaN) - (all['rejectedReward']?.value ?? NaN), 5)
})

test('nothing of the reference is trained, and no slots are kept for it', () => {
  const trained = trainedOf(copied.params)
  expect(leavesOf(trained.of(copied.params)).every(l => l.path.startsWith('policy.'))).toBe(true)
  expect(leavesOf(stateOf(copied, config).slots).some(l => l.path.includes('reference'))).toBe(false)
  expect(Object.keys(adapted.params)).toEqual(['base', 'lora'])
  expect(leavesOf(withPreference(withLora(bigrams, { rank: 2 }) as Model<LoraParams<Params>, AnswerBatch, string>, { beta: 1, reference: 'copy' }).params).map(l => l.path)).toEqual(['policy', 'reference'].flatMap(set => ['base.tokens', 'base.head', 'lora.head.down', 'lora.head.up'].map(p => `${set}.${p}`)))
})

describe('in files', () => {
  const configured = preferenceModel(part as never, { beta: 0.2 })
  const model = configured.build({ batch: 4 }) as AnyModel & { readonly params: ReferenceParams<Tree> }
  const files = filesOf(configured, model)
  test('a configuration is nested, whole and changed by fields', () => {
    expect(configured.config).toMatchObject({ base: { vocab: 16 }, preference: { beta: 0.2, labelSmoothing: 0 } })
    expect(files?.config).toMatchObject({ model_type: 'llama', hidden_size: 8 })
    const other = preferenceModel(loraModel(part as never, { rank: 3 }) as never).with({ base: { base: { ...part.config, layers: 2 }, lora: { rank: 2 } }, preference: { beta: 1 } })
    expect(other.build({ batch: 2 }).dims).toMatchObject({ layers: { size: 2 }, rank: { size: 2 }, batch: { size: 2 } })
    expect(() => configured.with({ ...configured.config, preference: { beta: 0 } })).toThrow(/beta/)
  })
  test('what is written is the policy alone, as any llama\'s; read, it fills both; what holds both is read as both', async () => {
    const at = { ...where({ batch: 2, model: 2 }), dims: model.dims, uses: { residual: 'compute' } } as const
    const init = await compile(initialise(model as never, config), [input('seed', [], 'i32')] as const, at)
    const [state, other] = [await init(1), await init(2)] as unknown as readonly { readonly params: Arrays<ReferenceParams<Tree>> }[]
    const both = { policy: state!.params.policy, reference: other!.params.policy }
    const file = join(folder, 'policy.safetensors')
    await saveWeights(file, namedArrays(both), backend.processes, files?.naming)
    await using source = await openWeights(file)
    expect([...source.tensors.keys()].some(n => n.startsWith('reference'))).toBe(false)
    expect(source.tensors.get('model.layers.0.mlp.down_proj.weight')?.shape).toEqual([8, 8])
    const placements = (await compile((p: Tree) => p, [model.params] as const, at)).placements[0]
    const wanted = placementTrees.flatten(placements).map(({ path, leaf }) => ({ path, value: leaf }))
    const read = async (path: string): Promise<Map<string, string>> => {
      const { arrays, missing, unexpected } = await loadInitial(path, wanted, {}, backend, at.mesh, files?.naming)
      expect([missing, unexpected]).toEqual([[], []])
      return new Map(await Promise.all([...arrays].map(async ([name, value]) => [name, (await bits([{ value }]))[0] ?? ''] as const)))
    }
    const [policy, reference] = [await bits(namedArrays(both.policy)), await bits(namedArrays(both.reference))]
    expect(policy).not.toEqual(reference)
    const filled = await read(file)
    expect(wanted.filter(w => w.path.startsWith('reference.')).map(w => filled.get(w.path))).toEqual(policy)
    expect(wanted.filter(w => w.path.startsWith('policy.')).map(w => filled.get(w.path))).toEqual(policy)
    // As a checkpoint has it: all of them.
    const { copies: _, ...naming } = files?.naming ?? { parameters: {} }
    const all = join(folder, 'both.safetensors')
    await saveWeights(all, namedArrays(both), backend.processes, naming)
    const found = await read(all)
    expect(wanted.filter(w => w.path.startsWith('reference.')).map(w => found.get(w.path))).toEqual(reference)
    expect(wanted.filter(w => w.path.startsWith('policy.')).map(w => found.get(w.path))).toEqual(policy)
  })
})

test('what cannot be is refused', () => {
  const plain = llama(part.config, 2)
  expect(() => withPreference(plain, { beta: -1 })).toThrow(/beta is -1/)
  expect(() => withPreference(plain, { beta: 1, labelSmoothing: 0.5 })).toThrow(/labelSmoothing is 0\.5/)
  expect(() => withPreference(plain, { beta: 1, reference: 'base' })).toThrow(/the model has none/)
  expect(() => withPreference({ ...plain, dims: {} } as never, { beta: 1 })).toThrow(/does not give the logits of tokens/)
  expect(withPreference(gpt({ vocab: 8, seq: 4, layers: 1, embed: 4, heads: 1, headDim: 4, hidden: 4, dropout: 0.5 }, 2), { beta: 1 }).itemsPerBatch).toBe(2)
})
