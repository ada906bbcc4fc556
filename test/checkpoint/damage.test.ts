/** Damage: every byte of a checkpoint flipped, every length it can be cut to, and files that were made to mislead. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../src/engine/index.ts'
import { FileError } from '../../src/core/errors.ts'
import { openWeights } from '../../src/checkpoint/index.ts'
import { verifyCheckpoint } from '../../src/checkpoint/verify.ts'
import { sha256 } from '../../src/io/checksum.ts'
import { crc, joinCrc } from '../../src/io/crc.ts'
import { dtypes } from '../../src/core/dtype.ts'
import { mutated } from '../data/sources/mutate.ts'
import { all } from '../support/depth.ts'
import { MemoryFiles } from './memory-files.ts'
import { arraysOf, bitsOf, expectedBits, one, openIn, placements, simulated, where, type Leaves } from './support.ts'

let backend: Backend
const weightLeaves: Leaves = { a: { dtype: 'f32', dims: { x: 3 } }, b: { dtype: 'bf16', dims: { y: 5 } } }
const stateLeaves: Leaves = { m: { dtype: 'i32', dims: { x: 3 } } }
const wanted = { weights: placements(weightLeaves, one), state: placements(stateLeaves, one) }
const at = `${where}/step-2`
let files: MemoryFiles
beforeAll(async () => {
  backend = await simulated(1)
  files = new MemoryFiles()
  const { checkpoints } = await openIn(files, { shardBytes: 12 })
  for (const seed of [1, 2]) {
    await checkpoints.save(seed, { weights: await arraysOf(weightLeaves, one, backend, seed), state: await arraysOf(stateLeaves, one, backend, seed), host: { seed } })
  }
  await checkpoints.finish()
})
afterAll(async () => { await backend.close() })

/** What the folder loads as; its numbers are right whatever step it is. */
async function loaded(fs: MemoryFiles, look = true): Promise<{ readonly step: number; readonly warnings: readonly string[] }> {
  const { checkpoints, events } = await openIn(fs)
  const restored = await checkpoints.restore(wanted, backend, one.mesh)
  const { seed } = restored?.host as { seed: number }
  expect(seed).toBe(restored?.step)
  if (!look) return { step: seed, warnings: events.flatMap(e => (e.type === 'warning' ? [e.text] : [])) }
  expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, seed))
  expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, seed))
  return { step: restored?.step ?? NaN, warnings: events.flatMap(e => (e.type === 'warning' ? [e.text] : [])) }
}
const changed = (path: string, change: (data: Buffer) => Uint8Array): MemoryFiles => {
  const copy = files.copy()
  copy.put(path, change(Buffer.from(copy.bytes(path))))
  return copy
}
const own = (): string[] => [...files.all().keys()].filter(path => path.startsWith(at))

test('a flipped bit in any byte of any file is found, and the checkpoint before is taken', async () => {
  let flips = 0
  for (const path of own()) {
    const index = path.endsWith('index.json')
    for (let i = 0; i < files.bytes(path).length; i++) {
      const fs = changed(path, data => { data[i] = (data[i] ?? 0) ^ (1 << (i % 8)); return data })
      const { step, warnings } = await loaded(fs, index || i % 16 === 0)
      // Nobody reads the index here: it is for other tools. To verify finds it.
      expect([path, i, step]).toEqual([path, i, index ? 2 : 1])
      expect(warnings).toHaveLength(index ? 0 : 1)
      if (i % 16 === 0) expect((await verifyCheckpoint(at, fs)).problems).toHaveLength(1)
      flips++
    }
  }
  expect(flips).toBeGreaterThan(1000)
})

test('cut off at any length, or longer than it was', async () => {
  for (const path of own()) {
    const { length } = files.bytes(path)
    for (let to = 0; to <= length + 1; to++) {
      if (to === length) continue
      const { step, warnings } = await loaded(changed(path, data => (to < length ? data.subarray(0, to) : Buffer.concat([data, Buffer.of(0)]))))
      expect([path, to, step, warnings.length]).toEqual([path, to, 1, 1])
    }
  }
})

test('a file that is not there, and a folder of its name', async () => {
  for (const path of own()) {
    const fs = files.copy()
    await fs.removeFile(path)
    expect((await loaded(fs)).step).toBe(1)
    await fs.makeFolder(path)
    expect((await loaded(fs)).step).toBe(1)
  }
})

test('none is usable: the run stops and names each, and why', async () => {
  const fs = changed(`${at}/state.safetensors`, data => { data[data.length - 1] = 1 ^ (data.at(-1) ?? 0); return data })
  await fs.removeFile(`${where}/step-1/manifest.json`)
  await fs.makeFolder(`${where}/step-3`)
  const { checkpoints } = await openIn(fs)
  const restoring = checkpoints.restore(wanted, backend, one.mesh)
  await expect(restoring).rejects.toThrow(/^FileError\[no-usable-checkpoint\] \S+ holds 3 checkpoints, and none can be used\n {2}step-3 +\S+ is damaged: it has no manifest\.json\n {2}step-2 +\S+state\.safetensors is damaged: bytes 0 to \d+ do not have the checksum that was written\n {2}step-1 +\S+ is damaged: it has no manifest\.json\n {2}fix +/)
})

