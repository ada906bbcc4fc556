/** The same run on four ranks under each MPI that is here, as a user starts it. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bin, found, mpirun, type Mpi } from '../mpi/support.ts'

export interface RankRow { readonly mesh: string; readonly losses: readonly number[]; readonly evalLoss: number | undefined }

interface Line { readonly loss?: number; readonly evalLoss?: number }

async function trained(mpi: Mpi, mesh: string, steps: number, folder: string): Promise<{ readonly lines: readonly Line[]; readonly weights: Buffer }> {
  const out = await mkdtemp(join(folder, 'run-'))
  const ended = await mpirun(mpi, 4, ['node', bin, 'train', 'gpt-tiny', '--steps', String(steps), '--seed', '1', '--mesh', mesh, '--out', out])
  if (ended.code !== 0) throw new Error(`${mpi.name}: exit ${ended.code}\n${ended.err}`)
  const lines = (await readFile(join(out, 'metrics.jsonl'), 'utf8')).trim().split('\n').map(l => JSON.parse(l) as Line)
  return { lines, weights: await readFile(join(out, 'model.safetensors')) }
}

/** Losses of 2×2, 4×1 and 1×4; the first is run twice. @throws Error where the second time gives other bits. */
export async function onRanks(steps: number, say: (line: string) => void): Promise<RankRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-numbers-'))
  try {
    const rows: RankRow[] = []
    for (const mpi of found) {
      for (const [batch, model] of [[2, 2], [4, 1], [1, 4]] as const) {
        say(`${mpi.name}, 4 ranks, batch ${batch} × model ${model}: ${steps} steps`)
        const mesh = `batch=${batch},model=${model}`
        const { lines, weights } = await trained(mpi, mesh, steps, folder)
        if (batch === 2 && !weights.equals((await trained(mpi, mesh, steps, folder)).weights)) throw new Error(`${mpi.name}: two runs gave other weights`)
        rows.push({ mesh: `${batch}×${model} ${mpi.name}`, losses: lines.flatMap(l => l.loss ?? []), evalLoss: lines.findLast(l => l.evalLoss !== undefined)?.evalLoss })
      }
    }
    return rows
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
