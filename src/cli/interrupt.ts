/** Ctrl-C, SIGTERM and a reader that goes away: an orderly end where there is something to finish, else an end at once. */
import { FileError } from '../core/errors.ts'

/** Exit codes as shells have them: 128 and the signal's number. */
const codes = { SIGINT: 130, SIGTERM: 143, SIGPIPE: 141 } as const
type Cause = keyof typeof codes

/** Thrown to leave a command that was interrupted: there is nothing more to say. */
export class Stopped extends Error {
  readonly exitCode: number
  constructor(exitCode: number) {
    super('stopped')
    this.exitCode = exitCode
  }
}

export interface Interrupts {
  /** Aborted by the first interruption while finishing. */
  readonly signal: AbortSignal
  /** The exit code that says why, once interrupted. */
  readonly code: number | undefined
  /** From now on the first interruption aborts `signal` and calls `onFirst`, the next ends the process at once. */
  finish(onFirst?: () => void): void
  /** From now on an interruption ends the process at once, after `onFirst`. */
  quit(onFirst?: () => void): void
  /** From now on the system ends the process: while Node's loop is blocked, no handler would be called. */
  leaveToSystem(): void
  /** When the command is done. */
  release(): void
}

/** What is told that nobody reads stdout any more. */
let active: ((cause: Cause) => void) | undefined

/** Output that nobody reads ends the command without a word, as it ends other programs. */
export function watchPipes(): void {
  const ends: { readonly [code: string]: (() => void) | undefined } = {
    EPIPE: () => { if (active === undefined) process.exit(codes.SIGPIPE); else active('SIGPIPE') },
    // The terminal was closed, and whoever closed it let the command live.
    EIO: () => {},
  }
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    const end = ends[e.code ?? '']
    if (end !== undefined) return end()
    process.stderr.write(`${new FileError({ code: 'write', what: `the output cannot be written: ${e.message}`, fix: 'write it elsewhere, or make room' }).message}\n`)
    process.exit(1)
  })
  process.stderr.on('error', () => {})
}

/** Begins in the mode `quit`. */
export function interrupts(): Interrupts {
  const controller = new AbortController()
  let cause: Cause | undefined
  let finishing = false
  let tell = (): void => {}
  const on = (next: Cause): void => {
    // Each write to a closed pipe fails again; it is one interruption.
    if (next === 'SIGPIPE' && cause !== undefined) return
    if (!finishing || cause !== undefined) {
      if (cause === undefined && next !== 'SIGPIPE') tell()
      process.exit(codes[next])
    }
    cause = next
    if (next !== 'SIGPIPE') tell()
    controller.abort()
  }
  const signals = ['SIGINT', 'SIGTERM'] as const
  const listen = (): void => { for (const s of signals) if (process.listenerCount(s, on) === 0) process.on(s, on) }
  const unlisten = (): void => { for (const s of signals) process.off(s, on) }
  const enter = (asFinishing: boolean, onFirst: () => void): void => {
    finishing = asFinishing
    tell = onFirst
    listen()
  }
  active = on
  listen()
  return {
    signal: controller.signal,
    get code() { return cause === undefined ? undefined : codes[cause] },
    finish(onFirst = () => {}) { enter(true, onFirst) },
    quit(onFirst = () => {}) { enter(false, onFirst) },
    leaveToSystem: unlisten,
    release() {
      unlisten()
      active = undefined
    },
  }
}
