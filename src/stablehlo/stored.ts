/** What is kept in the memory of the host: a call that XLA turns into copies which go on beside the work. */
import type { Choices } from '../core/platform.ts'
import type { LocalNode } from '../partition/local.ts'
import type { Ssa, Writer } from './writer.ts'

export function emitStored(n: LocalNode<'stored'>, x: Ssa, w: Writer, { hostMemory }: Choices): Ssa {
  if (hostMemory === undefined) throw new Error('the platform gives programs no memory of the host')
  // The device's memory is the host's: nothing is to be moved.
  if (hostMemory === 'its own') return x
  const where = n.attrs.in === 'host' ? hostMemory : 'device'
  return w.op('custom_call', [x], x, 'call_target_name = "annotate_device_placement", has_side_effect = true', undefined, `mhlo.frontend_attributes = {_xla_buffer_placement = "${where}"}`)
}
