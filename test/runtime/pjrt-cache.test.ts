/** The disk cache of compiled programs. */
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sha256Parts } from '../../src/io/checksum.ts'
import { ExecutableCache } from '../../src/runtime/pjrt/cache.ts'
import { allReduceProgram, donatingProgram, putVector, take, withBackend } from './pjrt-support.ts'

// The first test may have to download the plugin.

let dir = ''
beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'meshwork-cache-')) })
afterEach(() => rm(dir, { recursive: true, force: true }))

const text = allReduceProgram([[0, 1]])

/** Compiles in a fresh client, and runs. */
async function compileAndRun(devices = 2): Promise<{ fromCache: boolean; values: number[][][] }> {
  let outcome = { fromCache: false, values: [[[0]]] }
  await withBackend(devices, async (backend) => {
    const program = await backend.compile({ text, devices: 2, donated: [] })
    expect(program.results).toEqual([{ shape: [4], dtype: 'f32' }])
    const args = await Promise.all([0, 1].map(async (d) => [await putVector(backend, [1, 2, 3, d], d)]))
    outcome = { fromCache: program.fromCache, values: await take(await program.execute(args)) }
  }, dir)
  return outcome
}

const sums = [[[2, 4, 6, 1]], [[2, 4, 6, 1]]]

describe('compiled programs', () => {
  it('come out of the cache the second time, with the same numbers', async () => {
    expect(await compileAndRun()).toEqual({ fromCache: false, values: sums })
    expect(await compileAndRun()).toEqual({ fromCache: true, values: sums })
    expect(await readdir(dir)).toHaveLength(1)
  })

  it('are compiled again for another number of devices', async () => {
    await compileAndRun()
    expect(await compileAndRun(3)).toEqual({ fromCache: false, values: sums })
  })

  it('donate out of the cache too', async () => {
    for (const fromCache of [false, true]) {
      await withBackend(1, async (backend) => {
        const program = await backend.compile({ text: donatingProgram(2), devices: 1, donated: [0] })
        expect(program.fromCache).toBe(fromCache)
        expect(program.memory?.aliased).toBe(8)
        const args = [await putVector(backend, [1, 2], 0), await backend.put(Float32Array.of(1), { shape: [], dtype: 'f32' }, 0)]
        expect(await take(await program.execute([args]))).toEqual([[[2, 3]]])
        expect(backend.liveBuffers()).toBe(1)
      }, dir)
    }
  })

  const damages: { readonly [what: string]: (bytes: Buffer) => Uint8Array } = {
    'a flipped byte': (bytes) => { bytes.writeUInt8(bytes.readUInt8(bytes.length - 9) ^ 1, bytes.length - 9); return bytes },
    'a cut file': (bytes) => bytes.subarray(0, bytes.length / 2),
    'an empty file': () => new Uint8Array(),
    'another file': () => new TextEncoder().encode('not a program at all, but long enough to hold the head of an entry'),
  }
  for (const [what, damage] of Object.entries(damages)) {
    it(`survive ${what}`, async () => {
      await compileAndRun()
      const [name = ''] = await readdir(dir)
      await writeFile(join(dir, name), damage(await readFile(join(dir, name))))
      expect(await compileAndRun()).toEqual({ fromCache: false, values: sums })
      expect(await compileAndRun()).toEqual({ fromCache: true, values: sums })
    })
  }

  it('survive an entry that is whole but that the plugin cannot load', async () => {
    await compileAndRun()
    const [name = ''] = await readdir(dir)
    await new ExecutableCache(dir).write(name.replace('.xla', ''), new TextEncoder().encode('no executable'))
    expect(await compileAndRun()).toEqual({ fromCache: false, values: sums })
    expect(await compileAndRun()).toEqual({ fromCache: true, values: sums })
  })

  it('need no folder that can be written', async () => {
    await writeFile(join(dir, 'file'), '')
    dir = join(dir, 'file')
    expect(await compileAndRun()).toEqual({ fromCache: false, values: sums })
    dir = join(dir, '..')
  })
})

describe('the cache itself', () => {
  it('keeps keys apart whose parts run together', () => {
    expect(sha256Parts(['ab', 'c'])).not.toBe(sha256Parts(['a', 'bc']))
    expect(sha256Parts(['ab', 'c'])).toBe(sha256Parts(['ab', new TextEncoder().encode('c')]))
  })

  it('drops the least recently used beyond its size, and old leftovers', async () => {
    const cache = new ExecutableCache(dir, 2500)
    const program = new Uint8Array(1000)
    const age = (name: string, seconds: number): Promise<void> => utimes(join(dir, name), 0, Date.now() / 1000 - seconds)
    await cache.write('a', program)
    await cache.write('b', program)
    await writeFile(join(dir, 'old.tmp'), '')
    await writeFile(join(dir, 'new.tmp'), '')
    await Promise.all([age('a.xla', 300), age('b.xla', 200), age('old.tmp', 4000)])
    expect(cache.read('a')).toHaveLength(1000)
    await cache.write('c', program)
    expect((await readdir(dir)).sort()).toEqual(['a.xla', 'c.xla', 'new.tmp'])
  })

  it('is closed to others: what lies in it is run', async () => {
    await mkdir(dir, { recursive: true })
    const cache = new ExecutableCache(join(dir, 'made'))
    await cache.write('a', new Uint8Array(1))
    expect((await stat(join(dir, 'made'))).mode & 0o077).toBe(0)
    expect((await stat(join(dir, 'made', 'a.xla'))).mode & 0o077).toBe(0)
  })
})
