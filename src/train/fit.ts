/** Training without a folder: for programs that keep what comes of it themselves. */
import type { Arrays, Backend, Tree } from '../engine/index.ts'
import { Clock } from './clock.ts'
import { disposeAll } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { Loop, type LoopResult } from './loop.ts'
import { beginning } from './progress.ts'
import type { StateArrays } from './program.ts'
import type { Run } from './run.ts'
import { openSession, type Session } from './session.ts'
import { breathe } from './breathe.ts'

export interface FitOptions {
  readonly backend: Backend
  /** Once aborted, what the devices have been given is finished. */
  readonly signal?: AbortSignal | undefined
  /** Hears every step: loss, norms, rate, times. */
  readonly onStep?: ((event: TrainEvent & { readonly type: 'step' }) => void) | undefined
  /** Hears everything. What it throws ends the run. */
  readonly onEvent?: ((event: TrainEvent) => void) | undefined
}
export interface FitResult {
  /** Steps behind the run, those of before included. */
  readonly steps: number
  /** Steps that the run is to have. */
  readonly planned: number
  readonly stopped: boolean
  /** Of the steps that this call took. */
  readonly losses: readonly number[]
  readonly evalLoss: number | undefined
}
export interface Fitted extends FitResult, Disposable {
  /** The model's parameters, laid out as the run says; they live until this is disposed. */
  readonly params: Arrays<Tree>
  dispose(): void
}

export const resultOf = ({ losses, evalLoss, stopped, progress }: LoopResult, planned: number): FitResult => ({ steps: progress.step, planned, stopped, losses, evalLoss })

/** Everybody who hears of a run: the run's own hooks, and who called. */
export const listeners = ({ hooks }: Run, { onStep, onEvent }: Pick<FitOptions, 'onStep' | 'onEvent'>) => (event: TrainEvent): void => {
  onEvent?.(event)
  if (event.type === 'step') onStep?.(event)
  for (const hook of hooks) hook(event)
}

/** A state that no step has changed. */
export const firstState = async ({ trainer, run }: Pick<Session, 'trainer' | 'run'>): Promise<StateArrays<Tree>> => await trainer.init(run.seed) as StateArrays<Tree>

/** Trains a run; nothing is written. Under MPI every rank calls it with the same run. @throws BadStep where the run's guard ends it */
export async function fit(run: Run, options: FitOptions): Promise<Fitted> {
  const tell = listeners(run, options)
  const session = await openSession(run, { backend: options.backend, tell, signal: options.signal })
  const clock = new Clock()
  try {
    const state = await firstState(session)
    await breathe()
    tell({ type: 'started', steps: session.run.steps, from: 0 })
    const loop = new Loop(session, { state, progress: beginning }, { clock, signal: options.signal, tell: event => Promise.resolve(tell(event)) })
    const result = await loop.run()
    const { params, ...rest } = result.state
    disposeAll(rest)
    const dispose = (): void => disposeAll(params)
    return { ...resultOf(result, session.run.steps), params, dispose, [Symbol.dispose]: dispose }
  } finally {
    await session.close()
  }
}
