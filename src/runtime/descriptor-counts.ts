import { readdir, readFile, stat } from 'node:fs/promises';

/** File descriptors of the process: how many are open, and how many may be. Left out where the system does not tell. */
export interface DescriptorCounts {
  readonly open?: number;
  readonly max?: number;
}

/** Reads them from `/proc`, off the thread that asks: with many sockets the folder is long. */
export async function countDescriptors(proc = '/proc/self'): Promise<DescriptorCounts> {
  const [open, max] = await Promise.all([
    countOpen(`${proc}/fd`).catch(() => undefined),
    readMax(`${proc}/limits`).catch(() => undefined),
  ]);
  return { ...(open === undefined ? {} : { open }), ...(max === undefined ? {} : { max }) };
}

/** Linux 6.2 and later give the count as the size of the folder, without listing it. */
async function countOpen(folder: string): Promise<number> {
  const { size } = await stat(folder);
  // Listing it opens it: one of those listed is closed again.
  return size > 0 ? size : (await readdir(folder)).length - 1;
}

/** The soft limit, which is the one that is met. */
async function readMax(file: string): Promise<number | undefined> {
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(await readFile(file, 'utf8')) ?? [];
  return soft === undefined || soft === 'unlimited' ? undefined : Number(soft);
}
