/** Every error a user can meet: fields first, the text made from them last. */

/** Where in the user's own source something was made. */
export interface Site { readonly file: string; readonly line: number; readonly column: number }

export interface Problem {
  /** Stable, kebab-case, searchable. */
  readonly code: string
  /** One line: what failed. */
  readonly what: string
  /** The operands, as label → value, printed one a line. */
  readonly details?: Readonly<Record<string, string>>
  readonly fix?: string
  readonly at?: Site | undefined
  readonly cause?: unknown
}

export const formatSite = (site: Site): string => `${site.file}:${site.line}:${site.column}`

function format(name: string, p: Problem): string {
  const rows = Object.entries(p.details ?? {})
  if (p.fix !== undefined) rows.push(['fix', p.fix])
  if (p.at !== undefined) rows.push(['at', formatSite(p.at)])
  const width = Math.max(0, ...rows.map(([label]) => label.length)) + 2
  return [`${name}[${p.code}] ${p.what}`, ...rows.map(([label, value]) => `  ${label.padEnd(width)}${value}`)].join('\n')
}

/** The base: `exitCode` is what the command line leaves with. */
export class MeshworkError extends Error {
  readonly problem: Problem
  readonly exitCode: 1 | 2 = 1

  constructor(problem: Problem) {
    super('', problem.cause === undefined ? undefined : { cause: problem.cause })
    this.problem = problem
    this.name = new.target.name
    this.message = format(this.name, problem)
  }

  get code(): string { return this.problem.code }
}

/** Dims, shapes or dtypes of an op that do not fit. */
export class DimError extends MeshworkError { override readonly exitCode = 2 }
/** A mesh or layout that the model cannot be split by. */
export class LayoutError extends MeshworkError { override readonly exitCode = 2 }
/** A command line, recipe or field that is wrong. */
export class UsageError extends MeshworkError { override readonly exitCode = 2 }
/** Text or files that cannot be used. */
export class DataError extends MeshworkError {}
/** A plugin that cannot be had, or that failed. */
export class PluginError extends MeshworkError {}
/** A run folder, weights file or cache that cannot be read or written. */
export class FileError extends MeshworkError {}
