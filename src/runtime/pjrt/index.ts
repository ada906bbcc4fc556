/** PJRT: a plugin's shared library as a Backend. */
export { openPjrt, type PjrtOptions } from './client.ts'
export { inspectPlugin, type PluginReport } from './inspect.ts'
