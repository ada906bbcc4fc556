/** The best matrix multiplication of some devices, all at once: what a step's operations are compared with. */
import { mkdir, readFile, rm } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { dims } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { compile, fromFirst, full, input, type Backend, type Mesh } from '../engine/index.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { cacheRoot } from '../io/cache-root.ts'
import { sha256 } from '../io/checksum.ts'

/** A multiplication that takes so long has shown what a device can do. */
const longEnoughMs = 40
const sizes = [256, 512, 1024, 2048, 4096, 8192]
const rounds = 5

/**
 * Floating-point operations a second of square matrices, one pair on each device of the mesh. Measured once on a machine, and kept; undefined for the interpreter,
 * of which speed is not asked. `onMeasure` is called before it is measured. All processes call it.
 * @param seen what the devices have been seen to do, the same in all processes: where that is more than what was kept, it is measured anew, and the better of the two is kept
 */
export async function peakOf(backend: Backend, mesh: Mesh, dtype: DType, onMeasure: () => void = () => undefined, seen = 0): Promise<number | undefined> {
  const { processes, plugin } = backend
  if (plugin === 'simulate') return undefined
  const file = (): string => keptIn(backend, mesh, dtype)
  const known = await fromFirst(processes, 'the best matrix multiplication', async () => {
    const { flops } = await readFile(file(), 'utf8').then(text => JSON.parse(text) as { readonly flops?: unknown }, () => ({ flops: null }))
    return typeof flops === 'number' && flops > 0 ? flops : null
  })
  if (known !== null && known >= seen) return known
  onMeasure()
  const flops = Math.max(known ?? 0, await measured(backend, mesh, dtype))
  if (processes.rank === 0) {
    // Who cannot write it measures again.
    await mkdir(join(cacheRoot(), 'peaks'), { recursive: true }).then(() => writeFileAtomic(file(), `${JSON.stringify({ flops, plugin, dtype, devices: mesh.size })}\n`)).catch(() => undefined)
  }
  return flops
}

/** Has it measured anew by whoever asks next: what was kept comes of a busy machine, where steps are quicker than it. */
export const forgetPeak = async (backend: Backend, mesh: Mesh, dtype: DType): Promise<void> => {
  if (backend.processes.rank === 0) await rm(keptIn(backend, mesh, dtype), { force: true }).catch(() => undefined)
}

const keptIn = ({ plugin, description }: Backend, mesh: Mesh, dtype: DType): string =>
  join(cacheRoot(), 'peaks', `${sha256(JSON.stringify([plugin, description, cpus()[0]?.model, cpus().length, mesh.size, dtype])).slice(0, 24)}.json`)

async function measured(backend: Backend, mesh: Mesh, dtype: DType): Promise<number> {
  const where = { mesh, backend, layout: { devices: mesh.axes.map(a => a.name) } }
  let best = 0
  for (const n of sizes) {
    const d = dims({ devices: mesh.size, rows: n, inner: n, columns: n })
    const [left, right] = [input('left', [d.devices, d.rows, d.inner], dtype), input('right', [d.devices, d.inner, d.columns], dtype)]
    // The largest of the products has to be known: none of them can be left out, and few numbers come back.
    const program = await compile((x: typeof left, y: typeof right) => x.dot(y, d.inner).max(d.rows, d.columns), [left, right] as const, where)
    const filled = await compile(() => ({ x: full(0.5, [d.devices, d.rows, d.inner], dtype), y: full(0.25, [d.devices, d.inner, d.columns], dtype) }), [] as const, where)
    const { x, y } = await filled()
    let fastest = Infinity
    try {
      for (let round = 0; round < rounds; round++) {
        const start = performance.now()
        const largest = await program(x, y)
        await largest.read()
        fastest = Math.min(fastest, performance.now() - start)
        largest.dispose()
      }
    } finally {
      for (const end of [x, y, program, filled]) end.dispose()
    }
    best = Math.max(best, mesh.size * 2 * n ** 3 / fastest * 1000)
    if (await fromFirst(backend.processes, 'whether it was long enough', () => fastest) > longEnoughMs) break
  }
  return fromFirst(backend.processes, 'the best matrix multiplication', () => best)
}
