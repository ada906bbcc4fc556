/** Weights under the names of other tools: the bytes that those expect, from and onto any mesh and number of ranks, and errors that name what does not fit. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Naming } from '../../src/core/naming.ts'
import { byPaths, openWeights } from '../../src/checkpoint/index.ts'
import { grouped } from '../../src/checkpoint/renamed.ts'
import { storedTensors } from '../../src/checkpoint/stored.ts'
import type { Backend } from '../../src/engine/index.ts'
import { MemoryFiles } from './memory-files.ts'
import { arraysOf, bitsOf, byBatch, dataOf, expectedBits, one, openIn, placementOf, placements, rankBackend, ranks, simulated, where, type Leaves } from './support.ts'

const square = { dtype: 'f32', dims: { layers: 2, embed: 8, heads: 4 } } as const
const leaves: Leaves = {
  embed: { dtype: 'f32', dims: { vocab: 12, embed: 8 } },
  'blocks.query': square, 'blocks.key': square, 'blocks.value': square,
  'blocks.out': { dtype: 'f32', dims: { layers: 2, heads: 2, headDim: 4, embed: 8 } },
  'blocks.gain': { dtype: 'f32', dims: { layers: 2, embed: 8 } },
}
const part = (from: number) => ({ name: 'model.h.{layers}.attn.weight', part: { axis: 1, from, of: 12 } })
const naming: Naming = {
  prefix: 'model.',
  parameters: {
    embed: 'model.wte.weight', 'blocks.query': part(0), 'blocks.key': part(4), 'blocks.value': part(8),
    'blocks.out': { name: 'model.h.{layers}.out.weight', axes: [['heads', 'headDim'], ['embed']] }, 'blocks.gain': 'model.h.{layers}.norm.weight',
  },
  zeros: { 'model.h.0.attn.bias': [12], 'model.h.1.attn.bias': [12] },
  idle: ['*.mask'],
}
let backend: Backend
beforeAll(async () => { backend = await simulated(4) })
afterAll(() => backend.close())

/** What the fused tensor of a layer holds: a row of it is a row of each of the three. */
function fused(layer: number): Float32Array {
  const all = new Float32Array(8 * 12)
  for (const [k, path] of ['blocks.query', 'blocks.key', 'blocks.value'].entries()) {
    const data = dataOf(path, square, 5) as Float32Array
    for (let row = 0; row < 8; row++) all.set(data.subarray((layer * 8 + row) * 4, (layer * 8 + row + 1) * 4), row * 12 + k * 4)
  }
  return all
}

async function saved(count: number): Promise<MemoryFiles> {
  const files = new MemoryFiles()
  await Promise.all(ranks(count).map(async processes => {
    const { checkpoints } = await openIn(files, { processes, naming })
    const on = count === 1 ? backend : rankBackend(processes)
    await checkpoints.save(1, { weights: await arraysOf(leaves, byBatch(count === 1 ? 4 : count), on, 5), state: {}, host: null })
    await checkpoints.finish()
  }))
  return files
}

test.each([1, 2, 4])('the tensors of other tools, written by %i ranks', async count => {
  const files = await saved(count)
  await using source = await openWeights(`${where}/step-1`, files)
  expect(Object.fromEntries([...source.tensors].map(([name, { shape }]) => [name, shape]))).toEqual({
    'model.wte.weight': [12, 8],
    ...Object.fromEntries([0, 1].flatMap(i => [[`model.h.${i}.attn.weight`, [8, 12]], [`model.h.${i}.attn.bias`, [12]], [`model.h.${i}.out.weight`, [8, 8]], [`model.h.${i}.norm.weight`, [8]]])),
  })
  for (const layer of [0, 1]) {
    const found = new Float32Array(8 * 12)
    await source.tensors.get(`model.h.${layer}.attn.weight`)!.read(new Uint8Array(found.buffer), 0)
    expect(found).toEqual(fused(layer))
  }
  // Onto other meshes and ranks, and read in any ranges.
  for (const to of [1, 4]) {
    await Promise.all(ranks(to).map(async processes => {
      const { checkpoints } = await openIn(files, { processes, naming })
      const setting = to === 1 ? one : byBatch(to)
      const restored = await checkpoints.restore({ weights: placements(leaves, setting), state: {}, naming }, to === 1 ? backend : rankBackend(processes), setting.mesh)
      expect(await bitsOf(restored?.weights)).toEqual(expectedBits(leaves, 5))
    }))
  }
  const wanted = Object.entries(leaves).map(([path, leaf]) => ({ path, value: placementOf(leaf, one) }))
  const mine = await byPaths(source, naming, wanted, { missing: true, unexpected: true })
  const whole = new Uint8Array(dataOf('blocks.key', square, 5).buffer)
  for (const [at, length] of [[0, 4], [4, 60], [100, 156], [0, 256], [252, 4]] as const) {
    const into = new Uint8Array(length)
    await mine.tensors.get('blocks.key')!.read(into, at)
    expect(into).toEqual(whole.slice(at, at + length))
  }
})

