/** The catalog, installing with a pretend pip, and finding what is installed. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { zipSync } from 'fflate'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Sight } from '../../src/runtime/hardware.ts'
import { librariesOf } from '../../src/runtime/vendor-libraries.ts'
import { candidates, catalog, type Candidate } from '../../src/runtime/plugins/catalog.ts'
import { requireRoom } from '../../src/runtime/plugins/download.ts'
import type { Part } from '../../src/runtime/plugins/entry.ts'
import { installCandidates } from '../../src/runtime/plugins/install.ts'
import { installPlugin, listPlugins, namesWithout, pluginPath, resolvePlugin, type LibrarySource } from '../../src/runtime/plugins/index.ts'
import { installParts, partsWanted } from '../../src/runtime/plugins/parts.ts'
import { cacheRoot } from '../../src/io/cache-root.ts'
import { verifyCandidate } from '../../src/runtime/plugins/resolve.ts'
import { extract } from '../../src/io/unzip.ts'
import { testLimit } from '../support/limits.ts'
import { pluginLibrary } from './pjrt-support.ts'

let dir = ''
let cacheDir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'meshwork-plugins-'))
  cacheDir = join(dir, 'cache')
  await Promise.all(['bin', 'index'].map((name) => mkdir(join(dir, name))))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(dir, { recursive: true, force: true })
})

const libraryBytes = new Uint8Array(300_000).map((_, i) => i * i % 251)

/** A wheel of a made-up package, and the catalog entry for it; `index/` is where the pretend pip finds it. */
async function publish(name: string, offered = true): Promise<Candidate> {
  const library = `${name}_pkg/plugin.so`
  const wheel = zipSync({ [library]: libraryBytes, [`${name}_pkg/stored.txt`]: [new Uint8Array(9).fill(7), { level: 0 }] })
  if (offered) await writeFile(join(dir, 'index', `${name}-1.0-py3-none-any.whl`), wheel)
  const sha256 = createHash('sha256').update(wheel).digest('hex')
  return {
    package: name, version: '1.0', library, about: name, speaks: undefined, needs: 'nothing', tried: 'no', wheels: {}, name: 'cpu', arch: 'x64',
    wheel: { sha256, bytes: wheel.length, tag: 'any' },
  }
}

/** Puts a pretend python3 first on PATH; `download` is shell, in which $target is pip's -d and $package what it was asked for. */
async function pretendPip(download: string): Promise<void> {
  const script = `#!/bin/sh
shift 2
if [ "$1" = --version ]; then echo "pip 99.0"; exit 0; fi
echo "$@" >> ${dir}/calls
while [ $# -gt 1 ]; do if [ "$1" = -d ]; then target=$2; fi; shift; done
package=\${1%%=*}
${download}
`
  await writeFile(join(dir, 'bin', 'python3'), script)
  await chmod(join(dir, 'bin', 'python3'), 0o755)
  vi.stubEnv('PATH', `${join(dir, 'bin')}:/usr/bin:/bin`)
}

const FROM_INDEX = `
if ls ${'${0%/bin/*}'}/index/$package-* > /dev/null 2>&1; then cp ${'${0%/bin/*}'}/index/$package-* $target; exit 0; fi
echo "ERROR: Could not find a version that satisfies the requirement $package==1.0 (from versions: none)" >&2
echo "ERROR: No matching distribution found for $package==1.0" >&2
exit 1`

const pipCalls = async (): Promise<number> => (await readFile(join(dir, 'calls'), 'utf8').catch(() => '')).split('\n').length - 1
const inCache = async (): Promise<string[]> => (await readdir(join(cacheDir, 'plugins'))).sort()
const failure = (promise: Promise<unknown>): Promise<unknown> => promise.then((value) => value, (error: unknown) => error)

