/** GGUF files read: every type of value and of tensor as the `gguf` package reads it, by any range; what is no GGUF is refused with a reason. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { numbersOf } from '../../src/core/half-precision.ts'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { FileError } from '../../src/core/errors.ts'
import { openGguf, tensorIn, type GgufTensor } from '../../src/formats/gguf/open.ts'
import type { StoredTensor } from '../../src/formats/stored.ts'
import { temporaryFolder } from '../data/temporary.ts'

const folder = temporaryFolder()
const fixture = (name: string): string => new URL(`fixtures/${name}`, import.meta.url).pathname
const bytes = readFileSync(fixture('blocks.gguf'))
const [rows, columns] = [2, 256]
const expected = new Float32Array(new Uint8Array(readFileSync(fixture('blocks.f32'))).buffer)
const types = ['F32', 'F16', 'BF16', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0', 'Q4_K', 'Q5_K', 'Q6_K']
const expectedOf = (type: string): Float32Array => expected.slice(rows * columns * types.indexOf(type), rows * columns * (types.indexOf(type) + 1))

const partOf = async ({ read }: StoredTensor, dtype: DType, from: number, length: number): Promise<TypedArray> => {
  const into = dtypes[dtype].view(new ArrayBuffer(length * dtypes[dtype].bytes), 0, length)
  await read(new Uint8Array(into.buffer as ArrayBuffer), from * dtypes[dtype].bytes)
  return into
}
const whole = async (tensor: StoredTensor): Promise<Float32Array> => {
  const dtype = tensor.dtype!
  return Float32Array.from(numbersOf(await partOf(tensor, dtype, 0, tensor.shape.reduce((a, b) => a * b, 1)), dtype) as Float32Array)
}

describe('tensors', () => {
  test.each(types)('%s is decoded as by the judge, bit by bit', async type => {
    await using file = await openGguf(fixture('blocks.gguf'))
    const tensor = tensorIn(file, type)
    expect([tensor.tag, tensor.shape]).toEqual([type, [rows, columns]])
    expect(tensor.dtype).toBe(({ F16: 'f16', BF16: 'bf16' } as const)[type] ?? 'f32')
    expect(Buffer.compare(Buffer.from((await whole(tensor)).buffer), Buffer.from(expectedOf(type).buffer))).toBe(0)
  })

  test('any range of bytes is that of the whole', async () => {
    await using file = await openGguf(fixture('blocks.gguf'))
    for (const type of types) {
      const tensor = tensorIn(file, type)
      const all = new Uint8Array(rows * columns * dtypes[tensor.dtype!].bytes)
      await tensor.read(all, 0)
      await fc.assert(fc.asyncProperty(fc.nat(all.length), fc.nat(all.length), async (a, b) => {
        const into = new Uint8Array(Math.abs(a - b))
        await tensor.read(into, Math.min(a, b))
        expect(Buffer.compare(into, all.subarray(Math.min(a, b), Math.max(a, b)))).toBe(0)
      }), { numRuns: 30 })
      await expect(tensor.read(new Uint8Array(2), all.length - 1)).rejects.toThrow(RangeError)
    }
  })

  test('whole numbers, scales and offsets give the weights that decoding gives', async () => {
    await using file = await openGguf(fixture('blocks.gguf'))
    const judged: string[] = []
    for (const type of types) {
      const tensor: GgufTensor = tensorIn(file, type)
      const { bits, group, values, scale, offset } = tensor.quantized ?? {}
      if (bits === undefined || group === undefined || values === undefined || scale === undefined) continue
      judged.push(`${type} ${bits}/${group}${offset === undefined ? '' : ' + offset'}`)
      const [numbers, scales, offsets] = [await whole(values), await whole(scale), offset === undefined ? undefined : await whole(offset)]
      expect([values.shape, scale.shape]).toEqual([[rows, columns / (bits === 4 ? 2 : 1)], [rows, columns / group]])
      const zero = offset === undefined ? 8 : 0
      const each = bits === 8 ? [...numbers] : [...numbers].flatMap(n => [(n & 15) - zero, (n >> 4) - zero])
      expect(Float32Array.from(each, (n, i) => n * scales[Math.floor(i / group)]! + (offsets?.[Math.floor(i / group)] ?? 0)), type).toEqual(expectedOf(type).map(x => x + 0))
      const part = await partOf(scale, scale.dtype!, 3, 4)
      expect(part).toEqual((await partOf(scale, scale.dtype!, 0, 8)).slice(3, 7))
    }
    expect(judged).toEqual(['Q4_0 4/32', 'Q4_1 4/32 + offset', 'Q5_0 8/32', 'Q5_1 8/32 + offset', 'Q8_0 8/32', 'Q4_K 4/32 + offset', 'Q5_K 8/32 + offset', 'Q6_K 8/16'])
  })
})

test('values of every type', async () => {
  await using file = await openGguf(fixture('blocks.gguf'))
  expect(file.version).toBe(3)
  const of = (key: string): unknown => file.metadata.get(`test.${key}`)
  expect(of('strings')).toEqual({ type: 'array', of: 'string', value: ['', 'a', 'déjà vu', '漢字🙂'] })
  expect(of('floats')).toEqual({ type: 'array', of: 'f32', value: Float32Array.of(0.5, -1.25) })
  expect(of('ints')).toEqual({ type: 'array', of: 'i32', value: Int32Array.of(-1, 7) })
  expect(of('bools')).toEqual({ type: 'array', of: 'bool', value: Uint8Array.of(1, 0) })
  const scalars = { uint8: ['u8', 200], int8: ['i8', -100], uint16: ['u16', 60000], int16: ['i16', -30000], uint32: ['u32', 4000000000], int32: ['i32', -2000000000], uint64: ['u64', 2n ** 63n + 1n], int64: ['i64', -(2 ** 40)], float32: ['f32', 0.25], float64: ['f64', 0.1], bool: ['bool', true], string: ['string', 'text'] }
  for (const [key, [type, value]] of Object.entries(scalars)) expect(of(key)).toEqual({ type, value })
  expect(() => tensorIn(file, 'Q4_2')).toThrow(/has no tensor "Q4_2"[^]*Q4_/)
})

test('a version 2 file is the same', async () => {
  const old = Buffer.from(bytes)
  old.writeUInt32LE(2, 4)
  await using file = await openGguf(folder.file('two.gguf', old))
  expect([file.version, file.tensors.size]).toEqual([2, types.length])
})

/** A file made by hand: numbers of 64 bits are bigints, of 32 numbers, texts have their length before them, and bytes are bytes. */
const made = (...parts: readonly (bigint | number | string | Uint8Array)[]): Buffer => Buffer.concat(parts.map(part => {
  if (part instanceof Uint8Array) return part
  if (typeof part === 'string') return Buffer.concat([made(BigInt(Buffer.byteLength(part))), Buffer.from(part)])
  const b = Buffer.alloc(typeof part === 'bigint' ? 8 : 4)
  if (typeof part === 'bigint') b.writeBigUInt64LE(part)
  else b.writeUInt32LE(part)
  return b
}))
const head = (tensors: number, values: number): Buffer => Buffer.concat([Buffer.from('GGUF'), made(3, BigInt(tensors), BigInt(values))])
const zeros = Buffer.alloc(256)

