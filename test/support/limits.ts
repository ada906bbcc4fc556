/** How long a test may take before it counts as one that stands still, in milliseconds; no other limit is set anywhere. */

/** A test takes ten seconds at most on two quiet cores. Sixty times as long is no failure: four times for a slow machine, fifteen for one with much else to do. */
export const testLimit = 600_000
