/** The processes that run one program together: who they are, and what they tell each other outside of programs. */
import { MeshworkError } from '../core/errors.ts'

export interface Processes {
  readonly rank: number
  readonly count: number
  /** Host names, by rank. */
  readonly hosts: readonly string[]
  /** What started them and what they talk through, in one line. */
  readonly description: string
  /**
   * Gives every process `bytes` and resolves to everybody's, by rank. All of them call it, in one order; that of the calls counts, not
   * when the bytes are there. `what` names it in messages and must be the same in all.
   * @throws FailedElsewhere when another process has failed since the last exchange; JobError where another is elsewhere in the program.
   */
  exchange(bytes: Uint8Array | Promise<Uint8Array>, what: string): Promise<readonly Uint8Array[]>
  /**
   * Does work at a place that is the same in all processes: after everything that was asked for before, exchanges and programs, and before
   * what is asked for later.
   */
  inTurn<T>(work: () => Promise<T>): Promise<T>
  /**
   * Tells the others that this process cannot go on. Resolves to whether it is the one that should say why: the first of those that
   * failed. Where the others do not listen, being inside a program, it is; then they have to be ended.
   */
  fail(): Promise<boolean>
  /** Resolves when all have come to their end; from then on each may leave with a code of its own. */
  end(): Promise<void>
  /** Ends all of them at once, unless all have come to their end. */
  abort(code: number): void
}

/** One process, which has nobody to talk to. */
export const alone: Processes = {
  rank: 0, count: 1, hosts: ['here'], description: 'one process',
  exchange: async bytes => [await bytes],
  inTurn: work => work(),
  fail: () => Promise.resolve(true),
  end: () => Promise.resolve(),
  abort: () => {},
}

/** Another process failed, and says why itself. */
export class FailedElsewhere extends MeshworkError {}
/** Processes that should do the same and do not, or a process that is lost. */
export class JobError extends MeshworkError {}

const none = new Uint8Array()
export const barrier = async (p: Processes, what: string): Promise<void> => { await p.exchange(none, what) }

/** Does one piece of work after another, in the order in which they were asked for, whether or not the one before failed. */
export function queue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const turn = last.then(work)
    last = turn.catch(() => undefined)
    return turn
  }
}

/** The first process of each host. */
const leads = ({ hosts, rank }: Processes): boolean => hosts.indexOf(hosts[rank] ?? '') === rank

/**
 * Does work whose result is kept on disk: first in one process of each host, then in the others, which find it there.
 * @throws what `work` throws, and FailedElsewhere.
 */
export async function leadersFirst<T>(p: Processes, what: string, work: () => Promise<T>): Promise<T> {
  if (!leads(p)) await barrier(p, what)
  const result = await work()
  if (leads(p)) await barrier(p, what)
  return result
}

/** Rank 0's value, in every process. `value` is called in rank 0 only and must be JSON. */
export async function fromFirst<T>(p: Processes, what: string, value: () => Promise<T> | T): Promise<T> {
  if (p.count === 1) return value()
  const mine = p.rank === 0 ? Promise.resolve(value()).then(v => new TextEncoder().encode(JSON.stringify(v))) : none
  const [first = none] = await p.exchange(mine, what)
  return JSON.parse(new TextDecoder().decode(first)) as T
}

/** The largest of all processes' numbers, as of the time that each has taken. */
export async function slowest(p: Processes, what: string, mine: number): Promise<number> {
  if (p.count === 1) return mine
  const all = await p.exchange(new Uint8Array(Float64Array.of(mine).buffer), what)
  return Math.max(...all.map(b => new DataView(b.buffer, b.byteOffset).getFloat64(0, true)))
}

/** The flags that any process has set, of eight. */
export const flagsOf = async (p: Processes, what: string, flags: number): Promise<number> =>
  (p.count === 1 ? flags : (await p.exchange(Uint8Array.of(flags), what)).reduce((all, [b = 0]) => all | b, 0))

/** Whether any process says so. */
export const anyOf = async (p: Processes, what: string, flag: boolean): Promise<boolean> => await flagsOf(p, what, flag ? 1 : 0) !== 0

/**
 * Checks that all processes are about to do the same.
 * @throws JobError that names the first process that differs from rank 0, and in what.
 */
export async function requireSame(p: Processes, what: string, mine: Readonly<Record<string, string>>, fix: string): Promise<void> {
  if (p.count === 1) return
  const all = (await p.exchange(new TextEncoder().encode(JSON.stringify(mine)), what)).map(b => JSON.parse(new TextDecoder().decode(b)) as Record<string, string>)
  const [first = {}] = all
  for (const [rank, other] of all.entries()) {
    const key = [...new Set([...Object.keys(first), ...Object.keys(other)])].find(k => first[k] !== other[k])
    if (key === undefined) continue
    throw new JobError({
      code: 'ranks-differ', what: `rank ${rank} (host ${p.hosts[rank]}) differs from rank 0 in ${key}`,
      details: { 'rank 0': first[key] ?? 'none', [`rank ${rank}`]: other[key] ?? 'none' }, fix,
    })
  }
}
