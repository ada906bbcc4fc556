/** What each kind of plugin is told, and what is not for it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { clientOptions, compilerOptions, platformNamed, platformOf } from '../../src/runtime/pjrt/platform.ts'
import { buildFake, fakeOf, missingCompiler } from './fake-plugin.ts'

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

test.skipIf(missingCompiler() !== undefined)('a plugin gets each option in its own type', async () => {
  const path = buildFake(folder, 'libfake_cuda.so')
  await using backend = await openPjrt({ library: path, devices: 1, platform: { memory: { allocator: 'bfc', fraction: 0.75, preallocate: false, collectives: 2 ** 40 }, visibleDevices: [0, 3] } })
  expect(backend.deviceCount).toBe(1)
  expect(fakeOf(path).options().trim()).toBe('allocator="bfc" memory_fraction=0.75 preallocate=false collective_memory_size=1099511627776 visible_devices=[0,3]')
})
