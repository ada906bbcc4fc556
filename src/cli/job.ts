/** A command that several processes run together: joined, checked, and spoken for by rank 0. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { formatMesh, type Mesh } from '../core/mesh.ts'
import { didYouMean } from '../core/nearest.ts'
import { currentJob, devicesOf, isParallel, joinJob, type BackendChoice } from '../runtime/job.ts'
import { launchOf } from '../runtime/mpi/environment.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import type { Processes } from '../runtime/processes.ts'
import { openOutput, silent, type Output } from './output.ts'
import { platformOption } from './platform-flags.ts'
import { withPluginFlag } from './plugins.ts'

export const backendOption = ['--backend <mpi|local>', 'one device on each MPI rank, or all in this process; by how it was started, unless given'] as const

/** What flags say of devices. */
export interface DeviceFlags { readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string }
/** The flags of every command that computes on devices. */
export const withDeviceFlags = (command: Command): Command => withPluginFlag(command, 'the runtime: auto (the best device that is here and installed), a name or a package of `plugins list`, simulate (slow, needs no plugin), or a PJRT plugin\'s path', { speaks: () => launched().rank === 0 })
  .addOption(platformOption())
  .option(...backendOption)

const choices: readonly BackendChoice[] = ['mpi', 'local']

/** @throws UsageError for a word that is none of the choices. */
function choiceOf(flag: string | undefined): BackendChoice | undefined {
  const found = choices.find(c => c === flag)
  if (flag === undefined || found !== undefined) return found
  throw new UsageError({ code: 'flag', what: `--backend: there is no "${flag}"`, fix: didYouMean(flag, choices) })
}

/** @throws UsageError where nothing started this under MPI and it should be. */
export const joinCommand = (backend: string | undefined): Promise<Processes> => joinJob(choiceOf(backend))

/** @throws UsageError where a mesh has not a rank for each device. */
export function requireRanks(mesh: Mesh, plugin: string): void {
  if (!isParallel()) return
  const { count } = currentJob()
  if (plugin === 'simulate') throw new UsageError({ code: 'simulate-mpi', what: '--plugin simulate has all its devices in one process', fix: 'start it without mpirun, or add --backend local' })
  if (mesh.size === devicesOf(currentJob())) return
  throw new UsageError({
    code: 'ranks', what: `the mesh ${formatMesh(mesh)} has ${mesh.size} device${mesh.size === 1 ? '' : 's'}, and ${count} rank${count === 1 ? ' was' : 's were'} started, one device each`,
    fix: `mpirun -n ${mesh.size}, or a mesh of ${count}: --mesh ${mesh.axes.map(({ name }, i) => `${name}=${i === 0 ? count : 1}`).join(',') || `batch=${count}`}; --backend local puts all devices in one process`,
  })
}

/** What the platform is told, as `openBackend` takes it. */
export const told = (platform: PlatformOptions | undefined): { readonly platform?: PlatformOptions } => (platform === undefined ? {} : { platform })

/** Where the devices are, once joined. */
export const whereDevices = (): BackendChoice => (isParallel() ? 'mpi' : 'local')

/** Where a command's words go: rank 0 speaks, and nobody where a program listens. */
export const outputOf = ({ rank }: Processes, json: boolean): Output => (rank === 0 && !json ? openOutput() : silent)

/** Who this process is before it has joined the others. */
function launched(): { readonly rank: number; readonly onHost: number } {
  try { return launchOf(process.env) ?? { rank: 0, onHost: 0 } } catch { return { rank: 0, onHost: 0 } }
}
const rankNow = (): number => (isParallel() ? currentJob().rank : launched().rank)

const headStartMs = 1500

/** Whether this process should say why it fails: one of those that fail alike does. */
export async function speaks(exitCode: number): Promise<boolean> {
  if (isParallel()) return currentJob().fail()
  if (rankNow() === 0) return true
  // Rank 0 says it, where all fail alike: the launcher ends the others as soon as one has ended, so this one gives it time.
  await pause(headStartMs)
  // The command line is the same in every rank. What else can fail by now is a host's, and its first rank says it.
  return exitCode !== 2 && launched().onHost === 0
}

/** What stands above a message that comes from another rank than 0. */
export function heading(): string {
  const { rank, hosts } = currentJob()
  return rankNow() === 0 ? '' : `rank ${rankNow()}${isParallel() ? ` (host ${hosts[rank] ?? '?'})` : ''} failed:\n`
}