describe('installing', () => {
  it('unpacks the library, notes what it is, and then needs pip no more', async () => {
    await pretendPip(FROM_INDEX)
    const candidate = await publish('one')
    const seen: (readonly [number, number | undefined])[] = []
    const onProgress = (done: number, total: number | undefined): void => { seen.push([done, total]) }
    const installed = await installCandidates([candidate], { cacheDir, onProgress })
    expect(installed).toEqual({ path: join(cacheDir, 'plugins', 'one-1.0-x64', 'plugin.so'), package: 'one', version: '1.0', fresh: true })
    expect((await readFile(installed.path)).equals(libraryBytes)).toBe(true)
    expect(seen.at(-1)).toEqual([candidate.wheel.bytes, candidate.wheel.bytes])
    expect(await inCache()).toEqual(['.lock', 'one-1.0-x64'])
    expect(await installCandidates([candidate], { cacheDir })).toEqual({ ...installed, fresh: false })
    expect(await pipCalls()).toBe(1)
    expect(await installCandidates([candidate], { cacheDir, force: true })).toEqual(installed)
    expect(await pipCalls()).toBe(2)
  })

  it('asks pip for exactly the wheel of the catalog', async () => {
    await pretendPip(FROM_INDEX)
    await installCandidates([await publish('one')], { cacheDir })
    const call = await readFile(join(dir, 'calls'), 'utf8')
    for (const part of ['download', '--no-deps', '--only-binary=:all:', '--platform any', 'one==1.0']) expect(call).toContain(part)
    // This pip can go on with a download that broke off.
    expect(call).toContain('--resume-retries')
    expect(call).not.toContain('--python-version')
    const other = await publish('two')
    await installCandidates([{ ...other, wheel: { ...other.wheel, python: '3.13' } }], { cacheDir })
    expect((await readFile(join(dir, 'calls'), 'utf8')).split('\n')[1]).toContain('--python-version 3.13')
  })

  it('installs again what was cut short on the disk, and notices a changed byte when it looks closely', async () => {
    await pretendPip(FROM_INDEX)
    const candidate = await publish('one')
    const { path } = await installCandidates([candidate], { cacheDir })
    await writeFile(path, libraryBytes.map((byte, i) => i === 5 ? byte + 1 : byte))
    expect(await verifyCandidate(candidate, cacheDir)).toEqual({ path, intact: false })
    await writeFile(path, libraryBytes.subarray(1))
    expect(await verifyCandidate(candidate, cacheDir)).toBeUndefined()
    expect((await installCandidates([candidate], { cacheDir })).fresh).toBe(true)
    expect(await verifyCandidate(candidate, cacheDir)).toEqual({ path, intact: true })
  })

  it('refuses a wheel that is not the one it should be, and keeps nothing of it', async () => {
    await pretendPip(FROM_INDEX)
    const candidate = await publish('one')
    const other = { ...candidate, wheel: { ...candidate.wheel, sha256: 'f'.repeat(64) } }
    expect(await failure(installCandidates([other], { cacheDir }))).toMatchObject({
      code: 'checksum', problem: {
        details: { expected: 'f'.repeat(64), got: candidate.wheel.sha256 }, fix: expect.stringContaining('--plugin simulate') as string,
      },
    })
    expect(await inCache()).toEqual(['.lock'])
  })

  it('says that the network failed, in the words of pip', async () => {
    await pretendPip(`
echo "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: Temporary failure in name resolution'" >&2
echo "ERROR: No matching distribution found for one==1.0" >&2
exit 1`)
    expect(await failure(installCandidates([await publish('one'), await publish('two')], { cacheDir }))).toMatchObject({
      code: 'network', problem: {
        details: {
          pip: 'ERROR: No matching distribution found for one==1.0', network: expect.stringContaining('name resolution') as string,
        },
        fix: expect.stringContaining('--plugin simulate') as string,
      },
    })
    expect(await pipCalls()).toBe(1)
    expect(await inCache()).toEqual(['.lock'])
  })

  it('takes the next candidate where the index does not offer the first, else says so', async () => {
    await pretendPip(FROM_INDEX)
    const missing = await publish('missing', false)
    expect(await installCandidates([missing, await publish('one')], { cacheDir })).toMatchObject({ package: 'one', fresh: true })
    expect(await failure(installCandidates([missing], { cacheDir, force: true }))).toMatchObject({ code: 'not-offered' })
  })

  it('says what pip said when it fails otherwise', async () => {
    await pretendPip('echo "ERROR: something new" >&2; exit 3')
    expect(await failure(installCandidates([await publish('one')], { cacheDir }))).toMatchObject({
      code: 'pip', problem: { details: { pip: 'ERROR: something new' } },
    })
  })

  it('says that there is no pip', async () => {
    vi.stubEnv('PATH', join(dir, 'bin'))
    expect(await failure(installCandidates([await publish('one')], { cacheDir }))).toMatchObject({
      code: 'no-pip', problem: { fix: expect.stringContaining('--plugin simulate') as string },
    })
    expect(await inCache()).toEqual(['.lock'])
  })

  it('says that the cache cannot be written', async () => {
    await pretendPip(FROM_INDEX)
    await writeFile(cacheDir, 'a file where the folder should be')
    expect(await failure(installCandidates([await publish('one')], { cacheDir }))).toMatchObject({
      code: 'cache-not-writable', problem: { fix: expect.stringMatching(/MESHWORK_CACHE_DIR.*--plugin simulate/) as string },
    })
  })

  it('has nothing for other systems', async () => {
    for (const machine of [{ platform: 'darwin', arch: 'arm64' }, { platform: 'linux', arch: 'riscv64' }]) {
      expect(await failure(installPlugin('cpu', { cacheDir, machine }))).toMatchObject({
        code: 'unsupported-platform', problem: { fix: expect.stringContaining('--plugin simulate') as string },
      })
    }
  })
})

