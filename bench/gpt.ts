/** A GPT's training step on one device, on a mesh of four, and in eager PyTorch. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { threefry2x32 } from '../src/core/threefry.ts'
import { torchPython } from '../test/oracle/python.ts'
import { interleave, median, ratio, row, timesOf, type Rounds, type Section } from './measure.ts'
import { asCommand, environments, startOurs, startTorch, withWorkers, type Worker } from './process.ts'
import { optimizer, type Task } from './task.ts'

export const config = { vocab: 8192, seq: 128, layers: 4, embed: 256, heads: 8, headDim: 32, hidden: 1024, dropout: 0 }
const [batch, batches] = [8, 8]
/** Steps a visit: the first finds the caches full of another's data and is not counted. */
const visit = 4
export const warmup = 6

/** Random tokens: what they are does not change the work. */
export async function writeBatches(folder: string, batch: number): Promise<void> {
  const count = 2 * batch * config.seq
  for (let i = 0; i < batches; i++) {
    await writeFile(join(folder, `batch.${i}`), Int32Array.from({ length: count }, (_, k) => threefry2x32(5, i, k, 0) % config.vocab))
  }
}

/** The losses of the warm-up must be the same everywhere, or different work is compared. */
export function checkLosses(losses: ReadonlyMap<string, readonly number[]>): number {
  const [first = []] = [...losses.values()]
  let worst = 0
  for (const [name, of] of losses) {
    const apart = Math.max(...first.map((loss, i) => Math.abs((of[i] ?? NaN) / loss - 1)))
    if (!(apart < 1e-3)) throw new Error(`${name} computes other losses: ${of.join(' ')} instead of ${first.join(' ')}`)
    worst = Math.max(worst, apart)
  }
  return worst
}

export async function gptSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const python = await torchPython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const task = (mesh: Task['mesh']): Task => ({ config, batch, batches, optimizer, folder, mesh })
  const sides = Object.entries(environments).flatMap(([label, environment]) => [
    { name: `1×1, ${label}`, mesh: { batch: 1, model: 1 }, start: (name: string) => startOurs(name, environment) },
    { name: `2×2, ${label}`, mesh: { batch: 2, model: 2 }, start: (name: string) => startOurs(name, environment) },
    { name: `PyTorch, ${label}`, mesh: { batch: 1, model: 1 }, start: (name: string) => startTorch(name, python, environment) },
  ])
  const workers = sides.map(({ name, start }): Worker => start(name))
  try {
    await writeBatches(folder, batch)
    return await withWorkers(workers, async () => {
      const notes: string[] = []
      const losses = new Map<string, readonly number[]>()
      for (const [i, worker] of workers.entries()) {
        say(`starting ${worker.name}`)
        const { runtime } = await worker.ask({ do: 'open', task: task(sides[i]?.mesh ?? { batch: 1, model: 1 }) })
        if (!notes.includes(runtime)) notes.push(runtime)
        if (i === 0) await worker.ask({ do: 'save' })
        losses.set(worker.name, (await worker.ask({ do: 'steps', count: warmup })).losses)
      }
      notes.push(`losses of ${warmup} steps agree within ${checkLosses(losses).toExponential(1)}`)
      const step = (w: Worker) => async () => median((await w.ask({ do: 'steps', count: visit })).ms.slice(1))
      const found = await interleave(new Map(workers.map(w => [w.name, step(w)])), rounds, done => { say(`round ${done} of ${rounds}`) })
      return { name: 'gpt', notes, rows: rows(found) }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Goals are about what the command starts with; the peer has the same. */
const goalOf = (label: string, goal: number): number | undefined => (environments[label as keyof typeof environments] === asCommand ? goal : undefined)
const rows = (found: Rounds): Section['rows'] => [
  ...timesOf(found),
  ...Object.keys(environments).flatMap(label => [
    row(`1×1 / PyTorch, both ${label}`, ratio(found, `1×1, ${label}`, `PyTorch, ${label}`), '', goalOf(label, 0.95)),
    row(`2×2 / 1×1, ${label}`, ratio(found, `2×2, ${label}`, `1×1, ${label}`), '', goalOf(label, 1.25)),
  ]),
  row('huge pages / plain, 1×1', ratio(found, '1×1, huge pages', '1×1, plain')),
  row('huge pages / plain, 2×2', ratio(found, '2×2, huge pages', '2×2, plain')),
  row('huge pages / plain, PyTorch', ratio(found, 'PyTorch, huge pages', 'PyTorch, plain')),
]
