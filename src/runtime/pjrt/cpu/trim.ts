/**
 * What compiling has left is given back to the system. The allocator is told to keep what is freed (allocator.ts), which is right for what a step frees and takes again; but LLVM takes and
 * frees several times as much as a small program computes with, and that would stay with the process until its end.
 */
import koffi from '../../../io/koffi.ts'

/** Less is not worth the walk through all heaps: small programs are compiled by the thousand. */
const worthIt = 32 * 2 ** 20

/** Compiles, and gives back what is left of it, if that is much. */
export async function withTrimmedHeaps<T>(compile: () => Promise<T>): Promise<T> {
  const before = process.memoryUsage.rss()
  const compiled = await compile()
  if (process.memoryUsage.rss() - before > worthIt) await trimHeaps()
  return compiled
}

/** Of all threads, which takes some milliseconds: not on Node's own. Nothing where the C library has no such function, as musl and macOS. */
async function trimHeaps(): Promise<void> {
  let trim
  try {
    trim = koffi.load(null).func('int malloc_trim(size_t pad)')
  } catch {
    return
  }
  await new Promise<void>(resolve => { trim.async(0, () => { resolve() }) })
}
