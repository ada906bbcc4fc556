/** Small states on pretend devices, and ranks that are in this one process: each holds its own device's part. */
import { dim } from '../../src/core/dim.ts'
import { dtypes, hostArray, type DType, type TypedArray } from '../../src/core/dtype.ts'
import { treeOps } from '../../src/core/tree.ts'
import { Checkpoints, type CheckpointEvent, type CheckpointOptions } from '../../src/checkpoint/index.ts'
import { mesh, MeshArray, openBackend, place, type Backend, type Mesh, type Placement, type Tree, type Placements } from '../../src/engine/index.ts'
import type { BufferType, DeviceBuffer } from '../../src/runtime/backend.ts'
import { alone, queue, type Processes } from '../../src/runtime/processes.ts'
import type { MemoryFiles } from './memory-files.ts'
import { forCpu } from '../../src/core/platform.ts'

/** dim → axes of each tensor, per mesh. */
export interface Setting { readonly mesh: Mesh; readonly rules: { readonly [dim: string]: readonly string[] } }
export interface Leaf { readonly dtype: DType; readonly dims: { readonly [name: string]: number } }
export type Leaves = { readonly [path: string]: Leaf }

export const weightLeaves: Leaves = {
  embed: { dtype: 'f32', dims: { vocab: 12, embed: 8 } },
  'blocks.query': { dtype: 'bf16', dims: { layers: 2, embed: 8, heads: 4 } },
  scale: { dtype: 'f16', dims: { embed: 8 } },
}
export const stateLeaves: Leaves = {
  'slots.embed.m': { dtype: 'f64', dims: { vocab: 12, embed: 8 } },
  'slots.odd.name~ü': { dtype: 'f32', dims: { seven: 7, embed: 8 } },
  step: { dtype: 'i32', dims: {} },
  frozen: { dtype: 'bool', dims: { heads: 4 } },
  key: { dtype: 'u32', dims: { two: 2 } },
  counted: { dtype: 'i64', dims: {} },
  small: { dtype: 'i8', dims: { three: 3 } },
  bytes: { dtype: 'u8', dims: { embed: 8, three: 3 } },
}

export function placementOf({ dtype, dims }: Leaf, { rules }: Setting): Placement {
  const shape = Object.entries(dims).map(([name, size]) => dim(name, size))
  return { shape, dtype, sharding: new Map(shape.flatMap(d => { const axes = rules[d.name]; return axes === undefined ? [] : [[d.name, [...axes]] as const] })) }
}

/** The numbers of a leaf: another bit pattern for each leaf and `seed`, all of them legal. */
export function dataOf(path: string, { dtype, dims }: Leaf, seed: number): TypedArray {
  const n = Object.values(dims).reduce((a, b) => a * b, 1)
  const out = hostArray(dtype, n)
  const salt = [...path].reduce((h, c) => (h * 31 + (c.codePointAt(0) ?? 0)) >>> 0, seed)
  for (let i = 0; i < n; i++) {
    const x = Math.imul(salt + i + 1, 2654435761) >>> 0
    // Bits of a half, kept from infinities and NaN, which a backend may write another way.
    out[i] = (dtype === 'i64' ? BigInt(x) << 20n : dtype === 'bool' ? x & 1 : dtype === 'bf16' || dtype === 'f16' ? x & 0xbbff : dtypes[dtype].kind === 'float' ? (x - 2 ** 31) / 3 : x) as never
  }
  return out
}

/** Flat trees: a path as a key reads the same as nested ones. */
export const placements = (leaves: Leaves, setting: Setting): Placements<Tree> => Object.fromEntries(Object.entries(leaves).map(([path, leaf]) => [path, placementOf(leaf, setting)]))
export const arraysOf = async (leaves: Leaves, setting: Setting, backend: Backend, seed: number): Promise<{ readonly [path: string]: MeshArray }> =>
  Object.fromEntries(await Promise.all(Object.entries(leaves).map(async ([path, leaf]) => [path, await place(backend, setting.mesh, placementOf(leaf, setting), blocks => cutOf(path, leaf, seed, blocks), path)])))

/** A block of a leaf's numbers. */
function cutOf(path: string, leaf: Leaf, seed: number, { starts, sizes }: { readonly starts: readonly number[]; readonly sizes: readonly number[] }): TypedArray {
  const [all, shape] = [dataOf(path, leaf, seed), Object.values(leaf.dims)]
  const out = hostArray(leaf.dtype, sizes.reduce((a, b) => a * b, 1))
  for (let i = 0; i < out.length; i++) {
    let [rest, at] = [i, 0]
    const places = sizes.map((_, d) => sizes.slice(d + 1).reduce((a, b) => a * b, 1))
    shape.forEach((_, d) => {
      const index = Math.floor(rest / (places[d] ?? 1))
      rest -= index * (places[d] ?? 1)
      at += (index + (starts[d] ?? 0)) * shape.slice(d + 1).reduce((a, b) => a * b, 1)
    })
    out[i] = all[at] as never
  }
  return out
}

