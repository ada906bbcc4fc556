/** The catalog's plugins for devices of their own. None has computed anything for Meshwork yet: `tried` says how far each came on a machine without its device. */
import type { CatalogEntry } from './entry.ts'
import { cuda12Parts, cuda13Parts } from './nvidia.ts'

/** Drivers run what was built for their CUDA's major version, from its first minor one on (NVIDIA, "CUDA Compatibility", minor version compatibility). */
export const cuda: readonly CatalogEntry[] = [
  {
    package: 'jax-cuda12-pjrt', version: '0.12.0.1', library: 'jax_plugins/xla_cuda12/xla_cuda_plugin.so', about: "JAX's, CUDA 12.9", speaks: { pjrt: '0.116', stablehlo: '1.22.0' },
    device: 'cuda', driver: '525.60.13', libraries: { toolkit: 'cuda12', parts: cuda12Parts }, needs: 'an NVIDIA GPU, its driver from 525 on; CUDA 12, cuDNN 9 and NCCL, from wheels or the system', tried: 'loads',
    wheels: {
      'linux-x64': { sha256: '5ec28e06198d094031c37590b4ea753ae8cde4879ab4b60baf40f0dffb673286', bytes: 191_846_358, tag: 'manylinux_2_27_x86_64' },
      'linux-arm64': { sha256: 'e6aa6c58c5420c1bda22db31a2f6c5c1d0a66cb701eeb731feae44fef197717c', bytes: 185_765_557, tag: 'manylinux_2_27_aarch64' },
    },
  },
  {
    package: 'jax-cuda13-pjrt', version: '0.12.0.1', library: 'jax_plugins/xla_cuda13/xla_cuda_plugin.so', about: "JAX's, CUDA 13.0", speaks: { pjrt: '0.116', stablehlo: '1.22.0' },
    device: 'cuda', driver: '580.65.06', libraries: { toolkit: 'cuda13', parts: cuda13Parts }, needs: 'an NVIDIA GPU of Turing or newer, its driver from 580 on; CUDA 13, cuDNN 9 and NCCL, from wheels or the system', tried: 'loads',
    wheels: {
      'linux-x64': { sha256: '5899bb6177eda86ea532afb9a26794f2bdd04966f6a01f9028266b16c2b6cf90', bytes: 134_922_808, tag: 'manylinux_2_27_x86_64' },
      'linux-arm64': { sha256: '40758d042df8c06991b6a1a8016b56e9cefb1ed4c677c062125c3eb71c3dab97', bytes: 128_847_710, tag: 'manylinux_2_27_aarch64' },
    },
  },
]

/** They were asked for their versions with empty libraries in the place of ROCm's, and Intel's with an empty Level Zero: none of them `loads`. */
export const rocm: readonly CatalogEntry[] = [
  {
    package: 'jax-rocm7-pjrt', version: '0.12.0', library: 'jax_plugins/xla_rocm7/xla_rocm_plugin.so', about: "AMD's for JAX, ROCm 7.14", speaks: { pjrt: '0.116', stablehlo: '1.22.0' },
    device: 'rocm', libraries: { toolkit: 'rocm7', parts: [] }, needs: 'an AMD GPU; ROCm 7 of the system (ROCM_PATH, or /opt/rocm)', tried: 'no',
    wheels: { 'linux-x64': { sha256: '4551d0714523355f2946ca1958c3f584e95661e467a641d36b726f718a1c7934', bytes: 133_415_872, tag: 'manylinux_2_27_x86_64' } },
  },
  {
    package: 'jax-rocm10-pjrt', version: '0.12.0', library: 'jax_plugins/xla_rocm10/xla_rocm_plugin.so', about: "AMD's for JAX, ROCm 10.1", speaks: { pjrt: '0.116', stablehlo: '1.22.0' },
    device: 'rocm', libraries: { toolkit: 'rocm10', parts: [] }, needs: 'an AMD GPU; ROCm 10 of the system (ROCM_PATH, or /opt/rocm)', tried: 'no',
    wheels: { 'linux-x64': { sha256: '45ee7b471b71a582ce165dd63069b10d1d8923d849b61b6fa8783f1d13294edb', bytes: 133_727_472, tag: 'manylinux_2_27_x86_64' } },
  },
]

export const tpu: readonly CatalogEntry[] = [{
  package: 'libtpu', version: '0.0.52', library: 'libtpu/libtpu.so', about: "Google's, under its Cloud Platform terms", speaks: { pjrt: '0.117', stablehlo: 'not told without a TPU' },
  device: 'tpu', needs: "a Cloud TPU's host", tried: 'no',
  wheels: { 'linux-x64': { sha256: 'bf962d290626e93828f4ffafef96dfff8d8bfd0d64f506ca6f953e6e1e7c8e87', bytes: 137_065_204, tag: 'manylinux_2_31_x86_64', python: '3.13' } },
}]

export const oneapi: readonly CatalogEntry[] = [{
  package: 'jax-oneapi-pjrt', version: '0.11.2', library: 'jax_plugins/xla_oneapi/xla_oneapi_plugin.so', about: "Intel's for JAX", speaks: { pjrt: '0.115', stablehlo: '1.20.0' },
  device: 'oneapi', libraries: { toolkit: 'oneapi', parts: [] }, needs: 'an Intel GPU; oneAPI 2025.1 of the system with MKL, MPI, the SYCL runtime and Level Zero (ONEAPI_ROOT, or /opt/intel/oneapi)', tried: 'no',
  wheels: { 'linux-x64': { sha256: 'ae7250c5d4459dcfedf4de1bf683edfef0502861e44b6e9bfaa7d8133b4292c1', bytes: 135_149_983, tag: 'manylinux_2_27_x86_64' } },
}]

export const metal: readonly CatalogEntry[] = [{
  package: 'metal-pjrt-core', version: '0.0.5', library: 'metal_pjrt_core/pjrt_c_api_mtl_plugin.dylib', about: "jax-graft's", speaks: undefined,
  device: 'metal', needs: 'an Apple GPU, macOS 26', tried: 'no',
  wheels: { 'darwin-arm64': { sha256: '6f6cde411b7b2ef08bd3afc48b68bf09df52ef20007ff3321bf13ab885e7bbfe', bytes: 60_901_578, tag: 'macosx_26_0_arm64', python: '3.13' } },
}]
