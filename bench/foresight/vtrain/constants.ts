/** Constants of an A100 under Megatron, as `npm run bench -- --only foresight-vtrain` has fitted them to a tenth of vTrain's rows, drawn by seed 1. */
import type { Constants } from '../fit.ts'

export const fittedConstants: Constants = {
  product: 2.75e14, halfProduct: 4.6e9, narrow: 0.783, bandwidth: 1.19e12, halfBytes: 4.43e6, kernelUs: 10.3, launchUs: 48.7, stepUs: 3300, among2Us: 16.3, among4Us: 43.9, among8Us: 200, share: 0.989, sendShare: 0.723,
  latencyBetweenUs: 13.5, shareBetween: 0.595, sendShareBetween: 0.411,
}
