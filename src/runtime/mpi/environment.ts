/** What the environment tells of who started this process: mpirun of one MPI or another, Slurm, or nobody. */
import { UsageError } from '../../core/errors.ts'

export interface Launch {
  /** As people call it. */
  readonly by: string
  /** The MPI that the launcher belongs to, where that can be told. */
  readonly flavour: 'Open MPI' | 'MPICH' | undefined
  readonly rank: number
  /** Among the ranks of this host; 0 where it cannot be told. */
  readonly onHost: number
  /** Undefined where only MPI itself knows. */
  readonly size: number | undefined
}

type Env = Readonly<Record<string, string | undefined>>

const whole = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined)

interface Starter { readonly by: string; readonly flavour: Launch['flavour']; readonly rank: string; readonly size: string; readonly only?: string }

/** Launchers in the order in which they are looked for: one that may run inside another comes before it. Hydra is the mpirun of MPICH and of the MPIs derived from it. */
const starters: readonly Starter[] = [
  { by: 'Open MPI\'s mpirun', flavour: 'Open MPI', rank: 'OMPI_COMM_WORLD_RANK', size: 'OMPI_COMM_WORLD_SIZE' },
  { by: 'Slurm with PMI', flavour: undefined, rank: 'PMI_RANK', size: 'PMI_SIZE', only: 'SLURM_STEP_ID' },
  { by: 'MPICH\'s mpirun', flavour: 'MPICH', rank: 'PMI_RANK', size: 'PMI_SIZE' },
  { by: 'Slurm with PMIx', flavour: undefined, rank: 'PMIX_RANK', size: 'SLURM_STEP_NUM_TASKS', only: 'SLURM_STEP_ID' },
  { by: 'a launcher with PMIx', flavour: undefined, rank: 'PMIX_RANK', size: 'PMIX_SIZE' },
]

const localRanks = ['OMPI_COMM_WORLD_LOCAL_RANK', 'MPI_LOCALRANKID', 'SLURM_LOCALID'] as const

/** How this process was started, if MPI did. @throws UsageError where srun started several and gave them no way to find each other. */
export function launchOf(env: Env): Launch | undefined {
  for (const { by, flavour, rank, size, only } of starters) {
    const found = whole(env[rank])
    if (found !== undefined && (only === undefined || env[only] !== undefined)) return { by, flavour, rank: found, onHost: localRanks.map(name => whole(env[name])).find(r => r !== undefined) ?? 0, size: whole(env[size]) }
  }
  const tasks = whole(env['SLURM_STEP_NUM_TASKS']) ?? 1
  if (tasks < 2) return undefined
  throw new UsageError({
    code: 'srun-without-mpi', what: `srun started ${tasks} tasks without MPI: they cannot find each other`,
    fix: 'srun --mpi=pmix (or pmi2; `srun --mpi=list` tells), or --backend local with one task',
  })
}
