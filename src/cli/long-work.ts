/** Work on files that takes a while: it tells how far it is, and Ctrl-C ends it. */
import { leadersFirst, openBackend, type Backend } from '../engine/index.ts'
import { currentJob } from '../runtime/job.ts'
import type { Processes } from '../runtime/processes.ts'
import { formatBytes, formatDuration, formatInteger } from './format.ts'
import { interrupts, Stopped, type Interrupts } from './interrupt.ts'
import { told, whereDevices } from './job.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { openOutput, silent, type Output } from './output.ts'
import { preparedPlugin } from './plugins.ts'

/** Shows how many bytes are done, how fast, and what is left. */
export function progressOn(output: Output, what: string): (done: number, total: number) => void {
  const began = performance.now()
  return (done, total) => {
    const rate = done / Math.max(1e-3, (performance.now() - began) / 1000)
    output.status(`${what}  ${formatBytes(done)} of ${formatBytes(total)}  ${formatBytes(rate)}/s  ${formatDuration((total - done) / rate)} left`)
  }
}

/** Texts or items done, how fast, and what is left where that can be told. */
export function rateProgress(output: Output, what: string): (done: number, before: number, share: number | undefined) => void {
  let began: number | undefined
  let first: number | undefined
  return (done, before, share) => {
    began ??= performance.now()
    first ??= share
    const seconds = Math.max(1e-3, (performance.now() - began) / 1000)
    const left = share === undefined || first === undefined || share <= first ? '' : `  ${formatDuration(seconds * (1 - share) / (share - first))} left`
    output.status(`${formatInteger(done)} ${what}  ${((done - before) / seconds).toPrecision(3)} ${what}/s${left}`)
  }
}

/** Work that Ctrl-C ends: what it has written by half is taken away. */
export async function interruptible<T>(asJson: boolean, work: (output: Output, stops: Interrupts) => Promise<T>): Promise<T> {
  const output = asJson ? silent : openOutput()
  const stops = interrupts()
  stops.finish(() => output.status('stopping', true))
  try {
    return await work(output, stops)
  } catch (e) {
    throw stops.code === undefined ? e : new Stopped(stops.code)
  } finally {
    output.clear()
    stops.release()
  }
}

/** What is said where what has been done is on the disk. */
export const goesOn = 'stopped: what is done is kept, and the same command goes on from there'

function endsAtOnce(stops: Interrupts, { count }: Processes, output: Output, stopped: string): void {
  const tell = (): void => { output.note(stopped) }
  if (count === 1) stops.quit(tell)
  else stops.finish(tell)
}

/**
 * Work whose results are kept as they come: interrupted, there is nothing to finish, and a server may keep it waiting for minutes, so it ends at once. Only other processes
 * must be told: `work` then ends by its signal.
 */
export async function keptWork(processes: Processes, output: Output, stopped: string, work: (stops: Interrupts) => Promise<void>): Promise<void> {
  const stops = interrupts()
  endsAtOnce(stops, processes, output, stopped)
  try {
    await work(stops)
  } catch (e) {
    if (!stops.signal.aborted) throw e
    // One process may have been told alone: the others must not wait for it.
    await currentJob().fail()
    process.exitCode = stops.code
  } finally {
    output.clear()
    stops.release()
  }
}

/** The same on devices. A plugin that is not here is fetched first. */
export const keptWorkOn = (processes: Processes, { devices, plugin: name, platform, output, stopped }: { readonly devices: number; readonly plugin: string; readonly platform: PlatformOptions | undefined; readonly output: Output; readonly stopped: string }, work: (backend: Backend, signal: AbortSignal) => Promise<void>): Promise<void> =>
  keptWork(processes, output, stopped, async stops => {
    const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(name, output, stops))
    // What fetches a plugin ends otherwise.
    endsAtOnce(stops, processes, output, stopped)
    output.status('starting')
    const backend = await openBackend({ devices, plugin, ...told(platform), backend: whereDevices() })
    try { await work(backend, stops.signal) } finally { await backend.close() }
  })