test('files of a part of the model leave the prefix out, and idle tensors say nothing', async () => {
  const files = await saved(1)
  await using source = await openWeights(`${where}/step-1`, files)
  const wanted = Object.entries(leaves).map(([path, leaf]) => ({ path, value: placementOf(leaf, one) }))
  const bare = { ...source, tensors: new Map([...source.tensors].map(([n, t]) => [n.replace('model.', ''), t] as const).concat([['h.0.attn.mask', source.tensors.get('model.wte.weight')!]])) }
  expect([...(await byPaths(bare, naming, wanted, { missing: true, unexpected: true })).tensors.keys()]).toEqual(Object.keys(leaves))
})

test('weights of before, under the model\'s own paths, are read as they are', async () => {
  const files = new MemoryFiles()
  const { checkpoints } = await openIn(files)
  await checkpoints.save(1, { weights: await arraysOf(leaves, byBatch(4), backend, 5), state: {}, host: null })
  await checkpoints.finish()
  const restored = await checkpoints.restore({ weights: placements(leaves, one), state: {}, naming }, backend, one.mesh)
  expect(await bitsOf(restored?.weights)).toEqual(expectedBits(leaves, 5))
})

test('what does not fit is named, every tensor of it', async () => {
  const files = await saved(1)
  await using source = await openWeights(`${where}/step-1`, files)
  const wanted = Object.entries(leaves).map(([path, leaf]) => ({ path, value: placementOf(leaf, one) }))
  const all = [...source.tensors]
  const refuse = { missing: true, unexpected: true }
  const without = { ...source, tensors: new Map(all.filter(([n]) => !n.includes('out')).concat([['model.h.3.mlp.weight', all[0]![1]]])) }
  await expect(byPaths(without, naming, wanted, refuse)).rejects.toThrow(/missing\s+model\.h\.\{0-1\}\.out\.weight\s+left over\s+model\.h\.3\.mlp\.weight/)
  const swapped = { ...source, tensors: new Map(all.map(([n, t]) => [n, n.includes('norm') ? { ...t, shape: [4] } : t] as const)) }
  await expect(byPaths(swapped, naming, wanted, refuse)).rejects.toThrow(/model\.h\.0\.norm\.weight is \[4\], and \[8\] is wanted; model\.h\.1/)
  const filled = { ...source, tensors: new Map(all.map(([n, t]) => [n, n.endsWith('bias') ? { ...t, read: async (into: Uint8Array) => { into.fill(1) } } : t] as const)) }
  await expect(byPaths(filled, naming, wanted, refuse)).rejects.toThrow(/not-zero.*model\.h\.0\.attn\.bias/)
  expect(grouped(['a.0.b', 'a.2.b', 'a.1.b', 'a.7.b', 'c', 'd.5.e'])).toBe('a.{0-2,7}.b, c, d.5.e')
})

test('a naming that does not fit its parameters', () => {
  const one = [{ path: 'x', value: { dtype: 'f32' as const, shape: [{ name: 'layers', size: 2 }, { name: 'a', size: 3 }] } }]
  const said = (parameters: Naming['parameters']) => () => storedTensors({ parameters }, one)
  expect(said({})).toThrow(/"x" lies in files is not said well: it is not named/)
  expect(said({ x: 'h.{a}.x' })).toThrow(/is by "a", and its first dim is "layers"/)
  expect(said({ x: { name: 'x', axes: [['a', 'layers']] } })).toThrow(/its axes are of a, layers, and its dims are layers, a/)
  expect(said({ x: { name: 'x', part: { axis: 1, from: 2, of: 4 } } })).toThrow(/it is 3 of 4 along axis 1 from 2 on/)
})
