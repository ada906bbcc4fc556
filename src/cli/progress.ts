/** A training run's events as lines. */
import type { TrainEvent } from '../train/events.ts'
import { formatDuration, formatInteger } from './format.ts'
import type { Output } from './output.ts'
import { drawPlan } from './picture.ts'

const window = 20

/** Prints what happens; the rate is that of the last steps, without the first, which warms up. */
export function trainingProgress(output: Output): (event: TrainEvent) => void {
  const times: number[] = []
  const show: { readonly [T in TrainEvent['type']]: (e: Extract<TrainEvent, { type: T }>) => void } = {
    preparing: e => output.status(`${e.what}  ${formatInteger(e.done)} of ${formatInteger(e.total)}`),
    warning: e => output.note(`warning: ${e.text}`),
    compiling: e => output.status(`compiling ${e.what}`, true),
    plan: e => drawPlan(e, output.columns).forEach(line => output.print(line)),
    started: () => {},
    step: e => {
      if (e.step > 0) times.push(e.stepMs)
      if (times.length > window) times.shift()
      const ms = times.length === 0 ? e.stepMs : times.reduce((a, b) => a + b, 0) / times.length
      const rate = e.tokens / (e.step + 1) / (ms / 1000)
      const done = e.step + 1
      output.status(`step ${done}/${e.steps}  loss ${e.loss.toFixed(4)}  ${formatInteger(rate)} tokens/s  ${formatDuration((e.steps - done) * ms / 1000)} left`, done === 1 || done === e.steps)
    },
    skipped: e => output.note(`step ${e.step + 1} was left out: its gradients overflowed; the loss is now multiplied by ${formatInteger(e.lossScale)}`),
    eval: e => output.print(`step ${e.step + 1}  held-out loss ${e.evalLoss.toFixed(4)}`),
    saved: () => output.clear(),
  }
  const call = <T extends TrainEvent['type']>(type: T, event: Extract<TrainEvent, { type: T }>): void => show[type](event)
  return event => call(event.type, event as never)
}
