/** What rests in the memory of the host between calls: slots of an optimizer, on platforms that tell it from a device's. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { forCpu, type Lowering } from '../../src/core/platform.ts'
import { compile, dims, fp8, input, leavesOf, mesh, openBackend, param, place, plan, slot, stored, type Backend, type Tensor } from '../../src/engine/index.ts'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { initialise, stateOf, trainStep } from '../../src/train/program.ts'
import { modelOf } from '../../src/train/run.ts'
import { trainerConfig } from '../../src/train/session.ts'
import { planRun } from '../../src/train/planned.ts'
import { train } from '../../src/train/train.ts'
import { expectGolden } from '../golden/support.ts'
import { buildFake, fakeOf, missingCompiler } from '../runtime/fake-plugin.ts'
import { dry } from '../support/parallel-runs.ts'

type T = Tensor<string>
const { batch, embed } = dims({ batch: 4, embed: 8 })
const cuda: Lowering = { platform: 'cuda', contractions: 'f32' }
const folder = mkdtempSync(join(tmpdir(), 'meshwork-stored-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A moment that rests with the host, and weights that do not. */
const args = [{ w: param('w', [embed]) as T, m: slot('m', [embed]) as T }, input('x', [batch, embed]) as T] as const
const step = ({ w, m }: { readonly w: T; readonly m: T }, x: T): { readonly w: T; readonly m: T } => {
  const moment = stored(m, 'device').mul(0.9).add(x.mean(batch))
  return { w: w.sub(moment.mul(0.1)), m: stored(moment, 'host') }
}
const textFor = (lowering: Lowering): string => plan(step as never, args as never, { mesh: mesh({ one: 1 }), layout: {}, donate: [0], lowering }).text

describe('a program', () => {
  test('says of each argument and result in what memory it lies, and moves what the host has', () => {
    const kinds = [...textFor(cuda).matchAll(/\{mhlo\.memory_kind = "(\w+)"(?:, (tf\.aliasing_output = \d))?[^}]*\}/g)].map(m => m.slice(1).join(' ').trim())
    expect(kinds).toEqual(['device tf.aliasing_output = 0', 'pinned_host tf.aliasing_output = 1', 'device', 'device', 'pinned_host'])
    const moves = [...textFor(cuda).matchAll(/_xla_buffer_placement = "(\w+)"/g)].map(m => m[1])
    expect(moves).toEqual(['device', 'pinned_host'])
  })
  test('says nothing of it on a CPU, nor where nothing lies there', () => {
    expect(textFor(forCpu)).not.toMatch(/memory_kind|placement/)
    expect(plan((x: T) => ({ y: x.exp() }), [args[1]], { mesh: mesh({ one: 1 }), layout: {}, lowering: cuda }).text).not.toContain('memory_kind')
  })
  test('an input that is used without being brought lies on the device', () => {
    const { inputs } = plan((m: T, n: T) => ({ a: stored(m, 'device').add(1), b: stored(n, 'device').add(n) }), [slot('m', [embed]) as T, slot('n', [embed]) as T], { mesh: mesh({ one: 1 }), layout: {} })
    expect(inputs.map(i => i.placement.memory)).toEqual(['host', undefined])
  })
  test('is refused on a platform that gives programs no memory of the host, and for another word', () => {
    for (const platform of ['oneapi', 'metal', 'other'] as const) expect(() => textFor({ platform, contractions: 'f32' })).toThrow(/^DimError\[no-host-memory\] nothing can be offloaded: the platform \w+ gives programs no memory of the host[^]*slots=device/)
    expect(() => stored(args[1], 'pinned_host' as never)).toThrow(/stored: there is no memory/)
  })
  test('is a GPU\'s, of contractions of 8 bits and a moment with the host, word for word', () => {
    const d = dims({ batch: 16, embed: 32, hidden: 64 })
    const [x, w] = [input('x', [d.batch, d.embed]), param('w', [d.embed, d.hidden])]
    const { text } = plan((p: { readonly w: typeof w; readonly m: T }, y: typeof x) => ({ y: fp8((a: typeof x, b: typeof w) => a.dot(b, d.embed))(y, p.w), m: stored(stored(p.m, 'device').mul(0.9), 'host') }),
      [{ w, m: slot('m', [d.hidden]) as T }, x], { mesh: mesh({ batch: 2 }), layout: { batch: 'batch' }, donate: [0], lowering: cuda })
    expectGolden(new URL('cuda-eight-bits-and-host.txt', import.meta.url).pathname, text.replace(/ loc\(.*\)$/gm, ''))
  })
})

