/** What a plugin's error means to a user, where its own words do not say it: which card, which other process, which driver. */
interface Known {
  /** Of these calls alone; any, unless said. */
  readonly calls?: readonly string[]
  /** What status or text it is known by. */
  readonly status?: string
  readonly text?: RegExp
  readonly code: string
  /** Put before the plugin's own words. */
  readonly what: string
  readonly fix: string
}

/** The first that fits. The texts are those of CUDA and HIP, in the words of their drivers. */
const known: readonly Known[] = [
  { text: /driver version is insufficient|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|forward compatibility was attempted/i, code: 'driver-too-old', what: 'the driver is older than what the plugin was built for', fix: 'install a newer driver, or a plugin for an older CUDA; npx meshwork doctor --plugin cuda says what is there' },
  { calls: ['PJRT_Client_Create'], text: /no (CUDA|HIP|ROCm)-capable device|CUDA_ERROR_NO_DEVICE|hipErrorNoDevice|no visible (GPU|CUDA|ROCm|TPU)? ?devices/i, code: 'no-device', what: 'there is no device for this plugin', fix: 'look for one with nvidia-smi or rocm-smi, see what CUDA_VISIBLE_DEVICES hides, or use --plugin cpu' },
  { calls: ['PJRT_Client_Create'], text: /devices? (is|are) (busy or )?unavailable|CUDA_ERROR_DEVICE_UNAVAILABLE|exclusive/i, code: 'device-taken', what: 'another process has the card for itself', fix: 'end that process (nvidia-smi lists them), or use another card: --platform visibleDevices=1' },
  { calls: ['PJRT_Client_Create'], status: 'RESOURCE_EXHAUSTED', code: 'device-taken', what: 'the card\'s memory is taken already', fix: 'end the process that has it (nvidia-smi lists them), use another card (--platform visibleDevices=1), or give each a share: --platform memory.fraction=0.4 memory.preallocate=false' },
  { text: /fallen off the bus|device (was |is )?lost|CUDA_ERROR_(ECC_UNCORRECTABLE|HARDWARE_STACK_ERROR|DEVICE_NOT_LICENSED|CONTEXT_IS_DESTROYED|NVLINK_UNCORRECTABLE|DEINITIALIZED)|hipErrorDeviceLost|uncorrectable ECC/i, code: 'device-lost', what: 'a device is gone', fix: 'see what the system says of it (dmesg, nvidia-smi), then start the same command again: a run goes on from what it last wrote' },
  { text: /CUDA_ERROR_(ILLEGAL_ADDRESS|LAUNCH_FAILED|LAUNCH_TIMEOUT|ASSERT|MISALIGNED_ADDRESS|ILLEGAL_INSTRUCTION|INVALID_PC)|hipErrorLaunchFailure|hipErrorIllegalAddress/i, code: 'device-failed', what: 'a program went wrong on the device, which computes nothing more for this process', fix: 'start the same command again: a run goes on from what it last wrote; where it comes again at the same step, say so to the plugin\'s makers, and try --platform commandBuffers=none' },
  { status: 'UNAVAILABLE', code: 'unavailable', what: 'the device, or another process of the job, does not answer', fix: 'see what the system says of it (dmesg, nvidia-smi) and whether all processes of the job are there, then start the same command again' },
  { status: 'RESOURCE_EXHAUSTED', code: 'resource-exhausted', what: '', fix: 'use a smaller batch, a smaller model, or more devices to split it over' },
]

const elsewhere = 'try another plugin (--plugin PATH) or --plugin simulate'

export function explained(call: string, status: string, text: string): { readonly code: string; readonly what: string; readonly fix: string } {
  const said = `${call.replace('PJRT_', '')}: ${text}`
  const found = known.find(k => (k.calls?.includes(call) ?? true) && (k.status ?? status) === status && (k.text?.test(text) ?? true))
  if (found === undefined) return { code: status.toLowerCase().replaceAll('_', '-'), what: said, fix: status === 'INTERNAL' ? `${elsewhere}; the plugin calls it a fault of its own` : elsewhere }
  return { code: found.code, what: found.what === '' ? said : `${found.what}: ${said}`, fix: found.fix }
}
