/** What CPU this is. */
import { readFileSync } from 'node:fs'

/** The lines of /proc/cpuinfo that decide what machine code runs here; empty where there is no such file. */
export function cpuFeatures(): { readonly model: string; readonly flags: readonly string[] } {
  let text = ''
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8')
  } catch {
    // This is not Linux, or the container hides the file: then no flag is added, and the cache key does not tell CPUs apart.
  }
  const line = (label: RegExp): string => label.exec(text)?.[1]?.trim() ?? ''
  return {
    model: line(/^(?:model name|CPU part)\s*:(.*)$/m),
    flags: line(/^(?:flags|Features)\s*:(.*)$/m).split(/\s+/).filter((flag) => flag !== ''),
  }
}
