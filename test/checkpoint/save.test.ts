/** Saving: what a folder holds, that it holds its own step, and what is told when it goes wrong. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseManifest } from '../../src/checkpoint/manifest.ts'
import { openWeights } from '../../src/checkpoint/index.ts'
import { crc } from '../../src/io/crc.ts'
import type { MeshArray} from '../../src/engine/index.ts';
import { compile, dim, input, mesh, type Backend, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { MemoryFiles, systemError } from './memory-files.ts'
import { arraysOf, bitsOf, byBatch, expectedBits, one, openIn, rankBackend, ranks, simulated, stateLeaves, stateOf, wantedOf, weightLeaves, where, type Setting } from './support.ts'

let backend: Backend
beforeAll(async () => { backend = await simulated(4) })
afterAll(async () => { await backend.close() })
const files = () => new MemoryFiles()
const names = (fs: MemoryFiles): string[] => [...fs.all().keys()]

test('a checkpoint is weights as others read them, other arrays beside, and a manifest', async () => {
  const { files: fs, events, checkpoints } = await openIn(files())
  await checkpoints.save(3, await stateOf(one, backend, 1))
  await checkpoints.finish()
  expect(names(fs)).toEqual(['manifest.json', 'model.safetensors', 'state.safetensors'].map(n => `${where}/step-3/${n}`))
  expect(events).toMatchObject([{ type: 'saved', step: 3, path: `${where}/step-3` }])
  await using weights = await openWeights(`${where}/step-3/model.safetensors`, fs)
  expect([...weights.tensors.keys()].sort()).toEqual(Object.keys(weightLeaves).sort())
  expect(weights.tensors.get('embed')?.dims).toEqual([{ name: 'vocab', size: 12 }, { name: 'embed', size: 8 }])
  const manifest = parseManifest('m', fs.bytes(`${where}/step-3/manifest.json`))
  expect(manifest).toMatchObject({ step: 3, runId: 'abc', run: { name: 'r' }, versions: { meshwork: 'test' }, host: { seed: 1 } })
  expect(manifest.tensors.map(t => [t.group, t.path, t.dtype]).sort()).toEqual([...Object.entries(weightLeaves).map(([p, l]) => ['weights', p, l.dtype]), ...Object.entries(stateLeaves).map(([p, l]) => ['state', p, l.dtype])].sort())
  // What other tools compute of a whole file.
  const text = JSON.parse(fs.bytes(`${where}/step-3/manifest.json`).toString()) as { manifest: { files: { name: string; crc32: string }[] } }
  for (const { name, crc32 } of text.manifest.files) expect(parseInt(crc32, 16)).toBe(crc(fs.bytes(`${where}/step-3/${name}`)))
})

test('several files of weights have an index, and the names of Hugging Face', async () => {
  const { files: fs, checkpoints } = await openIn(files(), { shardBytes: 200 })
  await checkpoints.save(3, await stateOf(byBatch(4), backend, 1))
  await checkpoints.finish()
  expect(names(fs).map(n => n.slice(where.length + 8))).toEqual([
    'manifest.json', ...[1, 2, 3].map(i => `model-0000${i}-of-00003.safetensors`), 'model.safetensors.index.json',
    ...[1, 2, 3, 4].map(i => `state-0000${i}-of-00004.safetensors`),
  ])
  const index = JSON.parse(fs.bytes(`${where}/step-3/model.safetensors.index.json`).toString())
  expect(index).toEqual({
    metadata: { total_size: 12 * 8 * 4 + 2 * 8 * 4 * 2 + 8 * 2 },
    weight_map: { 'blocks.query': 'model-00001-of-00003.safetensors', embed: 'model-00002-of-00003.safetensors', scale: 'model-00003-of-00003.safetensors' },
  })
  const restored = await checkpoints.restore(wantedOf(one), backend, one.mesh)
  expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, 1))
  expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 1))
})

test('the bytes do not depend on the mesh, the layout or the number of processes', async () => {
  const saved = async (setting: Setting): Promise<Map<string, Buffer>> => {
    const { files: fs, checkpoints } = await openIn(files(), { shardBytes: 300 })
    await checkpoints.save(5, await stateOf(setting, backend, 2))
    await checkpoints.finish()
    return fs.all()
  }
  const first = await saved(one)
  expect(await saved(byBatch(4))).toEqual(first)
  expect(await saved({ mesh: mesh({ a: 2, b: 2 }), rules: { vocab: ['a'], heads: ['a'], embed: ['b'] } })).toEqual(first)
  expect(await saved({ mesh: mesh({ a: 2, b: 2 }), rules: { heads: ['b', 'a'], vocab: ['b', 'a'] } })).toEqual(first)
  // Nor on the order of keys.
  const turned = async (setting: Setting): Promise<Map<string, Buffer>> => {
    const { files: fs, checkpoints } = await openIn(files(), { shardBytes: 300 })
    const { weights, state, host } = await stateOf(setting, backend, 2)
    await checkpoints.save(5, { weights: Object.fromEntries(Object.entries(weights).reverse()), state: Object.fromEntries(Object.entries(state).reverse()), host })
    await checkpoints.finish()
    return fs.all()
  }
  expect(await turned(one)).toEqual(first)
  for (const setting of [byBatch(4), byBatch(2), { mesh: mesh({ a: 2, b: 2 }), rules: { vocab: ['a'], embed: ['b'] } }]) {
    const fs = files()
    await Promise.all(ranks(setting.mesh.size).map(async processes => {
      const own = rankBackend(processes)
      const { checkpoints } = await openIn(fs, { processes, shardBytes: 300 })
      await checkpoints.save(5, await stateOf(setting, own, 2))
      await checkpoints.finish()
    }))
    expect(fs.all()).toEqual(first)
  }
})

test('nothing to save, and only state', async () => {
  const { files: fs, checkpoints } = await openIn(files())
  await checkpoints.save(0, { weights: {}, state: {}, host: null })
  await checkpoints.save(1, { weights: {}, state: await arraysOf({ n: { dtype: 'i32', dims: {} } }, one, backend, 7), host: [] })
  await checkpoints.finish()
  expect(names(fs)).toEqual([`${where}/step-0/manifest.json`, `${where}/step-1/manifest.json`, `${where}/step-1/state.safetensors`])
  expect(await checkpoints.restore({ weights: {}, state: {} }, backend, one.mesh, { atMost: 0 })).toMatchObject({ step: 0, host: null })
})

/** Holds every call that changes something until it is let go. */
function gate(fs: MemoryFiles, from: string): () => void {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => { open = resolve })
  fs.before = ({ what }) => (what === from ? opened : undefined)
  return open
}

