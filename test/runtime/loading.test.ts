/** Files that are no plugin for this machine, clients that find nothing to compute on, and the CUDA plugin itself where it is installed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { PluginError } from '../../src/core/errors.ts'
import { acceleratorOf } from '../../src/runtime/hardware.ts'
import { inspectPlugin } from '../../src/runtime/pjrt/index.ts'
import { refusal, whyNotLoaded } from '../../src/runtime/pjrt/shared.ts'
import { pluginPath } from '../../src/runtime/plugins/index.ts'
import { run } from '../cli/support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-loading-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, bytes: Uint8Array | string): string => {
  writeFileSync(join(folder, name), bytes)
  return join(folder, name)
}

/** The head of a shared library in ELF for a machine, with nothing in it. */
function elf(machine: number, little = true): Uint8Array {
  const head = Buffer.alloc(64)
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, little ? 1 : 2, 1])
  if (little) { head.writeUInt16LE(3, 16); head.writeUInt16LE(machine, 18) } else { head.writeUInt16BE(3, 16); head.writeUInt16BE(machine, 18) }
  return head
}
const x64 = { platform: 'linux', arch: 'x64' }

describe('a library that cannot be loaded', () => {
  test.each<[string, string, string, RegExp]>([
    ['of another machine', file('arm.so', elf(183)), 'cannot open shared object file', /^other-architecture: .*arm\.so is built for aarch64, and this machine is x86-64/],
    ['of a machine that writes numbers the other way round', file('z.so', elf(22, false)), '', /^other-architecture: .*built for S\/390/],
    ['of macOS', file('mac.dylib', Buffer.from('cffaedfe0c00000100000000060000000000000000000000', 'hex')), 'invalid ELF header', /^other-system: .*a library for macOS, and this is Linux/],
    ['of Windows', file('win.dll', `MZ${'.'.repeat(60)}`), 'invalid ELF header', /^other-system: .*for Windows/],
    ['that is a text', file('text.so', 'this is no library, it only has a library\'s name'), 'file too short', /^not-a-library: .*text\.so is no shared library/],
    ['that is empty', file('empty.so', ''), 'file too short', /^not-a-library: .*is no shared library/],
    ['of a newer glibc', file('new.so', elf(62)), "/lib/libc.so.6: version `GLIBC_2.99' not found (required by new.so)", /^libc: .*built for a newer system than this: it needs GLIBC_2\.99/],
    ['whose maker\'s library is missing', file('rocm.so', elf(62)), 'Failed to load shared library: librccl.so.1: cannot open shared object file: No such file or directory', /^missing-library: .*rocm\.so needs the library librccl\.so\.1, which is not on this machine/],
    ['whose maker\'s library is older than it', file('oneapi.so', elf(62)), 'Failed to load shared library: /lib/libur_adapter_level_zero.so.0: undefined symbol: zeDeviceGetRootDevice', /^other-version: .*oneapi\.so cannot be loaded: a library that \/lib\/libur_adapter_level_zero\.so\.0 needs is here in another version, which has no zeDeviceGetRootDevice/],
    ['that is broken otherwise', file('broken.so', elf(62)), 'file too short', /^not-a-library: .*cannot be loaded/],
  ])('%s', (_, path, loader, says) => {
    const { code, what } = whyNotLoaded(path, loader, x64)
    expect(`${code}: ${what}`).toMatch(says)
  })

  test('is one error from the loader itself, too', async () => {
    const other = process.arch === 'arm64' ? 62 : 183
    if (process.platform === 'linux') await expect(inspectPlugin(file('foreign_cpu.so', elf(other)))).rejects.toMatchObject({ code: 'other-architecture' })
    await expect(inspectPlugin(file('text_cpu.so', 'a text'))).rejects.toMatchObject({ code: 'not-a-library' })
  })
})

test('a client without a device is one message, and other failures stay what they are', () => {
  for (const words of ['No visible GPU devices.', 'no supported devices found for platform CUDA', 'No visible devices']) {
    expect(refusal(new PluginError({ code: 'failed-precondition', what: `Client_Create: ${words}` }), '/x.so')).toMatchObject({ code: 'no-device', problem: { details: { 'in its words': words } } })
  }
  const other = new PluginError({ code: 'resource-exhausted', what: 'Client_Create: out of memory' })
  expect(refusal(other, '/x.so')).toBe(other)
})

/** 190 MB to fetch: whoever works on this installs it once (npx meshwork plugins install jax-cuda12-pjrt --libraries system). */
describe('the CUDA plugin on a machine without its device', async () => {
  const path = await pluginPath('jax-cuda12-pjrt')
  const missing = path === undefined ? 'jax-cuda12-pjrt is not installed here' : acceleratorOf('cuda').devices > 0 ? 'this machine has a GPU' : undefined
  test.skipIf(missing !== undefined)(`is loaded, and ends in one message${missing === undefined ? '' : `: skipped, ${missing}`}`, async () => {
    const { code, out, err } = await run(['doctor', '--plugin', path ?? '', '--json'], { cwd: folder })
    expect(err).toBe('')
    const { findings } = JSON.parse(out) as { findings: { what: string; ok: boolean; value: string }[] }
    expect(findings.filter(f => !f.ok)).toMatchObject([{ what: 'device', value: expect.stringContaining('no NVIDIA GPU') as string }, { what: 'libraries' }])
    expect(code).toBe(1)
    // In this process, so that it is seen to have been loaded and asked.
    await expect(inspectPlugin(path ?? '')).rejects.toMatchObject({ code: 'no-device', problem: { details: { 'in its words': 'No visible GPU devices.' } } })
  })
})
