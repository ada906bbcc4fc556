/** How programs that were asked for and are not awaited come out: what went wrong is kept until somebody hears of it. */
import { MeshworkError, PluginError } from '../core/errors.ts'
import type { CallSite, Told } from './backend.ts'

/** Programs that a backend takes on before it lets the next caller wait: enough to keep devices busy, and a bound on what their results hold. */
export const mostInFlight = 8

export interface Failure { readonly error: MeshworkError }

/** Failures that nobody has been told of. */
export class Failures {
  private readonly unheard = new Set<Failure>()

  /** Keeps what went wrong in a run; `at` is where the user called it, unless the error knows better, and `told` what else is said of it. */
  keep(cause: unknown, at: CallSite | undefined, told: Told = e => e): Failure {
    const failure = { error: told(located(cause, at)) }
    this.unheard.add(failure)
    return failure
  }

  /** The error, to be thrown: from now on the user knows of it. */
  hear(failure: Failure): MeshworkError {
    this.unheard.delete(failure)
    return failure.error
  }

  /** @throws the first failure that no `read` has thrown: a program whose results nobody looked at. */
  close(): void {
    const [first] = this.unheard
    this.unheard.clear()
    if (first !== undefined) throw first.error
  }
}

function located(cause: unknown, at: CallSite | undefined): MeshworkError {
  if (cause instanceof MeshworkError && cause.problem.at !== undefined) return cause
  const site = at?.()
  if (cause instanceof PluginError) return site === undefined ? cause : new PluginError({ ...cause.problem, at: site, cause })
  const text = cause instanceof Error ? cause.message : String(cause)
  return new PluginError({ code: 'execution', what: `a program failed: ${text.split('\n')[0] ?? ''}`, at: site, cause })
}
