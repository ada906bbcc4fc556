/** Event files: byte for byte what TensorBoard's own writer gives. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { FileError } from '../../src/core/errors.ts'
import { crc32c, openEventFile } from '../../src/train/tensorboard.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-events-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(() => { vi.useRealTimers() })

// base64 of what tensorboard 2.21.0's RecordWriter wrote of three of its Events: the version at 1.5 s, then the two scalars below.
const golden = 'GAAAAAAAAACjf0siCQAAAAAAAPg/Gg1icmFpbi5FdmVudDoyKihkbBoAAAAAAAAAEpvYLQkAAAAAAAACQBADKg0KCwoEbG9zcxUAAAA/ryIZ0iUA'
  + 'AAAAAAAA6rw28wkAAAhA/FTZQRCAgICAgCAqEwoRCgpldmFsL2zDtnNzFQAAwH/Lmk8o'

/** The data of each frame. */
function frames(path: string): Buffer[] {
  const bytes = readFileSync(path)
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const length = Number(bytes.readBigUInt64LE(at))
    found.push(bytes.subarray(at + 12, at + 12 + length))
    at += length + 16
  }
  return found
}

test('CRC-32C: the check values of RFC 3720', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array())).toBe(0)
})

test('the bytes that TensorBoard writes', async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: 1500 })
  const file = await openEventFile(join(folder, 'new/golden'))
  file.scalar(3, 'loss', 0.5, 2.25)
  file.scalar(2 ** 40, 'eval/löss', NaN, 1_700_000_000.125)
  await file.close()
  expect(readFileSync(file.path).toString('base64')).toBe(golden)
  expect(file.path).toMatch(/events\.out\.tfevents\.1\./)
})

test('scalars are there after a flush, in order, however flushes overlap', async () => {
  await using file = await openEventFile(folder)
  const flushes: Promise<void>[] = []
  for (let step = 0; step < 500; step++) {
    file.scalar(step, `tag${step}`, step)
    if (step % 7 === 0) flushes.push(file.flush())
  }
  await Promise.all([...flushes, file.flush()])
  const found = frames(file.path)
  expect(found).toHaveLength(501)
  found.slice(1).forEach((frame, step) => { expect(frame.includes(`tag${step}`)).toBe(true) })
})

test('values that no f32 holds', async () => {
  await using file = await openEventFile(folder)
  for (const value of [1e300, -1e300, Infinity, 1e-300]) file.scalar(0, 'x', value)
  await file.flush()
  expect(frames(file.path).slice(1).map(frame => frame.readFloatLE(frame.length - 4))).toEqual([Infinity, -Infinity, Infinity, 0])
})

test('two in one folder are two files', async () => {
  const dir = join(folder, 'two')
  const files = [await openEventFile(dir), await openEventFile(dir)]
  for (const file of files) await file.close()
  expect(readdirSync(dir)).toHaveLength(2)
})

test('a place that cannot be written', async () => {
  writeFileSync(join(folder, 'file'), '')
  await expect(openEventFile(join(folder, 'file'))).rejects.toThrow(FileError)
  await expect(openEventFile(join(folder, 'file'))).rejects.toThrow(/cannot write/)
})
