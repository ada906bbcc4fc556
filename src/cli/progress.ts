/** A training run's events as lines. */
import type { Goodput, TrainEvent } from '../train/events.ts'
import { formatBytes, formatDuration, formatInteger, visible } from './format.ts'
import type { Output } from './output.ts'
import { drawPlan } from './picture.ts'

const window = 20

/** Prints what happens; the rate is that of the last steps, without the first, which warms up. */
export function trainingProgress(output: Output): (event: TrainEvent) => void {
  const times: number[] = []
  let first: number | undefined
  let unit = 'tokens'
  const of = (documents: readonly string[] | undefined): string => (documents === undefined ? '' : `; its documents: ${documents.join(', ')}`)
  const show: { readonly [T in TrainEvent['type']]: (e: Extract<TrainEvent, { type: T }>) => void } = {
    preparing: e => output.status(`${e.what}  ${formatInteger(e.done)}${e.total === undefined ? '' : ` of ${formatInteger(e.total)}`}`),
    note: e => output.note(e.text),
    warning: e => output.note(`warning: ${e.text}`),
    compiling: e => output.status(`compiling ${e.what}`, true),
    plan: e => {
      unit = e.unit
      drawPlan(e, output.columns).forEach(line => output.print(line))
    },
    started: e => { if (e.checkpoint !== undefined) output.print(`goes on        behind step ${e.from}, from ${e.checkpoint}`) },
    step: e => {
      first ??= e.step
      if (e.step > first) times.push(e.time.stepMs)
      if (times.length > window) times.shift()
      const ms = times.length === 0 ? e.time.stepMs : times.reduce((a, b) => a + b, 0) / times.length
      const rate = e.time.perSecond * e.time.stepMs / ms
      const done = e.step + 1
      output.status(`step ${done}/${e.steps}  loss ${e.loss.toFixed(4)}  ${formatInteger(rate)} ${unit}/s${e.time.ofPeak === undefined ? '' : `  ${(100 * e.time.ofPeak * e.time.stepMs / ms).toFixed(0)} % of peak`}  ${formatDuration((e.steps - done) * ms / 1000)} left`, done === 1 || done === e.steps)
    },
    skipped: e => output.note(`step ${e.step + 1} was left out: ${e.why}${e.lossScale === undefined ? '' : `; the loss is now multiplied by ${formatInteger(e.lossScale)}`}${of(e.documents)}`),
    rewind: e => output.note(`step ${e.step + 1} is bad: ${e.why}; the run is back behind step ${e.to}, and goes on after the batches since${of(e.documents)}`),
    // The error that follows says it.
    bad: () => {},
    sample: e => output.print(`step ${e.step} writes ${visible(e.prompt)}${visible(e.text)}`),
    eval: e => output.print(`step ${e.step + 1}  held-out loss ${e.evalLoss.toFixed(4)}${Object.entries(e.metrics).map(([name, value]) => `  ${name} ${value.toFixed(4)}`).join('')}`),
    checkpoint: e => output.note(`checkpoint     behind step ${e.step}: ${formatBytes(e.bytes)} in ${formatDuration(e.totalMs / 1000)}, of which training waited ${formatDuration(e.waitMs / 1000)}`),
    saved: () => output.clear(),
    goodput: e => output.print(drawGoodput(e)),
  }
  const call = <T extends TrainEvent['type']>(type: T, event: Extract<TrainEvent, { type: T }>): void => show[type](event)
  return event => call(event.type, event as never)
}

const words: { readonly [B in Exclude<keyof Goodput, 'starts'>]: string } = {
  steps: 'steps', dataWait: 'waiting for data', starting: 'starting', evaluation: 'evaluation', checkpoints: 'waiting for checkpoints', restoring: 'restoring', lost: 'steps that were lost', other: 'other',
}
/** Where the time went, the largest shares first. */
function drawGoodput(goodput: Goodput): string {
  const shares = (Object.keys(words) as (keyof typeof words)[]).map(name => [name, goodput[name]] as const)
  const total = shares.reduce((n, [, ms]) => n + ms, 0)
  const told = shares.filter(([, ms]) => ms / total >= 0.005).sort((a, b) => b[1] - a[1]).map(([name, ms]) => `${words[name]} ${(100 * ms / total).toFixed(0)} %`)
  return `time           ${formatDuration(total / 1000)}${goodput.starts > 1 ? ` in ${goodput.starts} starts` : ''}: ${told.join(', ')}`
}
