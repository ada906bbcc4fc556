/** Calls into native libraries, on stacks that those fit in. Whoever calls one imports this: koffi takes no settings once a library is loaded. */
import koffi from 'koffi'

/**
 * koffi gives an asynchronous call a stack of 128 KiB of its own. XLA may run a whole program on it, with the collectives that the
 * program calls, and MPICH's making of a communicator alone takes 128 KiB. The system gives threads 8 MiB; only pages that are touched cost.
 */
const stackBytes = 8 << 20

try {
  koffi.config({ async_stack_size: stackBytes })
} catch (e) {
  // Another part of the user's program has called native code before: there its own settings rule.
  if (!(e instanceof Error) || !e.message.includes('once a library has been loaded')) throw e
}

export default koffi
export type { LibraryHandle } from 'koffi'
