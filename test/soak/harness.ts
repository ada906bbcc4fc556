/** Runs that are killed again and again, each time at a moment drawn from a seed, and go on until they end as the undisturbed run did. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { cacheRoot } from '../../src/io/cache-root.ts'
import { environment, watched } from '../mpi/support.ts'
import { differences } from './compare.ts'

/** A moment, as dying.mjs is told it. */
export interface Kill { readonly at: 'prepare' | 'save' | 'log' | 'step' | 'eval' | 'compiling' | 'compile' | 'time'; readonly n: number; readonly step?: number; readonly rank?: number; /** SIGKILL unless given. */ readonly signal?: 'SIGTERM' }
export interface SoakOptions {
  /** Of the same run into that folder. */
  readonly command: (out: string) => readonly string[]
  /** Everything is written below it. */
  readonly folder: string
  readonly kills: number
  readonly seed: number
  readonly steps: number
  /** Processes of the job. */
  readonly ranks: number
  readonly say: (line: string) => void
}
export interface Report { readonly kills: number; readonly rounds: number; readonly starts: number; readonly byKind: { readonly [kind: string]: number }; readonly differences: readonly string[] }

/** Steps between checkpoints, and rows of a step. */
const [every, batch] = [5, 4]
const dying = fileURLToPath(new URL('dying.mjs', import.meta.url))

/** Whole numbers below n, drawn from a seed (mulberry32). */
export function drawing(seed: number): (n: number) => number {
  let state = seed >>> 0
  return n => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * n)
  }
}

/** Text that a run of so many steps sees three times and a bit: words that are none, in documents. */
export function soakText(seed: number, steps: number): string {
  const draw = drawing(seed)
  const word = (): string => Array.from({ length: 2 + draw(5) }, () => 'aeioulnrst'[draw(10)]).join('')
  return Array.from({ length: Math.max(4, Math.round(steps / 5.5)) }, () => Array.from({ length: 8 + draw(10) }, word).join(' ')).join('<|endoftext|>')
}

/** What was counted in the undisturbed run, by rank. */
interface Counts { readonly startedMs: number; readonly [kind: string]: number }

/**
 * The moments of one round, in the order in which a run comes to them. Ten there are always: in the making of the data, while programs are compiled, before the first
 * checkpoint, within the writing of one, three in the second epoch, the second of which before anything new was saved, within a line of the log, in the third epoch, and
 * within the writing of the checkpoint behind it. `all` are these and others.
 */
export function moments(draw: (n: number) => number, { steps, ranks }: Pick<SoakOptions, 'steps' | 'ranks'>, { counts, epoch }: { readonly counts: readonly Counts[]; readonly epoch: number }, all: boolean): readonly Kill[] {
  const some = (): number => draw(ranks)
  const of = (rank: number, kind: string): number => 1 + draw(counts[rank]?.[kind] ?? 1)
  const save = (step: number): Kill => { const rank = some(); return { at: 'save', step, n: of(rank, `save-${step}`), rank } }
  const at = (n: number): Kill => ({ at: 'step', n, rank: some() })
  const whole = (step: number): number => Math.ceil(step / every) * every
  const making = (): Kill => ({ at: 'prepare', n: of(0, 'prepare'), rank: 0 })
  const [second, third] = [epoch + draw(every), 2 * epoch + draw(every)]
  const anywhere = (step: number): Kill => [save(step), at(step), { at: 'compiling', n: 1 + draw(3), rank: some() } as const][draw(3)] as Kill
  const kills: Kill[] = [
    making(), ...(all ? [making()] : []), { at: 'compile', n: draw(300), rank: some() }, at(draw(every - 1)), save(every),
    // As long as starting takes, and a step or two.
    ...(all ? [{ at: 'time', n: draw((counts[0]?.startedMs ?? 1000) * 1.1), rank: some() } as const] : []),
    at(second), at(whole(second + 1) - 1), { at: 'log', n: 2 + draw(every), rank: 0 }, at(second + every + 1), ...(all ? [{ at: 'eval', n: 1, rank: some() } as const] : []),
    at(third), save(whole(third + 1)),
  ]
  if (all) for (let step = whole(third + 1) + every; step < steps; step += every) kills.push(anywhere(step))
  return all ? [...kills, save(steps)] : kills
}

/** A cache of its own, in which data is made anew; plugins and the like are those that there are. */
export function freshCache(round: string): void {
  const cache = join(round, 'cache')
  mkdirSync(cache, { recursive: true })
  for (const name of ['plugins', 'kernels', 'mpi', 'peaks']) if (existsSync(join(cacheRoot(), name))) symlinkSync(join(cacheRoot(), name), join(cache, name))
}

export interface Ended { /** By which of the moments. */ readonly killed: number | undefined; readonly code: number | null; readonly from: number | undefined; readonly out: string; readonly err: string }

