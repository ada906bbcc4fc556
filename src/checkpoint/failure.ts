/** What goes wrong with a checkpoint, as people read it. */
import { FileError, MeshworkError } from '../core/errors.ts'
import { isSystemError } from '../io/atomic.ts'

const fixes: Readonly<Record<string, string>> = {
  ENOSPC: 'make room on the disk, or keep fewer checkpoints',
  EDQUOT: 'make room within your quota, or keep fewer checkpoints',
  EIO: 'the disk fails: look into the system\'s log, and write elsewhere',
  EROFS: 'the disk has become read-only: look into the system\'s log',
  EACCES: 'make the folder writable',
  EPERM: 'make the folder writable',
}

export interface Failure { readonly step: number; readonly folder: string; readonly needed: number; readonly free: number | undefined; readonly rank?: string | undefined }

/** The reason, and how to mend it, as they can be told to other processes. */
export interface Reason { readonly text: string; readonly code: string }

export const reasonOf = (cause: unknown): Reason => (cause instanceof MeshworkError
  ? { text: `${cause.problem.what}${cause.problem.details?.['reason'] === undefined ? '' : `: ${cause.problem.details['reason']}`}`, code: cause.code }
  : { text: cause instanceof Error ? cause.message : String(cause), code: isSystemError(cause) ? cause.code : '' })

/** A checkpoint that could not be written: the one before it stays, the run goes on, and the same step may be tried again. */
export const saveFailed = ({ step, folder, needed, free, rank }: Failure, reason: Reason, cause?: unknown): FileError => new FileError({
  code: 'checkpoint-not-written', what: `the checkpoint of step ${step} was not written${rank === undefined ? '' : `: ${rank} failed`}`,
  details: { folder, reason: reason.text, needed: `${needed} bytes`, free: free === undefined ? 'not known' : `${free} bytes` },
  fix: `${fixes[reason.code] ?? 'check the folder and its disk'}; the checkpoints before it stay, and the next is tried`,
  ...cause === undefined ? {} : { cause },
})
