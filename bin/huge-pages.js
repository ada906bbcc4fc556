// XLA:CPU's temporaries are large and short-lived: with huge pages their page faults cost a tenth of a step less. glibc reads
// the setting only when a process starts, so the process becomes itself again with it set, under the same id and streams.
const name = 'GLIBC_TUNABLES'
const tunable = 'glibc.malloc.hugetlb'
const F_SETFD = 2

/** Returns where nothing is to be done: the commands that compute nothing, another system, or a user who has set it already. */
export async function withHugePages() {
  const set = process.env[name] ?? ''
  if (process.platform !== 'linux' || set.includes(tunable) || !['train', 'finetune', 'generate', 'chat', 'serve', 'embed', 'eval', 'profile'].includes(process.argv[2] ?? '')) return
  const { default: koffi } = await import('koffi')
  const libc = koffi.load(null)
  const execve = libc.func('int execve(const char *path, const char **argv, const char **envp)')
  const fcntl = libc.func('int fcntl(int fd, int command, ...)')
  // Node marks what it was given to be closed when another program takes the process over: its streams, and MPICH's way to its mpirun.
  const given = process.env.PMI_FD
  for (const fd of [0, 1, 2, ...given === undefined ? [] : [Number(given)]]) fcntl(fd, F_SETFD, 'int', 0)
  const env = { ...process.env, [name]: [set, `${tunable}=1`].filter(part => part !== '').join(':') }
  // It comes back only where it failed; then the command runs without.
  execve(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1), null], [...Object.entries(env).map(([k, v]) => `${k}=${v}`), null])
}
