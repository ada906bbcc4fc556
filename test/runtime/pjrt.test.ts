/** The PJRT client on the CPU plugin: programs, buffers, donation, errors. */
import { describe, expect, it } from 'vitest'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { PluginError } from '../../src/core/errors.ts'
import { PjrtBuffer } from '../../src/runtime/pjrt/buffer.ts'
import { inspectPlugin, openPjrt } from '../../src/runtime/pjrt/index.ts'
import {
  addProgram, allReduceProgram, donatingProgram, free, loopProgram, pluginLibrary, putVector, take, withBackend,
} from './pjrt-support.ts'

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

describe('programs', () => {
  for (const devices of [1, 4, 8]) {
    it(`adds on ${devices} devices, each its own numbers`, () => withBackend(devices, async (backend) => {
      const program = await backend.compile({ text: addProgram(3), devices, donated: [] })
      expect(program.results).toEqual([{ shape: [3], dtype: 'f32' }])
      const args = await Promise.all(range(devices).map(async (d) => [
        await putVector(backend, [d, 2, 3], d), await putVector(backend, [10, 20, 30], d),
      ]))
      const results = await program.execute(args)
      expect(results.map((row) => row.map((buffer) => buffer.device))).toEqual(range(devices).map((d) => [d]))
      expect(await take(results)).toEqual(range(devices).map((d) => [[10 + d, 22, 33]]))
      free(args)
      expect(backend.liveBuffers()).toBe(0)
    }))
  }

  const axes = [
    { axis: 'the inner axis', groups: [[0, 1], [2, 3]], sums: [1, 1, 5, 5] },
    { axis: 'the outer axis', groups: [[0, 2], [1, 3]], sums: [2, 4, 2, 4] },
    { axis: 'both', groups: [[0, 1, 2, 3]], sums: [6, 6, 6, 6] },
  ]
  for (const { axis, groups, sums } of axes) {
    it(`all-reduces over ${axis} of a 2×2 mesh`, () => withBackend(4, async (backend) => {
      const program = await backend.compile({ text: allReduceProgram(groups), devices: 4, donated: [] })
      const args = await Promise.all(range(4).map(async (d) => [await putVector(backend, [d, 0, -d, 10 * d], d)]))
      expect(await take(await program.execute(args))).toEqual(sums.map((s) => [[s, 0, -s, 10 * s]]))
    }))
  }

  it('keeps many runs with collectives apart when they are started at once', () => withBackend(4, async (backend) => {
    const program = await backend.compile({ text: allReduceProgram([[0, 1, 2, 3]]), devices: 4, donated: [] })
    const args = await Promise.all(range(4).map(async (d) => [await putVector(backend, [d, 0, 0, 0], d)]))
    const runs = await Promise.all(range(50).map(() => program.execute(args)))
    for (const run of runs) expect((await take(run)).map((row) => row[0]?.[0])).toEqual([6, 6, 6, 6])
    free(args)
    expect(backend.liveBuffers()).toBe(0)
  }))

  it('says what memory a program takes', () => withBackend(1, async (backend) => {
    const program = await backend.compile({ text: addProgram(1024), devices: 1, donated: [] })
    expect(program.memory).toMatchObject({ arguments: 2 * 4096, outputs: 4096, aliased: 0 })
    const donating = await backend.compile({ text: donatingProgram(1024), devices: 1, donated: [0] })
    expect(donating.memory?.aliased).toBe(4096)
  }))
})

