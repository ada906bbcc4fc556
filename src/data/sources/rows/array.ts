/** One array in a file, row after row without gaps: how its elements are written, and how rows of it are read. */
import { dtypes, hostArray, type DType, type TypedArray } from '../../../core/dtype.ts'
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { openAll } from './spool.ts'
import type { Column, Rows } from './types.ts'

/** How an element is written: bytes of one, which of them comes first, and what it becomes. */
export interface Written {
  readonly dtype: DType
  readonly bytes: number
  readonly big: boolean
  /** Where no dtype has as few bits: 16-bit whole numbers become 32-bit ones. */
  readonly widen?: 'i16' | 'u16'
}

export interface ArrayAt { readonly source: ByteSource; readonly from: number; readonly count: number; readonly shape: readonly number[]; readonly written: Written }

/** Elements of an array of this shape, or an error when they are too many to count. */
export function elements(shape: readonly number[], name: string): number {
  const all = shape.reduce((n, d) => n * d, 1)
  if (!Number.isSafeInteger(all) || shape.some(d => !Number.isSafeInteger(d) || d < 0)) throw fault({ code: 'bad-array', what: `an array of shape [${shape.join(', ')}] is announced`, at: name, fix: 'it is damaged: write it again' })
  return all
}

/** @throws DataError when the array does not end where the bytes do. */
export function checkSize(name: string, size: number, from: number, bytes: number): void {
  if (size !== from + bytes) {
    throw fault({
      code: size < from + bytes ? 'data-ends' : 'bad-array', what: `${name} has ${size} bytes, and its header announces ${from + bytes}`,
      fix: size < from + bytes ? 'it is cut off: fetch or write it again' : 'it is damaged, or has more in it than one array: write it again',
    })
  }
}

/** Files with an array each, opened by `one`. @throws DataError when one cannot be, or they differ in length; then none stays open */
export async function openArrays<N extends string>(files: { readonly [C in N]: string }, one: (source: ByteSource, name: string) => Promise<ArrayAt>): Promise<Rows<N>> {
  const arrays = await openAll(files, one)
  try {
    return arrayRows(arrays)
  } catch (cause) {
    for (const { source } of Object.values<ArrayAt>(arrays)) await source.close()
    throw cause
  }
}

/** Several arrays with the same first dim, as rows. @throws DataError when they differ. */
export function arrayRows<N extends string>(arrays: { readonly [C in N]: ArrayAt }): Rows<N> {
  const all = Object.entries<ArrayAt>(arrays) as [N, ArrayAt][]
  const count = all[0]?.[1].count ?? 0
  const odd = all.find(([, a]) => a.count !== count)
  if (odd !== undefined) throw fault({ code: 'lengths-differ', what: `"${all[0]?.[0] ?? ''}" has ${count} rows, "${odd[0]}" ${odd[1].count}`, fix: 'arrays that go together have the same first dim: name those that do' })
  const columns = Object.fromEntries(all.map(([name, { written: { dtype }, shape }]) => [name, { dtype, shape }])) as { readonly [C in N]: Column }
  return {
    count, columns, ...(all[0] === undefined ? {} : { name: all[0][1].source.name }),
    async read(rows) {
      checkRows(rows, count)
      const found: [string, TypedArray][] = []
      for (const [name, array] of all) found.push([name, await readRows(array, rows)])
      return Object.fromEntries(found) as { readonly [C in N]: TypedArray }
    },
    fingerprint: async () => (await Promise.all(all.map(([, { source }]) => source.fingerprint()))).join(' '),
    close: async () => { for (const [, { source }] of all) await source.close() },
  }
}

export function checkRows(rows: readonly number[], count: number): void {
  const wrong = rows.find(row => !Number.isInteger(row) || row < 0 || row >= count)
  if (wrong !== undefined) throw new RangeError(`row ${wrong} is asked for, and there are ${count}`)
}

async function readRows({ source, from, shape, written }: ArrayAt, rows: readonly number[]): Promise<TypedArray> {
  const length = shape.reduce((n, d) => n * d, 1)
  const rowBytes = length * written.bytes
  const bytes = new Uint8Array(rows.length * rowBytes)
  for (let i = 0; i < rows.length;) {
    const first = rows[i] as number
    let run = 1
    while (i + run < rows.length && rows[i + run] === first + run) run++
    // A promise only where the source is far.
    const later = source.readInto(bytes.subarray(i * rowBytes, (i + run) * rowBytes), from + first * rowBytes)
    if (later !== undefined) await later
    i += run
  }
  if (written.big && written.bytes > 1) swap(bytes, written.bytes)
  const { dtype, widen } = written
  if (widen === undefined) return dtypes[dtype].view(bytes.buffer, 0, rows.length * length)
  const wide = hostArray(dtype, rows.length * length) as Int32Array
  wide.set(widen === 'i16' ? new Int16Array(bytes.buffer) : new Uint16Array(bytes.buffer))
  return wide
}

function swap(bytes: Uint8Array, width: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (width === 2) buffer.swap16()
  else if (width === 4) buffer.swap32()
  else buffer.swap64()
}
