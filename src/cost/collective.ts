/** What a collective takes, by where the devices of its group are: within a domain of inner links, between domains, or both. */
import { UsageError } from '../core/errors.ts'
import { axisOf, strideOf, type Mesh } from '../core/mesh.ts'
import type { CollectiveTimes, LinkedCollective, Links, Machine } from '../machine/machine.ts'
import { timeAt } from './curve.ts'
import { ringsOf } from './torus.ts'

/** Devices that take part in a collective together, as a machine connects them. */
export interface Group {
  readonly among: number
  /** Of them in one domain. */
  readonly within: number
  readonly domains: number
  /** All devices of the mesh on a host: every group communicates at once. */
  readonly onHost: number
  /** How many times the speed of one link that it sends on it has within a domain: on a torus every dim has links of its own. */
  readonly rings: number
}

/** Devices are numbered row-major and hosts filled one after another: the last axes lie within a host. */
export function groupOf(machine: Machine, mesh: Mesh, axes: readonly string[]): Group {
  const { domain, devicesPerHost } = machine
  const members = axes.reduce<number[]>((ids, name) => { const [{ size }, stride] = [axisOf(mesh, name), strideOf(mesh, name)]; return ids.flatMap(id => Array.from({ length: size }, (_, i) => id + i * stride)) }, [0])
  const here = members.filter(id => id < domain).length
  const domains = new Set(members.map(id => Math.floor(id / domain))).size
  return { among: members.length, within: here, domains, onHost: Math.min(mesh.size, devicesPerHost), rings: ringsIn(machine, mesh, axes) }
}

/** On a torus, of axes that communicate together, the rings of each; of all others one link. */
function ringsIn({ domain, links: { within: { topology, dims = 1, wrap = 1 } } }: Machine, mesh: Mesh, axes: readonly string[]): number {
  if (topology !== 'torus') return 1
  const all = ringsOf(mesh.axes.map(({ name, size }) => Math.max(1, Math.min(size, Math.floor(domain / strideOf(mesh, name))))), dims, wrap)
  const rings = mesh.axes.reduce((sum, { name, size }, i) => (axes.includes(name) && size > 1 && strideOf(mesh, name) < domain ? sum + (all[i] ?? 0) : sum), 0)
  return rings === 0 ? 1 : rings
}

/** Bytes that a device sends for each that enters on it, by rings (Thakur et al. 2005). */
const volume: { readonly [K in LinkedCollective]: (n: number) => number } = {
  'all-reduce': n => 2 * (n - 1) / n, 'all-gather': n => n - 1, 'reduce-scatter': n => (n - 1) / n, 'all-to-all': n => (n - 1) / n, permute: () => 1,
}
/** Messages one after another: by a ring, but an all-reduce of little by trees. */
const messages: { readonly [K in LinkedCollective]: (n: number) => number } = {
  'all-reduce': n => 2 * Math.ceil(Math.log2(n)), 'all-gather': n => n - 1, 'reduce-scatter': n => n - 1, 'all-to-all': n => n - 1, permute: () => 1,
}
/** What of a link's speed collectives reach where a machine does not say. */
const usualShare = 0.8

/** Those among as many devices, or nearly. */
const nearest = (list: readonly CollectiveTimes[], among: number, onHost: number): CollectiveTimes | undefined => {
  const far = (a: number, b: number): number => Math.abs(Math.log(a / b))
  return [...list].sort((a, b) => far(a.among, among) - far(b.among, among) || far(a.onHost ?? a.among, onHost) - far(b.onHost ?? b.among, onHost))[0]
}

/** Microseconds on links of one kind, of which all `sharing` devices of a host use what it has together. */
function onLinks(of: Links, kind: LinkedCollective, among: number, bytes: number, rings: number, sharing: number): number {
  if (among < 2) return 0
  const sent = volume[kind](among) * bytes
  const times = nearest(of.times[kind] ?? [], among, sharing)
  const speed = of.perFlow * rings
  const latency = messages[kind](among) * of.latencyUs
  // What a host has for all of its devices is reached no better than a link of one.
  const taken = times === undefined ? latency + 1e6 * sent / (Math.min(speed, of.perHost / sharing) * (of.share[kind] ?? usualShare))
    : timeAt(times.points, sent / volume[kind](times.among)) + Math.max(0, latency - messages[kind](times.among) * of.latencyUs)
  return Math.max(taken, 1e6 * sent / speed, 1e6 * sharing * sent / of.perHost)
}

/**
 * A collective of so many `bytes` entering on each device, in milliseconds. One that crosses domains is done in both: within each of them, and between those devices of all of them that have
 * the same place; large ones go on in both at once, so that the slower decides, and the first byte waits for both.
 * @throws UsageError where the machine does not say what connects domains
 */
export function collectiveMs(machine: Machine, { among, within, domains, onHost, rings }: Group, kind: LinkedCollective, bytes: number): number {
  const inner = (b: number): number => onLinks(machine.links.within, kind, within, b, rings, onHost)
  if (domains === 1) return among < 2 ? 0 : inner(bytes) / 1000
  const outer = machine.links.between
  if (outer === null) throw new UsageError({ code: 'machine-links', what: `machine ${machine.name} has ${machine.domain} device${machine.domain === 1 ? '' : 's'} that are connected, and ${domains * machine.domain} are asked for`, fix: 'give its links.between, or a smaller mesh' })
  const across = (b: number): number => onLinks(outer, kind, domains, b, 1, onHost)
  const [near, far] = kind === 'all-gather' ? [bytes * domains, bytes] : kind === 'all-reduce' || kind === 'reduce-scatter' ? [bytes, bytes / within] : [bytes, bytes]
  const [a, b] = [inner(near), across(far)]
  return (Math.max(a, b) + Math.min(a, b, a > b ? across(1) : inner(1))) / 1000
}
