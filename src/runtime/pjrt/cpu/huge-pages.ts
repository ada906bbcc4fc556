/**
 * XLA:CPU's temporaries are large and short-lived: with huge pages their page faults cost a tenth of a step less. glibc reads the setting only when a process starts, so the process becomes itself
 * again with it set, under the same id and streams.
 */
import { basename } from 'node:path'

const variable = 'GLIBC_TUNABLES'
const tunable = 'glibc.malloc.hugetlb'
const setDescriptorFlags = 2
/** The commands that compute. */
const computing: ReadonlySet<string> = new Set(['train', 'finetune', 'generate', 'chat', 'serve', 'embed', 'eval', 'profile'])

/** Whether a command line computes on a CPU, as far as it says: a library for another platform has that in its name. */
export function computesOnCpu(args: readonly string[]): boolean {
  const at = args.findIndex(a => a === '--plugin' || a.startsWith('--plugin='))
  const named = at < 0 ? undefined : args[at] === '--plugin' ? args[at + 1] : args[at]?.slice('--plugin='.length)
  return computing.has(args[0] ?? '') && (named === undefined || !/cuda|rocm|tpu|oneapi|metal|simulate/i.test(basename(named)))
}

/** Returns where nothing is to be done: the commands that compute nothing, or not on a CPU, another system, or a user who has set it already. */
export async function withHugePages(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const set = env[variable] ?? ''
  if (process.platform !== 'linux' || set.includes(tunable) || !computesOnCpu(args)) return
  const { default: koffi } = await import('../../../io/koffi.ts')
  const libc = koffi.load(null)
  const execve = libc.func('int execve(const char *path, const char **argv, const char **envp)') as (path: string, argv: readonly (string | null)[], envp: readonly (string | null)[]) => number
  const fcntl = libc.func('int fcntl(int fd, int command, ...)') as (fd: number, command: number, type: 'int', flags: number) => number
  // Node marks what it was given to be closed when another program takes the process over: its streams, and MPICH's way to its mpirun.
  const given = env['PMI_FD']
  for (const fd of [0, 1, 2, ...given === undefined ? [] : [Number(given)]]) fcntl(fd, setDescriptorFlags, 'int', 0)
  const further = { ...env, [variable]: [set, `${tunable}=1`].filter(part => part !== '').join(':') }
  // It comes back only where it failed; then the command runs without.
  execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), null], [...Object.entries(further).map(([k, v]) => `${k}=${v ?? ''}`), null])
}
