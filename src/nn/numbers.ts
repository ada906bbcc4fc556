/** Tensors of a few numbers that the host knows. */
import { hiddenName, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { userSite } from '../core/site.ts'
import { concat } from '../graph/rearrange.ts'
import { full, loose, tensor } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'

/** As many numbers as the dim has, equal neighbours as one constant: for tables of a hundred numbers, not for data. @throws DimError when there are more or fewer */
export function numbersAlong<N extends string>(dim: Dim<N>, values: readonly number[], dtype: DType): Tensor<N> {
  if (values.length !== dim.size) throw new DimError({ code: 'size-differs', what: `${values.length} numbers lie along dim "${dim.name}" of size ${dim.size}`, fix: 'give one for each', at: userSite() })
  const runs: { readonly value: number; size: number }[] = []
  for (const value of values) {
    const last = runs.at(-1)
    if (last !== undefined && Object.is(last.value, value)) last.size++
    else runs.push({ value, size: 1 })
  }
  // Under a name that no layout has a rule for: a run may be cut otherwise than all of them.
  const run = hiddenName(dim.name, 'run')
  const parts = runs.map(({ value, size }) => loose(full(value, [{ name: run, size }] as readonly Dim[] as readonly [Dim], dtype)))
  const [only] = parts
  return tensor((only !== undefined && parts.length === 1 ? only : concat(parts, run)).rename(run, dim.name as string).node)
}
