/** Loading by placement: any mesh, layout and number of processes into any other, the bytes that are needed and no more, another dtype, a part. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dim } from '../../src/core/dim.ts'
import { hostArray } from '../../src/core/dtype.ts'
import { castHost } from '../../src/checkpoint/cast.ts'
import { chosen, compare, loadArrays } from '../../src/checkpoint/load.ts'
import { restoreNewest } from '../../src/checkpoint/restore.ts'
import { loadInitial, loadWeights, saveWeights, openWeights } from '../../src/checkpoint/index.ts'
import { writeSafetensors } from '../../src/checkpoint/safetensors.ts'
import { openFile } from '../../src/checkpoint/source.ts'
import { openRanged, verified } from '../../src/io/ranged.ts'
import { crc } from '../../src/io/crc.ts'
import { mesh, place, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { alone } from '../../src/runtime/processes.ts'
import { MemoryFiles } from './memory-files.ts'
import { arraysOf, bitsOf, byBatch, dataOf, expectedBits, one, openIn, placementOf, rankBackend, ranks, simulated, stateLeaves, stateOf, wantedOf, weightLeaves, where, type Leaves, type Setting } from './support.ts'

let backend: Backend
beforeAll(async () => { backend = await simulated(8) })
const folder = mkdtempSync(join(tmpdir(), 'meshwork-load-'))
afterAll(async () => {
  await backend.close()
  rmSync(folder, { recursive: true, force: true })
})
const at = (name: string): string => join(folder, name)

const settings: readonly (readonly [name: string, setting: Setting])[] = [
  ['1', one], ['2', byBatch(2)], ['4', { mesh: mesh({ model: 4 }), rules: { vocab: ['model'], heads: ['model'] } }],
  ['2×2', { mesh: mesh({ batch: 2, model: 2 }), rules: { vocab: ['model'], heads: ['model'], embed: ['batch'] } }],
  ['4×1 FSDP', { mesh: mesh({ batch: 4, model: 1 }), rules: { embed: ['batch'], vocab: ['model'] } }],
  ['2×4', { mesh: mesh({ a: 2, b: 4 }), rules: { vocab: ['a'], heads: ['a'], embed: ['b'] } }],
  ['2×2×2', { mesh: mesh({ a: 2, b: 2, c: 2 }), rules: { embed: ['c', 'a'], vocab: ['b'], layers: ['b'] } }],
  ['8, all alike', { mesh: mesh({ batch: 8 }), rules: {} }],
]

describe('every mesh loads what every other saved', () => {
  test.each(settings)('saved on %s', async (_, from) => {
    const { files, checkpoints } = await openIn(new MemoryFiles(), { shardBytes: 300 })
    await checkpoints.save(1, await stateOf(from, backend, 9))
    await checkpoints.finish()
    for (const [, to] of settings) {
      const restored = await restoreNewest(wantedOf(to), { files, folder: where, backend, mesh: to.mesh })
      expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, 9))
      expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 9))
    }
  })

  test('and so do processes, however many they are', async () => {
    const { files, checkpoints } = await openIn(new MemoryFiles())
    await checkpoints.save(1, await stateOf(byBatch(4), backend, 9))
    await checkpoints.finish()
    for (const [, to] of settings) {
      await Promise.all(ranks(to.mesh.size).map(async processes => {
        const restored = await restoreNewest(wantedOf(to), { files, folder: where, backend: rankBackend(processes), mesh: to.mesh })
        expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, 9))
        expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 9))
      }))
    }
  })

  test('what is damaged for one rank is left by all', async () => {
    const { files, checkpoints } = await openIn(new MemoryFiles())
    for (const step of [1, 2]) await checkpoints.save(step, await stateOf(one, backend, step))
    await checkpoints.finish()
    await Promise.all(ranks(2).map(async processes => {
      const theirs = files.copy()
      // This rank's disk gives it another byte.
      if (processes.rank === 1) { const data = theirs.bytes(`${where}/step-2/state.safetensors`); data[data.length - 1] = (data.at(-1) ?? 0) ^ 4 }
      const restored = await restoreNewest(wantedOf(byBatch(2)), { files: theirs, folder: where, backend: rankBackend(processes), mesh: byBatch(2).mesh })
      expect(restored).toMatchObject({ step: 1, skipped: [{ name: 'step-2', reason: expect.stringMatching(/^rank 1: .*checksum/) }] })
    }))
  })
})

test('each device reads the bytes that it needs, a chunk more at each end', async () => {
  // 8 MiB in rows of 4 KiB.
  const leaf = { dtype: 'f32', dims: { row: 2048, column: 1024 } } as const
  const { files, checkpoints } = await openIn(new MemoryFiles())
  const whole = Float32Array.from({ length: 2048 * 1024 }, (_, i) => i)
  await checkpoints.save(1, { weights: { w: await place(backend, one.mesh, placementOf(leaf, one), whole, 'w') }, state: {}, host: null })
  await checkpoints.finish()
  const count = async (setting: Setting, rank: number, processes = ranks(setting.mesh.size)): Promise<{ readonly bytes: number; readonly array: MeshArray }> => {
    let bytes = 0
    const { open } = files
    files.open = async (path, how) => {
      const file = await open.call(files, path, how)
      return { ...file, read: async (into, from) => { if (path.includes('model')) bytes += into.byteLength; return file.read(into, from) } }
    }
    try {
      await using source = await openWeights(`${where}/step-1`, files)
      const [array] = await loadArrays(source, [{ path: 'w', value: placementOf(leaf, setting) }], rankBackend(processes[rank]!), setting.mesh)
      return { bytes, array: array! }
    } finally {
      files.open = open
    }
  }
  const rows = await count({ mesh: mesh({ m: 4 }), rules: { row: ['m'] } }, 2)
  const part = await [...rows.array.pieces.values()][0]?.read()
  const quarter = whole.byteLength / 4
  expect(part !== undefined && Buffer.from(part.buffer).equals(Buffer.from(whole.buffer, 2 * quarter, quarter))).toBe(true)
  expect(rows.bytes).toBeLessThan(whole.byteLength / 4 + 3 * 2 ** 18)
  // Columns lie in every row: all is read, once.
  const columns = await count({ mesh: mesh({ m: 4 }), rules: { column: ['m'] } }, 1)
  expect((await [...columns.array.pieces.values()][0]?.read())?.slice(256, 512)).toEqual(whole.slice(1024 + 256, 1024 + 512))
  expect(columns.bytes).toBeLessThan(whole.byteLength + 3 * 2 ** 18)
})

test('ranges by chunks: any of them, whole or in part, and what is damaged only where it is read', async () => {
  const files = new MemoryFiles()
  const data = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 7) & 255))
  files.put('/x', data)
  const size = 64
  const crcs = Uint32Array.from({ length: Math.ceil(data.length / size) }, (_, i) => crc(data.subarray(i * size, (i + 1) * size)))
  const file = verified(await openRanged(files, '/x'), { size, crcs })
  for (const [from, to] of [[0, 1000], [0, 64], [63, 65], [64, 128], [5, 6], [900, 1000], [960, 1000], [999, 1000], [0, 0], [100, 700]] as const) {
    const into = new Uint8Array(to - from)
    await file.read(into, from)
    expect(Buffer.from(into).equals(data.subarray(from, to))).toBe(true)
  }
  await expect(file.read(new Uint8Array(2), 999)).rejects.toThrow(/FileError\[damaged\]/)
  files.bytes('/x')[500] = 1
  const again = verified(await openRanged(files, '/x'), { size, crcs })
  await again.read(new Uint8Array(448), 0)
  for (const [from, to] of [[0, 1000], [449, 450], [511, 520]] as const) await expect(again.read(new Uint8Array(to - from), from)).rejects.toThrow(/bytes 448 to 511 do not have the checksum/)
})

describe('another dtype, and a part', () => {
  const leaves: Leaves = { 'blocks.a': { dtype: 'f32', dims: { x: 8 } }, 'blocks.b': { dtype: 'f32', dims: { x: 8 } }, head: { dtype: 'f32', dims: { x: 8 } }, n: { dtype: 'i32', dims: {} } }
  const placed = (changes: Leaves = {}) => Object.entries({ ...leaves, ...changes }).map(([path, leaf]) => ({ path, value: placementOf(leaf, one) }))
  beforeAll(async () => {
    const arrays = await arraysOf(leaves, one, backend, 6)
    await saveWeights(at('weights.safetensors'), Object.entries(arrays).map(([path, value]) => ({ path, value })), alone)
  })

  test('floats are rounded to what is asked for, whole numbers are what they are', async () => {
    for (const dtype of ['bf16', 'f16', 'f64'] as const) {
      const { arrays } = await loadInitial(at('weights.safetensors'), placed({ head: { dtype, dims: { x: 8 } } }), {}, backend, one.mesh)
      expect(await arrays.get('head')?.bits()).toEqual(castHost(dataOf('head', leaves['head']!, 6), 'f32', dtype))
      expect(await arrays.get('blocks.a')?.bits()).toEqual(dataOf('blocks.a', leaves['blocks.a']!, 6))
    }
    await expect(loadInitial(at('weights.safetensors'), placed({ n: { dtype: 'f32', dims: {} } }), {}, backend, one.mesh)).rejects.toThrow(/n: expected f32 scalar, found i32 scalar/)
    // Halves become each other by way of numbers, f64 is rounded once.
    expect(castHost(Float64Array.of(1 + 2 ** -8 + 2 ** -40), 'f64', 'bf16')).toEqual(Uint16Array.of(0x3f81))
    expect(castHost(Uint16Array.of(0x3c00), 'f16', 'bf16')).toEqual(Uint16Array.of(0x3f80))
  })

  test('by patterns: what was loaded, what is missing, what was not expected', async () => {
    const wanted = placed({ 'blocks.c': { dtype: 'f32', dims: { x: 8 } }, head: { dtype: 'f32', dims: { x: 9 } } })
    const { arrays, ...fit } = await loadInitial(at('weights.safetensors'), wanted, { only: ['blocks.*'] }, backend, one.mesh)
    expect(fit).toEqual({ loaded: ['blocks.a', 'blocks.b'], missing: ['blocks.c'], unexpected: [] })
    expect([...arrays.keys()]).toEqual(fit.loaded)
    const rest = await loadInitial(at('weights.safetensors'), wanted.slice(0, 1), { except: ['head'] }, backend, one.mesh)
    expect(rest).toMatchObject({ loaded: ['blocks.a'], missing: [], unexpected: ['blocks.b', 'n'] })
    // A head of other dims is an error as long as it is chosen.
    await expect(loadInitial(at('weights.safetensors'), wanted, {}, backend, one.mesh)).rejects.toThrow(/FileError\[tensors-differ\][^]*head: expected f32 x=9, found f32 x=8/)
    await expect(loadInitial(at('weights.safetensors'), wanted, { only: ['nothing'] }, backend, one.mesh)).rejects.toThrow(/FileError\[nothing-to-load\][^]*has +blocks\.a/)
    expect(['a.b', 'aXb', 'a.bc', 'a.', ''].map(chosen({ only: ['a.*', 'x?'] }))).toEqual([true, false, true, true, false])
    expect(['blocks.0.w', 'blocks.0.b'].map(chosen({ except: ['*.b'] }))).toEqual([true, false])
  })

  test('weights of one file: what is missing or of other dims is named, what is more is left', async () => {
    const [loaded] = await loadWeights(at('weights.safetensors'), placed().slice(2, 3), backend, one.mesh)
    expect(await loaded?.bits()).toEqual(dataOf('head', leaves['head']!, 6))
    await expect(loadWeights(at('weights.safetensors'), placed({ more: { dtype: 'f32', dims: {} } }), backend, one.mesh)).rejects.toThrow(/missing +more/)
    await expect(loadWeights(at('weights.safetensors'), placed({ head: { dtype: 'f32', dims: { y: 8 } } }), backend, one.mesh)).rejects.toThrow(/head: expected f32 y=8, found f32 x=8/)
  })

  test('weights that others wrote have no names of dims', async () => {
    const data = hostArray('f32', 8)
    await writeSafetensors(at('plain.safetensors'), [{ name: 'head', dtype: 'f32', shape: [8], data }])
    await using source = await openFile(at('plain.safetensors'))
    expect(compare('x', placed().slice(2, 3), source, { cast: false, refuse: { missing: true, unexpected: true } })).toEqual({ loaded: ['head'], missing: [], unexpected: [] })
    expect(() => compare('x', [{ path: 'head', value: { shape: [dim('y', 2), dim('z', 4)], dtype: 'f32', sharding: new Map() } }], source, { cast: false, refuse: { missing: true, unexpected: true } })).toThrow(/expected f32 y=2 z=4, found f32 \[8\]/)
    const before = backend.liveBuffers()
    const failing = { ...source, tensors: new Map([['a', source.tensors.get('head')!], ['b', { ...source.tensors.get('head')!, read: () => Promise.reject(new Error('gone')) }]]) }
    await expect(loadArrays(failing, ['a', 'b'].map(path => ({ path, value: placementOf(leaves['head']!, one) })), backend, one.mesh)).rejects.toThrow('gone')
    expect(backend.liveBuffers()).toBe(before)
    expect(await (await place(backend, one.mesh, placementOf(leaves['head']!, one), data, 'x')).bits()).toEqual(data)
  })
})

test('adapters whose base lies beside them are read with it', async () => {
  mkdirSync(at('adapted'))
  await writeSafetensors(at('adapted/model.safetensors'), [{ name: 'head', dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) }])
  await writeSafetensors(at('adapted/adapter_model.safetensors'), [{ name: 'head.lora_A.weight', dtype: 'f32', shape: [1], data: Float32Array.of(3) }])
  writeFileSync(at('adapted/adapter_config.json'), JSON.stringify({ base_model_name_or_path: '.' }))
  await using source = await openWeights(at('adapted'))
  expect([...source.tensors.keys()].sort()).toEqual(['head', 'head.lora_A.weight'])
})
