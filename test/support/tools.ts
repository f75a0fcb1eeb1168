import { spawnSync } from 'node:child_process';

/** Whether a program can be run here. If not, what is left out without it is said. */
export function hasTool(program: string, where: string): boolean {
  const isThere = spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
  if (!isThere) console.log(`Left out: there is no ${program} (${where}).`);
  return isThere;
}

/** Runs a checker; resolves to what it says against something, which is nothing. */
export function runTool(
  program: string,
  args: readonly string[],
): { readonly status: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  return { status, said: `${stdout}${stderr}` };
}
