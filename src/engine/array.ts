/** Arrays that lie over a mesh: one buffer a device. */
import { formatShape, sizeOf, type Dim } from '../core/dim.ts'
import { hostArray, type DType, type TypedArray } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { sameSplit, type Split } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, DeviceBuffer } from '../runtime/backend.ts'
import { blockOf, cut, holders, paste } from './blocks.ts'

/** An array over a mesh. Free it with `dispose`; arguments that a program donates are freed by it. */
export class MeshArray {
  /** Global, in memory order. */
  readonly shape: readonly Dim[]
  readonly dtype: DType
  readonly mesh: Mesh
  readonly split: Split
  /** One a device. */
  readonly pieces: readonly DeviceBuffer[]

  constructor(placement: Placement, mesh: Mesh, pieces: readonly DeviceBuffer[]) {
    this.shape = placement.shape
    this.dtype = placement.dtype
    this.split = placement.split
    this.mesh = mesh
    this.pieces = pieces
  }

  /** The whole array on the host, in row-major order of `shape`. */
  async read(): Promise<TypedArray> {
    const from = holders(this.shape, this.split, this.mesh)
    const parts = await Promise.all(from.map(async device => ({ device, data: await this.#piece(device).read() })))
    const [only] = parts
    if (this.split.size === 0 && only !== undefined) return only.data
    const all = hostArray(this.dtype, sizeOf(this.shape))
    for (const { device, data } of parts) paste(all, data, this.dtype, this.shape, this.split, this.mesh, device)
    return all
  }

  /** The only element of a scalar. */
  async item(): Promise<number> {
    if (sizeOf(this.shape) !== 1) throw new DimError({ code: 'not-scalar', what: 'item: the array has more than one element', details: { array: formatShape(this.shape) }, fix: 'use read()' })
    return Number((await this.#piece(0).read())[0])
  }

  dispose(): void { for (const p of this.pieces) p.dispose() }

  #piece(device: number): DeviceBuffer {
    const p = this.pieces[device]
    if (p === undefined) throw new Error(`the array has no piece on device ${device}`)
    return p
  }
}

/** Lays a host array over the mesh. `data` is in row-major order of the placement's shape. */
export async function place(backend: Backend, mesh: Mesh, placement: Placement, data: TypedArray, what: string): Promise<MeshArray> {
  const { shape, dtype, split } = placement
  if (data.length !== sizeOf(shape)) {
    throw new DimError({ code: 'element-count', what: `${what}: ${data.length} elements given, ${sizeOf(shape)} wanted`, details: { shape: formatShape(shape) } })
  }
  if (data.constructor !== hostArray(dtype, 0).constructor) {
    throw new DimError({ code: 'dtype', what: `${what}: ${data.constructor.name} given for ${dtype}`, details: { shape: formatShape(shape) }, fix: `give it as ${hostArray(dtype, 0).constructor.name}` })
  }
  const pieces = await Promise.all(Array.from({ length: mesh.size }, (_, device) =>
    backend.put(cut(data, dtype, shape, split, mesh, device), { shape: blockOf(shape, split, mesh, device).sizes, dtype }, device)))
  return new MeshArray(placement, mesh, pieces)
}

export const samePlacement = (a: Placement, b: Placement): boolean =>
  a.dtype === b.dtype && formatShape(a.shape) === formatShape(b.shape) && sameSplit(a.split, b.split)
