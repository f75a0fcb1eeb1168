import { readFileSync } from 'node:fs';

const pageBytes = 4096;

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // Another system than Linux, or /proc is not to be read: then it is not measured, and the result says so.
    return '';
  }
}

/** What all TCP sockets of this network namespace hold in buffers. */
export function readTcpMemoryBytes(): number | null {
  const pages = /^TCP: .*\bmem (\d+)/m.exec(read('/proc/net/sockstat'))?.[1];
  return pages === undefined ? null : Number(pages) * pageBytes;
}

/** What the kernel holds in slabs, sockets among it: of the whole machine. */
export function readSlabBytes(): number | null {
  const kib = /^Slab:\s+(\d+) kB$/m.exec(read('/proc/meminfo'))?.[1];
  return kib === undefined ? null : Number(kib) * 1024;
}

/** Cheap enough for every second, but an estimate. */
export function estimateRssBytes(pid: number): number | null {
  const pages = read(`/proc/${pid}/statm`).split(' ')[1];
  return pages === undefined ? null : Number(pages) * pageBytes;
}

export function readKernelSetting(path: string): string {
  return read(path).trim().replaceAll(/\s+/g, ' ') || 'unknown';
}
