/** Arrays between Meshwork and Python: one raw little-endian file each, and what they are in JSON. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface HostArray { readonly shape: readonly number[]; readonly data: Float32Array | Int32Array | Float64Array }
export type Arrays = ReadonlyMap<string, HostArray>

/** How NumPy calls it. */
type NumpyType = '<f4' | '<i4' | '<f8'
export interface Entry { readonly name: string; readonly file: string; readonly dtype: NumpyType; readonly shape: readonly number[] }

const typeOf = (data: HostArray['data']): NumpyType => (data instanceof Float32Array ? '<f4' : data instanceof Int32Array ? '<i4' : '<f8')

/** Writes each array into the folder; the entries go into a manifest. */
export async function writeArrays(folder: string, arrays: Arrays): Promise<Entry[]> {
  return Promise.all([...arrays].map(async ([name, { shape, data }]) => {
    await writeFile(join(folder, name), new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    return { name, file: name, dtype: typeOf(data), shape }
  }))
}

/** Reads what Python wrote: f64. */
export async function readArrays(folder: string, entries: readonly Entry[]): Promise<Map<string, HostArray>> {
  const read = async ({ name, file, shape }: Entry): Promise<[string, HostArray]> => {
    const bytes = await readFile(join(folder, file))
    return [name, { shape, data: new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)) }]
  }
  return new Map(await Promise.all(entries.map(read)))
}
