/** Our side as its users run it: built as the package is, without the loader that turns TypeScript into JavaScript as it goes and stays in the process. */
import { rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'rolldown'
import config from '../rolldown.config.ts'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Once in a run: another process may be loading what lies there. */
const begun = new Map<string, Promise<string>>()

async function make(name: string): Promise<string> {
  const dir = at('../.bench')
  await rm(dir, { recursive: true, force: true })
  await build({ ...config, input: { [name]: at(`${name}.ts`) }, output: { ...config.output, dir }, logLevel: 'warn' })
  return `${dir}/${name}.js`
}

/** Builds a file of bench/ into `.bench/`, from which paths are the same as from dist/. @returns where it lies */
export function built(name: string): Promise<string> {
  const found = begun.get(name) ?? make(name)
  begun.set(name, found)
  return found
}
