/** What is known of clients for GPUs and TPUs. */
import type { Platform } from './platform-type.ts'

const number = (text: string | undefined): number | undefined => (text === undefined || text.trim() === '' || Number.isNaN(Number(text)) ? undefined : Number(text))

/** As jaxlib's GPU clients take them, and by the variables of the environment that its users know. */
export const gpu: Pick<Platform, 'options' | 'defaults' | 'spans'> = {
  options: {
    platform_name: 'text', visible_devices: 'list', node_id: 'whole', num_nodes: 'whole', allocator: 'text', memory_fraction: 'float', preallocate: 'flag',
    collective_memory_size: 'whole', should_stage_host_to_device_transfers: 'flag', enable_mock_nccl: 'flag', mock_gpu_topology: 'text', partition_index: 'whole',
  },
  defaults: ({ node }, env) => ({
    node_id: node?.id, num_nodes: node?.count, allocator: env['XLA_PYTHON_CLIENT_ALLOCATOR'],
    memory_fraction: number(env['XLA_CLIENT_MEM_FRACTION'] ?? env['XLA_PYTHON_CLIENT_MEM_FRACTION']),
    preallocate: env['XLA_PYTHON_CLIENT_PREALLOCATE'] === undefined ? undefined : !/^(0|false)$/i.test(env['XLA_PYTHON_CLIENT_PREALLOCATE']),
  }),
  spans: true,
}

export const tpu: Pick<Platform, 'options'> = { options: { ml_framework_name: 'text', ml_framework_version: 'text', max_inflight_computations: 'whole' } }
