/** Arrays that lie over a mesh: one buffer a device, of which a process holds those of its own devices. */
import { formatShape, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, hostArray, isHalf, type DType, type TypedArray } from '../core/dtype.ts'
import { halvesOf, numbersOf } from '../core/half-precision.ts'
import { DimError } from '../core/errors.ts'
import { localShape, sameSharding, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, DeviceBuffer } from '../runtime/backend.ts'
import type { Processes } from '../runtime/processes.ts'
import { blockOf, cut, holders, paste, stretches, type Block } from './blocks.ts'

/** An array over a mesh. Free it with `dispose`; arguments that a program donates are freed by it. */
export class MeshArray {
  /** Global, in memory order. */
  readonly shape: readonly Dim[]
  readonly dtype: DType
  readonly mesh: Mesh
  readonly sharding: Sharding
  /** By device, those that this process can reach. */
  readonly pieces: ReadonlyMap<number, DeviceBuffer>
  readonly #processes: Processes

  constructor(placement: Placement, mesh: Mesh, pieces: ReadonlyMap<number, DeviceBuffer>, processes: Processes) {
    this.#processes = processes
    this.shape = placement.shape
    this.dtype = placement.dtype
    this.sharding = placement.sharding
    this.mesh = mesh
    this.pieces = pieces
  }

  /**
   * The whole array on the host, in row-major order of `shape`, half precision as f32. Where other processes hold parts of it, all must call this, and each
   * gets the whole: for what is small.
   */
  async read(): Promise<TypedArray> { return numbersOf(await this.#bits(), this.dtype) }

  /** As `read`, half-precision numbers as their bits. */
  async #bits(): Promise<TypedArray> {
    const from = holders(this.shape, this.sharding, this.mesh)
    const here = this.pieces.keys().next().value
    if (this.sharding.size === 0 && here !== undefined) return this.#piece(here).read()
    const all = hostArray(this.dtype, sizeOf(this.shape))
    const put = (device: number, part: TypedArray): void => paste(all, part, this.dtype, this.shape, this.sharding, this.mesh, device)
    if (from.every(d => this.pieces.has(d))) {
      await Promise.all(from.map(async device => put(device, await this.#piece(device).read())))
      return all
    }
    const mine = from.find(d => this.pieces.has(d))
    const part = mine === undefined ? Promise.resolve(new Uint8Array()) : this.#piece(mine).read().then(p => new Uint8Array(p.buffer, p.byteOffset, p.byteLength))
    // One device a process: its number is the process's rank.
    const parts = await this.#processes.exchange(part, 'reading an array that lies over processes')
    for (const device of from) {
      const bytes = parts[device]
      if (bytes !== undefined) put(device, dtypes[this.dtype].view(bytes.slice().buffer))
    }
    return all
  }

  /** The only element of a scalar. */
  async item(): Promise<number> {
    if (sizeOf(this.shape) !== 1) throw new DimError({ code: 'not-scalar', what: 'item: the array has more than one element', details: { array: formatShape(this.shape) }, fix: 'use read()' })
    const [piece] = this.pieces.values()
    return piece === undefined ? NaN : Number(numbersOf(await piece.read(), this.dtype)[0])
  }

  /**
   * The parts of the array that are this process's to save, one at a time: over all processes, every part once. `copy` is called for
   * each stretch that is contiguous in the whole and in the part, with its places in both and its length, in elements.
   */
  async * ownParts(): AsyncGenerator<{ readonly data: TypedArray; readonly each: (copy: (global: number, local: number, length: number) => void) => void }> {
    for (const device of holders(this.shape, this.sharding, this.mesh)) {
      const piece = this.pieces.get(device)
      if (piece === undefined) continue
      const block = blockOf(this.shape, this.sharding, this.mesh, device)
      yield { data: await piece.read(), each: copy => stretches(this.shape, block, copy) }
    }
  }

  dispose(): void { for (const p of this.pieces.values()) p.dispose() }

  #piece(device: number): DeviceBuffer {
    const p = this.pieces.get(device)
    if (p === undefined) throw new Error(`the array has no piece on device ${device}`)
    return p
  }
}

/** Makes the host data of a part when asked, so that no process needs the whole. Row-major. */
export type Source = (block: Block) => TypedArray | Promise<TypedArray>

/** Lays host data over the mesh: the whole array, row-major in the placement's shape, or what makes a part of it. Floats are rounded to half precision where that is wanted. */
export async function place(backend: Backend, mesh: Mesh, placement: Placement, data: TypedArray | Source, what: string): Promise<MeshArray> {
  const { shape, dtype, sharding } = placement
  const check = (given: TypedArray, elements: number, of: string): TypedArray => {
    if (given.length !== elements) {
      throw new DimError({ code: 'element-count', what: `${what}: ${given.length} elements given, ${elements} wanted`, details: { shape: of } })
    }
    if (isHalf(dtype) && (given instanceof Float32Array || given instanceof Float64Array)) return halvesOf(given, dtype)
    if (given.constructor !== hostArray(dtype, 0).constructor) {
      throw new DimError({ code: 'dtype', what: `${what}: ${given.constructor.name} given for ${dtype}`, details: { shape: of }, fix: `give it as ${hostArray(dtype, 0).constructor.name}` })
    }
    return given
  }
  const whole = typeof data === 'function' ? undefined : check(data, sizeOf(shape), formatShape(shape))
  const partOn = async (device: number): Promise<TypedArray> => {
    if (typeof data !== 'function') return cut(whole ?? data, dtype, shape, sharding, mesh, device)
    const block = blockOf(shape, sharding, mesh, device)
    return check(await data(block), block.sizes.reduce((n, s) => n * s, 1), formatShape(localShape(shape, sharding, mesh)))
  }
  // Devices that hold the same part share what is made for it.
  const made = new Map<string, Promise<TypedArray>>()
  const pieces = await Promise.all(backend.addressable.filter(d => d < mesh.size).map(async device => {
    const { sizes, starts } = blockOf(shape, sharding, mesh, device)
    const key = starts.join()
    const part = made.get(key) ?? partOn(device)
    made.set(key, part)
    return [device, await backend.put(await part, { shape: sizes, dtype }, device)] as const
  }))
  return new MeshArray(placement, mesh, new Map(pieces), backend.processes)
}

export const samePlacement = (a: Placement, b: Placement): boolean =>
  a.dtype === b.dtype && formatShape(a.shape) === formatShape(b.shape) && sameSharding(a.sharding, b.sharding)
