import { createReadStream } from 'node:fs';
import path from 'node:path';

import { readAuditFileName } from './audit-file-name.ts';
import { auditFilePath, listAuditFiles } from './audit-files.ts';
import { ChainCheck } from './chain-check.ts';
import { readSealedLine } from './hash-chain.ts';

const newline = 0x0a;
/** No line is as long: what is longer is none. */
const lineBytesMax = 1_048_576;

/** The paths of a folder's files, in their order. */
export async function findAuditFiles(folder: string): Promise<string[]> {
  return (await listAuditFiles(folder)).map((number) => auditFilePath(folder, number));
}

/** In the order in which they were written. */
function sortFiles(files: readonly string[]): string[] {
  return [...files].sort((a, b) => numberOf(a) - numberOf(b));
}

function numberOf(file: string): number {
  return readAuditFileName(path.basename(file)) ?? Number.MAX_SAFE_INTEGER;
}

/** The whole lines of a file, without their ends. Returns how many bytes follow on the last. */
async function* readLines(file: string): AsyncGenerator<Buffer, number, undefined> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, at)) {
      yield bytes.subarray(at, end);
      at = end + 1;
    }
    rest = bytes.subarray(at);
    if (rest.length > lineBytesMax) {
      yield rest;
      rest = Buffer.alloc(0);
    }
  }
  return rest.length;
}

/** A line of the audit log, but for the hash. */
export interface AuditLine {
  readonly seq: number;
  readonly at: string;
  readonly who: string;
  readonly from: { readonly address: string; readonly session?: string };
  readonly what: string;
  readonly target?: object;
  readonly before?: object;
  readonly after?: object;
  readonly outcome: string;
}

/** What the whole lines of files say. Whether it is true only their chain tells. */
export async function* readAuditLines(files: readonly string[]): AsyncGenerator<AuditLine, void, undefined> {
  for (const file of sortFiles(files)) {
    for await (const line of readLines(file)) {
      if (readSealedLine(line) === undefined) throw new Error(`${file} has a line that is none of an audit log`);
      yield JSON.parse(line.toString()) as AuditLine;
    }
  }
}

/** Checks the chain of files, in whichever order they are given. `expected`: the hash that one of the lines should have. */
export async function checkAuditFiles(files: readonly string[], expected?: string): Promise<ChainCheck> {
  const check = new ChainCheck(expected);
  for (const file of sortFiles(files)) {
    check.beginFile(file);
    const lines = readLines(file);
    let next = await lines.next();
    while (next.done !== true) {
      check.take(next.value);
      next = await lines.next();
    }
    check.endFile(next.value);
  }
  return check;
}
