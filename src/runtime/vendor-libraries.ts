/** The libraries of a GPU's maker that plugins need: which they are, and where they lie, as wheels or on the system. */
import { dirname, join } from 'node:path'
import { isAtLeast, thisMachine, type Sight } from './hardware.ts'

export type Toolkit = 'cuda12' | 'cuda13' | 'rocm7' | 'rocm10' | 'oneapi'

/** A shared library that plugins find by its soname. */
export interface VendorLibrary {
  readonly soname: string
  /** Its folder in wheels: `nvidia/<folder>/lib`. */
  readonly folder: string
  /** The oldest version that does. */
  readonly least?: string
  /** What it is wanted for, where a plugin runs without it. */
  readonly only?: string
}

const cuda = (major: 12 | 13, toolkit: (name: string) => string, sonames: { readonly cusolver: string; readonly cufft: string }, least: { readonly cudnn: string; readonly nccl: string }): VendorLibrary[] => [
  { soname: `libcudart.so.${major}`, folder: toolkit('cuda_runtime') },
  { soname: `libnvrtc.so.${major}`, folder: toolkit('cuda_nvrtc') },
  { soname: `libnvJitLink.so.${major}`, folder: toolkit('nvjitlink') },
  { soname: `libcublasLt.so.${major}`, folder: toolkit('cublas') },
  { soname: `libcublas.so.${major}`, folder: toolkit('cublas') },
  { soname: 'libcusparse.so.12', folder: toolkit('cusparse') },
  { soname: sonames.cusolver, folder: toolkit('cusolver') },
  { soname: sonames.cufft, folder: toolkit('cufft') },
  { soname: `libcupti.so.${major}`, folder: toolkit('cuda_cupti'), only: 'profiling' },
  { soname: 'libnccl.so.2', folder: 'nccl', least: least.nccl },
  { soname: 'libnvshmem_host.so.3', folder: 'nvshmem', only: 'collectives through NVSHMEM' },
  { soname: 'libcudnn.so.9', folder: 'cudnn', least: least.cudnn },
]

const plain = (sonames: readonly string[]): VendorLibrary[] => sonames.map(soname => ({ soname, folder: '' }))

const rocm = (smi: string): VendorLibrary[] => plain([
  'librocm_sysdeps_drm.so.2', 'librocm_sysdeps_drm_amdgpu.so.1', 'librocm_sysdeps_numa.so.1', 'libhsa-runtime64.so.1', 'libamdhip64.so.7', 'librocprofiler-sdk.so.1',
  smi, 'librocblas.so.5', 'libhipblaslt.so.1', 'libhipfft.so.0', 'libMIOpen.so.1', 'librccl.so.1',
])

/** In the order in which they are loaded: each after those that it needs. The lists are of what the plugins' own makers load (JAX's packages), or of what the plugin's file says that it needs. */
export const librariesOf: { readonly [T in Toolkit]: readonly VendorLibrary[] } = {
  cuda12: cuda(12, name => name, { cusolver: 'libcusolver.so.11', cufft: 'libcufft.so.11' }, { cudnn: '9.10.2', nccl: '2.18.1' }),
  cuda13: cuda(13, () => 'cu13', { cusolver: 'libcusolver.so.12', cufft: 'libcufft.so.12' }, { cudnn: '9.12.0', nccl: '2.27.7' }),
  rocm7: rocm('libamd_smi.so.26'),
  rocm10: rocm('libamd_smi.so.27'),
  oneapi: plain([
    'libhwloc.so.15', 'libumf.so.0', 'libirc.so', 'libintlc.so.5', 'libimf.so', 'libsvml.so', 'libirng.so', 'libze_loader.so.1', 'libze_tracing_layer.so.1', 'libOpenCL.so.1', 'libur_loader.so.0',
    'libur_adapter_level_zero.so.0', 'libur_adapter_opencl.so.0', 'libsycl.so.8', 'libmkl_core.so.2', 'libmkl_sequential.so.2', 'libmkl_intel_ilp64.so.2', 'libmkl_def.so.2',
    'libmkl_sycl_blas.so.5', 'libmkl_sycl_dft.so.5', 'libmkl_sycl_lapack.so.5', 'libmkl_sycl_rng.so.5', 'libmkl_sycl_sparse.so.5', 'libmpi.so.12',
  ]),
}

const set = (value: string | undefined): string[] => (value === undefined || value === '' ? [] : [value])
const under = (roots: readonly string[], parts: readonly string[]): string[] => roots.flatMap(root => parts.map(part => join(root, part)))

