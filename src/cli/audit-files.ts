import { stat } from 'node:fs/promises';

import { auditFolder } from '../audit/audit-files.ts';
import { checkAuditFiles, findAuditFiles, readAuditLines } from '../audit/audit-reading.ts';
import type { AuditLine } from '../audit/audit-reading.ts';
import { resolveConfig } from '../config/config-checking.ts';
import { AdministrationError } from './exit-codes.ts';
import { formatJson, formatTable, formatText, nothing } from './output.ts';
import { printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { readSettings } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';

export type VerifyOptions = SettingFlags & { readonly expect?: string; readonly json: boolean };

export type ShowOptions = SettingFlags &
  OutputOptions & {
    readonly who?: string;
    readonly what?: string;
    readonly since?: number;
    readonly limit: number;
  };

/** What `slotcast start` uses if nothing else is said. */
const folderDefault = 'slotcast-data';

/** The chain is whole, or the error says where it is broken. */
export async function verifyAudit(given: readonly string[], { expect, json, ...flags }: VerifyOptions): Promise<void> {
  const files = await chooseFiles(given, flags);
  const check = await explain(() => checkAuditFiles(files, expect));
  const { head, firstSeq, lines, tornBytes, firstBreak, hasExpected } = check;
  if (json) {
    console.log(
      formatJson({
        files: files.length,
        lines,
        firstSeq,
        lastSeq: head.seq,
        hash: head.hash,
        tornBytes,
        firstBreak,
        hasExpected,
      }),
    );
  }
  if (firstBreak !== undefined) {
    const { file, line, why } = firstBreak;
    throw new AdministrationError(`${file}, line ${line}: ${why}`);
  }
  if (expect !== undefined && !hasExpected) {
    throw new AdministrationError(`no line has the hash ${expect}: lines at the end are missing, or it is another log`);
  }
  if (json) return;
  const torn =
    tornBytes === 0
      ? ''
      : `\n${tornBytes} bytes at the end are no whole line: it is being written, or was when the process ended`;
  const begin =
    firstSeq === undefined || firstSeq === 1
      ? ''
      : `\nit begins with line ${firstSeq}: earlier files have been removed`;
  console.log(`${lines} lines in ${files.length} files, none changed, removed or put in${begin}${torn}`);
  console.log(`last line ${head.seq}, hash ${head.hash}`);
}

export async function showAudit(
  given: readonly string[],
  { who, what, since, limit, json, output, ...flags }: ShowOptions,
): Promise<void> {
  const files = await chooseFiles(given, flags);
  const lines: AuditLine[] = [];
  await explain(async () => {
    for await (const line of readAuditLines(files)) {
      const isMeant =
        (who === undefined || line.who === who) &&
        (what === undefined || line.what === what || line.what.startsWith(`${what}.`)) &&
        (since === undefined || Date.parse(line.at) >= since);
      if (isMeant) lines.push(line);
      // Not one by one, which would move all of them each time.
      if (lines.length >= 2 * limit) lines.splice(0, lines.length - limit);
    }
  });
  if (lines.length > limit) lines.splice(0, lines.length - limit);
  await printResult(
    { json, ...(output === undefined ? {} : { output }) },
    {
      value: { lines },
      rows: lines.map((line) => ({
        ...line,
        from: line.from.address,
        session: line.from.session,
        target: toText(line.target),
        before: toText(line.before),
        after: toText(line.after),
      })),
      formatTable: (look, isWide) =>
        formatTable(
          ['SEQ', 'AT', 'WHO', 'FROM', 'WHAT', 'OUTCOME', 'TARGET', ...(isWide ? ['BEFORE', 'AFTER'] : [])],
          lines.map(({ seq, at, who: principal, from, what: act, outcome, target, before, after }) => [
            String(seq),
            at,
            formatText(principal),
            from.address === '' ? nothing : formatText(from.address),
            formatText(act),
            formatText(outcome),
            ...[target, ...(isWide ? [before, after] : [])].map((part) =>
              part === undefined ? nothing : formatJson(part),
            ),
          ]),
          look,
        ),
    },
  );
}

function toText(part: object | undefined): string | undefined {
  return part === undefined ? undefined : JSON.stringify(part);
}

async function chooseFiles(given: readonly string[], flags: SettingFlags): Promise<readonly string[]> {
  if (given.length > 0) return given;
  const { dataDir } = resolveConfig(readSettings(flags).values);
  const folder = auditFolder(dataDir === '' ? folderDefault : dataDir);
  return explain(async () => {
    await stat(folder);
    const files = await findAuditFiles(folder);
    if (files.length === 0) throw new AdministrationError(`there is no audit log in ${folder}`);
    return files;
  });
}

/** What is wrong with a file is a sentence. */
async function explain<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof AdministrationError) throw error;
    throw new AdministrationError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}
