/** Joining the other processes of a job, once. What is native is loaded only where there are others. */
import { UsageError } from '../core/errors.ts'
import type { KeyValueStore } from './backend.ts'
import { launchOf } from './mpi/environment.ts'
import { alone, type Processes } from './processes.ts'

/** `mpi`: one device on each rank; `local`: all devices in this process. Unless said, `mpi` where MPI started this process. */
export type BackendChoice = 'mpi' | 'local'

/** The job of this process, once joined: MPI lets a process join one. */
let joined: { readonly processes: Processes; readonly native: Native } | undefined

export interface Native {
  readonly handlers: Readonly<Record<string, bigint>>
  readonly onHost: number
  /** Whether collectives are to be under way while ranks compute. */
  readonly overlaps: boolean
  /** Opens what the clients of all ranks find each other by; every rank calls it. */
  readonly store: () => KeyValueStore
}

/** The processes that were joined; before that, this one. */
export const currentJob = (): Processes => joined?.processes ?? alone

/** Whether this process is one of a job's ranks. */
export const isParallel = (): boolean => joined !== undefined

/** What programs call; undefined where there is no other process. */
export const nativeParts = (): Native | undefined => joined?.native

/** How many devices a job's ranks have together: each has one. */
export const devicesOf = ({ count }: Processes): number => count

/** @throws UsageError where the job has not so many devices */
export function requireDevices(devices: number, processes: Processes): void {
  const { count } = processes
  if (devices === devicesOf(processes)) return
  throw new UsageError({ code: 'ranks', what: `${devices} devices asked for, and there are ${count} ranks, one device each`, fix: `start ${devices} ranks (mpirun -n ${devices}), or use a mesh of ${count}` })
}

/** Seconds that a rank may stay in a collective while others are not in it. */
const defaultLimit = 30

function limitOf(env: NodeJS.ProcessEnv): number {
  const text = env['MESHWORK_MPI_TIMEOUT'] ?? String(defaultLimit)
  const seconds = Number(text)
  if (seconds > 0 && Number.isFinite(seconds)) return seconds
  throw new UsageError({ code: 'environment', what: `MESHWORK_MPI_TIMEOUT is "${text}"`, fix: 'seconds, such as 30' })
}

/**
 * Whether collectives go on beside what ranks compute. On one host they are copies that the same cores make, and the way there and back costs; between hosts they are mostly
 * waiting for the network. `MESHWORK_MPI_OVERLAP` decides otherwise.
 */
export function overlapsOf(env: NodeJS.ProcessEnv, hosts: readonly string[], threaded: boolean): boolean {
  const text = env['MESHWORK_MPI_OVERLAP'] ?? ''
  if (!['', '0', '1'].includes(text)) throw new UsageError({ code: 'environment', what: `MESHWORK_MPI_OVERLAP is "${text}"`, fix: '1 or 0; unset, it is 1 where ranks lie on several hosts' })
  return threaded && (text === '' ? new Set(hosts).size > 1 : text === '1')
}

/**
 * Joins the job that this process is part of; one process where it is part of none.
 * @throws UsageError where `mpi` is asked for and nothing started this process under MPI; PluginError, JobError where MPI fails.
 */
export async function joinJob(choice?: BackendChoice, env: NodeJS.ProcessEnv = process.env): Promise<Processes> {
  if (joined !== undefined) return joined.processes
  if (choice === 'local') return alone
  const launch = launchOf(env)
  if (launch === undefined) {
    if (choice === undefined) return alone
    throw new UsageError({ code: 'not-under-mpi', what: '--backend mpi: this process was not started under MPI', fix: 'start it with mpirun: mpirun -n 4 npx meshwork …' })
  }
  const [{ libraryFor }, { loadMpi }, { MpiProcesses }] = await Promise.all([import('./mpi/build.ts'), import('./mpi/library.ts'), import('./mpi/processes.ts')])
  const library = loadMpi(await libraryFor(launch))
  const processes = new MpiProcesses(library, launch, limitOf(env))
  joined = { processes, native: { handlers: library.handlers, onHost: processes.onHost, overlaps: overlapsOf(env, processes.hosts, processes.threaded), store: () => library.store() } }
  return processes
}
