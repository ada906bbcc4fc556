/** Arrays that lie over a mesh: one buffer a device, of which a process holds those of its own devices. */
import { formatShape, sizeOf, type Dim } from '../core/dim.ts'
import { dtypes, hostArray, type DType, type TypedArray } from '../core/dtype.ts'
import { numbersOf } from '../core/half-precision.ts'
import { DimError } from '../core/errors.ts'
import { localShape, sameSharding, type Sharding } from '../core/layout.ts'
import type { Mesh } from '../core/mesh.ts'
import { choices } from '../core/platform.ts'
import type { Placement } from '../partition/local.ts'
import type { Backend, DeviceBuffer } from '../runtime/backend.ts'
import { blockOf, holders, paste, stretches } from './blocks.ts'
import { Held, watch, type Gone } from './held.ts'

/** The devices of a mesh whose buffers are in this process. */
export const devicesHere = (backend: Backend, mesh: Mesh): readonly number[] => backend.addressable.filter(d => d < mesh.size)

/** What a device's part takes. */
export const bytesOn = ({ shape, dtype, sharding }: Placement, mesh: Mesh): number => sizeOf(localShape(shape, sharding, mesh)) * dtypes[dtype].bytes

/**
 * An array over a mesh; it may not have been computed yet. What it holds on the devices is freed by `dispose` (or `using`), by a program
 * that it is donated to, or some time after the last reference to it is gone.
 */
export class MeshArray {
  readonly placement: Placement
  readonly mesh: Mesh
  readonly backend: Backend
  readonly #held: Held

