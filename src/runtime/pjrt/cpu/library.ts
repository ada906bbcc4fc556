/** The file that our own kernels for CPUs are built into. */
export const kernelsLibrary = 'libmeshwork_kernels.so'
