/** Functions of columns of numbers, one program for all of them, on a device. */
import type { DType, TypedArray } from '../../src/core/dtype.ts'
import { compile, dim, input, mesh, type AnyTensor, type Backend } from '../../src/engine/index.ts'
import type { Tensor } from '../../src/graph/types.ts'

type T = Tensor<string>
/** By name, what `f` makes of columns of one length; bigints of i64. */
export async function results<K extends string>(
  dtypes: readonly DType[], columns: readonly TypedArray[], f: (...x: readonly T[]) => { readonly [P in K]: AnyTensor }, backend: Backend,
): Promise<{ readonly [P in K]: readonly (number | bigint)[] }> {
  const n = dim('n', columns[0]?.length ?? 0)
  const inputs = dtypes.map((dtype, i) => input(`x${i}`, [n], dtype) as T)
  const program = await compile((given: readonly T[]) => f(...given) as { readonly [k: string]: AnyTensor }, [inputs], { mesh: mesh({}), layout: {}, backend })
  const found: [string, readonly (number | bigint)[]][] = []
  for (const [name, array] of Object.entries(await program([...columns]))) {
    found.push([name, [...await array.read()]])
    array.dispose()
  }
  program.dispose()
  return Object.fromEntries(found) as { readonly [P in K]: readonly (number | bigint)[] }
}