describe('a run with slots=host', () => {
  const hosted = { ...dry, slots: 'host' as const }
  test('has its slots, and nothing else, with the host: in the step, and where they are made', () => {
    const [model, config] = [modelOf(hosted), trainerConfig(hosted)]
    const one = { mesh: mesh({ batch: 1, model: 1 }), layout: dry.layout, dims: model.dims, lowering: cuda }
    const planned = plan(trainStep(model, config) as never, [stateOf(model, config), model.batch] as never, { ...one, donate: [0] })
    const away = planned.inputs.filter(i => i.placement.memory === 'host').map(i => i.path)
    const slots = leavesOf(stateOf(model, config).slots).length
    expect(away.length).toBe(slots)
    expect(away.every(path => path.startsWith('0.slots.'))).toBe(true)
    // Each comes and goes once, in the place that it had.
    expect([...planned.text.matchAll(/_xla_buffer_placement = "(\w+)"/g)].map(m => m[1]).sort()).toEqual([...Array<string>(slots).fill('device'), ...Array<string>(slots).fill('pinned_host')])
    expect([...planned.text.matchAll(/memory_kind = "pinned_host", tf\.aliasing_output/g)]).toHaveLength(slots)
    const first = plan(initialise(model, config) as never, [input('seed', [], 'i32')] as never, one)
    expect(first.local.outputPlacements.filter(p => p.memory === 'host')).toHaveLength(slots)
  })
  test('is split over devices as it was: each brings its own part, and that is what is donated', () => {
    const [model, config] = [modelOf(hosted), trainerConfig(hosted)]
    const two = { mesh: mesh({ batch: 2, model: 1 }), layout: dry.layout, state: { embed: 'batch' }, dims: model.dims, lowering: cuda }
    const planned = plan(trainStep(model, config) as never, [stateOf(model, config), model.batch] as never, { ...two, donate: [0] })
    const slots = leavesOf(stateOf(model, config).slots).length
    expect(planned.inputs.filter(i => i.placement.memory === 'host').length).toBe(slots)
    expect([...planned.text.matchAll(/memory_kind = "pinned_host", tf\.aliasing_output/g)]).toHaveLength(slots)
    expect(planned.inputs.some(i => i.placement.memory === 'host' && i.placement.sharding.size > 0)).toBe(true)
    // What each result lies like is what the next call is given.
    for (const [from, to] of planned.donations) expect(planned.local.outputPlacements[to]).toEqual(planned.local.inputPlacements[from])

    const split = planRun({ ...hosted, mesh: { batch: 2, model: 1 }, state: { embed: 'batch' } })
    expect(split.plan.perDevice.hostBytes).toBeLessThan((planRun(hosted).plan.perDevice.hostBytes ?? 0) * 0.6)
    expect(planRun(dry).plan.perDevice.hostBytes).toBeUndefined()
  })
  test('has the losses that it has without', async () => {
    const losses = async (run: typeof dry): Promise<readonly number[]> => {
      await using backend = await openBackend({ plugin: 'simulate', devices: 1 })
      return (await train({ ...run, steps: 3 }, { backend })).losses
    }
    const found = await losses(hosted)
    expect(found.length).toBe(3)
    expect(found).toEqual(await losses(dry))
  })
})

describe.skipIf(missingCompiler() !== undefined)('arrays', () => {
  test('are put into that memory, by a plugin that has it; by one that has not, one message says so', async () => {
    const path = buildFake(folder, 'libfake_cuda_memories.so')
    const fake = fakeOf(path)
    await using backend: Backend = await openPjrt({ library: path, devices: 1 })
    const one = mesh({ one: 1 })
    const at = (memory?: 'host') => place(backend, one, { shape: [embed], dtype: 'f32', sharding: new Map(), ...(memory === undefined ? {} : { memory }) }, new Float32Array(8), 'the array')
    const near = await at()
    expect(fake.hostPuts()).toBe(0)
    const far = await at('host')
    expect([fake.hostPuts(), far.placement.memory]).toEqual([1, 'host'])
    // A program that wants it there takes it as it is; what lies on the device is brought there first.
    const program = await compile((m: T) => ({ m: stored(stored(m, 'device').add(1), 'host') }), [slot('m', [embed]) as T], { mesh: one, layout: {}, backend })
    for (const [array, puts] of [[far, 1], [near, 2]] as const) {
      // Whatever is expected of it, it ends: the plugin would wait for a program for ever.
      fake.finish(1000)
      const { m } = await program(array)
      expect([fake.hostPuts(), m.placement.memory]).toEqual([puts, 'host'])
      m.dispose()
    }
    near.dispose()
    far.dispose()
    program.dispose()
    fake.pinned(0)
    await using other: Backend = await openPjrt({ library: path, devices: 1 })
    await expect(place(other, one, { shape: [embed], dtype: 'f32', sharding: new Map(), memory: 'host' }, new Float32Array(8), 'the array')).rejects.toMatchObject({ code: 'no-host-memory', message: expect.stringMatching(/no memory "pinned_host"[^]*memories +device\n[^]*slots=device/) as string })
  })
})

