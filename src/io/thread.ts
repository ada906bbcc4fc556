/** What worker threads begin with. */
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

/**
 * A module as the beginning of a thread. From the sources, Node has to be taught TypeScript in each thread anew.
 * @param name of the module, without its ending @param from the URL of the one that it lies beside
 */
export function threadEntry(name: string, from: string): URL {
  if (!from.endsWith('.ts')) return new URL(`${name}.js`, from)
  const tsx = new URL('dist/esm/api/index.mjs', pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json')))
  const program = `import { register } from ${JSON.stringify(tsx.href)}\nregister()\nawait import(${JSON.stringify(new URL(`${name}.ts`, from).href)})`
  return new URL(`data:text/javascript,${encodeURIComponent(program)}`)
}