describe('buffers', () => {
  const samples: { readonly [K in DType]: TypedArray } = {
    f64: Float64Array.of(1.5, -2, 1e300, 0, 7, 8), f32: Float32Array.of(1.5, -2, 3e38, 0, 7, 8), bf16: Uint16Array.of(16256, 1, 2, 3, 4, 5),
    f16: Uint16Array.of(15360, 1, 2, 3, 4, 5), i64: BigInt64Array.of(-1n, 2n ** 62n, 3n, 4n, 5n, 6n), i32: Int32Array.of(-1, 2, 3, 4, 5, 6),
    u32: Uint32Array.of(4294967295, 2, 3, 4, 5, 6), i8: Int8Array.of(-128, 127, 3, 4, 5, 6), u8: Uint8Array.of(255, 2, 3, 4, 5, 6),
    bool: Uint8Array.of(1, 0, 1, 1, 0, 0), f8e4m3fn: Uint8Array.of(0x38, 0x7e, 1, 0x81, 0, 0x80), f8e5m2: Uint8Array.of(0x3c, 0x7b, 1, 0x7c, 0, 0x80),
  }
  for (const dtype of Object.keys(dtypes) as DType[]) {
    it(`carries ${dtype} there and back`, () => withBackend(2, async (backend) => {
      const buffer = await backend.put(samples[dtype], { shape: [2, 3], dtype }, 1)
      expect(await buffer.read()).toEqual(samples[dtype])
    }))
  }

  it('carries scalars, empty arrays and parts of larger host arrays', () => withBackend(1, async (backend) => {
    expect(await (await backend.put(Float32Array.of(3), { shape: [], dtype: 'f32' }, 0)).read()).toEqual(Float32Array.of(3))
    expect(await (await backend.put(new Float32Array(), { shape: [0, 3], dtype: 'f32' }, 0)).read()).toEqual(new Float32Array())
    const part = Float32Array.of(0, 1, 2, 3).subarray(1, 3)
    expect(await (await backend.put(part, { shape: [2], dtype: 'f32' }, 0)).read()).toEqual(Float32Array.of(1, 2))
  }))

  it('has copied a large host array when put resolves, and moves many at once', () => withBackend(1, async (backend) => {
    const size = 1 << 17
    const buffers = await Promise.all(range(300).map(async (i) => {
      const data = new Float32Array(size).fill(i)
      const buffer = await backend.put(data, { shape: [size], dtype: 'f32' }, 0)
      data.fill(-1)
      return buffer
    }))
    const values = await Promise.all(buffers.map((buffer) => buffer.read()))
    expect(values.map((value) => [value[0], value.at(-1)])).toEqual(range(300).map((i) => [i, i]))
  }))

  it('reads rows last, also of a transposed result', () => withBackend(1, async (backend) => {
    const text = `module @t { func.func public @main(%x: tensor<2x3xf32>) -> tensor<3x2xf32> {
      %0 = "stablehlo.transpose"(%x) {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
      "func.return"(%0) : (tensor<3x2xf32>) -> () } }`
    const program = await backend.compile({ text, devices: 1, donated: [] })
    const x = await backend.put(Float32Array.of(1, 2, 3, 4, 5, 6), { shape: [2, 3], dtype: 'f32' }, 0)
    expect(await take(await program.execute([[x]]))).toEqual([[[1, 4, 2, 5, 3, 6]]])
  }))

  it('refuses a host array of another size', () => withBackend(1, async (backend) => {
    await expect(backend.put(new Float32Array(3), { shape: [2], dtype: 'f32' }, 0)).rejects.toMatchObject({ code: 'host-array-size' })
    await expect(backend.put(new Float32Array(2), { shape: [2], dtype: 'f32' }, 1)).rejects.toMatchObject({ code: 'no-such-device' })
  }))

  it('is freed once, and cannot be used afterwards', () => withBackend(1, async (backend) => {
    const buffer = await putVector(backend, [1], 0)
    expect(backend.liveBuffers()).toBe(1)
    buffer.dispose()
    buffer.dispose()
    expect(backend.liveBuffers()).toBe(0)
    await expect(buffer.read()).rejects.toMatchObject({ code: 'disposed-buffer' })
  }))

  it('may be disposed as soon as a run is asked for, and so may the program', () => withBackend(2, async (backend) => {
    const program = await backend.compile({ text: addProgram(2), devices: 2, donated: [] })
    const args = await Promise.all(range(2).map(async (d) => [await putVector(backend, [1, 2], d), await putVector(backend, [d, d], d)]))
    const runs = [program.execute(args), program.execute(args)]
    free(args)
    program.dispose()
    for (const run of runs) expect(await take(await run)).toEqual([[[1, 2]], [[2, 3]]])
    expect(backend.liveBuffers()).toBe(0)
    await expect(program.execute(args)).rejects.toMatchObject({ code: 'disposed-executable' })
  }))
})

