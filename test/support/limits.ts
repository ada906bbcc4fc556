/** How long a test may take before it counts as one that stands still, in milliseconds; no other limit is set anywhere. */

/** A test takes ten seconds at most on two quiet cores, and twenty times as long on a slow or busy machine is no failure. */
export const testLimit = 200_000
