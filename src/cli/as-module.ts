/**
 * A hook of Node's loader: TypeScript files are ES modules, in whatever project they lie. Node would take those of a project without a type for CommonJS, and
 * what these `require` of Meshwork would be a second copy of it, whose tensors are not those of the first.
 */
import type { ResolveHook } from 'node:module'

export const resolve: ResolveHook = async (specifier, context, next) => {
  const found = await next(specifier, context)
  return /^file:[^?#]*(?<!\.d)\.tsx?(?:[?#]|$)/.test(found.url) && !found.url.includes('/node_modules/') ? { ...found, format: 'module' } : found
}
