/** The C sources that come with the package, and the compilers that are run on them. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PluginError } from '../core/errors.ts'
import { sha256Parts } from '../io/checksum.ts'

export interface Ran { readonly ok: boolean; readonly text: string }
export const runCompiler = (command: string, args: readonly string[], input = ''): Promise<Ran> => new Promise(resolve => {
  const child = execFile(command, args, { maxBuffer: 1 << 24 }, (error, stdout, stderr) => resolve({ ok: error === null, text: error === null ? stdout : `${stderr}${error.message}` }))
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(input)
})

/** From src/runtime and from dist/src/runtime alike. */
function sourceFolder(): string {
  const found = ['../../native', '../../../native'].map(up => fileURLToPath(new URL(up, import.meta.url))).find(existsSync)
  if (found === undefined) throw new PluginError({ code: 'no-native', what: 'the sources of the native library are missing', fix: 'install Meshwork again' })
  return found
}

/** The C files of a folder of the sources, and a hash of all that goes into what is built of them: the same wherever the package lies. */
export async function nativeSources(folder: string, flags: readonly string[], headers: readonly string[] = [], within: string = sourceFolder()): Promise<{ readonly files: readonly string[]; readonly hash: string }> {
  const names = (await readdir(join(within, folder))).filter(f => /\.[ch]$/.test(f)).sort()
  const contents = await Promise.all([...names.map(name => join(folder, name)), ...headers].map(async name => [name, await readFile(join(within, name))]))
  return { files: names.filter(f => f.endsWith('.c')).map(f => join(within, folder, f)), hash: sha256Parts([flags.join(' '), ...contents.flat()]).slice(0, 12) }
}