describe('interruptions', () => {
  const HALF = 'echo $$ > ${0%/bin/*}/pid; echo half > $target/one.whl; exec sleep 1000'

  it('kills pip and leaves nothing when cancelled', async () => {
    await pretendPip(HALF)
    const controller = new AbortController()
    const onProgress = (done: number): void => { if (done > 0) controller.abort() }
    const installing = installCandidates([await publish('one')], { cacheDir, onProgress, signal: controller.signal })
    expect(await failure(installing)).toMatchObject({ code: 'cancelled' })
    expect(await inCache()).toEqual(['.lock'])
    const pid = Number(await readFile(join(dir, 'pid'), 'utf8'))
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })

  it('does not begin when cancelled before', async () => {
    await pretendPip(FROM_INDEX)
    const signal = AbortSignal.abort()
    expect(await failure(installCandidates([await publish('one')], { cacheDir, signal }))).toMatchObject({ code: 'cancelled' })
    expect(await pipCalls()).toBe(0)
    expect(await inCache()).toEqual(['.lock'])
  })

  it('installs once when two ask at the same time', async () => {
    // The first one's pip goes on when the second is seen to wait.
    await pretendPip(`while [ ! -e ${dir}/seen ]; do sleep 0.01; done\n${FROM_INDEX}`)
    const candidate = await publish('one')
    const waited: string[] = []
    const onWait = (holder: string): void => {
      waited.push(holder)
      void writeFile(join(dir, 'seen'), '')
    }
    const both = await Promise.all([1, 2].map(() => installCandidates([candidate], { cacheDir, onWait })))
    expect(both.map(({ fresh }) => fresh).sort()).toEqual([false, true])
    expect(waited).toHaveLength(1)
    expect(await pipCalls()).toBe(1)
  })

  it('takes over from a process that was killed, and clears up after it', async () => {
    await pretendPip(HALF)
    const candidate = await publish('one')
    const other = await installInOtherProcess(candidate)
    await vi.waitUntil(() => stat(join(dir, 'pid')).then(() => true, () => false), { timeout: testLimit })
    const staged = (await inCache()).filter((name) => name.startsWith('.staging-'))
    expect(staged).toHaveLength(1)

    await pretendPip(FROM_INDEX)
    const waited: string[] = []
    const mine = installCandidates([candidate], {
      cacheDir, onWait: (holder) => {
        waited.push(holder)
        other.kill('SIGKILL')
      },
    })
    expect((await mine).fresh).toBe(true)
    expect(waited).toEqual([expect.stringContaining(`process ${other.pid ?? 0} `)])
    expect(await inCache()).toEqual(['.lock', 'one-1.0-x64'])
    process.kill(Number(await readFile(join(dir, 'pid'), 'utf8')), 'SIGKILL')
  })

  async function installInOtherProcess(candidate: Candidate): Promise<ChildProcess> {
    const path = join(dir, 'install.mts')
    await writeFile(path, `
import { installCandidates } from ${JSON.stringify(new URL('../../src/runtime/plugins/install.ts', import.meta.url).href)}
await installCandidates([${JSON.stringify(candidate)}], { cacheDir: ${JSON.stringify(cacheDir)} })`)
    return spawn(process.execPath, ['--import', import.meta.resolve('tsx'), path], { stdio: 'ignore' })
  }
})

