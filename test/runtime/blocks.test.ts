/** Large blocks that the plugin takes and frees with every run: kept for the next run, and given back when nobody wants them any more. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { sizeOf } from '../../src/core/dim.ts'
import koffi from '../../src/io/koffi.ts'
import { compile, dims, input, mesh, openBackend, type Backend } from '../../src/engine/index.ts'
import { buildKernels } from '../../src/runtime/pjrt/cpu/kernels-build.ts'
import { keptBlocks, type Blocks } from '../../src/runtime/pjrt/cpu/kernels.ts'

let backend: Backend
let built: boolean
beforeAll(async () => {
  backend = await openBackend({ devices: 1, cache: false })
  built = await backend.kernels()
})
afterAll(async () => { await backend.close() })
beforeEach(({ skip }) => { skip(!built || process.platform !== 'linux', 'there is no C compiler here that builds the kernels') })

const blocks = async (): Promise<Blocks> => await keptBlocks() ?? { live: NaN, held: NaN, fresh: NaN }
const [MiB, runs] = [2 ** 20, 12]
const d = dims({ rows: 4096, inner: 256, hidden: 4096, few: 8 })

test('temporaries of 64 MiB are the same pages run after run', async () => {
  const args = [input('x', [d.rows, d.inner]), input('w', [d.inner, d.hidden]), input('v', [d.hidden, d.few])] as const
  using program = await compile((x: typeof args[0], w: typeof args[1], v: typeof args[2]) => x.dot(w, d.inner).dot(v, d.hidden).sum(d.rows, d.few), args, { mesh: mesh({}), layout: {}, backend })
  const data = args.map(x => Float32Array.from({ length: sizeOf(x.shape) }, (_, i) => ((i * 7919) % 1009) / 1009 - 0.5)) as [Float32Array, Float32Array, Float32Array]
  const run = async (): Promise<number> => {
    const sum = await program(...data)
    const total = await sum.item()
    sum.dispose()
    return total
  }
  const first = await run()
  await run()
  const before = await blocks()
  expect(before.held).toBeGreaterThan(64 * MiB)
  for (let i = 0; i < runs; i++) expect(await run()).toBe(first)
  const after = await blocks()
  // Each takes three for its arguments and one at least for what it computes; one is taken anew where the last run's has not been freed yet.
  expect(after.fresh - before.fresh).toBeLessThan(runs)
  expect(after.held).toBeGreaterThanOrEqual(after.live)
}, 120_000)

describe('a block', () => {
  let take: (size: number) => bigint
  let free: (at: bigint) => void
  let size: (at: bigint) => number
  beforeAll(async () => {
    const found = await buildKernels()
    if (!('path' in found)) return
    const library = koffi.load(found.path)
    take = library.func('mwk_block_take', 'uint64', ['uint64']) as (size: number) => bigint
    free = library.func('mwk_block_free', 'void', ['uint64']) as (at: bigint) => void
    size = library.func('mwk_block_size', 'uint64', ['uint64']) as (at: bigint) => number
  })
  const word = (at: bigint, index: number): DataView => new DataView(koffi.view(at + BigInt(index), 8))

  test('lies at a multiple of 64, is as large as was asked for to its last byte, and comes back as it was', async () => {
    const sizes = [1, 1.5, 3, 40].map(x => x * MiB + 24)
    const taken = sizes.map(s => BigInt(take(s)))
    taken.forEach((at, i) => {
      expect(at % 64n).toBe(0n)
      expect(Number(size(at))).toBeGreaterThanOrEqual(sizes[i] ?? 0)
      word(at, 0).setFloat64(0, i + 0.5, true)
      word(at, (sizes[i] ?? 0) - 8).setFloat64(0, i + 0.25, true)
    })
    expect(taken.map((at, i) => [word(at, 0).getFloat64(0, true), word(at, (sizes[i] ?? 0) - 8).getFloat64(0, true)])).toEqual(sizes.map((_, i) => [i + 0.5, i + 0.25]))
    const before = await blocks()
    const [last = 0n] = taken.slice(-1)
    free(last)
    const again = BigInt(take(40 * MiB))
    expect((await blocks()).fresh).toBe(before.fresh)
    expect((await blocks()).live).toBe(before.live)
    for (const at of [...taken.slice(0, -1), again]) free(at)
  })

  test('that is not wanted again goes once others take its place: no more is held than was in use at once, and an eighth', async () => {
    const { live } = await blocks()
    let most = live
    for (let i = 0; i < 3000; i++) {
      const pair = [take((2 + i % 7) * 8 * MiB), take((3 + i % 5) * 8 * MiB)].map(BigInt)
      const now = await blocks()
      most = Math.max(most, now.live)
      for (const at of pair) free(at)
    }
    const after = await blocks()
    expect(after.live).toBe(live)
    expect(after.held).toBeLessThanOrEqual(most * 1.125)
  })

  test('of more than there are addresses is none', () => { expect(BigInt(take(2 ** 60))).toBe(0n) })
})
