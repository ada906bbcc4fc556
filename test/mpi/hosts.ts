/** Pretend hosts: network namespaces with a name, an address and shared memory of their own, that mpirun starts ranks on. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const call = promisify(execFile)
const ip = async (...args: readonly string[]): Promise<string> => (await call('ip', args)).stdout

/** What each packet meets on its way out of a host; so a round trip takes twice the delay. A rate is for links without delay and loss. */
export interface Link { readonly delayMs?: number; readonly lossPercent?: number; readonly megabits?: number }
export type Flavour = 'openmpi' | 'mpich'
export type LinkedBy = 'bridge' | 'netem' | 'relay'
type Variables = Readonly<Record<string, string>>
export interface Command { readonly command: string; readonly args: readonly string[]; readonly env: Variables }

export interface Hosts {
  /** What `hostname` says on each. */
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  /** What delays and loses packets: the kernel's netem, or a relay of ours where the kernel lacks it. */
  readonly linkedBy: LinkedBy
  /** Ranks in blocks over the hosts. `env` is what every rank shall see: as with ssh, nothing else of ours reaches the others. */
  mpirun(flavour: Flavour, ranks: number, command: string, args?: readonly string[], env?: Variables): Command
  /** The same for a command without MPI, on the host of this index. */
  on(host: number, command: string, args?: readonly string[]): Command
  /** The processes that run on the hosts. */
  pids(): Promise<readonly number[]>
  /** Bytes that have come out of each host. */
  sentBytes(): Promise<readonly number[]>
  /** Ends what still runs on them and removes everything. A second call does nothing. */
  close(): Promise<void>
}

const subnet = '10.213.77'
const addressOf = (i: number): string => `${subnet}.${i + 1}`

/**
 * ssh's place: options, a host, and a shell's command line. A process enters the host's network; `ip` gives it an /etc/hosts,
 * `unshare` a name, System V memory and, with the mounts that `ip` has made its own, a /dev/shm that no other host sees.
 */
const agent = (folder: string): string => `#!/bin/sh
while [ "\${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ${folder}/enter "$host" env -i PATH="$PATH" HOME="$HOME" USER="\${USER:-root}" TMPDIR="${folder}/$host" sh -c "$*"
`
const enter = (folder: string): string => `#!/bin/sh
host=$1; shift
export TMPDIR="${folder}/$host"
exec ip netns exec "$host" unshare --uts --ipc sh -c '
  hostname "$0" && mount -t tmpfs tmpfs /dev/shm && exec "$@"' "$host" "$@"
`

interface Launch { readonly folder: string; readonly file: string; readonly env: Variables }
/** mpirun's arguments. Both tell hosts apart by name and so share no memory between them; UCX, below MPICH, does not. */
const launch: { readonly [F in Flavour]: (at: Launch) => readonly string[] } = {
  openmpi: ({ folder, file, env }) => [
    '--hostfile', file, '--mca', 'plm_rsh_agent', join(folder, 'agent'), '--mca', 'pml', 'ob1',
    '--mca', 'btl_tcp_if_include', `${subnet}.0/24`, '--mca', 'oob_tcp_if_include', `${subnet}.0/24`,
    '--bind-to', 'none', '--mca', 'mpi_yield_when_idle', '1', ...Object.entries(env).flatMap(([k, v]) => ['-x', `${k}=${v}`]),
  ],
  mpich: ({ folder, file, env }) => [
    '-f', file, '-launcher', 'ssh', '-launcher-exec', join(folder, 'agent'), '-iface', 'eth0', '-bind-to', 'none', '-genvnone',
    ...Object.entries({ UCX_TLS: 'tcp,self', UCX_NET_DEVICES: 'eth0', ...env }).flatMap(([k, v]) => ['-genv', k, v]),
  ],
}
const slots: { readonly [F in Flavour]: (name: string, count: number) => string } = {
  openmpi: (name, count) => `${name} slots=${count}`,
  mpich: (name, count) => `${name}:${count}`,
}