test('a type that is not read is listed, and refused by name where it is read', async () => {
  await using file = await openGguf(folder.file('iq.gguf', made(head(1, 0), 'w', 1, 256n, 16, 0n, zeros)))
  const tensor = tensorIn(file, 'w')
  expect([tensor.tag, tensor.dtype]).toEqual(['IQ2_XXS', undefined])
  await expect(tensor.read(new Uint8Array(4), 0)).rejects.toThrow(/iq\.gguf: "w" is of type IQ2_XXS, which cannot be read[^]*Q6_K/)
})

test.each<[string, Buffer, RegExp]>([
  ['nothing', Buffer.alloc(0), /ends at byte 0/],
  ['another format', Buffer.from('{"a": 1, "b": 2}'), /does not begin with "GGUF"/],
  ['the format before', made(Buffer.from('lmgg'), 1, zeros), /the format before GGUF/],
  ['version 1', made(Buffer.from('GGUF'), 1, zeros), /version 1/],
  ['version 4', made(Buffer.from('GGUF'), 4, zeros), /version 4/],
  ['other bytes first', made(Buffer.from('GGUF'), 0x03000000, zeros), /high bytes first/],
  ['a head cut off', head(0, 0).subarray(0, 20), /ends at byte 20, in the number of values/],
  ['more values than bytes', made(head(0, 1000), zeros), /the number of values has 1000, more than the 256 bytes/],
  ['more tensors than bytes', made(Buffer.from('GGUF'), 3, 2n ** 62n, 0n, zeros), /the number of tensors has 4611686018427387904/],
  ['a text that is longer than the file', made(head(0, 1), 'k', 8, 2n ** 40n, zeros), /the value of "k" has 1099511627776, more than/],
  ['an array that is longer than the file', made(head(0, 1), 'k', 9, 10, 2n ** 61n, zeros), /the value of "k" has 2305843009213693952/],
  ['texts that are longer than the file', made(head(0, 1), 'k', 9, 8, 40n, zeros), /the value of "k" has 40/],
  ['an array of arrays', made(head(0, 1), 'k', 9, 9, 1n, zeros), /array of arrays/],
  ['an unknown type of value', made(head(0, 1), 'k', 13, zeros), /of a type 13/],
  ['no UTF-8', made(head(0, 1), 'k', 8, 1n, Uint8Array.of(0xff), zeros), /the value of "k" is not UTF-8/],
  ['a truth value of 2', made(head(0, 1), 'k', 7, 2, zeros), /truth value of 2/],
  ['truth values of 2', made(head(0, 1), 'k', 9, 7, 1n, 2, zeros), /truth value that is neither/],
  ['a key twice', made(head(0, 2), 'k', 4, 1, 'k', 4, 1, zeros), /two values of "k"/],
  ['a tensor twice', made(head(2, 0), 'w', 0, 0, 0n, 'w', 0, 0, 32n, zeros), /two tensors "w"/],
  ['tensors over each other', made(head(2, 0), 'v', 1, 9n, 0, 0n, 'w', 1, 1n, 0, 32n, zeros), /"w" lies over "v"/],
  ['a tensor between places', made(head(1, 0), 'w', 1, 1n, 0, 4n, zeros), /begins at byte 4 of the data, no multiple of 32/],
  ['a tensor behind the end', made(head(1, 0), 'w', 1, 64n, 0, 0n, zeros.subarray(0, 250)), /"w" ends at byte 256 of the data, of which there are/],
  ['a tensor too large to be', made(head(1, 0), 'w', 2, 2n ** 40n, 2n ** 40n, 0, 0n, zeros), /1099511627776 × 1099511627776/],
  ['rows of no whole blocks', made(head(1, 0), 'w', 2, 48n, 2n, 2, 0n, zeros), /Q4_0, in blocks of 32, which do not divide its rows of 48/],
  ['an unknown type of tensor', made(head(1, 0), 'w', 1, 32n, 4, 0n, zeros), /of a type 4/],
  ['five axes', made(head(1, 0), 'w', 5, 1n, 1n, 1n, 1n, 1n, 0, 0n, zeros), /has 5 axes/],
  ['an odd alignment', made(head(0, 1), 'general.alignment', 4, 12, zeros), /general\.alignment is 12/],
])('refuses %s', async (name, content, reason) => {
  const path = folder.file('bad.gguf', content)
  const error: unknown = await openGguf(path).then(f => f.close(), (e: unknown) => e)
  expect(error, name).toBeInstanceOf(FileError)
  expect((error as FileError).message).toMatch(reason)
  expect((error as FileError).message).toMatch(/bad\.gguf is not a GGUF file/)
})

test('cut off anywhere, it is refused', async () => {
  // All of the header, then some places of the data: the last tensor is cut by any of them.
  for (let length = 0; length < bytes.length - 32; length += length < 1800 ? 5 : 97) {
    const path = folder.file('cut.gguf', bytes.subarray(0, length))
    await expect(openGguf(path).then(f => f.close())).rejects.toThrow(FileError)
  }
  await expect(openGguf(folder.at('none.gguf'))).rejects.toThrow(/no such file/)
  await expect(openGguf(folder.path)).rejects.toThrow(/it is a folder/)
})
