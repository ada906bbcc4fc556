/** What must stand in the C environment before a plugin is loaded. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import koffi from '../../io/koffi.ts'

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

/** The XLA flags Meshwork wants on a CPU with these features. */
export const wantedFlags = (features: readonly string[], model = ''): string[] => [
  // Elementwise code runs two to four times as fast; XLA's own choice is 256 bits.
  ...features.includes('avx512f') ? ['--xla_cpu_prefer_vector_width=512'] : [],
  // Where it was measured, Eigen multiplies large matrices in four fifths of the time that YNNPACK takes; other CPUs keep XLA's own choice.
  ...features.includes('avx512f') && model.includes('Intel') ? ['--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'] : [],
  // The larger of a number and NaN is NaN, as everywhere else; XLA's own choice drops it here and there.
  '--xla_cpu_enable_fast_min_max=false',
  // XLA ends the process when a device waits 40 s for the others: many devices on few cores do that on a long step.
  '--xla_cpu_collective_call_terminate_timeout_seconds=3600', '--xla_cpu_collective_call_warn_stuck_timeout_seconds=300',
]

const nameOf = (flag: string): string => flag.slice(2, flag.indexOf('='))

/** The user's flags with ours after them; one that the user has set stays the user's, and so does a file of flags. */
export function mergeFlags(users: string, ours: readonly string[]): string {
  const given = users.trim()
  if (given !== '' && !given.startsWith('-')) return given
  return [given, ...ours.filter((flag) => !given.includes(nameOf(flag)))].filter((part) => part !== '').join(' ')
}

/** Which of some short texts stand in a file. */
function textsIn(path: string, texts: readonly string[]): ReadonlySet<string> {
  const overlap = 128
  const chunk = Buffer.alloc(4 << 20)
  const found = new Set<string>()
  const file = openSync(path, 'r')
  try {
    for (let at = 0; found.size < texts.length; at += chunk.length - overlap) {
      const part = chunk.subarray(0, readSync(file, chunk, 0, chunk.length, at))
      for (const text of texts) if (!found.has(text) && part.includes(text)) found.add(text)
      if (part.length < chunk.length) break
    }
  } finally {
    closeSync(file)
  }
  return found
}

export const containsText = (file: string, text: string): boolean => textsIn(file, [text]).has(text)

/** A flag's name, and its value where that is a word of XLA's. */
const words = (flag: string): string[] => [nameOf(flag), ...flag.match(/[A-Z][A-Z_]+$/) ?? []]

/** Those of `flags` that the library knows: XLA ends the process over an unknown one, or a value that is none, so both are looked for in the file. */
export function knownFlags(library: string, flags: readonly string[]): string[] {
  const found = textsIn(library, [...new Set(flags.flatMap(words))])
  return flags.filter((flag) => words(flag).every((word) => found.has(word)))
}

/**
 * Sets what XLA reads at load, and returns XLA_FLAGS; `hostCode` is whether it compiles for this CPU. Through libc: in a worker thread
 * `process.env` is only a copy.
 */
export function prepareEnvironment(library: string, hostCode: boolean, threads?: number): string {
  const setenv = koffi.load(null).func('setenv', 'int', ['str', 'str', 'int'])
  const { flags: features, model } = cpuFeatures()
  const flags = mergeFlags(process.env['XLA_FLAGS'] ?? '', hostCode ? knownFlags(library, wantedFlags(features, model)) : [])
  // A variable that is set stays as it is, so that whoever asked for more of XLA's log lines gets them.
  setenv('TF_CPP_MIN_LOG_LEVEL', '2', 0)
  if (threads !== undefined && hostCode) setenv('PJRT_NPROC', String(threads), 0)
  if (flags !== '') setenv('XLA_FLAGS', flags, 1)
  return flags
}