const prefix = 'mw-'
/** mw-OWNER-COUNT-NAME, the owner's process number in base 36: what is left of an owner that has died may be removed. */
const ownerOf = (namespace: string): number | undefined => {
  const found = /^mw-([0-9a-z]+)-\d+-[a-z0-9]+$/.exec(namespace)?.[1]
  return found === undefined ? undefined : Number.parseInt(found, 36)
}
/** The scripts and the hosts' temporary folders of all namespaces that were made together. */
const folderOf = (namespace: string): string => join(tmpdir(), namespace.replace(/-[a-z0-9]+$/, ''))
const gone = (pid: number): boolean => {
  try {
    return !process.kill(pid, 0)
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

async function namespaces(): Promise<string[]> {
  return (await ip('netns', 'list')).split('\n').map(line => line.split(' ')[0] ?? '').filter(name => name.startsWith(prefix))
}
async function pidsIn(names: readonly string[]): Promise<number[]> {
  const found = await Promise.all(names.map(name => ip('netns', 'pids', name).catch(() => '')))
  return found.flatMap(text => text.split('\n').filter(line => line !== '').map(Number))
}

/** Kills until nobody is left: a process may have started another meanwhile. */
async function endProcesses(names: readonly string[]): Promise<void> {
  for (let left = await pidsIn(names); left.length > 0; left = await pidsIn(names)) {
    for (const pid of left) {
      if (!gone(pid)) process.kill(pid, 'SIGKILL')
    }
    await pause(20)
  }
}

/** Another process may have removed what nobody owned at the same time. */
async function deleteNamespace(name: string): Promise<void> {
  try {
    await ip('netns', 'delete', name)
  } catch (e) {
    if ((await namespaces()).includes(name)) throw e
  }
}

/** Bridge and links lie inside the namespaces and go with them. */
async function remove(names: readonly string[]): Promise<void> {
  await endProcesses(names)
  for (const name of names) {
    await deleteNamespace(name)
    await rm(join('/etc/netns', name), { recursive: true, force: true })
  }
}

async function removeLeftovers(): Promise<void> {
  const left = (await namespaces()).filter(name => gone(ownerOf(name) ?? process.pid))
  await remove(left)
  for (const name of left) await rm(folderOf(name), { recursive: true, force: true })
}

interface Net { readonly folder: string; readonly hub: string; readonly names: readonly string[]; readonly link: Link }

/** Hosts on ports of a hub that does not forward yet. */
async function wire({ hub, names }: Net): Promise<void> {
  await ip('netns', 'add', hub)
  const etcHosts = ['127.0.0.1 localhost', ...names.map((name, i) => `${addressOf(i)} ${name}`), ''].join('\n')
  for (const [i, name] of names.entries()) {
    await ip('netns', 'add', name)
    await ip('-n', hub, 'link', 'add', `port${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    await ip('-n', hub, 'link', 'set', `port${i}`, 'up')
    await ip('-n', name, 'link', 'set', 'lo', 'up')
    await ip('-n', name, 'address', 'add', `${addressOf(i)}/24`, 'dev', 'eth0')
    await ip('-n', name, 'link', 'set', 'eth0', 'up')
    await mkdir(join('/etc/netns', name), { recursive: true })
    await writeFile(join('/etc/netns', name, 'hosts'), etcHosts)
  }
}

async function bridge({ hub, names }: Net): Promise<void> {
  await ip('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge')
  for (const i of names.keys()) await ip('-n', hub, 'link', 'set', `port${i}`, 'master', 'bridge')
  await ip('-n', hub, 'link', 'set', 'bridge', 'up')
}

/** False where this kernel has no netem. */
async function netem({ names, link }: Net): Promise<boolean> {
  const what = ['delay', `${link.delayMs ?? 0}ms`, 'loss', `${link.lossPercent ?? 0}%`]
  try {
    for (const name of names) await call('tc', ['-n', name, 'qdisc', 'add', 'dev', 'eth0', 'root', 'netem', 'limit', '20000', ...what])
    return true
  } catch (e) {
    if (/qdisc kind is unknown/.test(String(e))) return false
    throw e
  }
}

/** Packets leave a host no faster than this. */
async function throttle({ names, link }: Net): Promise<void> {
  if (link.megabits === undefined) return
  for (const name of names) await call('tc', ['-n', name, 'qdisc', 'add', 'dev', 'eth0', 'root', 'tbf', 'rate', `${link.megabits}mbit`, 'burst', '256k', 'latency', '100ms'])
}

/** It runs on the hub, and ends with it or with us. */
async function relay({ folder, hub, names, link }: Net): Promise<void> {
  const program = join(folder, 'relay')
  await call('cc', ['-O2', '-o', program, fileURLToPath(new URL('hosts/relay.c', import.meta.url))])
  const args = [String(link.delayMs ?? 0), String(link.lossPercent ?? 0), ...[...names.keys()].map(i => `port${i}`)]
  const child = spawn('ip', ['netns', 'exec', hub, program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit').then(() => { throw new Error('the relay between pretend hosts has ended at its start') })
  await Promise.race([once(child.stdout, 'data'), ended])
  ended.catch(() => {})
}

/** The kernel says that a link is up some time after it is, and UCX does not use it before. */
async function settle({ names }: Net): Promise<void> {
  for (const name of names) {
    while ((await linkOf(name)).operstate !== 'UP') await pause(20)
  }
}

async function connect(net: Net): Promise<LinkedBy> {
  const degraded = net.link.delayMs !== undefined || net.link.lossPercent !== undefined
  if (degraded && !await netem(net)) {
    await relay(net)
    return 'relay'
  }
  await bridge(net)
  if (!degraded) await throttle(net)
  return degraded ? 'netem' : 'bridge'
}

interface LinkState { readonly operstate: string; readonly stats64: { readonly tx: { readonly bytes: number } } }
async function linkOf(name: string): Promise<LinkState> {
  const [link] = JSON.parse(await ip('-n', name, '-s', '-j', 'link', 'show', 'dev', 'eth0')) as [LinkState]
  return link
}

let opened = 0

/**
 * @throws when it is not permitted, see `canMakeHosts`; nothing is left then.
 * What a killed run has left is removed first.
 */
export async function openHosts(count: number, link: Link = {}): Promise<Hosts> {
  await removeLeftovers()
  const ours = `${prefix}${process.pid.toString(36)}-${opened++}`
  const [hub, names] = [`${ours}-switch`, Array.from({ length: count }, (_, i) => `${ours}-host${i + 1}`)]
  const folder = folderOf(hub)
  const close = async (): Promise<void> => {
    const all = [...names, hub]
    await remove((await namespaces()).filter(name => all.includes(name)))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await writeScripts(folder, names)
    const net = { folder, hub, names, link }
    await wire(net)
    const linkedBy = await connect(net)
    await settle(net)
    return hostsOf(net, linkedBy, close)
  } catch (e) {
    await close()
    throw e
  }
}

async function writeScripts(folder: string, names: readonly string[]): Promise<void> {
  await mkdir(folder, { mode: 0o700 })
  for (const [name, text] of Object.entries({ agent: agent(folder), enter: enter(folder) })) {
    await writeFile(join(folder, name), text, { mode: 0o755 })
  }
  for (const name of names) await mkdir(join(folder, name))
}

function hostsOf({ folder, names }: Net, linkedBy: LinkedBy, close: () => Promise<void>): Hosts {
  const on: Hosts['on'] = (host, command, args = []) =>
    ({ command: join(folder, 'enter'), args: [names[host] ?? '', command, ...args], env: {} })
  return {
    names, addresses: names.map((_, i) => addressOf(i)), linkedBy, close, on,
    mpirun: (flavour, ranks, command, args = [], env = {}) => {
      const file = join(folder, `${flavour}.${ranks}`)
      writeFileSync(file, names.map(name => `${slots[flavour](name, Math.ceil(ranks / names.length))}\n`).join(''))
      const root = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' }
      const options = ['-n', String(ranks), ...launch[flavour]({ folder, file, env })]
      return { ...on(0, `mpirun.${flavour}`, [...options, command, ...args]), env: flavour === 'openmpi' ? root : {} }
    },
    pids: () => pidsIn(names),
    sentBytes: () => Promise.all(names.map(async name => (await linkOf(name)).stats64.tx.bytes)),
  }
}

/** A namespace, a link, a bridge, a name and a mount: what `openHosts` will ask for. */
const probe = (name: string): string => `set -e
ip netns add ${name}
trap 'ip netns delete ${name}' EXIT
ip -n ${name} link add port type veth peer name eth0
ip -n ${name} link add bridge type bridge
ip netns exec ${name} unshare --uts --ipc sh -c 'hostname ${name} && mount -t tmpfs tmpfs /dev/shm'`

/** Why hosts cannot be made here; undefined where they can. */
export function canMakeHosts(): string | undefined {
  if (process.getuid?.() !== 0) return 'pretend hosts need root, for network namespaces'
  const lacking = ['ip', 'tc', 'unshare', 'hostname', 'cc'].find(tool => spawnSync(tool, ['--version']).error !== undefined)
  if (lacking !== undefined) return `pretend hosts need the command ${lacking} (Debian: apt-get install iproute2 util-linux hostname gcc)`
  const { status, stderr } = spawnSync('sh', ['-c', probe(`${prefix}${process.pid.toString(36)}-${opened++}-probe`)], { encoding: 'utf8' })
  return status === 0 ? undefined : `pretend hosts are not permitted here: ${stderr.trim().split('\n')[0] ?? ''}`
}
