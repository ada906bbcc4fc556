/** What makes plans behind the page; the command line has one. Plain data goes in and comes out: it may be in a thread of its own. */

export interface PlanWork {
  /** A run's folder, or a recipe that comes along. */
  readonly from: { readonly folder: string } | { readonly recipe: string }
  /** As the command line's. */
  readonly flags: { readonly [flag: string]: string | string[] | undefined }
  /** One of `machines()`, for the time of a step; null for none, and left out the one that was measured here, if it was. */
  readonly machine?: string | null
}
/** What is wrong with what was asked for, as errors say it. */
export interface PlanFault { readonly code: string; readonly what: string; readonly details?: Readonly<Record<string, string>>; readonly fix?: string; readonly at?: string }
export type PlanFound = { readonly plan: object } | { readonly fault: PlanFault } | { readonly failed: string }

export interface Planner {
  recipes(): Promise<readonly string[]>
  /** Those that a step's time can be predicted for, by name: that which was measured here first, if it was, as `here`. */
  machines(): Promise<readonly string[]>
  plan(work: PlanWork, signal: AbortSignal): Promise<PlanFound>
  close(): Promise<void>
}
