import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Which cores the server runs on, and which the load: as `taskset` takes them. */
export interface CoreSplit {
  readonly server: string;
  readonly load: string;
}

/** Of util-linux; not on every machine. */
export const coreBinder = 'taskset';

/** The first half for the server, the second for the load. Undefined: there are too few, or nothing to bind with. */
export function splitCores(): CoreSplit | undefined {
  const cores = readAllowedCores();
  if (cores.length < 2 || spawnSync(coreBinder, ['--version']).status !== 0) return undefined;
  const half = Math.ceil(cores.length / 2);
  return { server: cores.slice(0, half).join(','), load: cores.slice(half).join(',') };
}

/** The cores that this process may run on: in a container not always the first. */
export function readAllowedCores(): number[] {
  const status = process.platform === 'linux' ? readFileSync('/proc/self/status', 'latin1') : '';
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
  if (list === undefined) return [];
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
