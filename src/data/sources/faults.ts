/** Errors about data: file, line or offset, and what to do. */
import { DataError } from '../../core/errors.ts'

/** The most one record may take, in bytes: a line, a row, a value, a member of an archive. */
export const largestRecord: number = 2 ** 27

export interface Fault {
  readonly code: string
  readonly what: string
  readonly fix: string
  /** `corpus.jsonl:17`, or `corpus.parquet, byte 400`. */
  readonly at?: string
  readonly details?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

export const fault = ({ code, what, fix, at, details, cause }: Fault): DataError =>
  new DataError({ code, what, fix, details: { ...(at === undefined ? {} : { in: at }), ...details }, ...(cause === undefined ? {} : { cause }) })

/** A library's own error as one of ours; ours pass. */
export const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message.split('\n')[0] ?? '' : String(cause))

export const tooLong = (what: string, at: string, most: number = largestRecord): DataError => fault({
  code: 'record-too-large', what: `${what} has more than ${Math.round(most / 2 ** 20)} MiB`, at,
  fix: 'no document may be larger: split it, or see whether a quote or a line end is missing before it',
})

export const changed = (name: string, was: string, is: string): DataError => fault({
  code: 'data-changed', what: `${name} has changed while it was being read`, details: { was, is }, fix: 'leave it as it is while it is read, and start again',
})
