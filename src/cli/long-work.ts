/** Work on files that takes a while: it tells how far it is, and Ctrl-C ends it. */
import { formatBytes, formatDuration } from './format.ts'
import { interrupts, Stopped, type Interrupts } from './interrupt.ts'
import { openOutput, silent, type Output } from './output.ts'

/** Shows how many bytes are done, how fast, and what is left. */
export function progressOn(output: Output, what: string): (done: number, total: number) => void {
  const began = performance.now()
  return (done, total) => {
    const rate = done / Math.max(1e-3, (performance.now() - began) / 1000)
    output.status(`${what}  ${formatBytes(done)} of ${formatBytes(total)}  ${formatBytes(rate)}/s  ${formatDuration((total - done) / rate)} left`)
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
