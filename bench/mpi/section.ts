/** Between processes: each collective beside direct calls of MPI, the training step beside PyTorch's DTensor and DDP, and weak scaling. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { found, type Mpi } from '../../test/mpi/support.ts'
import { torchPython } from '../../test/oracle/python.ts'
import { checkLosses, config, warmup, writeBatches } from '../gpt.ts'
import { interleave, median, ratio, row, type Row, type Section } from '../measure.ts'
import { asCommand, asUsers, startNative, startRanks, startTorchMesh, withWorkers, type Worker } from '../process.ts'
import { collectiveNames, optimizer, type CollectiveName, type Task } from '../task.ts'

const sizes = [2 ** 10, 2 ** 13, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24, 2 ** 26]
/** Bytes from which bandwidth counts, and up to which what is added to the latency. */
const [large, small] = [2 ** 20, 2 ** 16]
/** Enough that starting a program is a small part, and not so many that the largest take long. */
const timesOf = (bytes: number): number => Math.max(12, Math.min(1000, Math.round(2 ** 27 / bytes)))
const sizeText = (bytes: number): string => (bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`)

interface Measured { readonly op: CollectiveName; readonly bytes: number; readonly ours: number; readonly direct: number; readonly ratio: number }

async function collectives(mpi: Mpi, ranks: number, program: string, rounds: number, say: (line: string) => void): Promise<Measured[]> {
  const ours = startRanks('ours', mpi, ranks, asCommand)
  const direct = startNative('direct', mpi, ranks, program)
  return withWorkers([ours, direct], async () => {
    const all: Measured[] = []
    for (const op of collectiveNames) {
      for (const bytes of sizes) {
        const times = timesOf(bytes)
        const times_ = await interleave(new Map([
          ['ours', async () => (await ours.ask({ do: 'collective', op, bytes, times })).us],
          ['direct', async () => (await direct.say(`${op} ${bytes} ${times}`) as { readonly us: number }).us],
        ]), rounds, () => undefined)
        all.push({ op, bytes, ours: median(times_.get('ours') ?? []), direct: median(times_.get('direct') ?? []), ratio: ratio(times_, 'ours', 'direct') })
      }
      say(`${ranks} ranks: ${op}`)
    }
    return all
  })
}

const table = (ranks: number, all: readonly Measured[]): string[] => all.map(({ op, bytes, ours, direct, ratio: r }) =>
  `${ranks} ranks  ${op.padEnd(14)}  ${sizeText(bytes).padStart(8)}  ours ${ours.toFixed(1).padStart(9)} µs  direct ${direct.toFixed(1).padStart(9)} µs  ${r.toFixed(2)}`)

const collectiveRows = (ranks: number, all: readonly Measured[]): Row[] => [
  row(`${ranks} ranks: added latency, worst`, Math.max(...all.filter(m => m.bytes <= small).map(m => m.ours - m.direct)), 'µs', 20),
  ...collectiveNames.map(op => row(`${ranks} ranks: ${op} / direct, from 1 MiB`, median(all.filter(m => m.op === op && m.bytes >= large).map(m => m.ratio)), '', 1 / 0.9)),
]

/** Opens workers on one task each, warmed up; their losses must be the same where `alike`. */
async function open(workers: readonly Worker[], tasks: readonly Task[], alike: boolean, say: (line: string) => void): Promise<string[]> {
  const notes: string[] = []
  const losses = new Map<string, readonly number[]>()
  for (const [i, worker] of workers.entries()) {
    const task = tasks[i]
    if (task === undefined) continue
    say(`starting ${worker.name}`)
    notes.push((await worker.ask({ do: 'open', task })).runtime)
    if (i === 0) await worker.ask({ do: 'save' })
    losses.set(worker.name, (await worker.ask({ do: 'steps', count: warmup })).losses)
  }
  if (alike) notes.push(`losses of ${warmup} steps agree within ${checkLosses(losses).toExponential(1)}`)
  return notes
}

const step = (w: Worker) => async (): Promise<number> => median((await w.ask({ do: 'steps', count: 4 })).ms.slice(1))

async function training(mpi: Mpi, folder: string, rounds: number, say: (line: string) => void): Promise<{ readonly rows: Row[]; readonly notes: string[] }> {
  const python = await torchPython(say)
  const task: Task = { config, batch: 8, batches: 8, optimizer, folder, mesh: { batch: 2, model: 2 } }
  const workers = [startRanks('ours, 4 ranks', mpi, 4, asCommand), startTorchMesh('PyTorch, 4 processes', python, asUsers)]
  return withWorkers(workers, async () => {
    const notes = await open(workers, [task, task], true, say)
    const times = await interleave(new Map(workers.map(w => [w.name, step(w)])), rounds, done => { say(`step: round ${done} of ${rounds}`) })
    return { notes, rows: [...[...times].map(([name, ms]) => row(`2×2 step, ${name}`, median(ms), 'ms')), row('2×2 step / PyTorch DTensor + DDP', ratio(times, 'ours, 4 ranks', 'PyTorch, 4 processes'), '', 0.6)] }
  })
}

/** Each rank has one thread and the same amount of work, so two ranks should take as long as one. */
async function scaling(mpi: Mpi, folder: string, rounds: number, say: (line: string) => void): Promise<Row[]> {
  const task = async (ranks: number): Promise<Task> => {
    const own = join(folder, `scaling-${ranks}`)
    await mkdir(own)
    await writeBatches(own, 4 * ranks)
    return { config, batch: 4 * ranks, batches: 8, optimizer, folder: own, mesh: { batch: ranks, model: 1 } }
  }
  const environment = { ...asCommand, PJRT_NPROC: '1' }
  const workers = [startRanks('1 rank', mpi, 1, environment), startRanks('2 ranks', mpi, 2, environment)]
  return withWorkers(workers, async () => {
    await open(workers, [await task(1), await task(2)], false, say)
    const times = await interleave(new Map(workers.map(w => [w.name, step(w)])), rounds, done => { say(`scaling: round ${done} of ${rounds}`) })
    return [...[...times].map(([name, ms]) => row(`4 windows a rank, ${name}`, median(ms), 'ms')), row('2 ranks / 1 rank (weak scaling ≥ 0.9)', ratio(times, '2 ranks', '1 rank'), '', 1 / 0.9)]
  })
}

export async function mpiSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const [mpi] = found
  if (mpi === undefined) return { name: 'mpi', notes: ['not measured: no mpirun with its mpicc (apt-get install openmpi-bin libopenmpi-dev)'], rows: [] }
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  try {
    await writeBatches(folder, 8)
    const program = join(folder, 'direct')
    execFileSync(mpi.mpicc, ['-O3', '-o', program, fileURLToPath(new URL('direct.c', import.meta.url))])
    const notes: string[] = [mpi.name]
    const rows: Row[] = []
    for (const ranks of [2, 4]) {
      const all = await collectives(mpi, ranks, program, rounds, say)
      notes.push(...table(ranks, all))
      rows.push(...collectiveRows(ranks, all))
    }
    const trained = await training(mpi, folder, 2 * rounds, say)
    return { name: 'mpi', notes: [...notes, ...trained.notes], rows: [...rows, ...trained.rows, ...await scaling(mpi, folder, 2 * rounds, say)] }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
