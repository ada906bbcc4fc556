/** Models as Hugging Face's files have them. */
export type { AnyArchitecture, Architecture, Json, JsonObject, Wanted } from './architecture.ts'
export { architectureFor, architectureNamed, architectureOf, architectures } from './registry.ts'
