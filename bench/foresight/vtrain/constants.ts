/** Constants of an A100 under Megatron, as the bench has fitted them to a tenth of vTrain's rows, drawn by seed 1. */
import type { Constants } from '../fit.ts'

export const fittedConstants: Constants = {
  product: 2.58e14, halfProduct: 3.35e8, narrow: 0.378, bandwidth: 1.48e12, halfBytes: 2.09e7, kernelUs: 11, launchUs: 51.1, stepUs: 4870, among2Us: 5.16, among4Us: 98.9, among8Us: 5.4, share: 0.998, sendShare: 0.983,
  latencyBetweenUs: 6.22, shareBetween: 0.112, sendShareBetween: 0.715,
}