/** Where a toolkit is installed, the user's own word first. */
function rootsOf(toolkit: Toolkit, { env, entries, real }: Sight): string[] {
  if (toolkit === 'rocm7' || toolkit === 'rocm10') return [...set(env['ROCM_PATH']), '/opt/rocm']
  if (toolkit === 'oneapi') return [...set(env['ONEAPI_ROOT']), '/opt/intel/oneapi']
  const major = toolkit === 'cuda12' ? '12' : '13'
  const versions = entries('/usr/local').filter(name => new RegExp(`^cuda-${major}(\\.|$)`).test(name)).sort((a, b) => (isAtLeast(a.slice(5), b.slice(5)) ? -1 : 1))
  // A link that leads to another version's folder is not this one: what another ptxas makes, an older driver may not take.
  const other = /cuda-(\d+)/.exec(real('/usr/local/cuda') ?? '')?.[1] ?? major
  return [...set(env['CUDA_HOME']), ...set(env['CUDA_PATH']), ...versions.map(name => `/usr/local/${name}`), ...other === major ? ['/usr/local/cuda'] : []]
}

const parts: { readonly [T in Toolkit]: readonly string[] } = {
  cuda12: ['lib64', 'lib', 'extras/CUPTI/lib64'], cuda13: ['lib64', 'lib', 'extras/CUPTI/lib64'], rocm7: ['lib', 'lib/rocm_sysdeps/lib'], rocm10: ['lib', 'lib/rocm_sysdeps/lib'],
  oneapi: ['compiler/latest/lib', 'umf/latest/lib', 'tcm/latest/lib', 'tbb/latest/lib', 'mkl/latest/lib', 'mpi/latest/lib', 'pti/latest/lib'],
}

const configured = '/etc/ld.so.conf.d'

/** Folders of the system in the order in which a library is looked for there. */
function systemFolders(toolkit: Toolkit, sight: Sight): string[] {
  const { env, entries, text, arch } = sight
  const named = entries(configured).filter(name => name.endsWith('.conf')).flatMap(name => (text(join(configured, name)) ?? '').split('\n').map(l => l.trim()).filter(l => l.startsWith('/')))
  const triplet = arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'
  return [...(env['LD_LIBRARY_PATH'] ?? '').split(':').filter(folder => folder !== ''), ...under(rootsOf(toolkit, sight), parts[toolkit]), ...named, `/usr/lib/${triplet}`, '/usr/lib64', '/usr/lib', '/usr/lib/wsl/lib']
}

/** Folders that hold `nvidia/…` of wheels: beside a plugin that Meshwork installed, or among a Python's packages, where the plugin is two folders down. */
const wheelRoots = (plugin: string): string[] => [join(dirname(plugin), 'nvidia'), join(dirname(plugin), '..', '..', 'nvidia')]

export interface Found {
  /** Paths, in the order in which they are to be loaded. */
  readonly found: readonly { readonly library: VendorLibrary; readonly path: string }[]
  readonly missing: readonly VendorLibrary[]
  /** Where the toolkit's ptxas and libdevice lie, which the compiler calls. */
  readonly tools: string | undefined
}

/** The version that a library's real name ends in: `libcudnn.so.9.10.2` is 9.10.2. */
const versionOf = (path: string): string | undefined => /\.so\.(\d+(?:\.\d+)+)$/.exec(path)?.[1]

/** Looks for a toolkit's libraries: as wheels first, since those are of the versions that the plugin was made for, then on the system. `wheels` false looks on the system alone. */
export function findLibraries(toolkit: Toolkit, plugin: string, { sight = thisMachine, wheels = true }: { readonly sight?: Sight; readonly wheels?: boolean } = {}): Found {
  const system = systemFolders(toolkit, sight)
  const found: { library: VendorLibrary; path: string }[] = []
  const missing: VendorLibrary[] = []
  for (const library of librariesOf[toolkit]) {
    const inWheels = wheels && library.folder !== '' ? wheelRoots(plugin).map(root => join(root, library.folder, 'lib')) : []
    const path = [...inWheels, ...system].map(folder => join(folder, library.soname)).find(file => {
      const real = sight.real(file)
      if (real === undefined) return false
      const version = versionOf(real)
      return library.least === undefined || version === undefined || isAtLeast(version, library.least)
    })
    if (path === undefined) missing.push(library)
    else found.push({ library, path })
  }
  return { found, missing, tools: toolsOf(toolkit, plugin, sight, wheels) }
}

function toolsOf(toolkit: Toolkit, plugin: string, sight: Sight, wheels: boolean): string | undefined {
  if (toolkit !== 'cuda12' && toolkit !== 'cuda13') return undefined
  const folder = toolkit === 'cuda12' ? 'cuda_nvcc' : 'cu13'
  const roots = [...wheels ? wheelRoots(plugin).map(root => join(root, folder)) : [], ...rootsOf(toolkit, sight)]
  return roots.find(root => sight.real(join(root, 'bin', 'ptxas')) !== undefined && sight.real(join(root, 'nvvm', 'libdevice', 'libdevice.10.bc')) !== undefined)
}
