/** Constants of an A100 under Megatron, as `npm run bench -- --only foresight-vtrain` has fitted them to a tenth of vTrain's rows, drawn by seed 1. */
import type { Constants } from '../fit.ts'

export const fittedConstants: Constants = {
  product: 2.61e14, halfProduct: 3.44e9, narrow: 0.872, bandwidth: 1.28e12, halfBytes: 3.7e6, kernelUs: 12.4, launchUs: 48.9, stepUs: 2.58e3, among2Us: 12.1, among4Us: 55.7, among8Us: 197, share: 0.984, sendShare: 0.82,
  latencyBetweenUs: 14.2, shareBetween: 0.592, sendShareBetween: 0.609,
}
