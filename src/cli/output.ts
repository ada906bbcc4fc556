/** Where words go: results to stdout; progress to stderr, as one line that changes on a terminal and plain lines in a pipe. */

export interface Output {
  /** Characters in a line of the result; undefined in a pipe. */
  readonly columns: number | undefined
  /** A line of the result. */
  print(line: string): void
  /** A piece of a line, as it comes. */
  write(text: string): void
  /** What is happening now. On a terminal it overwrites the last status; elsewhere it is a line, at most one every few seconds unless `force`. */
  status(line: string, force?: boolean): void
  /** A line about the work that stays to be read. */
  note(line: string): void
  /** Takes the status off the terminal. */
  clear(): void
}

interface Stream { readonly isTTY?: boolean; readonly columns?: number; write(text: string): boolean }
const secondsBetweenLines = 5

export function openOutput(out: Stream = process.stdout, err: Stream = process.stderr, now: () => number = () => performance.now()): Output {
  let shown = false
  // What takes no time needs no words.
  let last = now()
  const clear = (): void => {
    if (shown) err.write('\r\x1b[2K')
    shown = false
  }
  let takenOff = false
  return {
    // mpirun gives rank 0 a terminal that has no width.
    columns: out.isTTY === true && out.columns !== 0 ? out.columns : undefined,
    clear,
    print(line) {
      clear()
      out.write(`${line}\n`)
    },
    write(text) {
      clear()
      out.write(text)
    },
    status(line, force = false) {
      if (err.isTTY === true) {
        // One without a width, as of `script` or of a container, says that it is 0.
        err.write(`\r\x1b[2K${line.slice(0, (err.columns || 80) - 1)}`)
        shown = true
        // Whatever ends the process, the next prompt begins on a line of its own.
        if (!takenOff) process.once('exit', clear)
        takenOff = true
      } else if (force || now() - last >= secondsBetweenLines * 1000) {
        err.write(`${line}\n`)
        last = now()
      }
    },
    note(line) {
      clear()
      err.write(`${line}\n`)
    },
  }
}

/** Says nothing: what `--json` shows people instead of progress. */
export const silent: Output = { columns: undefined, print() {}, write() {}, status() {}, note() {}, clear() {} }
