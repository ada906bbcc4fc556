/** One run of a program: asked for, launched, done. */
import type { CallSite, Told } from '../backend.ts'
import type { Failure } from '../in-flight.ts'

export class PjrtRun {
  readonly at: CallSite | undefined
  readonly told: Told | undefined
  /** Resolves when the plugin has taken it on, or will not; never rejects. */
  readonly launched: Promise<void>
  /** Calls off `launched`. */
  readonly markLaunched: () => void
  isLaunched = false
  /** One a device, from the plugin; none before it is launched, nor after it is known to be done. */
  events: readonly bigint[] = []
  /** Runs that compute its arguments, as far as they are not known to be done. */
  sources: readonly PjrtRun[] = []
  failure: Failure | undefined
  /** Whether it is known how it came out. */
  settled = false

  constructor(at: CallSite | undefined, told?: Told) {
    this.at = at
    this.told = told
    let resolve = (): void => {}
    this.launched = new Promise(done => { resolve = done })
    this.markLaunched = () => {
      this.isLaunched = true
      resolve()
    }
  }
}
