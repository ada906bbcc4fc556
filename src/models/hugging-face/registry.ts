/** The architectures that files of other tools may be of. */
import type { AnyArchitecture } from './architecture.ts'

export const architectures: readonly AnyArchitecture[] = []

/** By `config.json`'s `model_type`. */
export const architectureNamed = (modelType: string): AnyArchitecture | undefined => architectures.find(a => a.modelType === modelType)
/** That of a configured model; undefined where there is none. */
export const architectureOf = (kind: string, config: unknown): AnyArchitecture | undefined => architectures.find(a => a.kind.kind.name === kind && (a.isOf?.(config as never) ?? true))
