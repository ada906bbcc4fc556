/** Which rows of a global batch are asked for: from and to (exclusive). */
export interface Rows { readonly from: number; readonly to: number }
