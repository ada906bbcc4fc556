/** Operands of cases, from their texts. */
import { dim, type Dim } from '../../src/core/dim.ts'
import { dtypes, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { input } from '../../src/engine/index.ts'
import { typeOf } from '../../src/graph/node.ts'
import type { Tensor } from '../../src/graph/types.ts'
import { drawn } from './values.ts'

interface Drawn { readonly tensor: Tensor<string>; readonly data: TypedArray }

/**
 * The names of dims, then a mark: none for f32 in (−1, 1), `+` for (0.5, 1.5), `~low:high` for other floats, `#below` and
 * `#low:below` for integers (i32), `?` for bools. A dtype may follow: `a b#0:256:u8`.
 */
export function drawnOperand(text: string, dims: { readonly [name: string]: Dim }, name: string, seed: number): Drawn {
  const [, names = '', kind = '', numbers = '', given] = /^([\w ]*)(?:([+?~#])([-\d.]*(?::[-\d.]+)?)(?::([a-z]+\d+))?)?$/.exec(text) ?? []
  const dtype: DType = Object.keys(dtypes).find((d): d is DType => d === given) ?? (kind === '#' ? 'i32' : kind === '?' ? 'bool' : 'f32')
  const [first, second] = numbers.split(':').map(Number)
  const range = kind === '+' ? { low: 0.5, high: 1.5 } : kind === '~' ? { low: first ?? -1, high: second ?? 1 }
    : kind === '#' ? { low: second === undefined ? 0 : first ?? 0, below: second ?? first ?? 4 } : {}
  const tensor = input(name, names.split(' ').filter(n => n !== '').map(n => dims[n] ?? dim('missing', 1)), dtype) as Tensor<string>
  return { tensor, data: drawn(typeOf(tensor.node), seed, range) }
}
