/** Which stage of a pipeline computes what at which tick: plain data, from which follow how long a step is, how much of it is idle, and a picture of it. */
import { UsageError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'

/**
 * `gpipe`: all microbatches forward, then all back (Huang et al. 2019). `circular`: the same with several rounds through the stages, each stage having a piece of every round
 * (Narayanan et al. 2021, "interleaved"; Levanter and MaxText call it circular). `1f1b`: each microbatch goes back as soon as it has come through (Narayanan et al. 2019), so that
 * few are on their way at a time.
 */
export type ScheduleName = 'gpipe' | 'circular' | '1f1b'

export interface Pipelined {
  /** How many stages; or how many layers each has, where they are not equal: `[3, 4, 4, 3]`. */
  readonly stages: number | readonly number[]
  /** Parts of the batch that go through one after another. */
  readonly microbatches: number
  /** `gpipe` unless said. */
  readonly schedule?: ScheduleName | undefined
  /** Of `circular`: how often a microbatch goes round, 2 unless said. */
  readonly rounds?: number | undefined
}

/** One microbatch on one stage: its number, and the round. */
export interface Work { readonly microbatch: number; readonly round: number }
/** What all stages do at a tick, undefined where one has nothing to do; there is no list of what no stage does, and no time is spent on it. */
export interface Tick { readonly forward?: readonly (Work | undefined)[]; readonly backward?: readonly (Work | undefined)[] }

/** A pipeline whose numbers have been looked at. */
export interface Plan {
  readonly name: ScheduleName
  readonly stages: number
  readonly rounds: number
  readonly microbatches: number
  /** Ticks from when the first microbatch enters to when the last has left. */
  readonly forwardTicks: number
}

const scheduleNames = ['gpipe', 'circular', '1f1b'] as const
const isCount = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 1

/** @throws UsageError that names the option which is none, and says what to change */
export function planOf({ stages, microbatches, schedule = 'gpipe', rounds }: Pipelined): Plan {
  const wrong = (option: string, what: string, fix: string): UsageError => new UsageError({ code: `pipeline-${option}`, what: `pipeline: ${what}`, fix })
  const list: unknown = stages
  const p = Array.isArray(list) ? list.length : stages
  if (!isCount(p) || (Array.isArray(list) && !list.every(isCount))) throw wrong('stages', `stages is ${shown(stages)}`, 'give how many there are, or how many layers each has: 4, or [3, 4, 4, 3]')
  if (!isCount(microbatches)) throw wrong('microbatches', `microbatches is ${shown(microbatches)}`, 'give a whole number, 1 or more; some times as many as there are stages keeps them busy')
  if (!scheduleNames.includes(schedule)) throw wrong('schedule', `there is no schedule ${shown(schedule)}`, `give one of ${scheduleNames.join(', ')}`)
  if (schedule !== 'circular' && rounds !== undefined) throw wrong('rounds', `rounds is ${shown(rounds)}, and the schedule ${schedule} has one`, 'leave it out, or use the schedule circular')
  const v = schedule === 'circular' ? rounds ?? 2 : 1
  if (!isCount(v)) throw wrong('rounds', `rounds is ${shown(rounds)}`, 'give a whole number, 1 or more')
  if (schedule === 'circular' && microbatches % p !== 0) {
    throw wrong('microbatches', `${microbatches} microbatches go round ${p} stages, and none may wait for another`, `use a number of microbatches that ${p} divides, or the schedule gpipe`)
  }
  return { name: schedule, stages: p, rounds: v, microbatches, forwardTicks: v * microbatches + p - 1 }
}

/** What the stages do forward at a tick; a microbatch of the last round comes out of the last stage. */
const workOf = ({ stages, rounds, microbatches }: Plan, tick: number, stage: number): Work | undefined => {
  const turn = tick - stage
  if (turn < 0 || turn >= rounds * microbatches) return undefined
  // Circular: as many microbatches as there are stages go through all rounds, then as many more. Of one round it is the turn itself.
  const group = rounds === 1 ? 0 : Math.floor(turn / (rounds * stages))
  const within = turn - group * rounds * stages
  return rounds === 1 ? { microbatch: turn, round: 0 } : { microbatch: group * stages + within % stages, round: Math.floor(within / stages) }
}

/** A training step, tick by tick. */
export function ticksOf(pipelined: Pipelined): Tick[] {
  const plan = planOf(pipelined)
  const { name, stages, microbatches, forwardTicks, rounds } = plan
  const all = Array.from({ length: stages }, (_, s) => s)
  const forward = Array.from({ length: forwardTicks }, (_, t) => all.map(s => workOf(plan, t, s)))
  // Back it goes the other way: the last stage begins, and in it the last round.
  const backward = Array.from({ length: forwardTicks }, (_, t) => all.map((s): Work | undefined => {
    const found = workOf(plan, t, stages - 1 - s)
    return found === undefined ? undefined : { microbatch: name === '1f1b' ? found.microbatch : microbatches - 1 - found.microbatch, round: rounds - 1 - found.round }
  }))
  if (name !== '1f1b') return [...forward.map(f => ({ forward: f })), ...backward.map(b => ({ backward: b }))]
  // The first microbatch turns round at tick stages − 1.
  const before = stages - 1
  return Array.from({ length: forwardTicks + before }, (_, t): Tick => {
    const [f, b] = [forward[t], backward[t - before]]
    return { ...(f === undefined ? {} : { forward: f }), ...(b === undefined ? {} : { backward: b }) }
  })
}

/** Which share of a step the stages are idle, where forward and back take as long: (p − 1) / (m + p − 1), circular (p − 1) / (v·m + p − 1). */
export function idleShare(pipelined: Pipelined): number {
  const { stages, forwardTicks } = planOf(pipelined)
  return (stages - 1) / forwardTicks
}

/**
 * A step as text: a line for each stage, a column for each tick, and in it the microbatch that goes forward (`3`), or back (`3'`); in rounds after the first with a letter
 * (`3b`). Dots are idle.
 */
export function drawSchedule(pipelined: Pipelined): string {
  const { stages } = planOf(pipelined)
  const ticks = ticksOf(pipelined)
  const cell = (work: Work | undefined, mark: string): string => (work === undefined ? '·' : `${work.microbatch}${work.round === 0 ? '' : String.fromCharCode(97 + work.round)}${mark}`)
  const cells = Array.from({ length: stages }, (_, s) => ticks.map(t => [...t.forward === undefined ? [] : [cell(t.forward[s], '')], ...t.backward === undefined ? [] : [cell(t.backward[s], '\'')]].join(' ')))
  const width = ticks.map((_, t) => Math.max(...cells.map(row => row[t]?.length ?? 0)))
  const lines = cells.map((row, s) => `stage ${s} │ ${row.map((c, t) => c.padEnd(width[t] ?? 0)).join(' │ ')}`.trimEnd())
  return [...lines, `idle: ${(100 * idleShare(pipelined)).toFixed(1)} %`].join('\n')
}