describe('donation', () => {
  it('really takes the argument over, and disposes it', () => withBackend(4, async (backend) => {
    const program = await backend.compile({ text: donatingProgram(256), devices: 4, donated: [0] })
    const ones = await Promise.all(range(4).map((d) => backend.put(Float32Array.of(1), { shape: [], dtype: 'f32' }, d)))
    let state = await Promise.all(range(4).map((d) => putVector(backend, new Array<number>(256).fill(d), d)))
    for (let step = 0; step < 5; step++) {
      const before = state
      state = (await program.execute(range(4).map((d) => [before[d], ones[d]].filter((b) => b !== undefined)))).flat()
      await expect(before[0]?.read()).rejects.toMatchObject({ code: 'disposed-buffer' })
      expect(backend.liveBuffers()).toBe(8)
    }
    expect((await take([state]))[0]?.map((values) => values.at(-1))).toEqual([5, 6, 7, 8])
    for (const one of ones) one.dispose()
    expect(backend.liveBuffers()).toBe(0)
  }))

  it('is seen by the plugin, and not for an argument that is kept', () => withBackend(1, async (backend) => {
    // Told of no donation, the client leaves the handles to us, and the plugin can be asked what it did.
    const program = await backend.compile({ text: donatingProgram(256), devices: 1, donated: [] })
    const x = await putVector(backend, new Array<number>(256).fill(1), 0)
    const y = await backend.put(Float32Array.of(1), { shape: [], dtype: 'f32' }, 0)
    await take(await program.execute([[x, y]]))
    expect([x, y].map((buffer) => buffer instanceof PjrtBuffer && buffer.isDeleted())).toEqual([true, false])
  }))
})

describe('errors', () => {
  it('shows the line of a program that cannot be parsed', () => withBackend(1, async (backend) => {
    const text = 'module @m {\n  func.func public @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n    return %nowhere : tensor<2xf32>\n  }\n}'
    await expect(backend.compile({ text, devices: 1, donated: [] })).rejects.toMatchObject({
      code: 'bad-program', problem: { details: { program: 'return %nowhere : tensor<2xf32>' } },
    })
  }))

  it("names the user's line of an operation that carries it", () => withBackend(1, async (backend) => {
    const text = `module @m { func.func public @main(%x: tensor<2xf32>) -> tensor<3xf32> {
      %0 = "stablehlo.add"(%x, %x) : (tensor<2xf32>, tensor<2xf32>) -> tensor<3xf32> loc("recipes/gpt.ts":41:12)
      "func.return"(%0) : (tensor<3xf32>) -> () } }`
    await expect(backend.compile({ text, devices: 1, donated: [] })).rejects.toMatchObject({
      code: 'bad-program', problem: { at: { file: 'recipes/gpt.ts', line: 41, column: 12 } },
    })
  }))

  it('refuses arguments that would leave some devices waiting for others', () => withBackend(2, async (backend) => {
    const program = await backend.compile({ text: addProgram(2), devices: 2, donated: [] })
    const [a, b, odd] = await Promise.all([putVector(backend, [1, 2], 0), putVector(backend, [1, 2], 1), putVector(backend, [1, 2, 3], 1)])
    await expect(program.execute([[a, a]])).rejects.toMatchObject({ code: 'argument-lists' })
    await expect(program.execute([[a, a], [b]])).rejects.toMatchObject({ code: 'argument-lists' })
    await expect(program.execute([[a, a], [b, a]])).rejects.toMatchObject({ code: 'argument' })
    await expect(program.execute([[a, a], [b, odd]])).rejects.toMatchObject({ code: 'argument' })
    expect(await take(await program.execute([[a, a], [b, b]]))).toEqual([[[2, 4]], [[2, 4]]])
  }))

  it('refuses what the program does not take before anything is launched, and goes on', () => withBackend(2, async (backend) => {
    const program = await backend.compile({ text: addProgram(2), devices: 2, donated: [] })
    const [a, b, wide, other] = await Promise.all([
      putVector(backend, [1, 2], 0), putVector(backend, [1, 2], 1), putVector(backend, [1, 2, 3], 0), putVector(backend, [1, 2, 3], 1),
    ])
    await expect(program.execute([[a], [b]])).rejects.toMatchObject({ code: 'argument-lists' })
    await expect(program.execute([[wide, wide], [other, other]])).rejects.toMatchObject({ code: 'argument' })
    expect(await take(await program.execute([[a, a], [b, b]]))).toEqual([[[2, 4]], [[2, 4]]])
  }))

  it('refuses more devices than there are, and a backend that is closed', async () => {
    await withBackend(1, async (backend) => {
      await expect(backend.compile({ text: addProgram(2), devices: 2, donated: [] })).rejects.toBeInstanceOf(PluginError)
    })
    const closed = await openPjrt({ library: await pluginLibrary(), devices: 1 })
    const buffer = await putVector(closed, [1], 0)
    await closed.close()
    await closed.close()
    expect(closed.liveBuffers()).toBe(0)
    buffer.dispose()
    await expect(putVector(closed, [1], 0)).rejects.toMatchObject({ code: 'closed' })
  })

  it('tells a missing library, a file that is none, and a library that is no plugin', async () => {
    await expect(openPjrt({ library: '/nowhere/plugin.so', devices: 1 })).rejects.toMatchObject({ code: 'no-such-plugin' })
    await expect(openPjrt({ library: import.meta.filename, devices: 1 })).rejects.toMatchObject({ code: 'not-a-library' })
    await expect(openPjrt({ library: import.meta.dirname, devices: 1 })).rejects.toMatchObject({ code: 'not-a-library' })
    const other = process.report.getReport() as { sharedObjects: string[] }
    const libm = other.sharedObjects.find((path) => /libm[.-]/.test(path)) ?? ''
    await expect(openPjrt({ library: libm, devices: 1 })).rejects.toMatchObject({ code: 'not-a-plugin' })
  })
})

