/** What a machine has, by made-up files; which libraries of a GPU's maker are found where; what speaks against a plugin; and what `--plugin auto` comes to. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { acceleratorOf, isAtLeast, thisMachine, vendors, type Sight } from '../../src/runtime/hardware.ts'
import { findLibraries, librariesOf } from '../../src/runtime/vendor-libraries.ts'
import { prepareVendor, toolkitOf } from '../../src/runtime/pjrt/vendor.ts'
import { candidates, type Candidate } from '../../src/runtime/plugins/catalog.ts'
import { deviceProblem, libcProblem, librariesProblem, requireFitting } from '../../src/runtime/plugins/fitness.ts'
import { fitnessOf, hardware, show } from '../../src/cli/doctor.ts'
import { onlyCpus } from '../../src/cli/plugins.ts'
import { choosePlugin } from '../../src/runtime/plugins/choose.ts'
import { installDir } from '../../src/runtime/plugins/paths.ts'
import { writeStamp } from '../../src/runtime/plugins/stamp.ts'

interface Made { readonly files?: Readonly<Record<string, string>>; readonly env?: NodeJS.ProcessEnv; readonly platform?: string; readonly arch?: string; readonly glibc?: string | undefined; readonly links?: Readonly<Record<string, string>> }

/** A machine that has these files and no others. */
const made = ({ files = {}, env = {}, platform = 'linux', arch = 'x64', links = {}, ...rest }: Made): Sight => {
  const paths = Object.keys(files)
  return {
    platform, arch, env, text: path => files[path],
    entries: folder => [...new Set(paths.filter(path => path.startsWith(`${folder}/`)).map(path => path.slice(folder.length + 1).split('/')[0] ?? ''))],
    real: path => links[path] ?? (paths.some(p => p === path || p.startsWith(`${path}/`)) ? path : undefined),
    glibc: () => ('glibc' in rest ? rest.glibc : '2.36'),
  }
}

const proprietary = 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc version 12.2.0\n'
const openModule = 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22-I3-AM02-24-3)\n'
const withDriver = (version: string): string => proprietary.replace('535.104.05', version)
const oneGpu = (version: string): Made => ({ files: { '/dev/nvidia0': '', '/dev/nvidiactl': '', '/proc/driver/nvidia/version': withDriver(version) } })

describe('a machine', () => {
  test('has NVIDIA GPUs by their device files, and its driver from the kernel module', () => {
    expect(acceleratorOf('cuda', made({ files: { '/dev/nvidia0': '', '/dev/nvidia1': '', '/dev/nvidia-uvm': '', '/proc/driver/nvidia/version': proprietary } }))).toEqual({ vendor: 'cuda', what: '2 NVIDIA GPUs', devices: 2, driver: '535.104.05' })
    expect(acceleratorOf('cuda', made({ files: { '/dev/nvidia0': '', '/proc/driver/nvidia/version': openModule } }))).toMatchObject({ what: '1 NVIDIA GPU', driver: '580.65.06' })
    expect(acceleratorOf('cuda', made({ files: { '/dev/dxg': '', '/usr/lib/wsl/lib/libcuda.so.1': '' } }))).toMatchObject({ devices: 1, driver: undefined })
  })
  test('has none that a container or a variable hides, and says so', () => {
    const host = { '/proc/driver/nvidia/version': proprietary, '/proc/driver/nvidia/gpus/0000:01:00.0/information': '' }
    expect(acceleratorOf('cuda', made({ files: host }))).toMatchObject({ devices: 0, hidden: expect.stringMatching(/not in this container/) as string })
    for (const value of ['', '-1', 'NoDevFiles']) expect(acceleratorOf('cuda', made({ ...oneGpu('535.104.05'), env: { CUDA_VISIBLE_DEVICES: value } }))).toMatchObject({ devices: 0, hidden: expect.stringContaining(`"${value}"`) as string })
    expect(acceleratorOf('cuda', made({ ...oneGpu('535.104.05'), env: { CUDA_VISIBLE_DEVICES: '0' } })).devices).toBe(1)
  })
  test('has AMD GPUs by the nodes that are no CPUs', () => {
    const files = { '/sys/class/kfd/kfd/topology/nodes/0/gpu_id': '0\n', '/sys/class/kfd/kfd/topology/nodes/1/gpu_id': '12345\n', '/sys/module/amdgpu/version': '6.12.12\n' }
    expect(acceleratorOf('rocm', made({ files: { ...files, '/dev/kfd': '' } }))).toEqual({ vendor: 'rocm', what: '1 AMD GPU', devices: 1, driver: '6.12.12' })
    expect(acceleratorOf('rocm', made({ files }))).toMatchObject({ devices: 0, hidden: expect.stringContaining('/dev/kfd') as string })
  })
  test('has TPUs, and not for having Google\'s network card', () => {
    const card = (id: string): Record<string, string> => ({ '/sys/bus/pci/devices/a/vendor': '0x1ae0\n', '/sys/bus/pci/devices/a/device': `${id}\n` })
    expect(acceleratorOf('tpu', made({ files: card('0x0063') })).devices).toBe(1)
    expect(acceleratorOf('tpu', made({ files: card('0x0042') })).devices).toBe(0)
    expect(acceleratorOf('tpu', made({ files: { '/dev/accel0': '', '/dev/accel1': '' } })).what).toBe('2 TPU chips')
  })
  test('has Intel GPUs by what draws and is Intel\'s, and Apple\'s on its own chips', () => {
    const files = { '/dev/dri/renderD128': '', '/sys/bus/pci/devices/a/vendor': '0x8086', '/sys/bus/pci/devices/a/class': '0x030000', '/sys/bus/pci/devices/b/vendor': '0x8086', '/sys/bus/pci/devices/b/class': '0x020000' }
    expect(acceleratorOf('oneapi', made({ files })).devices).toBe(1)
    expect(acceleratorOf('metal', made({ platform: 'darwin', arch: 'arm64' })).devices).toBe(1)
    expect(vendors.map(vendor => acceleratorOf(vendor, made({})).devices)).toEqual([0, 0, 0, 0, 0])
  })
  test('of this kind tells its C library', () => {
    if (process.platform === 'linux') expect(thisMachine.glibc()).toMatch(/^\d+\.\d+/)
  })
  test.each([['2.36', '2.27', true], ['2.9', '2.27', false], ['525.60.13', '525.60.13', true], ['525.60', '525.60.13', false], ['600', '580.65.06', true]])('%s is at least %s: %s', (a, b, is) => { expect(isAtLeast(a, b)).toBe(is) })
})

