/** What each kind of plugin is told, and what is not for it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { broadcast, compile, dims, input, loose, mesh, openBackend, param, type Scalar, type Tensor } from '../../src/engine/index.ts'
import { compileCode } from '../../src/runtime/pjrt/compile.ts'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { loadPlugin } from '../../src/runtime/pjrt/library.ts'
import { Struct } from '../../src/runtime/pjrt/memory.ts'
import { compileOptions } from '../../src/runtime/pjrt/options.ts'
import { fieldNames, type PlatformOptions } from '../../src/runtime/pjrt/platform-options.ts'
import { Session } from '../../src/runtime/pjrt/session.ts'
import { clientOptions, compilerOptions, platformNamed, platformOf, type TypedOption } from '../../src/runtime/pjrt/platform.ts'
import { buildFake, fakeOf, missingCompiler, type Fake } from './fake-plugin.ts'
import { addProgram, pluginLibrary } from './pjrt-support.ts'

type T = Tensor<string>

const folder = mkdtempSync(join(tmpdir(), 'meshwork-platform-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const told = (library: string, wanted: Parameters<typeof clientOptions>[1], env: NodeJS.ProcessEnv = {}): Record<string, unknown> =>
  Object.fromEntries([...clientOptions(library, wanted, env)].map(([name, { value }]) => [name, value]))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

test.each([
  ['/x/jax_plugins/xla_cuda13/xla_cuda_plugin.so', 'cuda'], ['/x/xla_rocm7/xla_rocm_plugin.so', 'rocm'], ['/x/libtpu/libtpu.so', 'tpu'],
  ['/x/lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so', 'cpu'], ['/x/cpu/cuda.so', 'cuda'], ['/x/xla_oneapi/plugin.so', 'oneapi'], ['/x/jax_plugins/metal_plugin/pjrt.dylib', 'metal'],
])('%s is a plugin for %s', (path, platform) => { expect(platformOf(path).name).toBe(platform) })

test('a library whose name says nothing is known by what it reads', () => {
  expect(platformOf(file('plugin.so', 'and cpu_device_count and')).name).toBe('cpu')
  expect(platformOf(file('other.so', 'nothing')).name).toBe('other')
  expect([platformNamed(file('other.so', 'nothing'), 'CUDA').name, platformNamed('/x/cpu.so', 'cuda').name]).toEqual(['cuda', 'cpu'])
})

describe('the client', () => {
  test('of a CPU makes devices; no other hears of it', () => {
    expect(told('/x/cpu.so', { devices: 4, node: { id: 1, count: 2 } })).toEqual({ cpu_device_count: 4 })
    for (const library of ['/x/libtpu.so', '/x/metal.so', file('none.so', '')]) expect(told(library, { devices: 4 })).toEqual({})
  })
  test('of a GPU hears which process it is, what the environment says, and the user above all', () => {
    const env = { XLA_PYTHON_CLIENT_PREALLOCATE: 'false', XLA_PYTHON_CLIENT_MEM_FRACTION: '.5', XLA_PYTHON_CLIENT_ALLOCATOR: 'platform' }
    expect(told('/x/cuda.so', { devices: 4 })).toEqual({})
    expect(told('/x/cuda.so', { devices: 4, node: { id: 1, count: 2 } }, env)).toEqual({ node_id: 1, num_nodes: 2, preallocate: false, memory_fraction: 0.5, allocator: 'platform' })
    expect(told('/x/rocm.so', { devices: 1, platform: { memory: { fraction: 0.25 }, visibleDevices: [2] } }, env)).toMatchObject({ memory_fraction: 0.25, visible_devices: [2] })
  })
  test.each<[string, Record<string, string | number | boolean | number[]>, RegExp]>([
    ['/x/cuda.so', { num_node: 2 }, /the platform cuda has no option "num_node"[^]*did you mean "num_nodes"/],
    ['/x/cuda.so', { cpu_device_count: 4 }, /has no option "cpu_device_count"/],
    ['/x/cuda.so', { enable_mock_nccl: 'no' }, /enable_mock_nccl is "no"[^]*true or false/],
    ['/x/cuda.so', { memory_fraction: 0.5 }, /memory_fraction has a name of its own[^]*say it as memory.fraction/],
    ['/x/cpu.so', { num_nodes: 2 }, /the platform cpu has no option/],
  ])('%s refuses %j', (library, client, says) => { expect(() => told(library, { devices: 1, platform: { client } })).toThrow(says) })
  test('of a plugin that nobody knows is told what the user says', () => {
    expect([...clientOptions(file('new.so', ''), { devices: 1, platform: { client: { a: 1, b: 1.5, c: 'x', d: [1], e: true } } }, {}).values()].map(o => o.kind)).toEqual(['whole', 'float', 'text', 'list', 'flag'])
  })
})

/** A CompileOptionsProto, read by its field numbers: replicas, and what goes over the compiler's own options. */
function readOptions(bytes: Uint8Array): { readonly replicas: number | undefined; readonly debug: boolean; readonly over: Readonly<Record<string, string | number | boolean>> } {
  const over: Record<string, string | number | boolean> = {}
  let [replicas, debug]: [number | undefined, boolean] = [undefined, false]
  const reader = new BinaryReader(bytes)
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    if (field === 3) {
      const build = new BinaryReader(reader.bytes())
      while (build.pos < build.len) {
        const [inner, type] = build.tag()
        if (inner === 4) replicas = Number(build.int64())
        else build.skip(type)
        debug ||= inner === 3
      }
    } else if (field === 7) {
      const entry = new BinaryReader(reader.bytes())
      entry.tag()
      const name = entry.string()
      entry.tag()
      const value = new BinaryReader(entry.bytes())
      const [kind] = value.tag()
      const read: { readonly [K in number]?: () => string | number | boolean } = { 1: () => value.string(), 2: () => value.bool(), 3: () => Number(value.int64()), 4: () => value.double() }
      over[name] = read[kind]?.() ?? 'of no kind'
    } else reader.skip(wire)
  }
  return { replicas, debug, over }
}

