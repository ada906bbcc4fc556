/** Programs that are not waited for: when calls resolve, their order, what is queued, and where failures come out. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { range, type Backend, type DeviceBuffer, type Executable } from '../../src/runtime/backend.ts'
import { mostInFlight } from '../../src/runtime/in-flight.ts'
import { PjrtBuffer } from '../../src/runtime/pjrt/buffer.ts'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { fewest, launcher, launchesBefore } from '../../src/runtime/pjrt/launcher.ts'
import { openSimulate } from '../../src/runtime/simulate/backend.ts'
import { buildFake, fakeOf, missingCompiler, type Fake } from './fake-plugin.ts'

/** x ↦ x + 1, as the plugin in C computes it whatever it is given. */
const plusOne = `module @m { func.func public @main(%x: tensor<f32>) -> tensor<f32> {
  %one = "stablehlo.constant"() {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %0 = "stablehlo.add"(%x, %one) : (tensor<f32>, tensor<f32>) -> tensor<f32>
  "func.return"(%0) : (tensor<f32>) -> () } }`
const scalar = { shape: [], dtype: 'f32' } as const
const put = (backend: Backend, value: number): Promise<DeviceBuffer> => backend.put(Float32Array.of(value), scalar, 0)
const run = async (program: Executable, x: DeviceBuffer, line = 0): Promise<DeviceBuffer> => {
  const [[result] = []] = await program.execute([[x]], { at: () => ({ file: 'user.ts', line, column: 1 }) })
  if (result === undefined) throw new Error('no result')
  return result
}
/** Whether a promise is settled once Node's loop has turned. */
async function isSettled(p: Promise<unknown>): Promise<boolean> {
  let settled = false
  p.then(() => { settled = true }, () => { settled = true })
  for (let i = 0; i < 20; i++) await new Promise(resolve => { setImmediate(resolve) })
  return settled
}

