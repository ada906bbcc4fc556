/** Rows of arrays: images, tables, anything that has as many of each. */
import type { DType, TypedArray } from '../../../core/dtype.ts'

/** What a row has of a column: `[]` is one number, `[28, 28]` an image. */
export interface Column { readonly dtype: DType; readonly shape: readonly number[] }

/** Arrays with a common first dim, read row by row; what has not been asked for is not in memory. N are the names of its columns, where they are known. */
export interface Rows<N extends string = string> {
  readonly count: number
  readonly columns: { readonly [C in N]: Column }
  /** The file, or the first of them, as messages name it. */
  readonly name?: string
  /**
   * Those rows of every column, one after another in the order asked for: `rows.length` × the shape. bf16 and f16 are held as their 16 bits.
   * @throws DataError when they cannot be read; RangeError for a row that is not there.
   */
  read(rows: readonly number[]): Promise<{ readonly [C in N]: TypedArray }>
  /** Equal for equal content. */
  fingerprint?(): Promise<string>
  /** Lets go of its files. */
  close(): Promise<void>
}

type NamesOf<R> = R extends Rows<infer N> ? N : never

/** Several rows as one, of as many columns as they have together. @throws RangeError when they are not equally long, or two columns share a name. */
export function joinRows<R extends readonly Rows<never>[]>(...joined: R): Rows<NamesOf<R[number]>> {
  const all = joined as readonly unknown[] as readonly Rows[]
  const [first] = all
  const columns = Object.fromEntries(all.flatMap(rows => Object.entries(rows.columns)))
  if (first === undefined || all.some(rows => rows.count !== first.count)) throw new RangeError(`rows that are joined have ${all.map(r => r.count).join(' and ')} rows`)
  if (Object.keys(columns).length < all.reduce((n, rows) => n + Object.keys(rows.columns).length, 0)) throw new RangeError('two columns that are joined have the same name')
  return {
    count: first.count, columns: columns as Rows<NamesOf<R[number]>>['columns'], ...(first.name === undefined ? {} : { name: first.name }),
    read: async rows => Object.assign({}, ...await Promise.all(all.map(r => r.read(rows)))) as { readonly [C in NamesOf<R[number]>]: TypedArray },
    ...(all.every(rows => rows.fingerprint !== undefined) ? { fingerprint: async (): Promise<string> => (await Promise.all(all.map(rows => rows.fingerprint?.()))).join(' ') } : {}),
    close: async () => { for (const rows of all) await rows.close() },
  }
}
