/** Ranges of what blocks decode to: only the blocks that a range touches are read, and some thousands at a time. */
import type { Ranged } from '../../io/ranged.ts'
import { emptyGroups, unpackAll, weightsOf, type Blocks, type Groups } from './blocks.ts'

/** Elements that are decoded at once: their memory is all that reading takes besides what is read into. */
const elementsAtOnce = 1 << 16

/** Calls `use` with the groups of the blocks that elements `from` to `to` lie in, run by run; `first` is the first element of a run. */
export async function eachRun(file: Ranged, start: number, blocks: Blocks, from: number, to: number, use: (groups: Groups, first: number) => void): Promise<void> {
  const perRun = Math.max(1, Math.floor(elementsAtOnce / blocks.elements))
  const end = Math.ceil(to / blocks.elements)
  let [bytes, groups] = [new Uint8Array(0), emptyGroups(blocks, 0)]
  for (let block = Math.floor(from / blocks.elements); block < end; block += perRun) {
    const count = Math.min(perRun, end - block)
    if (bytes.length !== count * blocks.bytes) [bytes, groups] = [new Uint8Array(count * blocks.bytes), emptyGroups(blocks, count * blocks.elements)]
    await file.read(bytes, start + block * blocks.bytes)
    unpackAll(blocks, bytes, groups)
    use(groups, block * blocks.elements)
  }
}

const bytesOf = (a: ArrayBufferView): Uint8Array => new Uint8Array(a.buffer as ArrayBuffer, a.byteOffset, a.byteLength)

/** Copies the part of `source`, which begins at byte `begin` of a whole, that `into`, which begins at byte `at` of it, has room for. */
export function copyPart(source: ArrayBufferView, begin: number, into: Uint8Array, at: number): void {
  const [from, to] = [Math.max(at, begin), Math.min(at + into.byteLength, begin + source.byteLength)]
  if (from < to) into.set(bytesOf(source).subarray(from - begin, to - begin), from - at)
}

/** Reads bytes of the weights as f32. */
export const decoded = (file: Ranged, start: number, blocks: Blocks) => async (into: Uint8Array, at: number): Promise<void> => {
  let weights = new Float32Array(0)
  await eachRun(file, start, blocks, Math.floor(at / 4), Math.ceil((at + into.byteLength) / 4), (groups, first) => {
    if (weights.length !== groups.numbers.length) weights = new Float32Array(groups.numbers.length)
    weightsOf(blocks, groups, weights)
    copyPart(weights, 4 * first, into, at)
  })
}
