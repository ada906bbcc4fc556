/** Element types as PJRT numbers them. */
import type { DType } from '../../core/dtype.ts'
import { PluginError } from '../../core/errors.ts'
import { enums } from './header.gen.ts'

const type = enums.PJRT_Buffer_Type

export const bufferType: { readonly [K in DType]: number } = {
  f64: type.F64, f32: type.F32, bf16: type.BF16, f16: type.F16, f8e4m3fn: type.F8E4M3FN, f8e5m2: type.F8E5M2,
  i64: type.S64, i32: type.S32, u32: type.U32, i8: type.S8, u8: type.U8, bool: type.PRED,
}

const names = new Map(Object.entries(bufferType).map(([dtype, number]) => [number, dtype as DType]))

export function dtypeOf(number: number): DType {
  const found = names.get(number)
  if (found !== undefined) return found
  const label = Object.entries(type).find(([, value]) => value === number)?.[0] ?? String(number)
  throw new PluginError({
    code: 'element-type', what: `the program has a result of type ${label}`,
    fix: `convert it to one of ${Object.keys(bufferType).join(', ')} first`,
  })
}
