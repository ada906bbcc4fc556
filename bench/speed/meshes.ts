/** The same global batch on virtual devices, beside our own one device and JAX with the same sharding. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, type Row } from '../measure.ts'
import { withWorkers, type Worker } from '../process.ts'
import { optimizer } from '../task.ts'
import { batches, type Configuration } from './configurations.ts'
import { ask, startJax, startOurs, visit, warmup, writeBatches, type Part, type Say, type Side } from './sides.ts'

const meshes = [{ batch: 2, model: 1 }, { batch: 1, model: 2 }, { batch: 2, model: 2 }, { batch: 2, model: 4 }] as const

export async function onMeshes(name: string, of: Configuration, jax: string, rounds: number, say: Say): Promise<Part> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const rows: Row[] = []
  try {
    await writeBatches(folder, of)
    for (const mesh of meshes) {
      const label = `(${name}) ${mesh.batch}×${mesh.model}`
      const told = { do: 'open', of, compute: 'f32', optimizer, folder, batches }
      const sides: readonly Side[] = [
        { name: 'one', worker: await startOurs('one'), open: { ...told, mesh: { batch: 1, model: 1 } } }, { name: 'ours', worker: await startOurs('ours'), open: { ...told, mesh } },
        { name: 'JAX', worker: startJax(jax, 'cpu', mesh.batch * mesh.model), open: { ...told, mesh } },
      ]
      await withWorkers(sides.map(s => s.worker), async () => {
        const losses = new Map<string, readonly number[]>()
        for (const [i, { name: side, worker, open }] of sides.entries()) {
          say(`${label}: compiling, ${side}`)
          await worker.say(JSON.stringify(open))
          if (i === 0) await ask(worker, { do: 'save' })
          losses.set(side, (await ask(worker, { do: 'steps', count: warmup })).losses)
        }
        checkLosses(losses)
        const timed = (w: Worker) => async (): Promise<number> => median((await ask(w, { do: 'steps', count: visit })).ms.slice(1))
        const found = await interleave(new Map(sides.map(s => [s.name, timed(s.worker)])), rounds, done => { say(`${label}: round ${done} of ${rounds}`) })
        const two = mesh.batch === 2 && mesh.model === 2
        rows.push(
          row(`${label} ours`, median(found.get('ours') ?? []), 'ms'), row(`${label} / our 1×1`, ratio(found, 'ours', 'one'), '', two ? 1.05 : undefined),
          row(`${label} / JAX`, ratio(found, 'ours', 'JAX'), '', two ? 0.85 : undefined),
        )
      })
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  return { notes: [], rows }
}
