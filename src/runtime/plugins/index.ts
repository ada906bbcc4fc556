/** Plugins: what there is, what is installed, and how to get one. */
export { candidates, catalog, type CatalogEntry } from './catalog.ts'
export { installPlugin, type InstallOptions, type Installed } from './install.ts'
export { cacheRoot } from '../../io/cache-root.ts'
export { executableCacheDir } from './paths.ts'
export type { Progress } from '../../io/pip.ts'
export { listPlugins, pluginPath, resolvePlugin, verifyPlugin, type Listed } from './resolve.ts'
