/** The simulator as a backend: buffers, donation, what it rejects, and the text it reads. */
import { describe, expect, test, vi } from 'vitest'
import type { BufferType } from '../../src/runtime/backend.ts'
import { openSimulate } from '../../src/runtime/simulate/backend.ts'

const f32 = (...shape: number[]): BufferType => ({ shape, dtype: 'f32' })
const add = `module @add {
  func.func public @main(%arg0: tensor<2xf32> {tf.aliasing_output = 0 : i32}, %arg1: tensor<2xf32>) -> (tensor<2xf32> {x.y = "z"}) {
    %0 = "stablehlo.add"(%arg0, %arg1) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> loc("user.ts":41:12)
    "func.return"(%0) : (tensor<2xf32>) -> () loc(#loc1)
  } loc(unknown)
}
#loc1 = loc("user.ts":42:1)`
const compileText = async (text: string) => (await openSimulate({ devices: 1 })).compile({ text, devices: 1, donated: [] })
/** Runs a program without arguments on one device. */
async function results(text: string): Promise<number[][]> {
  const program = await compileText(text)
  const [made = []] = await program.execute([[]])
  return Promise.all(made.map(async b => Array.from(await b.read(), Number)))
}

describe('buffers', () => {
  test('hold a copy, are read as often as wanted, and are counted until disposed', async () => {
    const backend = await openSimulate({ devices: 2 })
    const data = Float32Array.of(1, 2)
    const buffer = await backend.put(data, f32(2), 1)
    data[0] = 9
    const read = await buffer.read()
    expect([...read]).toEqual([1, 2])
    read[1] = 9
    expect([...await buffer.read()]).toEqual([1, 2])
    expect([buffer.device, buffer.shape, buffer.dtype, backend.liveBuffers()]).toEqual([1, [2], 'f32', 1])
    buffer.dispose()
    buffer.dispose()
    expect(backend.liveBuffers()).toBe(0)
    await expect(buffer.read()).rejects.toMatchObject({ code: 'disposed-buffer' })
    await expect(buffer.read()).rejects.toThrow('tensor<2xf32> on device 1')
  })
  test('of 16-bit floats keep every bit pattern but those of NaN', async () => {
    const backend = await openSimulate({ devices: 1 })
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
    for (const [dtype, exponent, quiet] of [['f16', 0x7c00, 0x7e00], ['bf16', 0x7f80, 0x7fc0]] as const) {
      const read = await (await backend.put(all, { shape: [65536], dtype }, 0)).read()
      expect(all.filter(bits => read[bits] !== ((bits & 0x7fff) > exponent ? quiet : bits))).toEqual(new Uint16Array(0))
    }
  })
  test('are rejected where they cannot be', async () => {
    const backend = await openSimulate({ devices: 2 })
    await expect(backend.put(Float32Array.of(1), f32(2), 0)).rejects.toMatchObject({ code: 'host-array-size' })
    await expect(backend.put(Float32Array.of(1), f32(1), 2)).rejects.toMatchObject({ code: 'no-such-device' })
    await expect(openSimulate({ devices: 0 })).rejects.toMatchObject({ code: 'device-count' })
  })
})

