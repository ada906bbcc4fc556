/** Arrays of numbers in files, read by row. */
export { openCsvRows, type CsvColumn, type CsvDType, type CsvRowsOptions } from './csv.ts'
export { openArrayFiles } from './files.ts'
export { openIdx } from './idx.ts'
export { openNpy } from './npy.ts'
export { openNpz } from './npz.ts'
export { openTar, type MemberRows, type Members } from './tar.ts'
export { joinRows, type Column, type Rows } from './types.ts'
