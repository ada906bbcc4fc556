/** The MPIs of this machine, and jobs started under them. */
import { execFileSync, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const bin = `${root}bin/meshwork.js`
export const worker = `${root}test/mpi/worker.ts`

export interface Mpi { readonly name: 'Open MPI' | 'MPICH'; readonly mpirun: string; readonly mpicc: string }

/** Debian's names first: both may be installed, and `mpirun` is one of them. */
const known: readonly { readonly name: Mpi['name']; readonly says: RegExp; readonly commands: readonly (readonly [mpirun: string, mpicc: string])[] }[] = [
  { name: 'Open MPI', says: /Open MPI/i, commands: [['mpirun.openmpi', 'mpicc.openmpi'], ['mpirun', 'mpicc']] },
  { name: 'MPICH', says: /HYDRA|mpich/i, commands: [['mpirun.mpich', 'mpicc.mpich'], ['mpirun', 'mpicc']] },
]

const versionOf = (command: string): string => {
  try { return execFileSync(command, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }) } catch { return '' }
}

/** Those that are there with their compiler. */
export const found: readonly Mpi[] = known.flatMap(({ name, says, commands }) => {
  const there = commands.find(([mpirun, mpicc]) => says.test(versionOf(mpirun)) && versionOf(mpicc) !== '')
  return there === undefined ? [] : [{ name, mpirun: there[0], mpicc: there[1] }]
})

/** Both MPIs, each with why it cannot be tested here. */
export const flavours: readonly { readonly name: Mpi['name']; readonly mpi: Mpi | undefined; readonly missing: string }[] = known.map(({ name }) => ({
  name, mpi: found.find(m => m.name === name),
  missing: `no mpirun and mpicc of ${name}: apt-get install ${name === 'MPICH' ? 'mpich libmpich-dev' : 'openmpi-bin libopenmpi-dev'}`,
}))

export interface Ended { readonly code: number | null; readonly out: string; readonly err: string; readonly seconds: number }
export interface JobOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Called with everything printed so far. */
  readonly onOutput?: (all: string) => void
}

/** What lets root and more ranks than cores be. */
export const leave: Readonly<Record<string, string>> = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1', OMPI_MCA_rmaps_base_oversubscribe: '1' }
/** The tester's own environment must not say that this is a job, nor which plugin. */
const inherited = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(OMPI_COMM|PMI|PMIX|SLURM|MESHWORK_MPI|XLA_FLAGS|PJRT_|NODE_OPTIONS|VITEST)/.test(name)))

/** Every process that descends from a child is in its group, so that a test that fails leaves none. */
export function start(command: string, args: readonly string[], { env = {}, cwd = root, onOutput = () => {} }: JobOptions = {}): Promise<Ended> {
  const begun = performance.now()
  const child = spawn(command, args, { cwd, env: { ...inherited(), ...leave, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  return new Promise((resolve, reject) => {
    let [out, err] = ['', '']
    child.on('error', reject)
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString(); onOutput(out + err) })
    child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString(); onOutput(out + err) })
    child.on('close', code => { resolve({ code, out, err, seconds: (performance.now() - begun) / 1000 }) })
  })
}

/** One command on several ranks. */
export const mpirun = (mpi: Mpi, ranks: number, command: readonly string[], options?: JobOptions): Promise<Ended> =>
  start(mpi.mpirun, ['-n', String(ranks), ...command], options)

/** The JSON that rank 0 printed last. */
export const resultOf = ({ out, err, code }: Ended): unknown => {
  const line = out.trim().split('\n').at(-1) ?? ''
  if (code !== 0) throw new Error(`exit ${code}\n${out}\n${err}`)
  return JSON.parse(line)
}