describe('the catalog', () => {
  const entries = Object.values(catalog).flat()
  const parts = entries.flatMap((entry) => entry.libraries?.parts ?? [])
  it('has a checksum of its own, a size and a platform for everything in it', () => {
    const wheels = [...entries, ...parts].flatMap((entry) => Object.values(entry.wheels))
    expect(wheels.length).toBeGreaterThan(60)
    for (const wheel of wheels) {
      expect(wheel.sha256).toMatch(/^[0-9a-f]{64}$/)
      expect(wheel.bytes).toBeGreaterThan(1e6)
      expect(wheel.tag).toMatch(/^(manylinux|macosx)/)
    }
    expect(new Set(wheels.map((wheel) => wheel.sha256)).size).toBe(wheels.length)
  })

  it('brings every library that the CUDA plugins load, and the compiler\'s tools', () => {
    for (const { libraries } of catalog['cuda'] ?? []) {
      const brought = (libraries?.parts ?? []).flatMap((part) => part.sonames)
      expect([...brought].sort()).toEqual(librariesOf[libraries?.toolkit ?? 'oneapi'].map((library) => library.soname).sort())
      expect(libraries?.parts.some((part) => part.sonames.length === 0)).toBe(true)
    }
  })

  it('knows its packages by their own names, and which names have nothing for a system', () => {
    expect(candidates('xla-cpu-pjrt', { platform: 'linux', arch: 'x64' }).map((entry) => entry.name)).toEqual(['cpu'])
    expect(candidates('metal', { platform: 'linux', arch: 'x64' })).toEqual([])
    expect(candidates('metal', { platform: 'darwin', arch: 'arm64' })).toHaveLength(1)
    expect(namesWithout({ platform: 'linux', arch: 'arm64' })).toEqual(['rocm', 'tpu', 'oneapi', 'metal'])
    expect(namesWithout({ platform: 'darwin', arch: 'arm64' })).toEqual(['cpu', 'cuda', 'rocm', 'tpu', 'oneapi'])
  })

  it('gives the fastest first, and what there is for ARM', () => {
    const names = (arch: string): string[] => candidates('cpu', { platform: 'linux', arch }).map((entry) => entry.package)
    expect(names('x64')).toEqual(['lammps-jax-pjrt-cpu', 'fastatomstruct-xla-cpu', 'xla-cpu-pjrt'])
    expect(names('arm64')).toEqual(['xla-cpu-pjrt'])
  })

  it('helps with a misspelt name', () => {
    expect(() => candidates('cpuu')).toThrow(/did you mean "cpu"\?/)
    expect(() => candidates('constructor')).toThrow(/unknown-plugin/)
  })
})