test('what differs from the model is no damage: no older one is taken for it', async () => {
  const { checkpoints } = await openIn(files.copy())
  const asking = (weights: Leaves, state = stateLeaves) => checkpoints.restore({ weights: placements(weights, one), state: placements(state, one) }, backend, one.mesh)
  await expect(asking({ ...weightLeaves, c: { dtype: 'f32', dims: {} } })).rejects.toThrow(/FileError\[tensors-differ\] the checkpoint \S+step-2 \(weights\) [^]*missing +c\n/)
  await expect(asking({ a: weightLeaves['a']! })).rejects.toThrow(/unexpected +b\n/)
  await expect(asking(weightLeaves, {})).rejects.toThrow(/\(state\) [^]*unexpected +m\n/)
  await expect(asking({ ...weightLeaves, a: { dtype: 'f32', dims: { x: 4 } } })).rejects.toThrow(/differs +a: expected f32 x=4, found f32 x=3\n/)
  await expect(asking({ ...weightLeaves, a: { dtype: 'f32', dims: { z: 3 } } })).rejects.toThrow(/differs +a: expected f32 z=3, found f32 x=3\n/)
  await expect(asking({ ...weightLeaves, a: { dtype: 'f64', dims: { x: 3 } } })).rejects.toThrow(/differs +a: expected f64 x=3, found f32 x=3\n/)
})

test('foreign files and leftovers: not taken, not deleted; this run\'s own are cleaned up', async () => {
  const fs = files.copy()
  const strangers = ['step-10.tmp-other', 'step-10 (copy)', 'step-010', 'step--1', 'step-9007199254740993', 'step-1e3', 'Step-11', 'step-12.tmp-abc.bak']
  for (const name of strangers) {
    await fs.makeFolder(`${where}/${name}`)
    fs.put(`${where}/${name}/manifest.json`, fs.bytes(`${at}/manifest.json`))
  }
  for (const name of ['.DS_Store', 'step-20']) fs.put(`${where}/${name}`, Buffer.from('x'))
  await fs.makeFolder(`${where}/step-30.tmp-abc`)
  fs.put(`${where}/step-30.tmp-abc/model.safetensors`, Buffer.from('half'))
  expect(await loaded(fs)).toEqual({ step: 2, warnings: [] })
  expect([...await fs.list(where)].sort()).toEqual([...strangers, '.DS_Store', 'step-1', 'step-2', 'step-20'].sort())
  // Retention leaves them alone, too; so it does checkpoints of another run, and one that is damaged.
  fs.put(`${where}/step-1/manifest.json`, Buffer.from('{}'))
  const { checkpoints } = await openIn(fs, { keep: { last: 1 } })
  await checkpoints.save(40, { weights: {}, state: {}, host: null })
  await checkpoints.finish()
  expect([...await fs.list(where)].sort()).toEqual([...strangers, '.DS_Store', 'step-1', 'step-20', 'step-40'].sort())
  const other = await openIn(fs, { keep: { last: 1 }, runId: 'def' })
  await other.checkpoints.save(41, { weights: {}, state: {}, host: null })
  await other.checkpoints.finish()
  expect(await fs.list(where)).toContain('step-40')
})

/** A fixed sequence of numbers below `n`. */
function dice(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = Math.imul(state ^ (state >>> 15), state | 1)
    state ^= state + Math.imul(state ^ (state >>> 7), state | 61)
    return ((state ^ (state >>> 14)) >>> 0) % n
  }
}

