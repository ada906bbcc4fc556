/** Cutting a host array into the parts that devices hold, and putting it together again. */
import { sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, hostArray, type DType, type TypedArray } from '../core/dtype.ts'
import { localShape, type Sharding } from '../core/layout.ts'
import { partOf, type Mesh } from '../core/mesh.ts'

export interface Block { readonly sizes: readonly number[]; readonly starts: readonly number[] }

/** Where in the global array a device's part lies. */
export function blockOf(shape: readonly Dim[], sharding: Sharding, mesh: Mesh, device: number): Block {
  const sizes = localShape(shape, sharding, mesh).map(d => d.size)
  return { sizes, starts: shape.map((d, i) => partOf(mesh, sharding.get(d.name) ?? [], device) * (sizes[i] ?? 0)) }
}

/** Calls `run(global offset, local offset, length)`, in elements, for each stretch that is contiguous in both. */
export function stretches(shape: readonly Dim[], { sizes, starts }: Block, run: (global: number, local: number, length: number) => void): void {
  // Trailing dims that are whole lie in one stretch with the last one that is cut.
  let inner = shape.length
  while (inner > 0 && sizes[inner - 1] === shape[inner - 1]?.size) inner--
  const outer = Math.max(0, inner - 1)
  const length = sizes.slice(outer).reduce((n, s) => n * s, 1)
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)))
  const walk = (dim: number, global: number, local: number): number => {
    if (dim === outer) {
      run(global + (starts[dim] ?? 0) * (strides[dim] ?? 1), local, length)
      return local + length
    }
    let next = local
    for (let i = 0; i < (sizes[dim] ?? 0); i++) next = walk(dim + 1, global + ((starts[dim] ?? 0) + i) * (strides[dim] ?? 1), next)
    return next
  }
  walk(0, 0, 0)
}

const bytesOf = (data: TypedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

/** A part, as an array of its own; the data itself where that is all of it. */
export function cut(data: TypedArray, dtype: DType, shape: readonly Dim[], block: Block): TypedArray {
  if (block.sizes.every((size, i) => size === shape[i]?.size)) return data
  const part = hostArray(dtype, block.sizes.reduce((n, s) => n * s, 1))
  const [from, to, width] = [bytesOf(data), bytesOf(part), dtypes[dtype].bytes]
  stretches(shape, block, (global, local, length) => to.set(from.subarray(global * width, (global + length) * width), local * width))
  return part
}

/** Writes a device's part into the global array. */
export function paste(into: TypedArray, part: TypedArray, dtype: DType, shape: readonly Dim[], sharding: Sharding, mesh: Mesh, device: number): void {
  const [to, from, width] = [bytesOf(into), bytesOf(part), dtypes[dtype].bytes]
  stretches(shape, blockOf(shape, sharding, mesh, device), (global, local, length) =>
    to.set(from.subarray(local * width, (local + length) * width), global * width))
}

/** For each distinct part of a tensor, one device that holds it. */
export function holders(shape: readonly Dim[], sharding: Sharding, mesh: Mesh): number[] {
  const seen = new Map<string, number>()
  for (let device = 0; device < mesh.size; device++) {
    const key = blockOf(shape, sharding, mesh, device).starts.join()
    if (!seen.has(key)) seen.set(key, device)
  }
  return [...seen.values()]
}

/** The same array with its dims in another order in memory; itself where the order is the same. */
export function reordered(data: TypedArray, dtype: DType, from: readonly Dim[], to: readonly Dim[]): TypedArray {
  if (to.every((d, i) => d.name === from[i]?.name)) return data
  const out = hostArray(dtype, sizeOf(to))
  const strides = to.map(d => sizeOf(from.slice(from.findIndex(f => f.name === d.name) + 1)))
  const walk = (dim: number, read: number, write: number): number => {
    const d = to[dim]
    if (d === undefined) {
      out[write] = data[read] as never
      return write + 1
    }
    let next = write
    for (let i = 0; i < d.size; i++) next = walk(dim + 1, read + i * (strides[dim] ?? 0), next)
    return next
  }
  walk(0, 0, 0)
  return out
}
