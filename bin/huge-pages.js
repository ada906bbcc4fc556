// XLA:CPU's temporaries are large, and allocated and freed with every step: given back to the system they are cleared and mapped anew, page by page, each time. So freed
// memory is kept, and in huge pages. glibc reads the settings only when a process starts, so the process becomes itself again with them, under the same id and streams.
const name = 'GLIBC_TUNABLES'
const wanted = { 'glibc.malloc.hugetlb': 1, 'glibc.malloc.mmap_max': 0, 'glibc.malloc.trim_threshold': 2 ** 40 }
const F_SETFD = 2

/** The user's settings with ours behind them; a setting of the user's stays the user's. Undefined where all are there. */
export function withOurs(set) {
  const given = set.split(':').filter(part => part !== '')
  const missing = Object.entries(wanted).filter(([tunable]) => !given.some(part => part.startsWith(`${tunable}=`)))
  return missing.length === 0 ? undefined : [...given, ...missing.map(([tunable, value]) => `${tunable}=${value}`)].join(':')
}

/** Returns where nothing is to be done: the commands that compute nothing, another system, or a user who has set it all already. */
export async function withHugePages() {
  const tunables = withOurs(process.env[name] ?? '')
  if (process.platform !== 'linux' || tunables === undefined || !['train', 'finetune', 'generate', 'chat', 'serve', 'embed', 'eval', 'profile'].includes(process.argv[2] ?? '')) return
  const { default: koffi } = await import('koffi')
  const libc = koffi.load(null)
  const execve = libc.func('int execve(const char *path, const char **argv, const char **envp)')
  const fcntl = libc.func('int fcntl(int fd, int command, ...)')
  // Node marks what it was given to be closed when another program takes the process over: its streams, and MPICH's way to its mpirun.
  const given = process.env.PMI_FD
  for (const fd of [0, 1, 2, ...given === undefined ? [] : [Number(given)]]) fcntl(fd, F_SETFD, 'int', 0)
  const env = { ...process.env, [name]: tunables }
  // It comes back only where it failed; then the command runs without.
  execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), null], [...Object.entries(env).map(([k, v]) => `${k}=${v}`), null])
}
