/** Five hundred small steps on four devices: resident memory must stay flat, and no buffer be left over. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { row, type Section } from './measure.ts'
import { asCommand, startOurs, withWorkers } from './process.ts'
import { optimizer } from './task.ts'

const config = { vocab: 512, seq: 64, layers: 2, embed: 64, heads: 4, headDim: 16, hidden: 256, dropout: 0 }
const batch = 8
const MiB = 2 ** 20

export async function memorySection(_rounds: number, say: (line: string) => void): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const worker = startOurs('memory', asCommand)
  try {
    await writeFile(join(folder, 'batch.0'), Int32Array.from({ length: 2 * batch * config.seq }, (_, i) => (i * 7919) % config.vocab))
    return await withWorkers([worker], async () => {
      await worker.ask({ do: 'open', task: { config, batch, batches: 1, optimizer, folder, mesh: { batch: 2, model: 2 } } })
      await worker.ask({ do: 'steps', count: 100 })
      const early = await worker.ask({ do: 'memory' })
      say(`100 steps: ${(early.residentBytes / MiB).toFixed(0)} MiB resident`)
      await worker.ask({ do: 'steps', count: 400 })
      const late = await worker.ask({ do: 'memory' })
      const { liveBuffers } = await worker.ask({ do: 'close' })
      return {
        name: 'memory', notes: ['mesh 2×2'],
        rows: [
          row('resident after 100 steps', early.residentBytes / MiB, 'MiB'),
          row('resident after 500 steps', late.residentBytes / MiB, 'MiB'),
          row('growth', (late.residentBytes / early.residentBytes - 1) * 100, '%', 3),
          row('buffers gained between', late.liveBuffers - early.liveBuffers, 'buffers', 0),
          row('buffers left after closing', liveBuffers, 'buffers', 0),
        ],
      }
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