describe('long runs', () => {
  it('leaves the loop free while devices work', () => withBackend(2, async (backend) => {
    const program = await backend.compile({ text: loopProgram, devices: 2, donated: [] })
    const args = await Promise.all(range(2).map(async (d) => [await backend.put(Int32Array.of(500), { shape: [], dtype: 'i32' }, d)]))
    let ticks = 0
    const timer = setInterval(() => { ticks++ }, 1)
    const results = await program.execute(args)
    // It resolves before the loop is done; reading waits.
    expect(await results[0]?.[0]?.read()).toEqual(Int32Array.of(500))
    clearInterval(timer)
    expect(ticks).toBeGreaterThan(5)
  }))

  it('holds no memory over 300 executions', () => withBackend(4, async (backend) => {
    const size = 1 << 16
    const program = await backend.compile({ text: addProgram(size), devices: 4, donated: [] })
    const args = await Promise.all(range(4).map(async (d) => {
      const buffer = await backend.put(new Float32Array(size), { shape: [size], dtype: 'f32' }, d)
      return [buffer, buffer]
    }))
    const run = async (times: number): Promise<void> => { for (let i = 0; i < times; i++) free(await program.execute(args)) }
    await run(50)
    const before = process.memoryUsage().rss
    await run(300)
    // One megabyte of results a run: kept, they would be 300.
    expect((process.memoryUsage().rss - before) / 2 ** 20).toBeLessThan(100)
    expect(backend.liveBuffers()).toBe(4)
  }))
})

it('reports what doctor shows', async () => {
  const report = await inspectPlugin(await pluginLibrary())
  expect(report).toMatchObject({ platform: 'cpu', devices: 1, api: expect.stringMatching(/^0\.\d+$/) as string })
  expect(report.stablehlo).toMatch(/^\d+\.\d+\.\d+$/)
  expect(report.attributes['stablehlo_minimum_version']).toMatch(/^\d+\.\d+\.\d+$/)
})