const plugin = '/c/jax-cuda12-pjrt-0.12.0.1-x64/xla_cuda_plugin.so'
const found = (sight: Sight, toolkit: keyof typeof librariesOf = 'cuda12', library = plugin): Record<string, string> => Object.fromEntries(findLibraries(toolkit, library, { sight }).found.map(({ library: { soname }, path }) => [soname, path]))
const wheel = (folder: string, soname: string, root = dirname(plugin)): string => join(root, 'nvidia', folder, 'lib', soname)

describe('a maker\'s libraries', () => {
  test('are taken from wheels beside the plugin, or beside it among a Python\'s packages, before the system\'s', () => {
    const files = { [wheel('cublas', 'libcublas.so.12')]: '', '/usr/local/cuda-12.4/lib64/libcublas.so.12': '', '/usr/local/cuda-12.4/lib64/libcudart.so.12': '' }
    expect(found(made({ files }))).toEqual({ 'libcublas.so.12': wheel('cublas', 'libcublas.so.12'), 'libcudart.so.12': '/usr/local/cuda-12.4/lib64/libcudart.so.12' })
    const python = '/p/site-packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so'
    expect(found(made({ files: { [wheel('cu13', 'libcublas.so.13', '/p/site-packages')]: '' } }), 'cuda13', python)).toEqual({ 'libcublas.so.13': '/p/site-packages/nvidia/cu13/lib/libcublas.so.13' })
  })
  test('are looked for where the environment says, in the newest toolkit of their major version, and where the loader is configured to', () => {
    const at = (made_: Made): string | undefined => found(made(made_))['libcudart.so.12']
    const both = { '/usr/local/cuda-12.9/lib64/libcudart.so.12': '', '/usr/local/cuda-12.10/lib64/libcudart.so.12': '' }
    expect(at({ files: both })).toBe('/usr/local/cuda-12.10/lib64/libcudart.so.12')
    expect(at({ files: { ...both, '/mine/lib64/libcudart.so.12': '' }, env: { CUDA_HOME: '/mine' } })).toBe('/mine/lib64/libcudart.so.12')
    expect(at({ files: { ...both, '/l/libcudart.so.12': '' }, env: { LD_LIBRARY_PATH: '/k:/l' } })).toBe('/l/libcudart.so.12')
    expect(at({ files: { '/etc/ld.so.conf.d/cuda.conf': '# a comment\n/opt/c/lib\n', '/opt/c/lib/libcudart.so.12': '' } })).toBe('/opt/c/lib/libcudart.so.12')
    expect(at({ files: { '/usr/lib/aarch64-linux-gnu/libcudart.so.12': '' }, arch: 'arm64' })).toBe('/usr/lib/aarch64-linux-gnu/libcudart.so.12')
  })
  test('that are too old are passed over', () => {
    const cudnn = (real: string): string | undefined => found(made({ files: { [`/usr/lib64/libcudnn.so.9`]: '' }, links: { '/usr/lib64/libcudnn.so.9': `/usr/lib64/${real}` } }))['libcudnn.so.9']
    expect(cudnn('libcudnn.so.9.1.0')).toBeUndefined()
    expect(cudnn('libcudnn.so.9.10.2')).toBe('/usr/lib64/libcudnn.so.9')
    expect(cudnn('libcudnn.so.9')).toBe('/usr/lib64/libcudnn.so.9')
  })
  test('come with the compiler\'s tools, of the same major version', () => {
    const tools = (folder: string): Record<string, string> => ({ [`${folder}/bin/ptxas`]: '', [`${folder}/nvvm/libdevice/libdevice.10.bc`]: '' })
    const of = (files: Readonly<Record<string, string>>, links = {}): string | undefined => findLibraries('cuda12', plugin, { sight: made({ files, links }) }).tools
    expect(of(tools(`${dirname(plugin)}/nvidia/cuda_nvcc`))).toBe(`${dirname(plugin)}/nvidia/cuda_nvcc`)
    expect(of(tools('/usr/local/cuda'), { '/usr/local/cuda': '/usr/local/cuda-12.6' })).toBe('/usr/local/cuda')
    expect(of(tools('/usr/local/cuda'), { '/usr/local/cuda': '/usr/local/cuda-13.0' })).toBeUndefined()
  })
  test('are loaded in the order of what needs what, and XLA is told of the tools', () => {
    const files = { ...Object.fromEntries(librariesOf.cuda12.map(l => [wheel(l.folder, l.soname), ''])), [`${dirname(plugin)}/nvidia/cuda_nvcc/bin/ptxas`]: '', [`${dirname(plugin)}/nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc`]: '' }
    const loaded: string[] = []
    const { flags } = prepareVendor(plugin, 'cuda', { sight: made({ files: { ...files, ...oneGpu('535.104.05').files } }), load: path => loaded.push(basename(path)) > 0 })
    expect(loaded.indexOf('libcublasLt.so.12')).toBeLessThan(loaded.indexOf('libcublas.so.12'))
    expect(loaded.indexOf('libcusparse.so.12')).toBeLessThan(loaded.indexOf('libcusolver.so.11'))
    expect(loaded).toHaveLength(librariesOf.cuda12.length)
    expect(flags).toEqual([`--xla_gpu_cuda_data_dir=${dirname(plugin)}/nvidia/cuda_nvcc`])
  })
  test('that are missing where there is a GPU are one message, and where there is none the device is what is said', async () => {
    const place = await mkdtemp(join(tmpdir(), 'meshwork-cuda12-'))
    const [library, fake] = await Promise.all([['xla_cuda_plugin.so', 'this is XLA: xla_gpu_cuda_data_dir'], ['fake_cuda.so', 'this is not']].map(async ([name = '', text = '']) => {
      await writeFile(join(place, name), text)
      return join(place, name)
    }))
    const prepare = (sight: Sight, path = library ?? ''): unknown => prepareVendor(path, 'cuda', { sight, load: path => !path.includes('cudnn') && !path.includes('cupti') })
    expect(() => prepare(made(oneGpu('535.104.05')))).toThrow(/missing-libraries[^]*lacks 1 of[^]*libcudnn.so.9\n[^]*plugins install cuda/)
    expect(() => prepare(made(oneGpu('535.104.05')), fake)).not.toThrow()
    expect(() => prepare(made({}))).not.toThrow()
    await rm(place, { recursive: true })
    expect(() => prepareVendor('/x/libtpu.so', 'tpu', { sight: made({}), load: () => true })).toThrow(/no-device[^]*no TPU chip/)
    expect(() => prepareVendor('/x/libtpu.so', 'tpu', { sight: made({ env: { TPU_WORKER_ID: '0' } }), load: () => true })).not.toThrow()
  })
  test('are those of the toolkit that a plugin is for', () => {
    expect([['cuda', '/x/xla_cuda13/xla_cuda_plugin.so'], ['cuda', plugin], ['rocm', '/c/jax-rocm10-pjrt-0.12.0-x64/xla_rocm_plugin.so'], ['oneapi', '/x.so'], ['tpu', '/x.so']].map(([platform, path = '']) => toolkitOf(platform as 'cuda', path)))
      .toEqual(['cuda13', 'cuda12', 'rocm10', 'oneapi', undefined])
    // Where the name does not say, the toolkit that is here.
    expect(toolkitOf('cuda', '/x/cuda.so', made({ files: { '/usr/local/cuda-13.0/lib64/libcudart.so.13': '' } }))).toBe('cuda13')
    expect(toolkitOf('cuda', '/x/cuda.so', made({ files: { '/usr/local/cuda-12.9/lib64/libcudart.so.12': '' } }))).toBe('cuda12')
  })
})

