/** How far a command line comes in this process: accepted is what reaches the runtime, which is not opened. */
import { vi } from 'vitest'
import { main } from '../../src/cli/main.ts'

/** What the runtime's opening is replaced by: `vi.mock('../../src/engine/open.ts', () => ({ openBackend: () => { throw reached } }))`. */
export const reached = new Error('the command line was accepted')

export interface Outcome { readonly accepted: boolean; readonly message: string }

/** Runs a command line up to the runtime, or to its end. */
export async function tried(args: readonly string[]): Promise<Outcome> {
  let message = ''
  const silence = [
    vi.spyOn(process.stderr, 'write').mockImplementation(text => { message += String(text); return true }),
    vi.spyOn(process.stdout, 'write').mockImplementation(() => true),
  ]
  const listeners = [process.stdout, process.stderr].map(stream => ({ stream, before: stream.listeners('error') }))
  const before = process.exitCode
  try {
    const code = await main(args)
    return { accepted: code === 0 || message.includes(reached.message), message }
  } finally {
    for (const spy of silence) spy.mockRestore()
    // A command watches its streams as long as its process lives.
    for (const { stream, before } of listeners) for (const l of stream.listeners('error')) if (!before.includes(l)) stream.off('error', l as () => void)
    process.exitCode = before
  }
}
