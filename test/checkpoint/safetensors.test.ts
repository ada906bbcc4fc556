/** safetensors: byte for byte what Python's library writes, and every kind of damage is one clear error. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { openSafetensors, writeSafetensors, type HostTensor } from '../../src/checkpoint/safetensors.ts'
import { hostArray, type DType } from '../../src/core/dtype.ts'
import { DimError, FileError } from '../../src/core/errors.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-safetensors-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const at = (name: string): string => join(folder, name)

// base64 of safetensors.numpy.save({...}, {'format': 'np'}), safetensors 0.8.0, with these arrays and ml_dtypes' bfloat16.
const golden = Buffer.from(`
6AEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCJ9LCJpIjp7ImR0eXBlIjoiSTY0Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbMCwxNl19LCJlbXB0
eSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMCw0XSwiZGF0YV9vZmZzZXRzIjpbMTYsMTZdfSwidyI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMiwzXSwiZGF0YV9vZmZz
ZXRzIjpbMTYsNDBdfSwiYiI6eyJkdHlwZSI6IkJGMTYiLCJzaGFwZSI6WzJdLCJkYXRhX29mZnNldHMiOls0MCw0NF19LCJoIjp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOltd
LCJkYXRhX29mZnNldHMiOls0NCw0Nl19LCJ0aW55Ijp7ImR0eXBlIjoiSTgiLCJzaGFwZSI6WzFdLCJkYXRhX29mZnNldHMiOls0Niw0N119LCJieXRlcyI6eyJkdHlwZSI6
IlU4Iiwic2hhcGUiOlsyXSwiZGF0YV9vZmZzZXRzIjpbNDcsNDldfSwibWFzayI6eyJkdHlwZSI6IkJPT0wiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOls0OSw1Ml19
fQUAAAAAAAAA+v////////8AAAAAAACAPwAAAEAAAEBAAACAQAAAoEDAPwDAAEH/BwgBAAE=`, 'base64')
const tensors: readonly HostTensor[] = [
  { name: 'w', dtype: 'f32', shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) },
  { name: 'b', dtype: 'bf16', shape: [2], data: Uint16Array.of(0x3fc0, 0xc000) },
  { name: 'h', dtype: 'f16', shape: [], data: Uint16Array.of(0x4100) },
  { name: 'i', dtype: 'i64', shape: [2], data: () => Promise.resolve(BigInt64Array.of(5n, -6n)) },
  { name: 'mask', dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
  { name: 'empty', dtype: 'f32', shape: [0, 4], data: () => new Float32Array() },
  { name: 'tiny', dtype: 'i8', shape: [1], data: Int8Array.of(-1) },
  { name: 'bytes', dtype: 'u8', shape: [2], data: Uint8Array.of(7, 8) },
]
const valueOf = async ({ data }: HostTensor) => typeof data === 'function' ? data() : data

test('writes the bytes that Python writes', async () => {
  await writeSafetensors(at('ours'), tensors, { format: 'np' })
  expect(readFileSync(at('ours')).toString('base64')).toBe(golden.toString('base64'))
})

test('reads what Python wrote', async () => {
  writeFileSync(at('golden'), golden)
  await using file = await openSafetensors(at('golden'))
  expect(file.metadata).toEqual(new Map([['format', 'np']]))
  expect(file.tensors.size).toBe(tensors.length)
  for (const tensor of tensors) {
    expect(file.tensors.get(tensor.name)).toMatchObject({ dtype: tensor.dtype, shape: tensor.shape })
    expect(await file.read(tensor.name)).toEqual(await valueOf(tensor))
  }
})

test('any tensors, there and back', async () => {
  const dtype = fc.constantFrom<DType>('f64', 'f32', 'bf16', 'f16', 'i64', 'i32', 'u32', 'i8', 'u8', 'bool')
  const name = fc.string({ minLength: 1, unit: 'binary' })
  const tensor = fc.record({ name, dtype, shape: fc.array(fc.nat({ max: 4 }), { maxLength: 3 }) })
  const many = fc.uniqueArray(tensor, { selector: t => t.name }).filter(all => all.every(t => !t.name.startsWith('__')))
  await fc.assert(fc.asyncProperty(many, fc.nat({ max: 255 }), async (all, fill) => {
    const written = all.map(({ name, dtype, shape }) => {
      const data = hostArray(dtype, shape.reduce((n, size) => n * size, 1))
      new Uint8Array(data.buffer).fill(fill)
      return { name, dtype, shape, data }
    })
    await writeSafetensors(at('any'), written)
    await using file = await openSafetensors(at('any'))
    expect(new Set(file.tensors.keys())).toEqual(new Set(all.map(t => t.name)))
    for (const t of written) {
      const { buffer, constructor } = await file.read(t.name)
      expect([constructor, Buffer.from(buffer).equals(Buffer.from(t.data.buffer))]).toEqual([t.data.constructor, true])
    }
  }), { numRuns: 50 })
})

test('a view into a larger buffer writes its own part', async () => {
  await writeSafetensors(at('view'), [{ name: 'x', dtype: 'f32', shape: [2], data: Float32Array.of(1, 2, 3, 4).subarray(1, 3) }])
  await using file = await openSafetensors(at('view'))
  expect(await file.read('x')).toEqual(Float32Array.of(2, 3))
})

describe('what cannot be written', () => {
  const x: HostTensor = { name: 'x', dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) }
  test.each<[string, HostTensor[], RegExp]>([
    ['too few elements', [{ ...x, shape: [3] }], /data of "x" do not fit[^]*wanted {2,}Float32Array of 3, for f32\[3\]/],
    ['another dtype', [{ ...x, dtype: 'f64' }], /given {3,}Float32Array of 2/],
    ['two of a name', [x, x], /second tensor is named "x"/],
  ])('%s', async (_, list, message) => {
    await expect(writeSafetensors(at('bad'), list)).rejects.toThrow(DimError)
    await expect(writeSafetensors(at('bad'), list)).rejects.toThrow(message)
    expect(readdirSync(folder).filter(name => name.includes('bad'))).toEqual([])
  })

  test('a folder that is not there', async () => {
    await expect(writeSafetensors(at('no/folder'), tensors)).rejects.toThrow(FileError)
  })
})

const file = (header: unknown, data = 0, length?: number): Buffer => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const head = Buffer.alloc(8)
  head.writeBigUInt64LE(BigInt(length ?? json.length))
  return Buffer.concat([head, json, Buffer.from(Array.from({ length: data }, (_, i) => i & 255))])
}
const entry = (begin: number, end: number, dtype = 'U8', shape = [end - begin]) => ({ dtype, shape, data_offsets: [begin, end] })

describe('odd files', () => {
  const opened = async (name: string, bytes: Uint8Array) => {
    writeFileSync(at(name), bytes)
    return openSafetensors(at(name))
  }

  test('metadata of null, and none', async () => {
    for (const header of [{ __metadata__: null, a: entry(0, 2) }, { a: entry(0, 2) }, { __metadata__: {}, a: entry(0, 2) }]) {
      await using odd = await opened('null', file(header, 2))
      expect([odd.metadata, await odd.read('a')]).toEqual([new Map(), Uint8Array.of(0, 1)])
    }
  })

  test('dtypes that nobody asks for: the others are read, those are listed and refused', async () => {
    const tags = ['F8_E8M0', 'I16', 'U16', 'U64', 'C64', 'F4', 'F6_E2M3']
    const sizes = [4, 8, 8, 32, 32, 2, 3]
    const begins = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0))
    const end = sizes.reduce((a, b) => a + b, 0)
    const others = tags.map((tag, i) => [tag, entry(begins[i]!, begins[i]! + sizes[i]!, tag, [2, 2])] as const)
    await using odd = await opened('dtypes', file(Object.fromEntries([...others, ['new', entry(end, end + 5, 'Q5_X', [8])], ['mine', entry(end + 5, end + 7)]]), end + 7))
    expect(await odd.read('mine')).toEqual(Uint8Array.of(end + 5, end + 6))
    expect([...odd.tensors].map(([name, { dtype, tag }]) => [name, dtype, tag])).toEqual([...tags.map(tag => [tag, undefined, tag]), ['new', undefined, 'Q5_X'], ['mine', 'u8', 'U8']])
    for (const name of [...tags, 'new']) await expect(odd.read(name)).rejects.toThrow(/FileError\[tensor-dtype\] .* is of dtype (\w+), which cannot be read\n {2}fix {2}convert it/)
  })

  test('floats of 8 bits are their bits', async () => {
    await using eight = await opened('eight', file({ e4m3: entry(0, 4, 'F8_E4M3', [2, 2]), e5m2: entry(4, 8, 'F8_E5M2', [4]) }, 8))
    expect([...eight.tensors.values()].map(({ dtype, shape }) => [dtype, shape])).toEqual([['f8e4m3fn', [2, 2]], ['f8e5m2', [4]]])
    expect([await eight.read('e4m3'), await eight.read('e5m2')]).toEqual([Uint8Array.of(0, 1, 2, 3), Uint8Array.of(4, 5, 6, 7)])
  })

  test('names that every object has, and numbers', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', '10', '2', '']
    const tensors = names.map((name, i): HostTensor => ({ name, dtype: 'u8', shape: [1], data: Uint8Array.of(i) }))
    await writeSafetensors(at('names'), tensors, Object.fromEntries(names.map(name => [name, `of ${name}`])))
    await using odd = await openSafetensors(at('names'))
    // Names are ordered by their bytes, as Python's library does.
    const written = [...readFileSync(at('names'), 'utf8').matchAll(/"([^"]*)":\{"dtype"/g)].map(([, name]) => name)
    expect(written).toEqual(['', '10', '2', '__proto__', 'constructor', 'hasOwnProperty', 'toString'])
    expect(odd.tensors.size).toBe(7)
    for (const { name, data } of tensors) expect([await odd.read(name), odd.metadata.get(name)]).toEqual([data, `of ${name}`])
    await expect(odd.read('valueOf')).rejects.toThrow(/has no tensor "valueOf"/)
  })

  test('offsets in another order than names, scalars, sizes of 0, spaces before and behind the header, fields that came later', async () => {
    const header = { b: entry(4, 8, 'F32', []), none: entry(4, 4, 'I64', [3, 0]), vast: entry(0, 0, 'F32', [0, 2 ** 40, 2 ** 40]), a: { ...entry(0, 4), stride: [1] } }
    await using odd = await opened('order', file(` ${JSON.stringify(header)}    `, 8))
    expect(await odd.read('a')).toEqual(Uint8Array.of(0, 1, 2, 3))
    expect(await odd.read('b')).toEqual(new Float32Array(Uint8Array.of(4, 5, 6, 7).buffer))
    expect(await odd.read('none')).toEqual(new BigInt64Array())
    expect(await odd.read('vast')).toEqual(new Float32Array())
  })

  test('a pipe, a device', async () => {
    execFileSync('mkfifo', [at('pipe')])
    for (const path of [at('pipe'), '/dev/null']) await expect(openSafetensors(path)).rejects.toThrow(/FileError\[read\] .*\n {2}reason +it is a pipe, a device or a socket/)
  })
})

describe('what cannot be read', () => {

  test.each<[string, Uint8Array, RegExp]>([
    ['empty', new Uint8Array(), /0 bytes are too few/],
    ['text', Buffer.from('hello, world, I am no tensors'), /a header of \d+ bytes in a file of 29/],
    ['a header beyond the file', file('{}', 0, 3), /a header of 3 bytes in a file of 10/],
    ['a header beyond all bounds', file('{}', 0, 2 ** 52), /a header of/],
    ['no JSON', file('{"a"'), /not JSON/],
    ['no object', file('[]'), /its header/],
    ['an entry of another form', file({ a: { dtype: 'U8', shape: [1] } }, 1), /a\.data_offsets/],
    ['a negative size', file({ a: entry(0, 1, 'U8', [-1]) }, 1), /a\.shape\.0/],
    ['a fractional offset', file({ a: entry(0, 0.5) }, 1), /a\./],
    ['a dtype of other bits', file({ a: entry(0, 2, 'F8_E5M2', [1]) }, 2), /F8_E5M2\[1\] takes 1 bytes, not 2/],
    ['an end before its beginning', file({ a: entry(4, 0, 'F3', [1]) }, 4), /"a" ends at byte 0, before it begins at 4/],
    ['a size beyond all files', file({ a: entry(0, 0, 'F32', [2 ** 40, 2 ** 40]) }), /takes 4\.8\d+e\+24 bytes, not 0/],
    ['a shape of other bytes', file({ a: entry(0, 8, 'F32', [3]) }, 8), /F32\[3\] takes 12 bytes, not 8/],
    ['cut off', golden.subarray(0, -1), /"mask" ends at byte 52 of 51/],
    ['overlap', file({ a: entry(0, 4), b: entry(2, 6) }, 6), /"b" overlaps/],
    ['two in one place', file({ a: entry(0, 4), b: entry(0, 4) }, 4), /overlaps/],
    ['a gap', file({ a: entry(0, 4), b: entry(5, 6) }, 6), /1 bytes before "b"/],
    ['a tail', file({ a: entry(0, 4) }, 6), /2 bytes at the end/],
    ['metadata that is no text', file({ __metadata__: { a: 1 } }), /__metadata__\.a/],
  ])('%s', async (name, bytes, reason) => {
    writeFileSync(at(name), bytes)
    await expect(openSafetensors(at(name))).rejects.toThrow(FileError)
    await expect(openSafetensors(at(name))).rejects.toThrow(reason)
  })

  test('no file, a folder, no such tensor', async () => {
    await expect(openSafetensors(at('none'))).rejects.toThrow(/FileError\[read\] cannot read/)
    await expect(openSafetensors(folder)).rejects.toThrow(FileError)
    writeFileSync(at('golden'), golden)
    await using opened = await openSafetensors(at('golden'))
    await expect(opened.read('tinny')).rejects.toThrow(/has no tensor "tinny"[^]*did you mean "tiny"/)
  })
})
