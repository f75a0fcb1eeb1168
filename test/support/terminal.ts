import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('terminal.py', import.meta.url));

export interface Terminal {
  readonly rows: number;
  readonly columns: number;
  /** What is typed once something was written. */
  readonly steps?: readonly (readonly [written: string, typed: string])[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Without what tells programs that nobody looks, or what they are to look like: where tests run, some of it may be set. */
function usersEnvironment(): NodeJS.ProcessEnv {
  const {
    CI: _ci,
    NO_COLOR: _none,
    FORCE_COLOR: _forced,
    NODE_DISABLE_COLORS: _disabled,
    ...environment
  } = process.env;
  return environment;
}

/** Runs a program in a terminal of its own. Undefined where there is no Python to make one with, which is said. */
export async function runInTerminal(
  args: readonly string[],
  { rows, columns, steps = [], environment = {} }: Terminal,
): Promise<{ readonly status: number | null; readonly written: string } | undefined> {
  const child = spawn('python3', [script, String(rows), String(columns), JSON.stringify(steps), ...args], {
    env: { ...usersEnvironment(), TERM: 'xterm-256color', ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 40_000,
  });
  let written = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    written += part;
  });
  const status = await new Promise<number | null | undefined>((resolve) => {
    child.once('error', () => {
      resolve(undefined);
    });
    child.once('close', resolve);
  });
  if (status === undefined) {
    console.log('Left out: there is no python3 to make a terminal with.');
    return undefined;
  }
  return { status, written };
}