const cudaEntries = candidates('cuda', { platform: 'linux', arch: 'x64' })
const entry = (name: string): Candidate => {
  const found_ = cudaEntries.find(e => e.package === name)
  if (found_ === undefined) throw new Error(name)
  return found_
}

describe('what speaks against a plugin', () => {
  test('a C library that is another, or older than the wheel asks for', () => {
    const [cpu] = candidates('cpu', { platform: 'linux', arch: 'x64' })
    if (cpu === undefined) throw new Error('no CPU')
    expect(libcProblem(cpu, made({ glibc: '2.36' }))).toBeUndefined()
    expect(libcProblem(cpu, made({ glibc: '2.17' }))).toMatchObject({ code: 'libc', what: expect.stringMatching(/glibc 2\.27 or newer, and this machine has 2\.17/) as string })
    expect(libcProblem(cpu, made({ glibc: undefined }))).toMatchObject({ code: 'libc', what: expect.stringContaining('musl') as string })
    expect(libcProblem(cpu, made({ platform: 'darwin', glibc: undefined }))).toBeUndefined()
  })
  test('no device, one that is hidden, a driver that is too old', () => {
    expect(deviceProblem(entry('jax-cuda12-pjrt'), made({}))).toMatchObject({ code: 'no-device', what: 'jax-cuda12-pjrt has no device here: no NVIDIA GPU was found' })
    expect(deviceProblem(entry('jax-cuda12-pjrt'), made({ ...oneGpu('535.1'), env: { CUDA_VISIBLE_DEVICES: '' } }))).toMatchObject({ code: 'no-device', details: { reason: expect.stringContaining('CUDA_VISIBLE_DEVICES') as string } })
    expect(deviceProblem(entry('jax-cuda12-pjrt'), made(oneGpu('470.57.02')))).toMatchObject({ code: 'driver', details: { driver: '470.57.02', needed: '525.60.13 or newer' } })
    expect(deviceProblem(entry('jax-cuda12-pjrt'), made(oneGpu('535.104.05')))).toBeUndefined()
    expect(deviceProblem(entry('jax-cuda13-pjrt'), made(oneGpu('535.104.05')))).toMatchObject({ code: 'driver' })
  })
  test('of several the ones that fit are left; where none does, the first says why', () => {
    expect(requireFitting(cudaEntries, made(oneGpu('535.104.05'))).map(e => e.package)).toEqual(['jax-cuda12-pjrt'])
    expect(requireFitting(cudaEntries, made(oneGpu('590.1'))).map(e => e.package)).toEqual(['jax-cuda12-pjrt', 'jax-cuda13-pjrt'])
    expect(() => requireFitting(cudaEntries, made(oneGpu('470.57.02')))).toThrow(/PluginError\[driver\] the driver of 1 NVIDIA GPU is too old for jax-cuda12-pjrt/)
  })
  test('libraries that are nowhere, but for those that it runs without', () => {
    const wrong = librariesProblem(entry('jax-cuda12-pjrt'), plugin, made({}))
    expect(wrong).toMatchObject({ code: 'missing-libraries', fix: expect.stringContaining('plugins install jax-cuda12-pjrt') as string })
    expect(wrong?.details?.['missing']).toMatch(/libcudnn\.so\.9 \(9\.10\.2 or newer\)/)
    expect(wrong?.details?.['missing']).not.toMatch(/cupti|nvshmem/)
  })
})

