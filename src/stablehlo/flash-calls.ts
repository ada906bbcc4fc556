/** Kernels of attention as XLA calls them: cuDNN's, whose configuration is JSON, and our own. */
import type { DType } from '../core/dtype.ts'
import { attentionKernels } from '../core/platform.ts'
import type { FusedKernel } from './flash-kernel.ts'
import { layout, ownCall, ownCalls, rowMajor, type OwnCall } from './own-call.ts'
import type { Ssa, Writer } from './writer.ts'

const types: { readonly [D in DType]?: string } = { bf16: 'BF16', f16: 'F16' }
const indices = (list: readonly number[]): string[] => list.map(String)
/** Dims that are contracted and those that go elementwise, of the left and of the right operand. */
const numbers = (left: number, right: number, batches: readonly [readonly number[], readonly number[]]): object => ({
  lhs_contracting_dimensions: indices([left]), rhs_contracting_dimensions: indices([right]), lhs_batch_dimensions: indices(batches[0]), rhs_batch_dimensions: indices(batches[1]),
})
/** Operands lie as [batch, length, heads, size]; scores and results as [batch, heads, length, …]. */
const [operands, scores] = [[0, 2], [0, 1]] as const

function configuration(q: Ssa, k: Ssa, causal: boolean, products: object): string {
  const [batch = 1, rows = 1, heads = 1] = q.sizes
  const config = {
    operation_queue_id: '0',
    cudnn_fmha_backend_config: {
      algorithm: { algo_id: '0', math_type: 'TENSOR_OP_MATH', tuning_knobs: { 17: '1', 24: '0' }, is_cudnn_frontend: true, workspace_size: '0' },
      fmha_scale: 1,
      intermediate_tensor_shape: {
        element_type: types[q.dtype], dimensions: indices([batch, heads, rows, k.sizes[1] ?? 1]), tuple_shapes: [],
        layout: { dim_level_types: [], dim_unique: [], dim_ordered: [], minor_to_major: indices([3, 2, 1, 0]), tiles: [], element_size_in_bits: '0', memory_space: '0', index_primitive_type: 'PRIMITIVE_TYPE_INVALID', pointer_primitive_type: 'PRIMITIVE_TYPE_INVALID', dynamic_shape_metadata_prefix_bytes: '0' },
        is_dynamic_dimension: [false, false, false, false],
      },
      is_flash_attention: true, mask_type: causal ? 'CAUSAL' : 'NO_MASK', ...products, dropout_rate: 0, seed: 42, sliding_window_length: 0, max_seg_per_batch: 1, is_paged_attention: false,
    },
  }
  return JSON.stringify(config).replaceAll('"', '\\22')
}

/** Of results: by name [batch, heads, length, size], in memory as the operands. */
const asOperands = layout([3, 1, 2, 0])
const workspace = { sizes: [0], dtype: 'u8' as const }

const call = (w: Writer, target: string, config: string, args: readonly Ssa[], results: readonly { readonly type: Pick<Ssa, 'sizes' | 'dtype'>; readonly lies: string }[]): Ssa[] =>
  w.ops('custom_call', args, [...results.map(r => r.type), workspace],
    `api_version = 2 : i32, backend_config = "${config}", call_target_name = "${target}", operand_layouts = [${args.map(rowMajor).join(', ')}], result_layouts = [${[...results.map(r => r.lies), layout([0])].join(', ')}]`, [])

const turned = ({ sizes: [batch = 1, length = 1, heads = 1, size = 1], dtype }: Ssa): Pick<Ssa, 'sizes' | 'dtype'> => ({ sizes: [batch, heads, length, size], dtype })

const withoutGroups = (x: Ssa, w: Writer): Ssa => (x.sizes.length < 5 ? x : w.reshape(x, [...x.sizes.slice(0, 3), ...x.sizes.slice(4)]))

/** Of halves. The result is [batch, heads, length, size]; the statistics, which a gradient needs, [batch, heads, length] of f32. */
export const cudnn: FusedKernel = {
  ...attentionKernels.cuDNN, gives: 'heads first',
  forward: (w, { q: grouped, k, v, causal }, gradient) => {
    const q = withoutGroups(grouped, w)
    const products = { bmm1_dot_dimension_numbers: numbers(3, 3, [operands, operands]), bmm2_dot_dimension_numbers: numbers(3, 1, [scores, operands]) }
    const type = turned(q)
    const sums = { type: { sizes: type.sizes.slice(0, 3), dtype: 'f32' as const }, lies: layout([2, 1, 0]) }
    const [result, second] = call(w, '__cudnn$fmhaSoftmax', configuration(q, k, causal, products), [q, k, v], [{ type, lies: asOperands }, ...gradient ? [sums] : []])
    if (result === undefined) throw new Error('the call has a result')
    return { result, statistics: gradient ? second : undefined }
  },
  /** Each [batch, heads, length, size]. */
  backward: (w, { q: grouped, k, v, causal }, cotangent, { forward }) => {
    const { result, statistics } = forward()
    if (statistics === undefined) throw new Error('a gradient needs statistics')
    const q = withoutGroups(grouped, w)
    const products = {
      bmm1_grad_gemm1_dot_dimension_numbers: numbers(2, 1, [scores, operands]), bmm1_grad_gemm2_dot_dimension_numbers: numbers(3, 1, [scores, operands]),
      bmm2_grad_gemm1_dot_dimension_numbers: numbers(2, 1, [scores, operands]), bmm2_grad_gemm2_dot_dimension_numbers: numbers(3, 3, [operands, operands]),
    }
    const given = [w.transpose(result, [0, 2, 1, 3]), withoutGroups(cotangent.dtype === q.dtype ? cotangent : w.op('convert', [cotangent], { sizes: cotangent.sizes, dtype: q.dtype }), w)] as const
    return call(w, '__cudnn$fmhaSoftmaxBackward', configuration(q, k, causal, products), [q, k, v, statistics, ...given], [q, k, v].map(x => ({ type: turned(x), lies: asOperands }))).slice(0, 3)
  },
}

const own = (causal: boolean): OwnCall => ({ config: `causal = ${String(causal)}` })
const f32 = ({ sizes }: Ssa): Pick<Ssa, 'sizes' | 'dtype'> => ({ sizes, dtype: 'f32' })
/** native/kernels/flash.c: no statistics, as the gradient makes a query's scores whole. Results are f32. */
export const ourKernel: FusedKernel = {
  ...attentionKernels['our own'], gives: 'as operands',
  forward: (w, { q, k, v, mask, causal }) => ({ result: ownCall(w, 'flash_forward', [q, k, v, ...mask === undefined ? [] : [mask]], f32(q), own(causal)), statistics: undefined }),
  backward: (w, { q, k, v, mask, causal }, cotangent, { wanted }) => ownCalls(w, 'flash_backward', [q, k, v, cotangent, ...mask === undefined ? [] : [mask]], [q, k, v, ...wanted ? [q] : []].map(f32), own(causal)),
}
