/**
 * A hook of Node's loader for recipes in files of their own. TypeScript files are ES modules, in whatever project they lie: Node would take those of a project without a type for CommonJS, and
 * what these `require` of Meshwork would be a second copy of it, whose tensors are not those of the first. For the same reason what a recipe in a clone imports of our sources is what was built of them.
 */
import type { ResolveHook } from 'node:module'

const isBuilt = !import.meta.url.endsWith('.ts')
const sources = new URL('../../../src/', import.meta.url).href
const built = new URL('../', import.meta.url).href

export const resolve: ResolveHook = async (specifier, context, next) => {
  const found = await next(specifier, context)
  const [, door] = isBuilt && found.url.startsWith(sources) ? /^(\w*\/?index)\.ts(?:[?#]|$)/.exec(found.url.slice(sources.length)) ?? [] : []
  if (door !== undefined) return { ...found, url: `${built}${door}.js`, format: 'module' }
  return /^file:[^?#]*(?<!\.d)\.tsx?(?:[?#]|$)/.test(found.url) && !found.url.includes('/node_modules/') ? { ...found, format: 'module' } : found
}
