/** Ctrl-C: the first asks for an orderly end, the second ends at once. */

export interface Interruptible { readonly signal: AbortSignal; release(): void }

export function interruptible(onFirst: () => void): Interruptible {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
    onFirst()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    signal: controller.signal,
    release() {
      process.off('SIGINT', onSignal)
      process.off('SIGTERM', onSignal)
    },
  }
}
