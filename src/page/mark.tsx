/** The name of the program at the head of its pages; `parts/body.html` has the same, which is seen before the scripts have come. */
import type { VNode } from 'preact'

export const Mark = (): VNode => (
  <span class="mark">
    <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 1h14v14H1zM8 1v14M1 8h14" /><path class="full" d="M8 1h7v7H8z" /></svg>
    <span>Meshwork</span>
  </span>
)