export type StartOptions = Pick<SoakOptions, 'command' | 'folder' | 'steps' | 'ranks'>
/** Starts the run once, in a folder that has a cache, and waits for its end. */
export async function start(options: StartOptions, out: string, round: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  const dead = join(round, 'dead')
  rmSync(dead, { force: true })
  const mark = `${process.pid}-${round}`
  const [program = '', ...args] = options.command(out)
  const child = watched(spawn(program, args, {
    cwd: round, stdio: ['ignore', 'pipe', 'pipe'],
    env: environment({ MESHWORK_CACHE_DIR: join(round, 'cache'), SOAK_DEAD: dead, SOAK_STEPS: String(options.steps), SOAK_TEXT: join(options.folder, 'text.txt'), SOAK_MARK: mark, NODE_OPTIONS: `--import ${dying}`, ...env }),
  }))
  let [printed, err] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => { printed += chunk.toString() })
  child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  // A launcher may be gone a moment before its ranks are.
  while (options.ranks > 1 && stillThere(mark)) await pause(20)
  const from = /"type":"started","steps":\d+,"from":(\d+)/.exec(printed)?.[1]
  return { killed: existsSync(dead) ? Number(readFileSync(dead, 'utf8')) : undefined, code, from: from === undefined ? undefined : Number(from), out: printed, err: err || printed.slice(-2000) }
}

const stillThere = (mark: string): boolean => readdirSync('/proc').some(pid => {
  try { return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`SOAK_MARK=${mark}`) } catch { return false /* It has ended, or is another user's. */ }
})

const words = ({ at, n, step, rank = 0 }: Kill, ranks: number): string => {
  const told: { readonly [A in Kill['at']]: string } = {
    prepare: `within the making of the data, call ${n}`, save: `within the writing of step ${step}'s checkpoint, call ${n}`, log: `within a line of metrics.jsonl, the ${n}th call`, step: `at step ${n}`,
    eval: 'at an evaluation', compiling: `at the compilation of program ${n}`, compile: `${n} ms after compiling had begun`, time: `${n} ms after the start`,
  }
  return `${told[at]}${ranks > 1 ? `, rank ${rank} of ${ranks}` : ''}`
}

/** How far a folder's log goes. */
function reached(out: string): number {
  const path = join(out, 'metrics.jsonl')
  const steps = existsSync(path) ? [...readFileSync(path, 'utf8').matchAll(/^\{"step":(\d+)/gm)] : []
  return steps.reduce((n, [, step]) => Math.max(n, Number(step) + 1), 0)
}

/** @throws where a start fails that nobody killed */
export async function soak(options: SoakOptions): Promise<Report> {
  const { folder, kills, seed, steps, ranks, say } = options
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'text.txt'), soakText(seed, steps))
  const calmRound = join(folder, 'calm')
  freshCache(calmRound)
  const calm = join(calmRound, 'run')
  const first = await start(options, calm, calmRound, { SOAK_COUNTS: join(calmRound, 'counts') })
  if (first.code !== 0) throw new Error(`the undisturbed run ended with ${first.code}:\n${first.err}`)
  const counts = Array.from({ length: ranks }, (_, rank) => JSON.parse(readFileSync(join(calmRound, `counts-${rank}`), 'utf8')) as Counts)
  const epoch = Math.floor(Number(/"rows":(\d+)/.exec(first.out)?.[1]) / batch)
  say(`undisturbed: ${steps} steps, ${epoch} an epoch`)
  const draw = drawing(seed + 1)
  const byKind: { [kind: string]: number } = {}
  const wrong: string[] = []
  let [killed, rounds, starts] = [0, 0, 0]
  while (killed < kills) {
    const at = join(folder, `round-${rounds++}`)
    freshCache(at)
    const out = join(at, 'run')
    const plan = moments(draw, options, { counts, epoch }, kills > 10)
    let ended = false
    for (let i = 0; !ended;) {
      // Should the next moment not come, as the run is past it, a later one that is of a step will.
      const due = killed < kills ? plan.slice(i).filter(({ at }, j) => j === 0 || at === 'save' || at === 'step') : []
      const result = await start(options, out, at, due.length === 0 ? {} : { SOAK_KILL: JSON.stringify(due) })
      starts++
      const kill = due[result.killed ?? -1]
      if (kill !== undefined) {
        i = plan.indexOf(kill) + 1
        killed++
        byKind[kill.at] = (byKind[kill.at] ?? 0) + 1
        say(`kill ${killed} of ${kills}: ${words(kill, ranks)}${result.from === undefined ? ', before the first step' : `; it had begun behind step ${result.from} and come to step ${reached(out)}`}`)
      } else if (result.code !== 0) throw new Error(`a start ended with ${result.code}, and nobody killed it:\n${result.err}`)
      else ended = true
    }
    const found = differences(calm, out)
    wrong.push(...found.map(d => `round ${rounds}: ${d}`))
    say(`round ${rounds}: ${found.length === 0 ? 'losses, weights, slots, metrics and events are bit-equal to the undisturbed run\'s' : `DIFFERS:\n  ${found.join('\n  ')}`}`)
    if (found.length === 0) rmSync(at, { recursive: true, force: true })
  }
  return { kills: killed, rounds, starts, byKind, differences: wrong }
}
