import { readFileSync } from 'node:fs';

/** USER_HZ: what /proc counts in is 1/100 s on every Linux that Node runs on. */
export const cpuTickMs = 10;

/** CPU time of a process, user and system, all its threads, in milliseconds. */
export interface CpuTimes {
  readonly totalMs: number;
  /** Of its main thread alone. */
  readonly mainMs: number;
}

export function readCpuTimes(pid: number): CpuTimes {
  return { totalMs: readStatMs(`/proc/${pid}/stat`), mainMs: readStatMs(`/proc/${pid}/task/${pid}/stat`) };
}

/** utime and stime are the 14th and 15th field; the second, the name, may hold anything, but ends at the last parenthesis. */
function readStatMs(path: string): number {
  const stat = readFileSync(path, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * cpuTickMs;
}

/** Time that all cores were not idle, whoever used them, and time that the host gave to other machines. */
export function readHostTimes(): { readonly busyMs: number; readonly stealMs: number } {
  const line = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!;
  const [user = 0, nice = 0, system = 0, , , interrupt = 0, softInterrupt = 0, steal = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return { busyMs: (user + nice + system + interrupt + softInterrupt + steal) * cpuTickMs, stealMs: steal * cpuTickMs };
}

/** The most resident memory that a process has had. */
export function readPeakRssBytes(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  if (match === null) throw new Error(`no VmHWM in the status of process ${pid}`);
  return Number(match[1]) * 1024;
}

/** Resident memory. From smaps_rollup, since VmRSS is only an estimate on present kernels. */
export function readRssBytes(pid: number): number {
  const match = /^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'));
  if (match === null) throw new Error(`no Rss in smaps_rollup of process ${pid}`);
  return Number(match[1]) * 1024;
}