test('a save that is held open for three steps holds its own step in every leaf', async () => {
  const setting = byBatch(4)
  const { files: fs, checkpoints } = await openIn(files())
  // The step takes its state over, and gives another in its place.
  const v = dim('v', 8)
  const step = await compile(([x, n]: readonly [Tensor<'v'>, Scalar]) => [x.mul(2).add(1), n.add(1)] as const, [[input('x', [v], 'f32'), input('n', [], 'i32')]] as const, { mesh: setting.mesh, backend, layout: { v: 'batch' }, donate: [0] })
  let state = await step([Float32Array.from({ length: 8 }, (_, i) => i), 0])
  const after = async (): Promise<number[]> => [...await (state[0] as MeshArray).bits()].map(Number).concat(Number(await (state[1] as MeshArray).item()))
  const open = gate(fs, 'write')
  const seen: number[][] = [await after()]
  await checkpoints.save(1, { weights: { x: state[0] }, state: { n: state[1] }, host: { step: 1 } })
  for (let i = 0; i < 3; i++) {
    state = await step(state)
    await checkpoints.poll()
    expect(checkpoints.busy).toBe(true)
    seen.push(await after())
  }
  open()
  await checkpoints.save(4, { weights: { x: state[0] }, state: { n: state[1] }, host: { step: 4 } })
  await checkpoints.finish()
  const wanted = { weights: { x: { shape: [v], dtype: 'f32' as const, sharding: new Map() } }, state: { n: { shape: [], dtype: 'i32' as const, sharding: new Map() } } }
  for (const [atMost, of] of [[1, 0], [4, 3]] as const) {
    const restored = await checkpoints.restore(wanted, backend, one.mesh, { atMost })
    expect(restored).toMatchObject({ step: atMost, host: { step: atMost } })
    const { x, n } = { ...restored?.weights as { x: MeshArray }, ...restored?.state as { n: MeshArray } }
    expect([...await x.read()].map(Number).concat(await n.item())).toEqual(seen[of])
  }
  expect(new Set(seen.map(s => s.join())).size).toBe(4)
})

