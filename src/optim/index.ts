/** Optimizers: functions over trees of tensors. */
export { adamw, momentsOf, zeroMoments, type AdamWConfig, type Moments } from './adamw.ts'
export { clipByGlobalNorm, globalNorm } from './clip.ts'
export { chosen, initialScale, nextScale, scaleInput, unscaled, type LossScaling, type Scale } from './scaling.ts'
export { constantRate, warmupCosine, type Schedule, type WarmupCosine } from './schedule.ts'