test('what only CPUs do takes the CPU where auto would be another, and says which it left', () => {
  const fit = onlyCpus('profiling', 'parts tell no times')
  expect(fit({ plugin: 'cuda', note: 'computing on 2 NVIDIA GPUs (--plugin cuda)' })).toEqual({ plugin: 'cpu', note: 'profiling on the CPU, not on cuda: parts tell no times' })
  const choice = { plugin: 'cpu', note: undefined }
  expect(fit(choice)).toBe(choice)
})

describe('--plugin auto', () => {
  let cacheDir = ''
  beforeEach(async () => { cacheDir = await mkdtemp(join(tmpdir(), 'meshwork-auto-')) })
  afterEach(async () => { await rm(cacheDir, { recursive: true, force: true }) })
  const choose = (sight: Made) => choosePlugin({ sight: made(sight), cacheDir })
  /** As if it had been installed. */
  async function install(candidate: Candidate): Promise<void> {
    const dir = installDir(cacheDir, candidate)
    await mkdir(dir, { recursive: true })
    await writeFile(join(dir, basename(candidate.library)), 'a library')
    await writeStamp(dir, candidate)
  }

  test('is the CPU without a word where there is nothing else', async () => {
    expect(await choose({})).toEqual({ plugin: 'cpu', note: undefined })
    expect(await choose({ files: { '/dev/dri/renderD128': '', '/sys/bus/pci/devices/a/vendor': '0x8086', '/sys/bus/pci/devices/a/class': '0x030000' } })).toEqual({ plugin: 'cpu', note: undefined })
  })
  test('is the device whose plugin is installed, and says which', async () => {
    await install(entry('jax-cuda12-pjrt'))
    expect(await choose(oneGpu('535.104.05'))).toEqual({ plugin: 'cuda', note: 'computing on 1 NVIDIA GPU, driver 535.104.05 (--plugin cuda)' })
  })
  test('is the CPU with the reason where a device cannot be used: not installed, an old driver, a container', async () => {
    expect(await choose(oneGpu('535.104.05'))).toEqual({ plugin: 'cpu', note: expect.stringMatching(/^computing on the CPU\. 1 NVIDIA GPU: its plugin is not installed: npx meshwork plugins install cuda/) as string })
    expect((await choose(oneGpu('470.57.02'))).note).toMatch(/too old for jax-cuda12-pjrt, driver 470\.57\.02, needed 525/)
    expect((await choose({ files: { '/proc/driver/nvidia/gpus/a/information': '' } })).note).toMatch(/not in this container/)
    // What is installed is for a newer driver than this machine's.
    await install(entry('jax-cuda13-pjrt'))
    expect((await choose(oneGpu('535.104.05'))).note).toMatch(/not installed/)
    expect((await choose({ ...oneGpu('590.1'), glibc: undefined })).note).toMatch(/musl/)
  })
  test('and doctor\'s lines say an old driver once, with its fix, a container likewise, and nothing of a machine that will do', async () => {
    const old = made(oneGpu('470.57.02'))
    expect(show([...await hardware(old, cacheDir), ...fitnessOf(entry('jax-cuda12-pjrt'), undefined, old)])).toEqual([
      'ok       accelerators   1 NVIDIA GPU, driver 470.57.02',
      'ok       --plugin auto  cpu (computing on the CPU. 1 NVIDIA GPU: the driver of 1 NVIDIA GPU is too old for jax-cuda12-pjrt, driver 470.57.02, needed 525.60.13 or newer (--plugin cpu says nothing of it))',
      'PROBLEM  device         the driver of 1 NVIDIA GPU is too old for jax-cuda12-pjrt; driver: 470.57.02; needed: 525.60.13 or newer',
      '                        fix: install a newer driver, or compute on the CPU: --plugin cpu',
    ])
    const hidden = made({ files: { '/proc/driver/nvidia/gpus/a/information': '', '/proc/driver/nvidia/version': withDriver('470.57.02') } })
    expect(fitnessOf(entry('jax-cuda12-pjrt'), undefined, hidden)).toMatchObject([{ what: 'device', value: expect.stringMatching(/cannot be used; reason: .*docker run --gpus all/) as string }])
    expect(fitnessOf(entry('jax-cuda13-pjrt'), undefined, made(oneGpu('580.65.06')))).toEqual([])
  })
  test('leaves a library of the environment alone', async () => {
    await install(entry('jax-cuda12-pjrt'))
    expect(await choose({ ...oneGpu('535.104.05'), env: { PJRT_PLUGIN_LIBRARY_PATH: '/mine.so' } })).toEqual({ plugin: 'cpu', note: undefined })
  })
})
