/** Values that the host gives, for every dtype: those that it has, those that it has not, and arrays of every kind. */
import { describe, expect, test } from 'vitest'
import { dim } from '../../src/core/dim.ts'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { DimError } from '../../src/core/errors.ts'
import { numbersOf } from '../../src/core/half-precision.ts'
import { hostValues, type HostValue } from '../../src/engine/host.ts'
import { compile, input, mesh, openBackend } from '../../src/engine/index.ts'

const all = Object.keys(dtypes) as DType[]
const scalar = (dtype: DType, value: HostValue): number | bigint | undefined => numbersOf(hostValues(value, { dtype, shape: [], what: 'x' }), dtype)[0]
const array = (dtype: DType, value: HostValue, n: number): TypedArray => hostValues(value, { dtype, shape: [dim('n', n)], what: 'x' })
/** The value as it arrives, or the code of the refusal. */
const outcome = (f: () => unknown): unknown => {
  try {
    return f()
  } catch (e) {
    if (e instanceof DimError) return e.code
    throw e
  }
}
const range: Partial<Record<DType, readonly [bigint, bigint]>> = {
  i64: [-(2n ** 63n), 2n ** 63n - 1n], i32: [-(2n ** 31n), 2n ** 31n - 1n], u32: [0n, 2n ** 32n - 1n], i8: [-128n, 127n], u8: [0n, 255n],
}

describe('numbers', () => {
  test.each(Object.entries(range) as [DType, readonly [bigint, bigint]][])('%s takes whole numbers in its range, as number and as bigint', (dtype, [low, high]) => {
    const native = (v: bigint): number | bigint => (dtype === 'i64' ? v : Number(v))
    for (const v of [low, high, 0n, 5n]) {
      expect(scalar(dtype, v)).toBe(native(v))
      if (BigInt(Number(v)) === v) expect(scalar(dtype, Number(v))).toBe(native(v))
    }
    expect(scalar(dtype, -0)).toBe(native(0n))
    const refused = [low - 1n, high + 1n, 2.5, -0.1, NaN, Infinity, -Infinity, 2 ** 80, Number(low) - 2 ** 12, Number(high) + 2 ** 12]
    expect(refused.map(v => outcome(() => scalar(dtype, v)))).toEqual(refused.map(() => 'value'))
    expect(outcome(() => scalar(dtype, true))).toBe('dtype')
  })
  test.each(['f64', 'f32', 'bf16', 'f16'] as const)('%s takes every number, rounded once', dtype => {
    for (const v of [0, 1.5, -2, NaN, Infinity, -Infinity]) expect(scalar(dtype, v)).toBe(v)
    expect(Object.is(scalar(dtype, -0), -0)).toBe(true)
    expect(scalar(dtype, 0.1)).toBeCloseTo(0.1, 2)
    expect(scalar('f64', 0.1)).toBe(0.1)
    expect(scalar('f32', 0.1)).toBe(Math.fround(0.1))
    expect([5n, true].map(v => outcome(() => scalar(dtype, v)))).toEqual(['dtype', 'dtype'])
  })
  test('bool takes truth values; 0 is false, every other number true, and NaN neither', () => {
    expect([true, false, 1, 0, -0, 2.5, -1, 255, 0n, 3n].map(v => scalar('bool', v))).toEqual([1, 0, 1, 0, 0, 1, 1, 1, 0, 1])
    expect(outcome(() => scalar('bool', NaN))).toBe('value')
  })
  test('one number is no array', () => { expect(all.map(dtype => outcome(() => array(dtype, 1, 4)))).toEqual(all.map(() => 'element-count')) })
  test('the refusal says what the dtype holds', () => {
    expect(() => scalar('i32', 2 ** 31)).toThrow(/x: 2147483648 is out of range\n +shape .*\n +dtype +i32\n +fix +i32 holds -2147483648 to 2147483647/)
  })
})

