/**
 * XLA:CPU's temporaries are large, and allocated and freed with every step: given back to the system they are cleared and mapped anew, page by page, each time. Our own code in C keeps them
 * (native/kernels/blocks.c). Where there is no compiler to build it, or one that could not, glibc is told to keep what is freed, in huge pages: it reads the settings only when a process starts, so the process becomes itself again with them, under
 * the same id and streams. That is less: of threads other than the first it does not keep what is larger than 64 MiB.
 */
import { basename } from 'node:path'
import { canBuild } from '../../compiler.ts'
import { kernelsLibrary } from './library.ts'

const variable = 'GLIBC_TUNABLES'
const wanted = { 'glibc.malloc.hugetlb': 1, 'glibc.malloc.mmap_max': 0, 'glibc.malloc.trim_threshold': 2 ** 40 }
const setDescriptorFlags = 2
/** The commands that compute. */
const computing: ReadonlySet<string> = new Set(['train', 'finetune', 'generate', 'chat', 'serve', 'embed', 'eval', 'profile'])

/** Whether a command line computes on a CPU, as far as it says: a library for another platform has that in its name. */
export function computesOnCpu(args: readonly string[]): boolean {
  const at = args.findIndex(a => a === '--plugin' || a.startsWith('--plugin='))
  const named = at < 0 ? undefined : args[at] === '--plugin' ? args[at + 1] : args[at]?.slice('--plugin='.length)
  return computing.has(args[0] ?? '') && (named === undefined || !/cuda|rocm|tpu|oneapi|metal|simulate/i.test(basename(named)))
}

/** The user's settings with ours behind them; a setting of the user's stays the user's. Undefined where all are there. */
export function withOurs(set: string): string | undefined {
  const given = set.split(':').filter(part => part !== '')
  const missing = Object.entries(wanted).filter(([tunable]) => !given.some(part => part.startsWith(`${tunable}=`)))
  return missing.length === 0 ? undefined : [...given, ...missing.map(([tunable, value]) => `${tunable}=${value}`)].join(':')
}

/** Returns where nothing is to be done: where blocks are kept by our own code, for commands that compute nothing, or not on a CPU, on another system, or for a user who has set it all already. */
export async function withAllocator(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const tunables = withOurs(env[variable] ?? '')
  if (process.platform !== 'linux' || tunables === undefined || !computesOnCpu(args) || canBuild(kernelsLibrary, env)) return
  const { default: koffi } = await import('../../../io/koffi.ts')
  const libc = koffi.load(null)
  const execve = libc.func('int execve(const char *path, const char **argv, const char **envp)') as (path: string, argv: readonly (string | null)[], envp: readonly (string | null)[]) => number
  const fcntl = libc.func('int fcntl(int fd, int command, ...)') as (fd: number, command: number, type: 'int', flags: number) => number
  // Node marks what it was given to be closed when another program takes the process over: its streams, and MPICH's way to its mpirun.
  const given = env['PMI_FD']
  for (const fd of [0, 1, 2, ...given === undefined ? [] : [Number(given)]]) fcntl(fd, setDescriptorFlags, 'int', 0)
  const further = { ...env, [variable]: tunables }
  // It comes back only where it failed; then the command runs without.
  execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), null], [...Object.entries(further).map(([k, v]) => `${k}=${v ?? ''}`), null])
}