test('memory that is the device\'s own is not what is written', async () => {
  const fs = files()
  await Promise.all(ranks(2).map(async processes => {
    const { checkpoints } = await openIn(fs, { processes })
    const state = await stateOf(byBatch(2), rankBackend(processes), 3)
    await checkpoints.save(1, state)
    // As a step that the arrays are donated to does.
    for (const array of [...Object.values(state.weights), ...Object.values(state.state)]) array.dispose()
    await checkpoints.finish()
    const restored = await checkpoints.restore(wantedOf(byBatch(2)), rankBackend(processes), byBatch(2).mesh)
    expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, 3))
    expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 3))
  }))
})

test('one save is under way; the next waits, and that is counted', async () => {
  const { files: fs, events, checkpoints } = await openIn(files())
  const open = gate(fs, 'sync')
  let out = 0
  const before = fs.before
  fs.before = async (call, n) => {
    if (call.what === 'makeFolder' && call.path.includes('tmp')) expect(++out).toBe(1)
    if (call.what === 'rename') out--
    await before(call, n)
  }
  const state = await stateOf(one, backend, 1)
  await checkpoints.save(1, state)
  let second = false
  const next = checkpoints.save(2, state).then(waited => { second = true; return waited })
  await new Promise(resolve => setImmediate(resolve))
  expect([second, events.length]).toEqual([false, 0])
  open()
  expect((await next).waitMs).toBeGreaterThan(0)
  await checkpoints.finish()
  expect(events.map(e => e.type === 'saved' && [e.step, e.waitMs > 0])).toEqual([[1, true], [2, true]])
})