describe('programs', () => {
  const setup = async (donated: readonly number[] = []) => {
    const backend = await openSimulate({ devices: 2 })
    const program = await backend.compile({ text: add, devices: 2, donated })
    const put = (a: number, b: number, device: number) => backend.put(Float32Array.of(a, b), f32(2), device)
    const args = [[await put(1, 2, 0), await put(10, 20, 0)], [await put(3, 4, 1), await put(30, 40, 1)]] as const
    return { backend, program, put, args }
  }

  test('run on every device, and leave the arguments to the caller', async () => {
    const { backend, program, args } = await setup()
    expect([program.results, program.memory, program.fromCache]).toEqual([[f32(2)], undefined, false])
    const [[first] = [], [second] = []] = await program.execute(args)
    expect([...await first?.read() ?? []]).toEqual([11, 22])
    expect([...await second?.read() ?? []]).toEqual([33, 44])
    expect([first?.device, second?.device, backend.liveBuffers()]).toEqual([0, 1, 6])
    expect([...await args[0][0].read()]).toEqual([1, 2])
  })
  test('dispose what is donated to them', async () => {
    const { backend, program, args } = await setup([0])
    await program.execute(args)
    expect(backend.liveBuffers()).toBe(4)
    await expect(args[1][0].read()).rejects.toMatchObject({ code: 'disposed-buffer' })
    await expect(program.execute(args)).rejects.toMatchObject({ code: 'disposed-buffer' })
    expect([...await args[1][1].read()]).toEqual([30, 40])
  })
  test('check their arguments before they take any', async () => {
    const { backend, program, put, args: [[a, b], [c, d]] } = await setup([0])
    const stranger = await (await openSimulate({ devices: 2 })).put(Float32Array.of(1, 2), f32(2), 0)
    const wide = await backend.put(new Float32Array(3), f32(3), 0)
    const integer = await backend.put(new Int32Array(2), { shape: [2], dtype: 'i32' }, 0)
    const codes = (args: Parameters<typeof program.execute>[0]): Promise<string> => program.execute(args).then(() => 'none', e => e.code)
    expect(await codes([[a, b]])).toBe('argument-lists')
    expect(await codes([[a, b], [c]])).toBe('argument-lists')
    expect(await codes([[wide, b], [c, d]])).toBe('argument-type')
    expect(await codes([[a, integer], [c, d]])).toBe('argument-type')
    expect(await codes([[a, b], [c, a]])).toBe('argument-device')
    expect(await codes([[a, stranger], [c, d]])).toBe('foreign-buffer')
    expect(await codes([[a, a], [c, d]])).toBe('donated-twice')
    expect(backend.liveBuffers()).toBe(6)
    expect(await codes([[a, b], [c, await put(0, 0, 1)]])).toBe('none')
  })
  test('cannot be run once they or their backend are gone', async () => {
    const { backend, program, args } = await setup()
    const other = await backend.compile({ text: add, devices: 2, donated: [] })
    program.dispose()
    await expect(program.execute(args)).rejects.toMatchObject({ code: 'disposed-executable' })
    const running = other.execute(args)
    await backend.close()
    expect((await running).length).toBe(2)
    expect(backend.liveBuffers()).toBe(0)
    await expect(other.execute(args)).rejects.toMatchObject({ code: 'closed' })
    await expect(backend.put(Float32Array.of(1), f32(1), 0)).rejects.toMatchObject({ code: 'closed' })
  })
  test('are rejected when their donations or devices cannot be', async () => {
    const backend = await openSimulate({ devices: 1 })
    await expect(backend.compile({ text: add, devices: 2, donated: [] })).rejects.toMatchObject({ code: 'no-such-device' })
    await expect(backend.compile({ text: add, devices: 1, donated: [2] })).rejects.toMatchObject({ code: 'donation' })
    const misfit = add.replace('aliasing_output = 0', 'aliasing_output = 1')
    await expect(backend.compile({ text: misfit, devices: 1, donated: [0] })).rejects.toThrow('cannot become result 1')
  })
  test('let the event loop turn while they run', async () => {
    const now = vi.spyOn(performance, 'now')
    let time = 0
    now.mockImplementation(() => (time += 10))
    try {
      const { program, args } = await setup()
      let turned = false
      setImmediate(() => { turned = true })
      await program.execute(args)
      expect(turned).toBe(false)
      now.mockImplementation(() => (time += 100))
      setImmediate(() => { turned = true })
      const results = await program.execute(args)
      await results[0]?.[0]?.read()
      expect(turned).toBe(true)
    } finally {
      now.mockRestore()
    }
  })
})

