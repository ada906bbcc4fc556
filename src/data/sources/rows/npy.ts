/** NumPy's .npy (format versions 1 to 3): the header, and rows of arrays of numbers. */
import { fault } from '../faults.ts'
import type { ByteSource } from '../source.ts'
import { checkSize, elements, openArrays, type ArrayAt, type Written } from './array.ts'
import type { Rows } from './types.ts'

const kinds: { readonly [code: string]: Omit<Written, 'big'> } = {
  f8: { dtype: 'f64', bytes: 8 }, f4: { dtype: 'f32', bytes: 4 }, f2: { dtype: 'f16', bytes: 2 }, i8: { dtype: 'i64', bytes: 8 }, i4: { dtype: 'i32', bytes: 4 },
  u4: { dtype: 'u32', bytes: 4 }, i2: { dtype: 'i32', bytes: 2, widen: 'i16' }, u2: { dtype: 'i32', bytes: 2, widen: 'u16' }, i1: { dtype: 'i8', bytes: 1 }, u1: { dtype: 'u8', bytes: 1 }, b1: { dtype: 'bool', bytes: 1 },
}

/** Headers of arrays of numbers take some hundred bytes. */
const longestHeader = 2 ** 16

/** Rows of one array in each file, `{ x: 'x.npy', y: 'y.npy' }`, all of the same length. @throws DataError */
export async function openNpy<N extends string>(files: { readonly [C in N]: string }): Promise<Rows<N>> {
  return openArrays(files, source => npyAt(source, 0, source.size ?? 0, source.name))
}

const bad = (name: string, what: string, fix = 'it is damaged or no .npy: write it again with np.save') => fault({ code: 'bad-npy', what, at: name, fix })

/** The array whose file lies in bytes [from, to) of a source. @throws DataError */
export async function npyAt(source: ByteSource, from: number, to: number, name: string): Promise<ArrayAt> {
  const head = await source.read(from, Math.min(to, from + 12))
  if (head.length < 10 || head.toString('latin1', 0, 6) !== '\x93NUMPY') throw bad(name, 'it does not begin as .npy does')
  const version = head[6] ?? 0
  if (version < 1 || version > 3) throw bad(name, `it has format version ${version}`, 'write it with np.save of a NumPy that has versions 1 to 3')
  const wide = version > 1
  if (head.length < 12) throw bad(name, 'its header is cut off')
  const length = wide ? head.readUInt32LE(8) : head.readUInt16LE(8)
  const begin = from + (wide ? 12 : 10)
  if (length > longestHeader || begin + length > to) throw bad(name, `its header says it has ${length} bytes`)
  const { descr, shape } = parsed((await source.read(begin, begin + length)).toString(wide && version === 3 ? 'utf8' : 'latin1'), name)
  const written = writtenAs(descr, name)
  const [count, ...row] = shape
  if (count === undefined) throw bad(name, 'it holds one number and no rows', 'save an array with at least one dim')
  checkSize(name, to - from, begin + length - from, elements(shape, name) * written.bytes)
  elements([...row, written.bytes], name)
  return { source, from: begin + length, count, shape: row, written }
}

/** The header is a Python dict with three keys. */
function parsed(header: string, name: string): { readonly descr: string; readonly shape: readonly number[] } {
  const descr = /^\s*\{.*['"]descr['"]\s*:\s*(?:'([^']*)'|"([^"]*)"|(\[))/s.exec(header)
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(header)?.[1]
  const shape = /['"]shape['"]\s*:\s*\(([\d\s,L]*)\)/.exec(header)?.[1]
  if (descr?.[3] !== undefined) throw bad(name, 'its elements are structs', 'save each field as an array of its own')
  const kind = descr?.[1] ?? descr?.[2]
  if (kind === undefined || order === undefined || shape === undefined) throw bad(name, 'its header has no descr, fortran_order and shape')
  const dims = shape.split(',').map(d => d.replace('L', '').trim()).filter(d => d !== '').map(Number)
  if (dims.some(d => !Number.isSafeInteger(d))) throw bad(name, `its shape is (${shape})`)
  if (order === 'True' && dims.filter(d => d > 1).length > 1) throw bad(name, 'it is written column by column, so that a row lies scattered', 'save np.ascontiguousarray(x)')
  return { descr: kind, shape: dims }
}

function writtenAs(descr: string, name: string): Written {
  const kind = kinds[descr.slice(1)]
  if (kind !== undefined && Object.hasOwn(kinds, descr.slice(1)) && '<>|='.includes(descr[0] ?? '')) return { ...kind, big: descr.startsWith('>') }
  const fixes: { readonly [kind: string]: string } = { O: 'they are pickled Python objects, which may run code and are never read: save numbers', U: 'encode text as numbers first', S: 'encode text as numbers first', c: 'save real and imaginary part on their own', u: 'save it as np.int64' }
  throw bad(name, `its elements are ${descr.slice(0, 20)}`, fixes[descr[1] ?? ''] ?? 'save it with astype(np.float32) or another type of numbers')
}
