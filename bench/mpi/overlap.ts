/** Collectives beside the work: a step on four ranks of two pretend hosts, between which a link carries so much a second, with programs that begin collectives early and with those that do not. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { canMakeHosts, openHosts } from '../../test/mpi/hosts.ts'
import { found, shortName } from '../../test/mpi/support.ts'
import { checkLosses } from '../gpt.ts'
import { interleave, median, ratio, row, type Row, type Section } from '../measure.ts'
import { forms, isQuick, wanted } from '../parallel/forms.ts'
import { writeBatches } from '../parallel/section.ts'
import type { Answers } from '../parallel/worker.ts'
import { withWorkers, Worker } from '../process.ts'
import { optimizer } from '../task.ts'

/** Megabits a second that leave a host; `MESHWORK_BENCH_MEGABITS` for another rate. */
const megabits = Number(process.env['MESHWORK_BENCH_MEGABITS'] ?? '1000')
const compared = ['data', 'ZeRO-1', 'FSDP', 'hybrid', 'tensor', 'data × tensor', 'sequence × tensor'].filter(name => wanted(name))
const [warmup, visit] = [3, isQuick ? 2 : 4] as const
const [apart, beside] = ['one after another', 'beside the work'] as const

export async function overlapSection(rounds: number, say: (line: string) => void): Promise<Section> {
  const [mpi] = found
  const why = mpi === undefined ? 'no mpirun with its mpicc (apt-get install openmpi-bin libopenmpi-dev)' : canMakeHosts()
  if (mpi === undefined || why !== undefined) return { name: 'overlap', notes: [`not measured: ${why}`], rows: [] }
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  const hosts = await openHosts(2, { megabits })
  try {
    await writeBatches(folder)
    const worker = (name: string, overlaps: '0' | '1'): Worker => {
      const env = { HOME: process.env['HOME'] ?? folder, PATH: process.env['PATH'] ?? '', PJRT_NPROC: '1', MESHWORK_MPI_TIMEOUT: '600', MESHWORK_MPI_OVERLAP: overlaps, MESHWORK_BENCH_QUICK: process.env['MESHWORK_BENCH_QUICK'] ?? '' }
      const { command, args, env: own } = hosts.mpirun(shortName(mpi) === 'mpich' ? 'mpich' : 'openmpi', 4, process.execPath, ['--import', 'tsx', fileURLToPath(new URL('../parallel/worker.ts', import.meta.url))], env)
      return new Worker(name, command, args, own)
    }
    const sides = new Map([[apart, worker(apart, '0')], [beside, worker(beside, '1')]])
    return await withWorkers([...sides.values()], async () => {
      const rows: Row[] = []
      const steps = async (w: Worker, count: number): Promise<Answers['steps']> => await w.say(JSON.stringify({ do: 'steps', count })) as Answers['steps']
      for (const name of compared) {
        say(`${name}: compiling`)
        for (const w of sides.values()) await w.say(JSON.stringify({ do: 'open', form: forms[name], optimizer, folder }))
        checkLosses(new Map(await Promise.all([...sides].map(async ([side, w]) => [side, (await steps(w, warmup)).losses] as const))))
        const timed = new Map([...sides].map(([side, w]) => [side, async (): Promise<number> => median((await steps(w, visit)).ms.slice(1))] as const))
        const times = await interleave(timed, rounds, done => { say(`${name}: round ${done} of ${rounds}`) })
        for (const w of sides.values()) await w.say(JSON.stringify({ do: 'close' }))
        for (const side of sides.keys()) rows.push(row(`${name}, ${side}`, median(times.get(side) ?? []), 'ms'))
        rows.push(row(`${name}: ${beside} / ${apart}`, ratio(times, beside, apart), '', 1))
      }
      return { name: 'overlap', notes: [...isQuick ? ['small numbers: these figures say nothing'] : [], `4 ranks of ${mpi.name} on 2 pretend hosts, ${megabits} Mbit/s from each`], rows }
    })
  } finally {
    await hosts.close()
    await rm(folder, { recursive: true, force: true })
  }
}