describe('what goes wrong', () => {
  const failing = async (code: string, what: string, at = where) => {
    const bench = await openIn(files())
    const good = await stateOf(one, backend, 1)
    await bench.checkpoints.save(1, good)
    await bench.checkpoints.finish()
    bench.files.before = call => { if (call.what === what && call.path.startsWith(at)) throw systemError(code, call.what) }
    return { ...bench, good }
  }
  test.each([['ENOSPC', 'write'], ['EDQUOT', 'write'], ['EIO', 'write'], ['EIO', 'sync'], ['ENOSPC', 'truncate'], ['EDQUOT', 'makeFolder'], ['EIO', 'rename'], ['EIO', 'syncFolder'], ['EROFS', 'open']])('%s at %s is told once, the checkpoint before stays, and the step may be tried again', async (code, what) => {
    const { files: fs, events, checkpoints, good } = await failing(code, what)
    await checkpoints.save(2, { ...good, host: { seed: 'again' } })
    while (checkpoints.busy) { await checkpoints.poll(); await new Promise(resolve => setImmediate(resolve)) }
    await checkpoints.poll()
    expect(events.map(e => [e.type, e.type === 'warning' ? '' : 'step' in e ? e.step : ''])).toEqual([['saved', 1], ['failed', 2]])
    const failed = events[1]
    expect(failed?.type === 'failed' && failed.error.message).toMatch(new RegExp(`FileError\\[checkpoint-not-written\\] the checkpoint of step 2 was not written\\n {2}folder +${where}\\n {2}reason +${code}.*\\n {2}needed +\\d+ bytes\\n {2}free +not known\\n {2}fix +\\S`))
    expect(names(fs).every(n => n.startsWith(`${where}/step-1/`))).toBe(true)
    expect(await checkpoints.restore(wantedOf(one), backend, one.mesh)).toMatchObject({ step: 1 })
    fs.before = () => {}
    await checkpoints.save(2, { ...good, host: { seed: 'again' } })
    await checkpoints.finish()
    expect(await checkpoints.restore(wantedOf(one), backend, one.mesh)).toMatchObject({ step: 2, host: { seed: 'again' } })
  })

  test('a disk that fills up: it takes less at first, without an error', async () => {
    const { files: fs, events, checkpoints, good } = await failing('none', 'none')
    const size = (events[0] as { bytes: number }).bytes
    for (const room of [0, 1, 1000, size - 1]) {
      fs.room = room
      await checkpoints.save(2, good)
      await checkpoints.finish()
      expect(events.at(-1)).toMatchObject({ type: 'failed', step: 2 })
      expect(names(fs).every(n => n.startsWith(`${where}/step-1/`))).toBe(true)
    }
    fs.room = undefined
    fs.longestWrite = 7
    await checkpoints.save(2, good)
    await checkpoints.finish()
    const restored = await checkpoints.restore(wantedOf(one), backend, one.mesh)
    expect([restored?.step, await bitsOf(restored?.weights)]).toEqual([2, expectedBits(weightLeaves, 1)])
  })

  test('too little room is known before anything is written', async () => {
    const { files: fs, events, checkpoints, good } = await failing('none', 'none')
    fs.free = () => Promise.resolve(10)
    const calls = fs.calls.length
    await checkpoints.save(2, good)
    expect(events.at(-1)).toMatchObject({ type: 'failed', step: 2 })
    expect((events.at(-1) as { error: Error }).error.message).toMatch(/nothing was written[^]*needed +\d+ bytes\n {2}free +10 bytes\n {2}fix +make room/)
    expect(fs.calls.length).toBe(calls)
  })

  test('one rank of four: all hear of it, nothing is left, and the next is saved', async () => {
    const fs = files()
    let broken = true
    await Promise.all(ranks(4).map(async processes => {
      const own = rankBackend(processes)
      const theirs = new MemoryFiles()
      theirs.root = fs.root
      theirs.before = call => { if (broken && processes.rank === 2 && call.what === 'sync') throw systemError('EIO', 'fsync') }
      const { events, checkpoints } = await openIn(theirs, { processes })
      const state = await stateOf(byBatch(4), own, 4)
      await checkpoints.save(8, state)
      await checkpoints.finish()
      expect(events).toMatchObject([{ type: 'failed', step: 8 }])
      expect((events[0] as { error: Error }).error.message).toMatch(/step 8 was not written: rank 2 \(host host2\) failed\n[^]*EIO/)
      expect(names(fs)).toEqual([])
      await processes.exchange(new Uint8Array(), 'mended')
      broken = false
      await checkpoints.save(8, state)
      while (checkpoints.busy) { await checkpoints.poll(); await new Promise(resolve => setImmediate(resolve)) }
      expect(events[1]).toMatchObject({ type: 'saved', step: 8 })
      expect(await bitsOf((await checkpoints.restore(wantedOf(byBatch(4)), own, byBatch(4).mesh))?.state)).toEqual(expectedBits(stateLeaves, 4))
    }))
  })

  test('what cannot be saved is refused before anything is written', async () => {
    const { files: fs, checkpoints } = await openIn(files())
    const state = await stateOf(one, backend, 1)
    await expect(checkpoints.save(-1, state)).rejects.toThrow(/UsageError\[step\]/)
    await expect(checkpoints.save(1.5, state)).rejects.toThrow(/UsageError\[step\]/)
    await expect(checkpoints.save(1, { ...state, host: { a: [undefined] } })).rejects.toThrow(/DimError\[host-state\] host\.a\.0 is undefined/)
    await expect(checkpoints.save(1, { ...state, weights: { a: 3 } })).rejects.toThrow(/DimError\[not-a-leaf\]/)
    await expect(checkpoints.save(1, { ...state, state: { 'a.b': state.state['step'], a: { b: state.state['step'] } } })).rejects.toThrow(/DimError\[tensor-name\] .*"a\.b"/)
    const gone = await arraysOf({ x: { dtype: 'f32', dims: { a: 2 } } }, one, backend, 1)
    gone['x']?.dispose()
    await expect(checkpoints.save(1, { ...state, state: gone })).rejects.toThrow(/DimError\[disposed\]/)
    expect(names(fs)).toEqual([])
    await expect(openIn(files(), { runId: 'a/b' })).rejects.toThrow(/UsageError\[run-id\]/)
  })
})