describe('arrays', () => {
  const kinds = [Float64Array, Float32Array, BigInt64Array, BigUint64Array, Int32Array, Uint32Array, Int16Array, Uint16Array, Int8Array, Uint8Array, Uint8ClampedArray]
  const taken: Readonly<Record<DType, readonly string[]>> = {
    f64: ['Float64Array'], f32: ['Float32Array'], bf16: ['Float64Array', 'Float32Array', 'Uint16Array'],
    f8e4m3fn: ['Float64Array', 'Float32Array', 'Uint8Array'], f8e5m2: ['Float64Array', 'Float32Array', 'Uint8Array'], f16: ['Float64Array', 'Float32Array', 'Uint16Array'],
    i64: ['BigInt64Array'], i32: ['Int32Array'], u32: ['Uint32Array'], i8: ['Int8Array'], u8: ['Uint8Array'], bool: ['Uint8Array'],
  }
  test.each(all)('%s takes its own kind, and no other', dtype => {
    for (const Kind of kinds) {
      const got = outcome(() => array(dtype, new Kind(4) as never, 4).length)
      expect([Kind.name, got]).toEqual([Kind.name, taken[dtype].includes(Kind.name) ? 4 : 'dtype'])
    }
    for (const odd of [new DataView(new ArrayBuffer(4)), [1, 2, 3, 4], null]) expect(outcome(() => array(dtype, odd as never, 4))).toBe('dtype')
  })
  test('a Buffer is bytes, and a part of an array is that part', () => {
    expect([...array('u8', Buffer.from([1, 2, 3]), 3)]).toEqual([1, 2, 3])
    const part = Float32Array.of(0, 1, 2, 3).subarray(1, 3)
    expect(array('f32', part, 2)).toBe(part)
    expect(outcome(() => array('f32', part, 4))).toBe('element-count')
  })
  test('shared memory is copied, and memory that was given away is said to be', () => {
    const shared = new Int32Array(new SharedArrayBuffer(8))
    shared.set([4, 5])
    const copy = array('i32', shared, 2)
    shared[0] = 9
    expect([...copy]).toEqual([4, 5])
    const gone = new Float32Array(2)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    expect(outcome(() => array('f32', gone, 2))).toBe('detached')
  })
  test.each([1, 3, 4, 5, 64, 1027])('%i truth values, at every place in memory', n => {
    for (let offset = 0; offset < 5; offset++) {
      const bytes = new Uint8Array(n + 8).subarray(offset, offset + n)
      for (let i = 0; i < n; i++) bytes[i] = i % 3 === 0 ? 1 : 0
      expect(array('bool', bytes, n)).toBe(bytes)
      for (const at of [0, n >> 1, n - 1]) {
        const odd = bytes.slice()
        odd[at] = 2 + at % 254
        const expected = Array.from(odd, v => (v === 0 ? 0 : 1))
        expect([...array('bool', odd, n)]).toEqual(expected)
        expect(odd[at]).toBe(2 + at % 254)
      }
    }
  })
})

test('programs take numbers, bigints and truth values, and what a Source makes is held to the same rule', async () => {
  await using backend = await openBackend({ plugin: 'simulate', devices: 2 })
  const n = dim('n', 4)
  const [seed, flag, mask] = [input('seed', [], 'i64'), input('flag', [], 'bool'), input('mask', [n], 'bool')]
  const program = await compile((s: typeof seed, f: typeof flag, m: typeof mask) => ({ s: s.add(1), f: f.not(), count: m.cast('i32').sum() }), [seed, flag, mask] as const, { mesh: mesh({ a: 2 }), layout: { n: 'a' }, backend })
  const { s, f, count } = await program(2n ** 62n, true, ({ sizes: [length = 0] }) => new Uint8Array(length).fill(255))
  expect([(await s.read())[0], await f.item(), await count.item()]).toEqual([2n ** 62n + 1n, 0, 4])
  await expect(program(0.5, true, new Uint8Array(4))).rejects.toMatchObject({ code: 'value', problem: { at: { file: expect.stringContaining('host.test.ts') as string } } })
  await expect(program(1, true, () => new Int8Array(2))).rejects.toMatchObject({ code: 'dtype' })
})
