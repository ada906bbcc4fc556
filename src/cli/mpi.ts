/** `meshwork mpi`: the collectives between processes, built with the user's own MPI. */
import { Command } from 'commander'
import { buildLibrary, findCompiler } from '../runtime/mpi/build.ts'
import { openOutput } from './output.ts'

export function mpiCommand(): Command {
  const root = new Command('mpi').description('Many processes through MPI: mpirun -n 4 npx meshwork train …')
    .addHelpText('after', '\nExample:\n  $ npx meshwork mpi build')
  root.command('build').description('Build the collectives with mpicc (or $MPICC) and keep them in the user\'s cache folder. The first run under MPI does it, too.')
    .option('--force', 'build again what is there')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  $ npx meshwork mpi build\n  $ MPICC=mpicc.mpich npx meshwork mpi build')
    .action(async ({ force = false, json }: { force?: boolean; json?: boolean }) => {
      const mpi = await findCompiler(undefined)
      if (json !== true) openOutput().status(`building with ${mpi.mpicc}`)
      const { path } = await buildLibrary(mpi, { force })
      if (json === true) process.stdout.write(`${JSON.stringify({ ...mpi, path }, null, 2)}\n`)
      else openOutput().print(`${mpi.flavour} ${mpi.version}: ${path}`)
    })
  return root
}