  /** `buffers` are those of `devicesHere`, `bytes` what one of them takes. */
  constructor(placement: Placement, mesh: Mesh, backend: Backend, buffers: readonly DeviceBuffer[], bytes: number = bytesOn(placement, mesh)) {
    this.placement = placement
    this.mesh = mesh
    this.backend = backend
    this.#held = new Held(buffers, bytes * buffers.length)
    watch(this, this.#held)
  }

  /** Global, in memory order. */
  get shape(): readonly Dim[] { return this.placement.shape }
  get dtype(): DType { return this.placement.dtype }
  get sharding(): Sharding { return this.placement.sharding }

  /** By device, those that this process can reach. They last as long as the array is not disposed. */
  get pieces(): ReadonlyMap<number, DeviceBuffer> {
    const { buffers } = this.#held
    return new Map(devicesHere(this.backend, this.mesh).map((device, i) => [device, new Piece(this, present(buffers[i]))]))
  }

  /** For programs that are given it. */
  get held(): Held { return this.#held }

  /**
   * The whole array on the host, in row-major order of `shape`, half precision as f32, once it has been computed. Where other processes
   * hold parts of it, all must call this, and each gets the whole: for what is small.
   * @throws DimError where it was disposed or donated; PluginError where the program that was to compute it failed.
   */
  async read(): Promise<TypedArray> {
    this.checkUsable('read')
    return numbersOf(await this.bits(), this.dtype)
  }

  /** As `read`, half-precision numbers as their bits; also for a call that is taking it over. */
  async bits(): Promise<TypedArray> {
    const here = this.#buffers()
    const [any] = here.values()
    if (this.sharding.size === 0 && any !== undefined) return any.read()
    const from = holders(this.shape, this.sharding, this.mesh)
    const all = hostArray(this.dtype, sizeOf(this.shape))
    const put = (device: number, part: TypedArray): void => paste(all, part, this.dtype, this.shape, this.sharding, this.mesh, device)
    const parts = from.filter(d => here.has(d)).map(async device => [device, await present(here.get(device)).read()] as const)
    if (parts.length === from.length) {
      for (const [device, part] of await Promise.all(parts)) put(device, part)
      return all
    }
    // A process gives the parts of its own devices, one after another.
    const mine = Promise.all(parts).then(read => new Uint8Array(Buffer.concat(read.map(([, p]) => new Uint8Array(p.buffer, p.byteOffset, p.byteLength)))))
    const given = await this.backend.processes.exchange(mine, 'reading an array that lies over processes')
    const bytes = bytesOn(this, this.mesh)
    for (const [rank, theirs] of given.entries()) {
      from.filter(d => this.backend.ownerOf(d) === rank).forEach((device, i) => put(device, dtypes[this.dtype].view(theirs.slice(i * bytes, (i + 1) * bytes).buffer)))
    }
    return all
  }

  /** The only element of a scalar, once it has been computed. @throws as `read` */
  async item(): Promise<number> {
    if (sizeOf(this.shape) !== 1) throw new DimError({ code: 'not-scalar', what: 'item: the array has more than one element', details: { array: formatShape(this.shape) }, fix: 'use read()' })
    this.checkUsable('item')
    const [piece] = this.#held.buffers
    return piece === undefined ? NaN : Number(numbersOf(await piece.read(), this.dtype)[0])
  }

  /**
   * The parts of the array that are this process's to save, one at a time: over all processes, every part once. `copy` is called for
   * each stretch that is contiguous in the whole and in the part, with its places in both and its length, in elements. A part is in memory of its
   * own, or in what `memory` gives for so many bytes.
   */
  async * ownParts(memory?: (bytes: number) => ArrayBuffer): AsyncGenerator<{ readonly data: TypedArray; readonly each: (copy: (global: number, local: number, length: number) => void) => void }> {
    this.checkUsable('ownParts')
    const here = this.#buffers()
    this.#held.hold()
    try {
      for (const device of holders(this.shape, this.sharding, this.mesh)) {
        const piece = here.get(device)
        if (piece === undefined) continue
        const block = blockOf(this.shape, this.sharding, this.mesh, device)
        yield { data: await piece.read(memory?.(bytesOn(this, this.mesh))), each: copy => stretches(this.shape, block, copy) }
      }
    } finally {
      this.#held.release()
    }
  }

  /** @throws DimError where it was disposed or donated */
  checkUsable(what: string, at?: () => DimError['problem']['at']): void {
    const { claimed } = this.#held
    const gone: Gone | undefined = this.#held.gone ?? (claimed === undefined ? undefined : { how: 'donated', to: claimed })
    if (gone === undefined) return
    throw new DimError({
      code: gone.how, what: `${what}: the array was ${gone.how === 'disposed' ? 'disposed' : `donated to a program, as its argument ${gone.to ?? ''}`}`,
      details: { array: `${this.dtype} ${formatShape(this.shape)}` }, at: at?.(),
      fix: gone.how === 'disposed' ? 'dispose it after its last use' : 'use the program\'s result, or compile it without donating this argument',
    })
  }

  /** Frees it as soon as what uses it now is done. May be called twice, and after a donation. */
  dispose(): void { this.#held.end({ how: 'disposed' }) }
  [Symbol.dispose](): void { this.dispose() }

  #buffers(): ReadonlyMap<number, DeviceBuffer> {
    return new Map(devicesHere(this.backend, this.mesh).map((device, i) => [device, present(this.#held.buffers[i])]))
  }
}

/** A buffer of an array, which keeps the array: what it holds is freed when neither can be reached. */
class Piece implements DeviceBuffer {
  readonly array: MeshArray
  readonly #buffer: DeviceBuffer

  constructor(array: MeshArray, buffer: DeviceBuffer) {
    this.array = array
    this.#buffer = buffer
  }

  get shape(): readonly number[] { return this.#buffer.shape }
  get dtype(): DType { return this.#buffer.dtype }
  get device(): number { return this.#buffer.device }
  read(into?: ArrayBuffer): Promise<TypedArray> { return this.#buffer.read(into) }
  dispose(): void { this.#buffer.dispose() }
}

export function present(found: DeviceBuffer | undefined): DeviceBuffer {
  if (found === undefined) throw new Error('a device has no buffer')
  return found
}

const sameShape = (a: readonly Dim[], b: readonly Dim[]): boolean => a.length === b.length && a.every(({ name, size }, i) => name === b[i]?.name && size === b[i].size)
export const samePlacement = (a: Placement, b: Placement): boolean => a.dtype === b.dtype && sameShape(a.shape, b.shape) && sameSharding(a.sharding, b.sharding)
/** Whether what lies as one lies as the other, or the platform has one memory for both. */
export const sameMemory = (a: Placement, b: Placement, { platform }: Backend['lowering']): boolean => (a.memory === b.memory || (choices[platform].hostMemory ?? 'its own') === 'its own')