describe('text', () => {
  const two = '%0 = "stablehlo.constant"() <{value = dense<2> : tensor<i32>}> : () -> tensor<i32>'

  test('may have comments, attributes it does not know, aliases, and either form of return', async () => {
    expect(await results(`#map = loc("a")
      // a comment
      module @m attributes {mhlo.num_replicas = 1 : i32, a = [1, "b", {c}], d = #x<e f>} {
        func.func @main() -> (tensor<i32> {jax.result_info = "x"}, tensor<i32>) attributes {b} {
          ${two} loc(fused["a", "b"("c.ts":1:2)])
          %1:2 = "stablehlo.optimization_barrier"(%0, %0) {mhlo.note = "\\"q\\"", unit}
            : (tensor<i32>, tensor<i32>) -> (tensor<i32>, tensor<i32>)
          return %1#1, %1#0 : tensor<i32>, tensor<i32> loc(#map)
        } loc(callsite("f" at "g"))
      } loc(#map)`)).toEqual([[2], [2]])
  })
  test('may be generic throughout', async () => {
    expect(await results(`"builtin.module"() <{sym_name = "m"}> ({
      "func.func"() <{function_type = () -> tensor<i32>, sym_name = "main", sym_visibility = "public"}> ({
        ${two} loc(#loc3)
        "func.return"(%0) : (tensor<i32>) -> ()
      }) : () -> () loc(#loc3)
    }) {mhlo.num_replicas = 1 : i32} : () -> ()
    #loc3 = loc(unknown)`)).toEqual([[2]])
  })

  const main = (body: string): string => `func.func @main() -> tensor<i32> {\n  ${body}\n  return %0 : tensor<i32>\n}`
  const iota = (type: string): string => main(`%0 = "stablehlo.iota"() : () -> ${type}`)
  const wrong = {
    'an op that it does not know': [
      main('%0 = "stablehlo.rng"() : () -> tensor<i32> loc("gpt.ts":41:12)'), 'unknown-op', /stablehlo\.rng[^]*gpt\.ts:41:12/,
    ],
    'an op of another dialect, with its place behind an alias': [
      `${main('%0 = "chlo.lgamma"() : () -> tensor<i32> loc("lgamma"(#loc2))')}
      #loc2 = loc("gpt.ts":3:4)`, 'unknown-op', /chlo\.lgamma:[^]*gpt\.ts:3:4/,
    ],
    'a type that Meshwork lacks': [iota('tensor<2xcomplex<f32>>'), 'program-syntax', /line 2 of[^]*tensor<2xcomplex</],
    'a size that is not known': [iota('tensor<?xf32>'), 'program-syntax', /static sizes/],
    'a value that is not there': [
      main('%0 = "stablehlo.negate"(%9) : (tensor<i32>) -> tensor<i32>'), 'program-types', /%9 is not defined/,
    ],
    'a value of another type': [
      main(`${two.replace('%0', '%1')} %0 = "stablehlo.abs"(%1) : (tensor<f32>) -> tensor<i32>`),
      'program-types', /%1 is tensor<i32>, and used as tensor<f32>/,
    ],
    'a constant with too few elements': [
      main(two.replace('dense<2> : tensor<i32>', 'dense<[2]> : tensor<3xi32>')), 'program-syntax', /does not fill/,
    ],
    'a constant that is no number': [main(two.replace('dense<2>', 'dense<two>')), 'program-syntax', /does not fill/],
    'an end too early': [main(two).slice(0, -1), 'program-syntax', /found +the end/],
    'a program without @main': ['func.func @other() { return }', 'no-main', /other/],
  } satisfies Record<string, [string, string, RegExp]>
  test.each(Object.entries(wrong))('with %s is rejected', async (_, [text, code, says]) => {
    await expect(compileText(text)).rejects.toMatchObject({ code })
    await expect(compileText(text)).rejects.toThrow(says)
  })
})