const folder = mkdtempSync(join(tmpdir(), 'meshwork-fake-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const missing = missingCompiler()

describe.skipIf(missing !== undefined)(`a plugin whose programs are done when the test says so${missing === undefined ? '' : ` (${missing})`}`, () => {
  let path = ''
  let fake: Fake
  let backend: Backend
  let program: Executable
  /** Programs launched before this test. */
  let before = 0
  beforeAll(() => {
    path = buildFake(folder, 'libfake_cpu.so')
    fake = fakeOf(path)
  })
  beforeEach(async () => {
    before = fake.launched()
    backend = await openPjrt({ library: path, devices: 1 })
    program = await backend.compile({ text: plusOne, devices: 1, donated: [] })
  })
  const launchedNow = (n: number): Promise<void> => expect.poll(() => fake.launched() - before).toBe(n)
  const closed = async (): Promise<void> => {
    await backend.close()
    expect([fake.liveBuffers(), fake.liveEvents()]).toEqual([0, 0])
  }

  test('a call resolves before its program is done, reading waits, and runs follow one another', async () => {
    const first = await run(program, await put(backend, 1))
    const second = await run(program, first)
    await launchedNow(2)
    const reading = second.read()
    expect(await isSettled(reading)).toBe(false)
    fake.finish(before + 2)
    expect(await reading).toEqual(Float32Array.of(3))
    await closed()
  })

  test('arguments may be disposed right after the call, and donated ones are', async () => {
    const donating = await backend.compile({ text: plusOne, devices: 1, donated: [0] })
    const [x, y] = [await put(backend, 1), await put(backend, 5)]
    const [a, b] = [await run(program, x), await run(donating, y)]
    x.dispose()
    expect(backend.liveBuffers()).toBe(2)
    await expect(y.read()).rejects.toMatchObject({ code: 'disposed-buffer' })
    fake.finish(before + 2)
    expect([await a.read(), await b.read()]).toEqual([Float32Array.of(2), Float32Array.of(6)])
    await closed()
  })

  test('a program that is launched often frees what it takes over, all of it and once, behind its launch', async () => {
    const names = range(fewest).map(i => `%x${i}`)
    const many = plusOne.replace('%x: tensor<f32>', names.map(x => `${x}: tensor<f32>`).join(', ')).replace('(%x, ', '(%x0, ')
    const donating = await backend.compile({ text: many, devices: 1, donated: range(fewest) })
    const call = async (): Promise<{ readonly given: readonly DeviceBuffer[]; readonly result: DeviceBuffer }> => {
      const given = await Promise.all(names.map((_, i) => put(backend, i)))
      const [[result] = []] = await donating.execute([given])
      if (result === undefined) throw new Error('no result')
      return { given, result }
    }
    const freed = vi.spyOn(PjrtBuffer.prototype, 'wasFreed')
    try {
      for (let i = 1; i <= launchesBefore; i++) {
        const { result } = await call()
        fake.finish(before + i)
        expect(await result.read()).toEqual(Float32Array.of(1))
        result.dispose()
      }
      expect(freed).not.toHaveBeenCalled()
      expect(await launcher()).toBeDefined()
      const { given, result } = await call()
      await launchedNow(launchesBefore + 1)
      fake.finish(before + launchesBefore + 1)
      expect(await result.read()).toEqual(Float32Array.of(1))
      expect([freed.mock.calls.length, fake.liveBuffers(), backend.liveBuffers()]).toEqual([fewest, 1, 1])
      await expect(given[0]?.read()).rejects.toMatchObject({ code: 'disposed-buffer' })
      // One that is being read is freed when that is done.
      const kept = await Promise.all(names.map((_, i) => put(backend, i)))
      const reading = kept[3]?.read()
      await donating.execute([kept])
      expect(await reading).toEqual(Float32Array.of(3))
      fake.finish(before + launchesBefore + 2)
      await launchedNow(launchesBefore + 2)
      // A launch that is refused frees nothing, and what it was given is freed all the same.
      fake.refuse(1)
      const refused = await call()
      await expect(refused.result.read()).rejects.toMatchObject({ message: expect.stringContaining('no room for the results') as string })
      await closed()
    } finally {
      freed.mockRestore()
    }
  })

  test('no more than so many are out: the next call waits until one is done', async () => {
    const x = await put(backend, 0)
    for (let i = 0; i < mostInFlight; i++) await run(program, x)
    const next = run(program, x)
    expect(await isSettled(next)).toBe(false)
    await launchedNow(mostInFlight)
    fake.finish(before + 1)
    await next
    await launchedNow(mostInFlight + 1)
    fake.finish(before + mostInFlight + 1)
    await closed()
  })

  test('runs are in the order of the calls, whenever their arguments come', async () => {
    const [x, y] = [await put(backend, 10), await put(backend, 20)]
    let come = (_: DeviceBuffer[][]): void => {}
    const late = program.execute(new Promise<DeviceBuffer[][]>(resolve => { come = resolve }))
    const early = program.execute([[y]])
    expect(await isSettled(early)).toBe(false)
    come([[x]])
    await Promise.all([late, early])
    await launchedNow(2)
    // The first launched is the one that is done.
    fake.fail(before + 1)
    fake.finish(before + 2)
    await expect((await late)[0]?.[0]?.read()).rejects.toMatchObject({ code: 'internal' })
    expect(await (await early)[0]?.[0]?.read()).toEqual(Float32Array.of(21))
    await closed()
  })

  test('a call whose arguments never come to be hands its place on', async () => {
    await expect(program.execute(Promise.reject(new Error('no batch')))).rejects.toThrow('no batch')
    const result = await run(program, await put(backend, 1))
    fake.finish(before + 1)
    expect(await result.read()).toEqual(Float32Array.of(2))
    await closed()
  })

  test('what goes wrong is thrown by every read of its results and of what was computed from them, with the line of the call', async () => {
    const bad = await run(program, await put(backend, 1), 7)
    await launchedNow(1)
    fake.fail(before + 1)
    const after = await run(program, bad, 8)
    const last = await run(program, after, 9)
    const good = await run(program, await put(backend, 1), 10)
    await launchedNow(4)
    fake.finish(before + 4)
    for (const lost of [last, bad, after, bad]) {
      await expect(lost.read()).rejects.toMatchObject({ code: 'internal', message: expect.stringMatching(/program \d+ went wrong[^]*user\.ts:7:1/) as string })
    }
    expect(await good.read()).toEqual(Float32Array.of(2))
    // Known to have failed: it is not even launched.
    const launches = fake.launched()
    await expect((await run(program, bad, 11)).read()).rejects.toMatchObject({ problem: { at: { line: 7 } } })
    expect(fake.launched()).toBe(launches)
    await closed()
  })

  test('a failure that nobody has read is thrown by close, which has freed everything', async () => {
    const bad = await run(program, await put(backend, 1), 12)
    bad.dispose()
    await launchedNow(1)
    fake.fail(before + 1)
    fake.finish(before + 1)
    await expect(backend.close()).rejects.toMatchObject({ code: 'internal', problem: { at: { line: 12 } } })
    expect([fake.liveBuffers(), fake.liveEvents()]).toEqual([0, 0])
    await backend.close()
  })

  test('a launch that is refused fails its results, and is no end on one device', async () => {
    fake.refuse(1)
    const bad = await run(program, await put(backend, 1), 3)
    await expect(bad.read()).rejects.toMatchObject({ code: 'resource-exhausted', problem: { at: { line: 3 } } })
    const good = await run(program, await put(backend, 1))
    fake.finish(before + 1)
    expect(await good.read()).toEqual(Float32Array.of(2))
    await closed()
  })

  test('close waits for what is out', async () => {
    await run(program, await put(backend, 1))
    const closing = backend.close()
    expect(await isSettled(closing)).toBe(false)
    fake.finish(before + 1)
    await closing
    expect([fake.liveBuffers(), fake.liveEvents()]).toEqual([0, 0])
  })

  test('after a launch of several devices that was refused, none is launched', async () => {
    const two = await openPjrt({ library: path, devices: 2 })
    const wide = await two.compile({ text: plusOne, devices: 2, donated: [] })
    const args = [[await two.put(Float32Array.of(1), scalar, 0)], [await two.put(Float32Array.of(1), scalar, 1)]]
    fake.refuse(1)
    await expect((await wide.execute(args))[0]?.[0]?.read()).rejects.toMatchObject({ code: 'resource-exhausted' })
    await expect((await wide.execute(args))[0]?.[0]?.read()).rejects.toMatchObject({ code: 'backend-broken' })
    await two.close()
    await closed()
  })
})

describe('simulate', () => {
  test('calls resolve at once and run in their order, at most so many out', async () => {
    await using backend = await openSimulate({ devices: 1 })
    const program = await backend.compile({ text: plusOne, devices: 1, donated: [0] })
    let x = await put(backend, 0)
    const calls: Promise<DeviceBuffer>[] = []
    for (let i = 0; i < 3 * mostInFlight; i++) {
      const call = run(program, x)
      calls.push(call)
      x = await call
    }
    expect(await x.read()).toEqual(Float32Array.of(3 * mostInFlight))
    x.dispose()
    expect(backend.liveBuffers()).toBe(0)
  })

  test('a failure is thrown by reads of what depends on it, with the line; one that nobody reads by close', async () => {
    const huge = 2 ** 40
    const text = `module @m { func.func public @main(%x: tensor<f32>) -> tensor<f32> {
      %0 = "stablehlo.broadcast_in_dim"(%x) {broadcast_dimensions = array<i64>} : (tensor<f32>) -> tensor<${huge}xf32>
      %1 = "stablehlo.slice"(%0) {start_indices = array<i64: 0>, limit_indices = array<i64: 1>, strides = array<i64: 1>} : (tensor<${huge}xf32>) -> tensor<1xf32>
      %2 = "stablehlo.reshape"(%1) : (tensor<1xf32>) -> tensor<f32>
      "func.return"(%2) : (tensor<f32>) -> () } }`
    const backend = await openSimulate({ devices: 1 })
    const [program, fine] = await Promise.all([text, plusOne].map(t => backend.compile({ text: t, devices: 1, donated: [] })))
    if (program === undefined || fine === undefined) throw new Error('not compiled')
    const x = await put(backend, 1)
    const bad = await run(program, x, 5)
    const after = await run(fine, bad, 6)
    for (const lost of [after, bad]) await expect(lost.read()).rejects.toMatchObject({ name: 'PluginError', problem: { at: { line: 5 } } })
    expect(await (await run(fine, x)).read()).toEqual(Float32Array.of(2))
    await run(program, x, 8)
    await expect(backend.close()).rejects.toMatchObject({ problem: { at: { line: 8 } } })
    expect(backend.liveBuffers()).toBe(0)
  })
})
