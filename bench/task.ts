/** What is measured, as both sides are told it, and what they answer. */
import type { GptConfig } from '../src/models/gpt-config.ts'
import type { Remat } from '../src/engine/index.ts'
import type { PlainOptimizer } from '../test/oracle/cases.ts'

export interface Task {
  readonly config: GptConfig
  /** Windows a step, all devices together. */
  readonly batch: number
  readonly mesh: { readonly batch: number; readonly model: number }
  readonly optimizer: PlainOptimizer
  /** Where the batches lie, and the first weights: written by one side, read by the other. */
  readonly folder: string
  readonly batches: number
  /** What the backward pass computes again; 'all-but-contractions' unless said. */
  readonly remat?: Remat
}

/** `bytes`: of the larger buffer of a rank, f32. */
export interface CollectiveTask { readonly op: CollectiveName; readonly bytes: number; readonly times: number }
export const collectiveNames = ['allreduce', 'allgather', 'reduce_scatter', 'alltoall', 'sendrecv'] as const
export type CollectiveName = (typeof collectiveNames)[number]

/** A worker takes one request a line, and answers each with a line. */
export type Request =
  /** Compiles the step and makes the weights. */
  | { readonly do: 'open'; readonly task: Task }
  /** Writes the weights into the task's folder. */
  | { readonly do: 'save' }
  /** Trains, each step timed from its batch on the host to its loss on the host. */
  | { readonly do: 'steps'; readonly count: number }
  /** Trains as `train` does: one step is under way while the last one's loss is read. Timed as a whole. */
  | { readonly do: 'loop'; readonly count: number }
  /** Times one collective over all ranks, as a program runs it. */
  | { readonly do: 'collective' } & CollectiveTask
  /** Compiles the task's step anew, without a cache, and throws it away. */
  | { readonly do: 'compile'; readonly task: Task }
  | { readonly do: 'memory' }
  /** Frees everything that `open` made. */
  | { readonly do: 'close' }

export interface Answers {
  readonly open: { readonly runtime: string }
  readonly save: Record<string, never>
  readonly steps: { readonly ms: readonly number[]; readonly losses: readonly number[] }
  /** `hostMs`: processor time of the thread that runs JavaScript; peers have none. */
  readonly loop: { readonly ms: number; readonly hostMs?: number; readonly losses: readonly number[] }
  readonly compile: { readonly ms: number }
  readonly collective: { readonly us: number }
  readonly memory: { readonly residentBytes: number; readonly liveBuffers: number }
  readonly close: { readonly liveBuffers: number }
}

export const optimizer: PlainOptimizer = {
  rate: 3e-4, warmup: 10, steps: 10_000, floor: 0.1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clip: 1,
}
