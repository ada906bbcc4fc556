/** Ctrl-C, SIGTERM, a terminal that closes and a reader that goes away: an orderly end where there is something to finish, else an end at once. */
import { FileError } from '../core/errors.ts'
import { leaving } from '../io/leave.ts'

/** Exit codes as shells have them: 128 and the signal's number. `output` is a disk that is full, or the like. SIGUSR2 asks for an end that is no failure, where a command knows it. */
const codes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, SIGPIPE: 141, SIGUSR2: 0, output: 1 } as const
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

/** Causes that may come again and again, and never ask to hurry: a pipe or disk fails at each write, and both the shell and the system tell of a terminal that closes. */
const repeated: readonly Cause[] = ['SIGHUP', 'SIGPIPE', 'output']
/** Interruptions that are not announced: there is nobody left to tell, or it has been told already. */
const unsaid: readonly Cause[] = ['SIGPIPE', 'output']

/** What is told that nobody reads stdout any more. */
let active: ((cause: Cause) => void) | undefined

let leaves = false
/** From now on the process ends with its last listener of 'exit', and Node takes nothing down. */
function leaveWithoutNode(): void {
  if (leaves) return
  leaves = true
  const leave = leaving()
  process.once('exit', code => leave(code))
}

/** At its end Node gives a terminal its settings back, and aborts where the terminal is no more. */
const terminalIsGone = leaveWithoutNode

/** Node lets go of signals before its threads have ended, which takes a while on a busy machine: one that comes then would make it another end than the one that it says. */
function nothingInterruptsTheEnd(): void {
  // Only Node knows the settings of a terminal that gives each key as it comes.
  if (!(process.stdin.isTTY && process.stdin.isRaw)) leaveWithoutNode()
}

/** Output that nobody reads ends the command without a word, as it ends other programs; what is under way is finished where there is something to lose. */
export function watchPipes(): void {
  const end = (cause: Cause): void => { if (active === undefined) process.exit(codes[cause]); else active(cause) }
  let told = false
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    if (e.code === 'EPIPE') return end('SIGPIPE')
    // The terminal was closed, and whoever closed it let the command live.
    if (e.code === 'EIO') return terminalIsGone()
    if (told) return
    told = true
    process.stderr.write(`${new FileError({ code: 'write', what: `the output cannot be written: ${e.message}`, fix: 'write it elsewhere, or make room' }).message}\n`)
    end('output')
  })
  process.stderr.on('error', (e: NodeJS.ErrnoException) => { if (e.code === 'EIO') terminalIsGone() })
}

/** Begins in the mode `quit`. @param ends whether SIGUSR2 asks for the end, too */
export function interrupts({ ends = false }: { readonly ends?: boolean } = {}): Interrupts {
  const controller = new AbortController()
  let cause: Cause | undefined
  let finishing = false
  let tell = (): void => {}
  const on = (next: Cause): void => {
    if (next === 'SIGHUP') terminalIsGone()
    if (cause !== undefined && repeated.includes(next)) return
    if (!finishing || cause !== undefined) {
      if (cause === undefined && !unsaid.includes(next)) tell()
      nothingInterruptsTheEnd()
      process.exit(codes[next])
    }
    cause = next
    if (!unsaid.includes(next)) tell()
    controller.abort()
  }
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM', ...(ends ? ['SIGUSR2'] as const : [])] as const
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
      // What comes again while an interrupted process ends must not make it another end than the one that it says.
      if (cause === undefined) unlisten(); else nothingInterruptsTheEnd()
      active = undefined
    },
  }
}
