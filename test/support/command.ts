import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../dist/src/cli/slotcast.js', import.meta.url));

/** The `slotcast` command as a process of its own. */
export class RunningCommand {
  readonly process: ChildProcess;
  out = '';
  err = '';
  readonly exited: Promise<number | NodeJS.Signals>;
  #waiting: (() => void)[] = [];

  /** `lifeMaxMs`: it is ended after so long, whatever the test does. */
  constructor(
    args: readonly string[],
    environment: Record<string, string> = {},
    { lifeMaxMs = 18_000, stdin = 'ignore' }: { readonly lifeMaxMs?: number; readonly stdin?: 'ignore' | 'pipe' } = {},
  ) {
    this.process = spawn(process.execPath, [bin, ...args], {
      env: { ...process.env, ...environment },
      stdio: [stdin, 'pipe', 'pipe'],
      timeout: lifeMaxMs,
    });
    this.process.stdout?.on('data', (chunk) => {
      this.out += String(chunk);
      for (const look of this.#waiting.splice(0)) look();
    });
    this.process.stderr?.on('data', (chunk) => {
      this.err += String(chunk);
      for (const look of this.#waiting.splice(0)) look();
    });
    this.exited = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        for (const look of this.#waiting.splice(0)) look();
        resolve(code ?? signal ?? 'SIGKILL');
      });
    });
  }

  /** Resolves once stdout matches; rejects if the command ends before. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#waitFor(pattern, () => this.out);
  }

  /** The same of stderr. */
  waitForError(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#waitFor(pattern, () => this.err);
  }

  async #waitFor(pattern: RegExp, read: () => string): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(read());
      if (match !== null) return match;
      if (this.process.exitCode !== null) throw new Error(`ended without ${String(pattern)}: ${this.out}${this.err}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }
}

/** Runs a command to its end. */
export async function runCommand(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ status: number | NodeJS.Signals; out: string; err: string }> {
  const command = new RunningCommand(args, environment);
  const status = await command.exited;
  return { status, out: command.out, err: command.err };
}