const everything: PlatformOptions = {
  memory: { fraction: 0.5, preallocate: false, allocator: 'cuda_async', collectives: 2 ** 20, staging: true }, visibleDevices: [0, 1], deterministic: true, latencyHiding: true, commandBuffers: ['FUSION', 'CUBLAS'],
  autotuning: { level: 2, cache: '/tmp/tuned' }, contractions: 'tf32',
  xla: { combineAllReduces: 2 ** 25, combineAllGathers: 1, combineReduceScatters: 2, tritonProducts: false, memoryLimit: 90, dump: '/tmp/dumped' },
}

describe('what a user says', () => {
  test('reaches the client and the compiler under their names, each in its type', () => {
    expect(told('/x/cuda.so', { devices: 1, platform: everything })).toEqual({
      memory_fraction: 0.5, preallocate: false, allocator: 'cuda_async', collective_memory_size: 2 ** 20, should_stage_host_to_device_transfers: true, visible_devices: [0, 1],
    })
    const options = readOptions(compileOptions(4, compilerOptions('/x/cuda.so', everything)))
    expect(options).toEqual({ replicas: 4, debug: false, over: {
      xla_gpu_deterministic_ops: true, xla_gpu_enable_latency_hiding_scheduler: true, xla_gpu_enable_command_buffer: 'FUSION,CUBLAS', xla_gpu_autotune_level: 2, xla_gpu_per_fusion_autotune_cache_dir: '/tmp/tuned',
      xla_gpu_all_reduce_combine_threshold_bytes: 2 ** 25, xla_gpu_all_gather_combine_threshold_bytes: 1, xla_gpu_reduce_scatter_combine_threshold_bytes: 2,
      xla_gpu_enable_triton_gemm: false, xla_gpu_memory_limit_slop_factor: 90, xla_dump_to: '/tmp/dumped',
    } })
  })
  test('is all of what there is', () => {
    const paths = (value: object, before = ''): string[] => Object.entries(value).flatMap(([key, v]: [string, unknown]) => (typeof v === 'object' && v !== null && !Array.isArray(v) ? paths(v, `${before}${key}.`) : [`${before}${key}`]))
    expect(paths(everything).sort()).toEqual([...fieldNames].sort())
  })
  test('leaves what the CPU is told as it was', () => {
    expect(Buffer.from(compileOptions(2, compilerOptions('/x/cpu.so'))).toString('hex')).toBe('1a0f08ffffffffffffffffff0120022801')
  })
  test.each<[string, PlatformOptions, RegExp]>([
    ['/x/cuda.so', { memory: { fraction: 1.5 } }, /memory.fraction is 1.5[^]*above 0, at most 1/],
    ['/x/cuda.so', { memory: { fracton: 0.5 } } as PlatformOptions, /no option "memory.fracton"[^]*did you mean "memory.fraction"/],
    ['/x/cuda.so', { memory: 0.5 } as unknown as PlatformOptions, /platform's memory is 0.5[^]*memory.fraction, memory.preallocate/],
    ['/x/cuda.so', { commandBuffers: ['ALL'] } as unknown as PlatformOptions, /commandBuffers is [^]*some of FUSION/],
    ['/x/cuda.so', { autotuning: { level: 9 } }, /autotuning.level is 9[^]*from 0 to 4/],
    ['/x/cuda.so', { visibleDevices: [-1] }, /visibleDevices[^]*such as 0,1/],
    ['/x/cuda.so', { contractions: 'f16' } as unknown as PlatformOptions, /contractions is "f16"[^]*one of f32, tf32, bf16/],
    ['/x/cpu.so', { contractions: 'tf32' }, /the platform cpu multiplies nothing in tf32[^]*it has f32/],
    ['/x/libtpu.so', { contractions: 'tf32' }, /tpu multiplies nothing in tf32[^]*it has f32, bf16/],
    ['/x/cpu.so', { memory: { preallocate: true } }, /the platform cpu has no option memory.preallocate[^]*it is of cuda, rocm/],
  ])('%s refuses %j', (library, platform, says) => { expect(() => told(library, { devices: 1, platform })).toThrow(says) })
})

describe('a plugin that knows XLA', () => {
  const program = addProgram(2)
  test('takes every name that its compiler is told, in the type in which it is told', async () => {
    // Every build of XLA has the options of every platform: this one has no GPU, and reads what a GPU would be told.
    const library = loadPlugin(await pluginLibrary())
    const session = await Session.create(library, { devices: 1 })
    const compiled = async (over: ReadonlyMap<string, TypedOption>): Promise<void> => {
      const handle = await compileCode(session, new TextEncoder().encode(program), 'mlir', compileOptions(1, over))
      library.call(new Struct('PJRT_LoadedExecutable_Destroy_Args').set('executable', handle))
    }
    const { xla: { dump: _, ...xla } = {}, ...others } = everything
    for (const [name, option] of compilerOptions('/x/cuda.so', { ...others, xla })) await expect(compiled(new Map([[name, option]])), name).resolves.toBeUndefined()
    const commands = compilerOptions('/x/cuda.so', { commandBuffers: ['FUSION', 'CUBLAS', 'CUBLASLT', 'CUDNN', 'CUSTOM_CALL', 'COLLECTIVES', 'CONDITIONAL', 'WHILE', 'DYNAMIC_SLICE_FUSION'] })
    await expect(compiled(commands)).resolves.toBeUndefined()
    await expect(compiled(compilerOptions('/x/cuda.so', { commandBuffers: [] }))).resolves.toBeUndefined()
    await expect(compiled(new Map([['xla_gpu_no_such_thing', { kind: 'flag', value: true }]]))).rejects.toThrow(/No such compile option/)
    await expect(compiled(new Map([['xla_gpu_deterministic_ops', { kind: 'text', value: 'perhaps' }]]))).rejects.toThrow(/not a valid bool/)
    await session.close()
  })
})

test.skipIf(missingCompiler() !== undefined)('a plugin gets each option in its own type', async () => {
  const path = buildFake(folder, 'libfake_cuda.so')
  await using backend = await openPjrt({ library: path, devices: 1, platform: { memory: { allocator: 'bfc', fraction: 0.75, preallocate: false, collectives: 2 ** 40 }, visibleDevices: [0, 3] } })
  expect(backend.deviceCount).toBe(1)
  expect(fakeOf(path).options().trim()).toBe('allocator="bfc" memory_fraction=0.75 preallocate=false collective_memory_size=1099511627776 visible_devices=[0,3]')
})

describe.skipIf(missingCompiler() !== undefined)('with every program a plugin gets', () => {
  test('what its compiler is told, and how many replicas there are over all processes', async () => {
    const path = buildFake(folder, 'libfake_cuda_compiling.so')
    await using backend = await openPjrt({ library: path, devices: 1, platform: { deterministic: true, autotuning: { level: 0 } } })
    ;(await backend.compile({ text: addProgram(2), devices: 1, replicas: 16, donated: [] })).dispose()
    expect(readOptions(fakeOf(path).compileOptions())).toEqual({ replicas: 16, debug: false, over: { xla_gpu_deterministic_ops: true, xla_gpu_autotune_level: 0 } })
    expect(backend.lowering).toEqual({ platform: 'cuda', contractions: 'f32' })
  })
})

test('a CPU that has no such memory says what lies where, too', async () => {
  // More than an address of 47 bits reaches, so that no system gives it.
  const { wide } = dims({ wide: 2 ** 46 })
  await using backend = await openBackend({ plugin: 'cpu', devices: 1, cache: false })
  const program = await compile((x: T, y: T) => ({ y: broadcast(x, [wide]).mul(2), z: y.add(1) }), [loose(input('x', [])), input('y', [dims({ few: 256 }).few]) as T], { mesh: mesh({ m: 1 }), layout: {}, backend })
  const { y, z } = await program(Float32Array.of(1), new Float32Array(256))
  await expect(y.read()).rejects.toMatchObject({ code: 'resource-exhausted', exitCode: 1, message: expect.stringMatching(/a device's memory is full: [^]*arguments +1\.0 KiB on each device: 1 1\.0 KiB, 0 4 bytes\n[^]*results +256\.0 TiB more[^]*smaller batch/) as string })
  z.dispose()
  program.dispose()
})

describe.skipIf(missingCompiler() !== undefined)('one message says', () => {
  const { batch, embed } = dims({ batch: 1024, embed: 256 })
  const start = async (): Promise<{ readonly path: string; readonly fake: Fake }> => {
    const path = buildFake(folder, 'libfake_cuda_failing.so')
    return { path, fake: fakeOf(path) }
  }
  test.each([
    ['that another process has the card', 'UNAVAILABLE', 'CUDA_ERROR_DEVICE_UNAVAILABLE: all CUDA-capable devices are busy or unavailable', 'device-taken', /for itself[^]*nvidia-smi[^]*visibleDevices=1/],
    ['that its memory is taken', 'RESOURCE_EXHAUSTED', 'Failed to allocate 60.1GiB: out of memory', 'device-taken', /taken already[^]*memory.fraction=0.4 memory.preallocate=false/],
    ['that there is none', 'FAILED_PRECONDITION', 'no CUDA-capable device is detected', 'no-device', /no device for this plugin[^]*--plugin cpu/],
    ['that the driver is too old', 'INTERNAL', 'CUDA driver version is insufficient for CUDA runtime version', 'driver-too-old', /newer driver/],
  ] as const)('%s', async (_, status, text, code, says) => {
    const { path, fake } = await start()
    fake.words('create', status, text)
    const error: unknown = await openPjrt({ library: path, devices: 1 }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code, exitCode: 1, message: expect.stringMatching(says) as string })
    expect(String((error as Error).message)).toContain(text)
  })
  test('what lies where, when a program does not fit as it is compiled and as it runs', async () => {
    const { path, fake } = await start()
    await using backend = await openPjrt({ library: path, devices: 1 })
    const make = () => compile((p: { w: T; v: T }, x: T) => ({ w: p.w.add(x.sum(batch)), total: x.sum() }), [{ w: param('w', [embed]) as T, v: param('v', [embed]) as T }, input('x', [batch, embed]) as T], { mesh: mesh({ m: 1 }), layout: {}, backend, donate: [0] })
    fake.words('compile', 'RESOURCE_EXHAUSTED', 'ran out of memory in memory space hbm')
    await expect(make()).rejects.toMatchObject({ code: 'resource-exhausted', message: expect.stringMatching(/^PluginError\[resource-exhausted\] a device's memory is full: [^]*arguments +1\.0 MiB on each device: 1 1\.0 MiB, 0\.w 1\.0 KiB, 0\.v 1\.0 KiB\n[^]*results +4 bytes more, 1 of 2 in the place of arguments\n[^]*in between +not known[^]*smaller batch/) as string })
  })
  test.each([
    ['is lost', 'INTERNAL', 'CUDA_ERROR_DEINITIALIZED: driver shutting down', 'device-lost', /a device is gone/],
    ['has fallen off the bus', 'UNKNOWN', 'GPU has fallen off the bus', 'device-lost', /dmesg/],
    ['stops at a program', 'INTERNAL', 'CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered', 'device-failed', /computes nothing more[^]*the same command again/],
    ['does not answer', 'UNAVAILABLE', 'failed to connect to all addresses', 'unavailable', /does not answer[^]*all processes of the job/],
    ['meets what nobody here knows', 'INTERNAL', 'something odd', 'internal', /something odd[^]*--plugin simulate; the plugin calls it a fault of its own/],
  ] as const)('that a card %s', async (_, status, text, code, says) => {
    const { path, fake } = await start()
    const backend = await openPjrt({ library: path, devices: 1 })
    try {
      const next = await compile((x: Scalar) => x.add(1), [input('x', []) as Scalar], { mesh: mesh({ m: 1 }), layout: {}, backend })
      const number = fake.launched() + 1
      fake.fail(number)
      fake.words('execute', status, text, 2)
      const result = await next(Float32Array.of(1))
      fake.finish(number)
      const error: unknown = await result.read().catch((e: unknown) => e)
      expect(error).toMatchObject({ code, exitCode: 1, message: expect.stringMatching(says) as string })
      expect((error as Error).message.match(/PluginError\[/g)).toHaveLength(1)
      result.dispose()
      next.dispose()
    } finally {
      await backend.close()
    }
  })
  test('that a card is gone', async () => {
    const { path, fake } = await start()
    await using backend = await openPjrt({ library: path, devices: 1 })
    const next = await compile((x: Scalar) => x.add(1), [input('x', []) as Scalar], { mesh: mesh({ m: 1 }), layout: {}, backend })
    const number = fake.launched() + 1
    fake.fail(number)
    fake.words('execute', 'INTERNAL', 'CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered', 2)
    const result = await next(Float32Array.of(1))
    fake.finish(number)
    await expect(result.read()).rejects.toMatchObject({ code: 'device-lost', message: expect.stringMatching(/a device is gone: [^]*ECC[^]*the same command again/) as string })
    result.dispose()
    // Where the run itself says it, not the launch, its place and what lies where are said too.
    const again = fake.launched() + 1
    fake.fail(again)
    fake.words('execute', 'RESOURCE_EXHAUSTED', 'Out of memory while trying to allocate 8589934592 bytes', 2)
    const full = await next(Float32Array.of(1))
    fake.finish(again)
    await expect(full.read()).rejects.toMatchObject({ code: 'resource-exhausted', message: expect.stringMatching(/memory is full[^]*arguments +4 bytes on each device: 0 4 bytes\n[^]*at +\S*platform\.test\.ts/) as string })
    full.dispose()
    next.dispose()
  })
})
