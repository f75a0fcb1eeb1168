import { execFile } from 'node:child_process';

import type { CheckTarget, Finding } from './check-core.ts';
import { tooLate } from './http-probe.ts';

const outputBytesMax = 4096;

/** Runs what the server's configuration defines, without a shell: 0 passes, 1 warns, as with other registries; all else is critical. */
export function probeScript(
  words: readonly string[],
  { host, port, key, id }: CheckTarget,
  timeoutMs: number,
): Promise<Finding> {
  const [program = '', ...args] = words;
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: outputBytesMax,
        // None of the server's own: it may hold secrets.
        env: {
          PATH: process.env['PATH'] ?? '',
          SLOTCAST_HOST: host,
          SLOTCAST_PORT: String(port),
          SLOTCAST_SERVICE: key,
          SLOTCAST_INSTANCE: id,
        },
      },
      (error, stdout) => {
        const output = stdout.trim().slice(0, 200);
        if (error === null) resolve({ health: 'passing', output });
        else if (error.killed === true && error.code === null) resolve(tooLate(timeoutMs));
        else if (error.code === 1) resolve({ health: 'warning', output });
        else
          resolve({
            health: 'critical',
            output: output === '' ? String(error.code ?? error.message).slice(0, 200) : output,
          });
      },
    );
  });
}