describe('finding', () => {
  it('takes a path, else the environment, else what is installed', async () => {
    const path = join(dir, 'mine.so')
    await writeFile(path, '')
    vi.stubEnv('PJRT_PLUGIN_LIBRARY_PATH', path)
    expect(await resolvePlugin('cpu', cacheDir)).toBe(path)
    // Whoever names another plugin means that one.
    if (process.platform === 'linux') expect(await failure(resolvePlugin('xla-cpu-pjrt', cacheDir))).toMatchObject({ code: 'not-installed' })
    expect(await resolvePlugin(import.meta.filename, cacheDir)).toBe(import.meta.filename)
    vi.stubEnv('PJRT_PLUGIN_LIBRARY_PATH', `${path}x`)
    expect(await failure(resolvePlugin('cpu', cacheDir))).toMatchObject({
      code: 'no-such-plugin', problem: { details: { 'given by': 'PJRT_PLUGIN_LIBRARY_PATH' } },
    })
    vi.stubEnv('PJRT_PLUGIN_LIBRARY_PATH', '')
    expect(await failure(resolvePlugin('cpu', cacheDir))).toMatchObject({
      code: 'not-installed', problem: { fix: expect.stringMatching(/meshwork plugins install cpu.*--plugin simulate/) as string },
    })
    expect(await failure(resolvePlugin('./nowhere.so', cacheDir))).toMatchObject({ code: 'no-such-plugin' })
    expect(await pluginPath('cpu', cacheDir)).toBeUndefined()
  })

  it('lists what fits this machine, and where it is', async () => {
    const given = process.env['PJRT_PLUGIN_LIBRARY_PATH']
    const library = await pluginLibrary()
    const listed = await listPlugins()
    expect(listed.map((entry) => entry.package)).toEqual(Object.keys(catalog).flatMap((name) => candidates(name)).map((entry) => entry.package))
    if (given === undefined) expect(listed.map((entry) => entry.path)).toContain(library)
    expect(new Set((await listPlugins(cacheDir)).map((entry) => entry.path))).toEqual(new Set([undefined]))
  })

  it('looks in the folder the user names', () => {
    expect(cacheRoot('/given', { MESHWORK_CACHE_DIR: '/set' })).toBe('/given')
    expect(cacheRoot(undefined, { MESHWORK_CACHE_DIR: '/set', XDG_CACHE_HOME: '/xdg' })).toBe('/set')
    expect(cacheRoot(undefined, { MESHWORK_CACHE_DIR: '', XDG_CACHE_HOME: '/xdg' })).toBe('/xdg/meshwork')
    expect(basename(cacheRoot(undefined, {}))).toBe('meshwork')
  })
})

