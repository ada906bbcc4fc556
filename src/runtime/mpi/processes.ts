/** The ranks of an MPI job: exchanges between them, and how the job ends. */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { inspect } from 'node:util'
import { FailedElsewhere, JobError, queue, type Processes } from '../processes.ts'
import type { Launch } from './environment.ts'
import type { MpiLibrary } from './library.ts'

/** Rank and host, as messages name them. */
const nameOf = (rank: number, hosts: readonly string[]): string => `rank ${rank} (host ${hosts[rank] ?? '?'})`

/** How long a rank that fails waits for the others to hear of it; inside a program they do not listen. */
const patienceMs = 2000

/** What an exchange starts with, from each rank: whether it failed, what it exchanges, and how many bytes follow. */
const headBytes = 16

export class MpiProcesses implements Processes {
  readonly rank: number
  readonly count: number
  readonly hosts: readonly string[]
  readonly description: string
  /** Ranks on this host. */
  readonly onHost: number
  /** Whether this MPI lets collectives go on beside a program. */
  readonly threaded: boolean
  private readonly library: MpiLibrary
  /** Set when all ranks know that this is the end: then each may leave with the code it likes. */
  private ended = false
  private uncaught: { readonly error: unknown } | undefined
  private readonly turns = queue()

  constructor(library: MpiLibrary, launch: Launch, limitSeconds: number) {
    this.library = library
    const { rank, size, localSize, hosts, threaded } = library.open(limitSeconds)
    this.rank = rank
    this.count = size
    this.hosts = hosts
    this.onHost = localSize
    this.threaded = threaded
    this.description = `${library.built}, ${size} rank${size === 1 ? '' : 's'} on ${new Set(hosts).size} host${new Set(hosts).size === 1 ? '' : 's'}`
    process.on('uncaughtExceptionMonitor', error => { this.uncaught = { error } })
    process.on('exit', code => { this.leave(code) })
    if (launch.size === undefined || launch.size === size) return
    throw new JobError({
      code: 'wrong-mpi', what: `${launch.by} started ${launch.size} ranks, and ${library.built} found ${size}`,
      details: { loaded: library.library.split('\n')[0] ?? '' },
      fix: 'use the mpirun of the MPI that the collectives were built with, or build with the other: MPICC=PATH npx meshwork mpi build',
    })
  }

  inTurn<T>(work: () => Promise<T>): Promise<T> { return this.turns(work) }

  /** The whole exchange is one turn: every rank must meet the others in the same order. */
  exchange(bytes: Uint8Array | Promise<Uint8Array>, what: string): Promise<readonly Uint8Array[]> {
    return this.inTurn(async () => {
      const mine = await bytes
      const { lengths, failed, elsewhere } = await this.heads({ failed: false, length: mine.byteLength }, what)
      if (failed !== undefined) {
        this.ended = true
        throw new FailedElsewhere({ code: 'failed-elsewhere', what: `${nameOf(failed, this.hosts)} failed` })
      }
      if (elsewhere !== undefined) {
        throw new JobError({
          code: 'out-of-step', what: `${nameOf(elsewhere, this.hosts)} is at another place of the program than ${nameOf(this.rank, this.hosts)}, which is at: ${what}`,
          fix: 'let every rank take the same way: what rank decides may print or write, not read arrays or run programs',
        })
      }
      const most = Math.max(...lengths)
      if (most === 0) return lengths.map(() => new Uint8Array())
      const padded = new Uint8Array(most)
      padded.set(mine)
      const all = await this.gather(padded, what)
      return lengths.map((length, r) => all.subarray(r * most, r * most + length))
    })
  }

  async fail(): Promise<boolean> {
    if (this.ended) return true
    const told = this.inTurn(() => this.heads({ failed: true, length: 0 }, 'a failure'))
    const heard = await Promise.race([told, pause(patienceMs, undefined, { ref: false })])
    if (heard === undefined) return true
    this.ended = true
    return heard.failed === this.rank
  }

  async end(): Promise<void> {
    await this.exchange(new Uint8Array(), 'the end')
    this.ended = true
  }

  abort(code: number): void {
    if (!this.ended) this.library.abort(code)
  }

  /** Every rank's length, the first that failed, and the first that exchanges something else. */
  private async heads({ failed, length }: { readonly failed: boolean; readonly length: number }, what: string):
  Promise<{ readonly lengths: readonly number[]; readonly failed: number | undefined; readonly elsewhere: number | undefined }> {
    const head = new DataView(new ArrayBuffer(headBytes))
    head.setInt32(0, failed ? 1 : 0, true)
    head.setUint32(4, createHash('sha256').update(what).digest().readUInt32LE(), true)
    head.setBigInt64(8, BigInt(length), true)
    const all = await this.gather(new Uint8Array(head.buffer), what)
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength)
    const ranks = Array.from({ length: this.count }, (_, r) => r)
    return {
      lengths: ranks.map(r => Number(view.getBigInt64(r * headBytes + 8, true))),
      failed: ranks.find(r => view.getInt32(r * headBytes, true) !== 0),
      elsewhere: ranks.find(r => view.getUint32(r * headBytes + 4, true) !== head.getUint32(4, true)),
    }
  }

  private async gather(mine: Uint8Array, what: string): Promise<Uint8Array> {
    const all = new Uint8Array(new ArrayBuffer(mine.byteLength * this.count))
    await this.library.allGather(mine, all, what)
    return all
  }

  /** At the end of the process: together with the others where all have come to an end, else by ending them. */
  private leave(code: number): void {
    if (code === 0 || this.ended) return this.library.close()
    // Node would print it only after this.
    if (this.uncaught !== undefined) writeSync(2, `${nameOf(this.rank, this.hosts)}: ${inspect(this.uncaught.error)}\n`)
    this.library.abort(code)
  }
}
