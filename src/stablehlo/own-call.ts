/** Calls of our own kernels and of the library of collectives (native/): all of them are written here. */
import type { Ssa, Writer } from './writer.ts'

type Type = Pick<Ssa, 'sizes' | 'dtype' | 'token'>

/** How an array lies, as MLIR writes it: its dims, the fastest first. */
export const layout = (order: readonly number[]): string => `dense<${order.length === 0 ? '' : order.length === 1 ? String(order[0]) : `[${order.join(', ')}]`}> : tensor<${order.length}xindex>`
/** Rows one behind the other. */
export const rowMajor = ({ sizes }: Pick<Ssa, 'sizes'>): string => layout(sizes.map((_, i) => sizes.length - 1 - i))

export interface OwnCall {
  /** Attributes that the library reads. */
  readonly config?: string | undefined
  /** It does more than give results: it stays where nothing reads them. */
  readonly effect?: boolean
  /** The operand that the first result is written into. */
  readonly inPlace?: number | undefined
}

/**
 * A call of `meshwork.NAME`. Operands and results lie by rows, as the libraries read and write them, and the call says so: XLA gives
 * the result of a call that doesn't say it the layout that its reader would like.
 */
export function ownCalls(w: Writer, name: string, operands: readonly Ssa[], results: readonly Type[], { config, effect = false, inPlace }: OwnCall = {}): Ssa[] {
  const index = results.length > 1 ? '0' : ''
  return w.ops('custom_call', operands, results, [
    'api_version = 4 : i32',
    ...config === undefined ? [] : [`backend_config = {${config}}`],
    `call_target_name = "meshwork.${name}"`,
    ...effect ? ['has_side_effect = true'] : [],
    `operand_layouts = [${operands.map(rowMajor).join(', ')}]`,
    ...inPlace === undefined ? [] : [`output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [${index}], operand_index = ${inPlace}, operand_tuple_indices = []>]`],
    `result_layouts = [${results.map(rowMajor).join(', ')}]`,
  ].join(', '), [])
}

/** The same of one result. */
export function ownCall(w: Writer, name: string, operands: readonly Ssa[], result: Type, more?: OwnCall): Ssa {
  const [made] = ownCalls(w, name, operands, [result], more)
  if (made === undefined) throw new Error(`${name} has no result`)
  return made
}