describe('libraries beside a plugin', () => {
  const linux = { platform: 'linux', arch: 'x64' } as const
  const library = new Uint8Array(2000).map((_, i) => i % 7)
  /** Two wheels of libraries that share a folder, and one of tools. */
  async function publishParts(): Promise<Part[]> {
    const wheel = async (name: string, sonames: readonly string[], files: Record<string, Uint8Array>): Promise<Part> => {
      const bytes = zipSync(files)
      await writeFile(join(dir, 'index', `${name}-1.0-py3-none-any.whl`), bytes)
      return { package: name, version: '1.0', sonames, wheels: { 'linux-x64': { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length, tag: 'any' } } }
    }
    return Promise.all([
      wheel('first', ['libcudart.so.12'], { 'nvidia/cu/lib/libcudart.so.12': library, 'nvidia/cu/include/cuda.h': library, 'nvidia/cu/lib/libcudart_static.a': library }),
      wheel('second', ['libcudnn.so.9'], { 'nvidia/cu/lib/libcudnn.so.9': library, 'nvidia/cu/lib/libcudnn_ops.so.9': library }),
      wheel('tools', [], { 'nvidia/cu/bin/ptxas': library, 'nvidia/cu/bin/nvcc': library, 'nvidia/cu/nvvm/libdevice/libdevice.10.bc': library }),
    ])
  }
  const nothing: Sight = { platform: 'linux', arch: 'x64', env: {}, text: () => undefined, entries: () => [], real: () => undefined, glibc: () => '2.36' }
  const staging = (): string => join(dir, '.staging-')
  const within = async (): Promise<string[]> => (await readdir(join(dir, 'plugin'), { recursive: true, withFileTypes: true })).filter((e) => e.isFile()).map((e) => e.name).sort()

  it('are fetched wheel by wheel, without what only compilers want, and not again', async () => {
    await pretendPip(FROM_INDEX)
    await mkdir(join(dir, 'plugin'))
    const parts = partsWanted({ toolkit: 'cuda12', parts: await publishParts() }, join(dir, 'plugin', 'p.so'), linux, { sight: nothing })
    const told: string[] = []
    expect(await installParts(parts, join(dir, 'plugin'), staging(), { onPart: (part, i, count) => { told.push(`${part.package} ${i + 1} of ${count}`) } })).toBe(3)
    expect(told).toEqual(['first 1 of 3', 'second 2 of 3', 'tools 3 of 3'])
    expect(await within()).toEqual(['first.json', 'libcudart.so.12', 'libcudnn.so.9', 'libcudnn_ops.so.9', 'libdevice.10.bc', 'ptxas', 'second.json', 'tools.json'])
    expect(await installParts(parts, join(dir, 'plugin'), staging(), {})).toBe(0)
    await writeFile(join(dir, 'plugin', 'nvidia', 'cu', 'lib', 'libcudnn.so.9'), 'cut short')
    expect(await installParts(parts, join(dir, 'plugin'), staging(), {})).toBe(1)
    expect(await pipCalls()).toBe(4)
    expect((await readdir(dir)).filter((name) => name.startsWith('.staging-'))).toEqual([])
  })

  it('go on where an installation was interrupted, and keep nothing of a wheel that is another', async () => {
    await pretendPip(FROM_INDEX)
    await mkdir(join(dir, 'plugin'))
    const libraries = { toolkit: 'cuda12' as const, parts: await publishParts() }
    const parts = partsWanted(libraries, join(dir, 'plugin', 'p.so'), linux, { sight: nothing })
    const wrong = parts.map((part) => (part.package === 'second' ? { ...part, wheel: { ...part.wheel, sha256: 'f'.repeat(64) } } : part))
    expect(await failure(installParts(wrong, join(dir, 'plugin'), staging(), {}))).toMatchObject({ code: 'checksum' })
    expect(await within()).toEqual(['first.json', 'libcudart.so.12'])
    expect(await installParts(parts, join(dir, 'plugin'), staging(), {})).toBe(2)
  })

  it('are those that the system lacks, all, or none, by the user\'s word', async () => {
    const libraries = { toolkit: 'cuda12' as const, parts: await publishParts() }
    const here: Sight = { ...nothing, real: (path) => (/^\/usr\/lib64\/libcudart\.so\.12$|^\/usr\/local\/cuda\/(bin\/ptxas|nvvm\/libdevice\/libdevice\.10\.bc)$/.test(path) ? path : undefined) }
    const names = (source?: LibrarySource): string[] => partsWanted(libraries, join(dir, 'p.so'), linux, { source, sight: here }).map((part) => part.package)
    expect(names()).toEqual(['second'])
    expect(names('wheels')).toEqual(['first', 'second', 'tools'])
    expect(names('system')).toEqual([])
  })

  it('are not begun where they will not fit', async () => {
    expect(await failure(requireRoom(dir, 1e18))).toMatchObject({ code: 'no-room', problem: { fix: expect.stringContaining('--libraries system') as string } })
    await requireRoom(dir, 1)
  })
})

describe('unpacking', () => {
  it('takes stored and compressed entries, and says what is missing or broken', async () => {
    await publish('one')
    const zip = join(dir, 'index', 'one-1.0-py3-none-any.whl')
    const target = join(dir, 'out')
    await extract(zip, 'one_pkg/stored.txt', target)
    expect(new Uint8Array(await readFile(target))).toEqual(new Uint8Array(9).fill(7))
    await extract(zip, 'one_pkg/plugin.so', target)
    expect((await readFile(target)).equals(libraryBytes)).toBe(true)
    await expect(extract(zip, 'one_pkg/other.so', target)).rejects.toThrow('holds no one_pkg/other.so')
    await writeFile(zip, (await readFile(zip)).subarray(0, 1000))
    await expect(extract(zip, 'one_pkg/plugin.so', target)).rejects.toThrow('is no zip file')
  })
})