describe('files that were made to mislead', () => {
  const odd = ['-1', '1e308', '9007199254740993', '18446744073709551616', 'null', 'true', '""', '[]', '{}', '"../../etc/passwd"', '"__proto__"', '0.5', '4294967296', '[[]]', '"F32"', '"x"']
  /** One JSON value of a text for another, a stretch left out, or doubled. */
  function mutate(text: string, roll: (n: number) => number): string {
    const values = [...text.matchAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|null/g)]
    const { 0: old = '', index = 0 } = values[roll(values.length)] ?? {}
    const how = roll(4)
    if (how === 0) return text.slice(0, index) + text.slice(index + old.length)
    if (how === 1) return text.slice(0, index) + old + text.slice(index)
    if (how === 2 && /^\d+$/.test(old)) return text.slice(0, index) + String(Math.max(0, Number(old) + [1, -1, 8, -8, 256, 2 ** 31][roll(6)]!)) + text.slice(index + old.length)
    return text.slice(0, index) + (odd[roll(odd.length)] ?? '') + text.slice(index + old.length)
  }
  /** A clear error, or the right numbers; and memory that the files' own size bounds. */
  async function fair(work: () => Promise<unknown>): Promise<'right' | 'refused'> {
    const before = process.memoryUsage().arrayBuffers
    try {
      await work()
      return 'right'
    } catch (e) {
      if (!(e instanceof FileError)) throw e
      expect(e.message).toMatch(/^FileError\[[\w-]+\] \S/)
      return 'refused'
    } finally {
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20)
    }
  }

  test('manifests whose checksum is right', async () => {
    const roll = dice(11)
    const body = /^\{"sha256":"\w+",\n"manifest":([^]*)\}\n$/.exec(files.bytes(`${at}/manifest.json`).toString())?.[1] ?? ''
    const seen = { right: 0, refused: 0 }
    for (let i = 0; i < (all ? 10_000 : 300); i++) {
      const mutant = mutate(body, roll)
      const fs = changed(`${at}/manifest.json`, () => Buffer.from(`{"sha256":"${sha256(mutant)}",\n"manifest":${mutant}}\n`))
      await fs.removeFile(`${where}/step-1/manifest.json`)
      seen[await fair(async () => {
        const { checkpoints } = await openIn(fs)
        const restored = await checkpoints.restore(wanted, backend, one.mesh)
        expect(await bitsOf(restored?.weights)).toEqual(expectedBits(weightLeaves, 2))
        expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 2))
      })]++
      await fair(() => verifyCheckpoint(at, fs))
    }
    expect(seen.refused).toBeGreaterThan(100)
    // The run, the versions and the host's own values mean nothing here.
    expect(seen.right).toBeGreaterThan(10)
  })

  test('indexes of several files', async () => {
    const roll = dice(12)
    const path = `${at}/model.safetensors.index.json`
    const seen = { right: 0, refused: 0 }
    for (let i = 0; i < (all ? 10_000 : 200); i++) {
      const fs = changed(path, data => Buffer.from(mutate(data.toString(), roll)))
      await fs.removeFile(`${at}/manifest.json`)
      seen[await fair(async () => {
        await using source = await openWeights(at, fs)
        for (const [name, { shape, read }] of source.tensors) {
          const bytes = new Uint8Array((name === 'a' ? 4 : 2) * (shape[0] ?? 0))
          await read(bytes, 0)
          expect([name, Buffer.from(bytes).toString('hex')]).toEqual([name, expectedBits(weightLeaves, 2)[name]])
        }
      })]++
    }
    expect(seen.refused).toBeGreaterThan(100)
  })

  test('safetensors without checksums: any changes', async () => {
    const path = `${at}/state.safetensors`
    const data = files.bytes(path)
    const seen = { right: 0, refused: 0 }
    for (let i = 0; i < (all ? 10_000 : 300); i++) {
      const mutant = mutated(data, 17, i)
      const fs = changed(path, () => mutant)
      seen[await fair(async () => {
        await using source = await openWeights(path, fs)
        let total = 0
        for (const { dtype, shape, read } of source.tensors.values()) {
          if (dtype === undefined) continue
          const bytes = new Uint8Array(dtypes[dtype].bytes * shape.reduce((a, b) => a * b, 1))
          await read(bytes, 0)
          total += bytes.length
        }
        expect(total).toBeLessThanOrEqual(mutant.length)
      })]++
    }
    expect(seen.refused).toBeGreaterThan(50)
    expect(seen.right).toBeGreaterThan(10)
  })

  test('heads of safetensors, their checksums made right', async () => {
    const roll = dice(13)
    const [path, manifest] = [`${at}/state.safetensors`, `${at}/manifest.json`]
    const seen = { right: 0, refused: 0 }
    for (let i = 0; i < (all ? 10_000 : 300); i++) {
      const data = files.bytes(path)
      const length = Number(data.readBigUInt64LE())
      const head = Buffer.from(mutate(data.subarray(8, 8 + length).toString().trimEnd(), roll))
      const size = Buffer.alloc(8)
      size.writeBigUInt64LE(BigInt(roll(5) === 0 ? roll(2 ** 32) * roll(2 ** 16) : head.length))
      const mutant = Buffer.concat([size, head, data.subarray(8 + length)])
      const text = files.bytes(manifest).toString()
      const record = /\{"name":"state\.safetensors"[^}]*\}/.exec(text)?.[0] ?? ''
      const hex = crc(mutant).toString(16).padStart(8, '0')
      const body = (/"manifest":([^]*)\}\n$/.exec(text)?.[1] ?? '').replace(record, JSON.stringify({ name: 'state.safetensors', bytes: mutant.length, crc32: hex, chunks: hex }))
      const fs = changed(path, () => mutant)
      fs.put(manifest, Buffer.from(`{"sha256":"${sha256(body)}",\n"manifest":${body}}\n`))
      await fs.removeFile(`${where}/step-1/manifest.json`)
      seen[await fair(async () => {
        const { checkpoints } = await openIn(fs)
        const restored = await checkpoints.restore(wanted, backend, one.mesh)
        expect(await bitsOf(restored?.state)).toEqual(expectedBits(stateLeaves, 2))
      })]++
    }
    expect(seen.refused).toBeGreaterThan(150)
    expect(joinCrc(crc(Buffer.from('ab')), crc(Buffer.from('c')), 1)).toBe(crc(Buffer.from('abc')))
  })
})
