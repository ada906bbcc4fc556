/** What a view of the page is: its name, what it is loaded by, and what it is given. */
import type { ComponentType } from 'preact'
import type { RunRow } from '../../dashboard/shape.ts'

export interface ViewProps {
  /** Those that are looked at, of which views of one take the first; there may be none. */
  readonly runs: readonly RunRow[]
  /** Of the address: what a view is to come back to by a link stands there. */
  readonly params: URLSearchParams
  /** Writes parameters; those that are undefined are taken away. */
  readonly set: (changes: Readonly<Record<string, string | undefined>>) => void
}
export interface View {
  readonly id: string
  readonly title: string
  /** Loaded when it is looked at first. */
  readonly load: () => Promise<ComponentType<ViewProps>>
}
