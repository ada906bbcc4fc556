/** What the server of the page tells, as the page reads it. */
import type { EvalRow, Goodput, PlanEvent, StepRow } from '../train/events.ts'

/** What a run is doing, or how it ended; `lost`: its process is gone without a word. */
export type RunState = 'running' | 'finished' | 'stopped' | 'diverged' | 'failed' | 'lost'

/** A line of the table of runs. */
export interface RunRow {
  /** The folder's path within the folder of runs. */
  readonly id: string
  readonly name: string
  readonly state: RunState
  /** Why it failed or diverged. */
  readonly why: string | null
  /** Steps behind it, and those that it is to have where they are known. */
  readonly step: number
  readonly steps: number | null
  /** Numbers that are none are null in JSON: `diverged` says so. */
  readonly loss: number | null
  readonly evalLoss: number | null
  readonly perSecond: number | null
  readonly unit: 'tokens' | 'examples'
  readonly parameters: number | null
  readonly mesh: { readonly [axis: string]: number }
  /** Milliseconds since 1970. */
  readonly began: number
  readonly changed: number
  /** The folder as a shell takes it, from where the server was started. */
  readonly folder: string
}

/** A step's number in a run: the columns that can be drawn, in the order of their values. */
export const columns = ['loss', 'gradNorm', 'updateNorm', 'paramNorm', 'learningRate', 'lossScale', 'stepMs', 'dataWaitMs', 'perSecond', 'ofPeak'] as const
export type Column = (typeof columns)[number]

/**
 * Rows of a run, or what stands for them: of many rows each column has its least and its greatest, at the ends of the same span, in the order in which they came.
 * A value that is no number, or is not there, is null.
 */
export interface Series {
  /** Steps of the run from which rows are, and that the next is to have. */
  readonly rows: number
  /** Rows that one span stands for; 1 where all are there. */
  readonly span: number
  readonly step: readonly number[]
  readonly seen: readonly number[]
  /** Seconds of training. */
  readonly elapsed: readonly number[]
  readonly values: { readonly [C in Column]?: readonly (number | null)[] }
  /** Where the next row will begin in metrics.jsonl. */
  readonly next: string
}

export interface Marked { readonly step: number; readonly at?: number }
export type Mark =
  | Marked & { readonly type: 'checkpoint'; readonly path: string; readonly bytes: number; readonly waitMs: number; readonly totalMs: number }
  | Marked & { readonly type: 'start'; readonly from: number; readonly checkpoint?: string }
  | Marked & { readonly type: 'skipped'; readonly why: string; readonly documents?: readonly string[]; readonly lossScale?: number }
  | Marked & { readonly type: 'rewind'; readonly to: number; readonly why: string; readonly documents?: readonly string[] }
  | Marked & { readonly type: 'bad'; readonly why: string; readonly documents?: readonly string[] }
  | Marked & { readonly type: 'sample'; readonly prompt: string; readonly text: string }
  | Marked & { readonly type: 'warning'; readonly text: string }

/** What is known of one run beside its steps. */
export interface RunDetail {
  readonly row: RunRow
  /** Its fields as run.json has them. */
  readonly run: { readonly [field: string]: unknown }
  readonly recipe: string | null
  /** Of its last start. */
  readonly plan: PlanEvent | null
  readonly processes: { readonly count: number; readonly hosts: readonly string[] } | null
  readonly goodput: Goodput | null
  readonly evaluations: readonly EvalRow[]
  readonly marks: readonly Mark[]
  /** Marks that were too many to be told, the oldest. */
  readonly marksLeftOut: number
  /** Where the next row will begin, for the stream to go on from. */
  readonly next: string
  /** What the command line says to the same end as each button. */
  readonly commands: { readonly stop: string; readonly save: string; readonly resume: string }
}

/** A plan that is wanted: of a run or a recipe, with flags as the command line has them. */
export type PlanAsk = ({ readonly run: string } | { readonly recipe: string }) & {
  readonly flags?: { readonly mesh?: string; readonly batch?: string; readonly model?: string; readonly layout?: string; readonly params?: string; readonly state?: string; readonly set?: readonly string[] }
  /** Of those that the server names, for the time of a step; null for none, and left out the one that was measured here, if it was. */
  readonly machine?: string | null
}

/** What the one stream of a tab tells. `rows` are those of a run that is watched; `again`: its files are others now, and what is known of it is to be asked for anew. */
export type Told =
  | { readonly type: 'runs'; readonly root: string; readonly runs: readonly RunRow[] }
  | { readonly type: 'rows'; readonly run: string; readonly steps: readonly StepRow[]; readonly evaluations: readonly EvalRow[]; readonly marks: readonly Mark[] }
  | { readonly type: 'again'; readonly run: string }