export const one: Setting = { mesh: mesh({}), rules: {} }
export const byBatch = (n: number): Setting => ({ mesh: mesh({ batch: n }), rules: { embed: ['batch'] } })

/** Bits of every array, by path. */
export async function bitsOf(tree: unknown): Promise<{ readonly [path: string]: string }> {
  const ops = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
  return Object.fromEntries(await Promise.all(ops.flatten(tree).map(async ({ path, leaf }) => {
    const bits = await leaf.bits()
    return [path, Buffer.from(bits.buffer, bits.byteOffset, bits.byteLength).toString('hex')]
  })))
}
export const expectedBits = (leaves: Leaves, seed: number): { readonly [path: string]: string } =>
  Object.fromEntries(Object.entries(leaves).map(([path, leaf]) => [path, Buffer.from(dataOf(path, leaf, seed).buffer).toString('hex')]))

export interface Bench {
  readonly files: MemoryFiles
  readonly events: CheckpointEvent[]
  readonly checkpoints: Checkpoints
}
export const where = '/run/checkpoints'
/** A run's checkpoints in memory. */
export async function openIn(files: MemoryFiles, options: Partial<CheckpointOptions> = {}): Promise<Bench> {
  const events: CheckpointEvent[] = []
  const checkpoints = await Checkpoints.open({ folder: where, runId: 'abc', run: { name: 'r' }, versions: { meshwork: 'test' }, processes: alone, files, onEvent: e => { events.push(e) }, ...options })
  return { files, events, checkpoints }
}

export const simulated = (devices: number): Promise<Backend> => openBackend({ devices, plugin: 'simulate' })
export const stateOf = async (setting: Setting, backend: Backend, seed: number) =>
  ({ weights: await arraysOf(weightLeaves, setting, backend, seed), state: await arraysOf(stateLeaves, setting, backend, seed), host: { seed } })
export const wantedOf = (setting: Setting) => ({ weights: placements(weightLeaves, setting), state: placements(stateLeaves, setting) })

/** Processes of one job, in this process. */
export function ranks(count: number): Processes[] {
  interface Round { readonly what: string; readonly given: (Uint8Array | undefined)[]; arrived: number; readonly done: Promise<readonly Uint8Array[]>; readonly resolve: (all: readonly Uint8Array[]) => void }
  const rounds: Round[] = []
  return Array.from({ length: count }, (_, rank): Processes => {
    const inTurn = queue()
    let next = 0
    return {
      ...alone, rank, count, hosts: Array.from({ length: count }, (_, r) => `host${r}`), inTurn,
      exchange: (bytes, what) => inTurn(async () => {
        const mine = (await bytes).slice()
        const n = next++
        if (rounds[n] === undefined) {
          let resolve: Round['resolve'] = () => {}
          const done = new Promise<readonly Uint8Array[]>(r => { resolve = r })
          rounds[n] = { what, given: [], arrived: 0, done, resolve }
        }
        const round = rounds[n]
        if (round.what !== what) throw new Error(`rank ${rank} is at ${what}, another at ${round.what}`)
        round.given[rank] = mine
        if (++round.arrived === count) round.resolve(round.given as Uint8Array[])
        return round.done
      }),
    }
  })
}

/** The backend of one rank: it holds bytes, and runs nothing. A read gives the device's own memory, as a plugin's view of it may. */
export function rankBackend(processes: Processes): Backend {
  class Held implements DeviceBuffer {
    readonly shape: readonly number[]
    readonly dtype: DType
    readonly device: number = processes.rank
    readonly memory: TypedArray
    constructor({ shape, dtype }: BufferType, memory: TypedArray) {
      this.shape = shape
      this.dtype = dtype
      this.memory = memory
    }
    async read(into?: ArrayBuffer): Promise<TypedArray> {
      if (into === undefined) return this.memory
      new Uint8Array(into).set(new Uint8Array(this.memory.buffer, this.memory.byteOffset, this.memory.byteLength))
      return dtypes[this.dtype].view(into, 0, this.memory.length)
    }
    dispose(): void { new Uint8Array(this.memory.buffer).fill(0xee) }
  }
  return {
    name: 'held', description: 'held', plugin: 'held', deviceCount: processes.count, addressable: [processes.rank], lowering: forCpu, devicesAs: 'ranks', processes,
    ownerOf: device => device, compile: () => Promise.reject(new Error('nothing is compiled here')), traced: () => Promise.reject(new Error('nothing is compiled here')),
    put: async (data, type) => new Held(type, data.slice()), kernels: () => Promise.resolve(false), liveBuffers: () => 0, close: async () => {}, [Symbol.asyncDispose]: async () => {},
  }
}
