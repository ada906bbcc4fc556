/** How fast kernels read and write that do nothing else, by bytes, on devices that all do so at once. */
import type { Mesh } from '../core/mesh.ts'
import type { Backend } from '../engine/index.ts'
import type { Figures, Points } from '../machine/machine.ts'
import { laterUs, leastShare, turnUs, type Measuring } from './measure.ts'
import { inTurn, partsTogether, streams, turnedOver, type Looped } from './programs.ts'

/** Numbers of an array; and matrices that are turned over. */
const elements = [2 ** 12, 2 ** 15, 2 ** 18, 2 ** 20, 2 ** 22]
const matrices = [[64, 256], [256, 1024], [512, 2048]] as const
export const bandwidthSteps = (of: Backend): number => elements.length + (of.devicesAs === 'ranks' ? 2 : 1) * matrices.length
const mostArrays = 96

/** Microseconds of a kernel before it does anything, where there are many of them or few, and of a turn of a loop. */
interface Overheads { readonly kernelUs: number; readonly fewUs: number; readonly loopUs: number }

export async function bandwidthOf(m: Measuring, mesh: Mesh, quick: boolean, { kernelUs, fewUs, loopUs }: Overheads, step: (what: string) => void): Promise<Figures['bandwidth']> {
  const on = `${mesh.size} device${mesh.size === 1 ? '' : 's'}`
  const points: Points = []
  for (const n of quick ? elements.slice(1, 3) : elements) {
    step(`memory on ${on}, ${n} numbers`)
    const arrays = quick ? 2 : 2 ** 22 / n
    if (arrays <= 4) {
      // Large ones are read from memory: there are too few of them in a turn to lie in a core's own cache, and each follows the one before. Four ranks read 16 MB each again and again at twice memory's speed, as devices of one process do not: theirs are many.
      const count = m.backend.processes.count > 1 ? 6 * arrays : Math.max(2, arrays)
      const each = (await turnUs(m, streams(mesh, count, n)) - loopUs) / count
      points.push([8 * n, 8 * n / Math.max(leastShare * each, each - fewUs, 1e-3) * 1e6])
      continue
    }
    const count = Math.min(mostArrays, arrays)
    const [{ us, later } = { us: NaN, later: NaN }] = await laterUs(m, [[inTurn(mesh, { elements: n, count, mapped: false }), inTurn(mesh, { elements: n, count, mapped: true })]])
    // Two arrays are read and one is written. Where something else was on the way little may be left of a difference: never less than a fifth of the product before it, which reads and writes two thirds of these bytes.
    points.push([12 * n, 12 * n / Math.max(leastShare * us / count, later / count - kernelUs) * 1e6])
  }
  const copied = async (what: string, program: (rows: number, columns: number) => Looped): Promise<Points> => {
    const found: Points = []
    for (const [rows, columns] of quick ? matrices.slice(0, 1) : matrices) {
      step(`${what} on ${on}, ${rows} × ${columns}`)
      // Two a turn, one of them without what it is before it does anything.
      const us = await turnUs(m, program(rows, columns))
      const bytes = 8 * rows * columns
      found.push([bytes, bytes / Math.max(leastShare * us / 2, (us - loopUs) / 2 - fewUs) * 1e6])
    }
    return found
  }
  const turned = await copied('matrices turned over', (rows, columns) => turnedOver(mesh, rows, columns))
  // What comes of a collective among ranks has whole rows of their parts; among devices of one process XLA has it lie the other way round, and turns it over.
  const parts = m.backend.devicesAs === 'ranks' && mesh.size > 1 ? await copied('parts laid side by side', (rows, columns) => partsTogether(mesh, rows, columns, mesh.size)) : undefined
  return { peak: Math.max(...points.map(([, rate]) => rate)), points: points.sort((a, b) => a[0] - b[0]), turned, ...parts === undefined ? {} : { parts } }
}
