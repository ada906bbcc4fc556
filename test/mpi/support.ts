/** The MPIs of this machine, and jobs started under them. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { all, quickly } from '../support/depth.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const bin = `${root}bin/meshwork.js`

export interface Mpi { readonly name: 'Open MPI' | 'MPICH'; readonly mpirun: string; readonly mpicc: string }

/** Debian's names first: both may be installed, and `mpirun` is one of them. */
const known: readonly { readonly name: Mpi['name']; readonly says: RegExp; readonly commands: readonly (readonly [mpirun: string, mpicc: string])[] }[] = [
  { name: 'Open MPI', says: /Open MPI/i, commands: [['mpirun.openmpi', 'mpicc.openmpi'], ['mpirun', 'mpicc']] },
  { name: 'MPICH', says: /HYDRA|mpich/i, commands: [['mpirun.mpich', 'mpicc.mpich'], ['mpirun', 'mpicc']] },
]

const versionOf = (command: string): string => {
  try { return execFileSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }) } catch { return '' }
}

/** The MPIs that are installed together with their compilers. */
export const found: readonly Mpi[] = known.flatMap(({ name, says, commands }) => {
  const there = commands.find(([mpirun, mpicc]) => says.test(versionOf(mpirun)) && versionOf(mpicc) !== '')
  return there === undefined ? [] : [{ name, mpirun: there[0], mpicc: there[1] }]
})

/** Both MPIs, each with why it cannot be tested here. */
export const flavours: readonly { readonly name: Mpi['name']; readonly mpi: Mpi | undefined; readonly missing: string }[] = known.map(({ name }) => ({
  name, mpi: found.find(m => m.name === name),
  missing: `no mpirun and mpicc of ${name}: apt-get install ${name === 'MPICH' ? 'mpich libmpich-dev' : 'openmpi-bin libopenmpi-dev'}`,
}))

/** Of things that do not depend on the MPI, each is tried under one of those that are here, in turn, or with `all` under every one. */
export const takes = (mpi: Mpi | undefined, i: number): boolean => all || mpi === undefined || found[i % found.length] === mpi

/** `openmpi`, `mpich`: as options name it. */
export const shortName = ({ name }: Pick<Mpi, 'name'>): string => name.toLowerCase().replace(' ', '')
/** The MPI that `mpi:NAME` means, where it is here. */
export const flavourOf = (where: string): Mpi | undefined => found.find(m => where === `mpi:${shortName(m)}`)

export interface Ended { readonly code: number | null; readonly out: string; readonly err: string }
export interface JobOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Called with everything printed so far. */
  readonly onOutput?: (all: string) => void
}

/** What lets root, more ranks than cores, and a rank that a busy machine keeps waiting be. Tests of ranks that stand still say how long themselves. */
export const leave: Readonly<Record<string, string>> = {
  OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', OMPI_MCA_rmaps_base_oversubscribe: '1', MESHWORK_MPI_TIMEOUT: '600',
}
/** Of a process that is to start ranks, as if nobody had started this one. The tester's own environment must not say that this is a job, nor which plugin. */
export const environment = (env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(OMPI_COMM|PMI|PMIX|SLURM|MESHWORK_MPI|XLA_FLAGS|PJRT_|NODE_OPTIONS|VITEST)/.test(name))),
  ...leave, ...quickly, ...env,
})

/** What this process has started ends with it: a test that is given up must leave no ranks behind. */
const children = new Set<ChildProcess>()
process.on('exit', () => { for (const child of children) child.kill() })
export function watched<C extends ChildProcess>(child: C): C {
  children.add(child)
  child.on('close', () => { children.delete(child) })
  return child
}

export function start(command: string, args: readonly string[], { env = {}, cwd = root, onOutput = () => {} }: JobOptions = {}): Promise<Ended> {
  const child = watched(spawn(command, args, { cwd, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] }))
  return new Promise((resolve, reject) => {
    let [out, err] = ['', '']
    child.on('error', reject)
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); onOutput(out + err) })
    child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString(); onOutput(out + err) })
    child.on('close', code => { resolve({ code, out, err }) })
  })
}

/** One command on several ranks. */
export const mpirun = (mpi: Mpi, ranks: number, command: readonly string[], options?: JobOptions): Promise<Ended> =>
  start(mpi.mpirun, ['-n', String(ranks), ...command], options)
