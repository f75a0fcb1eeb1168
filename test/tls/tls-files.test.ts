import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { Counters } from '../../src/runtime/counters.ts';
import { TlsFiles } from '../../src/tls/tls-files.ts';
import { loadTlsMaterial } from '../../src/tls/tls-material.ts';
import type { TlsMaterial } from '../../src/tls/tls-material.ts';
import { CertificateFolder, issueServer, validFor } from '../support/test-certificates.ts';

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly setting?: string;
}

const dayMs = 86_400_000;
let folder: CertificateFolder;
let files: TlsFiles;
let lines: Line[];
let taken: TlsMaterial[];
let counters: Counters;
let nowMs: number;
let wallMs: number;

beforeEach(async () => {
  folder = new CertificateFolder();
  lines = [];
  taken = [];
  counters = new Counters();
  nowMs = 0;
  wallMs = Date.now();
  const settings = { ...folder.settings, tlsCa: '' };
  const material = (await loadTlsMaterial(settings))!;
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line) as Line) });
  files = new TlsFiles({ settings, material, log, counters, readWallMs: () => wallMs });
  files.onChange((next) => taken.push(next));
});
afterEach(() => {
  folder.remove();
});

/** One look at the files, to its end. */
async function look(): Promise<void> {
  nowMs += 10_000;
  files.tick(nowMs);
  await new Promise((resolve) => {
    setTimeout(resolve, 30);
  });
}

test('[TL2] what has changed is taken once two looks have found the same', async () => {
  await look();
  folder.replaceServer(issueServer(folder.authority));
  await look();
  expect(taken).toEqual([]);
  await look();
  expect(taken).toMatchObject([folder.server]);
  expect(files.material).toMatchObject(folder.server);
  await look();
  expect(taken.length).toBe(1);
  expect(counters.snapshot().tls_reloaded).toBe(1);
});

test('[TL2] what changes before the first look is taken, too', async () => {
  folder.replaceServer(issueServer(folder.authority));
  await look();
  await look();
  expect(taken).toMatchObject([folder.server]);
});

test('[TL2] half of a pair is never taken, and is said once, without the key', async () => {
  await look();
  const before = files.material;
  const next = issueServer(folder.authority);
  folder.write('server.key', next.key);
  for (let looks = 0; looks < 4; looks++) await look();
  expect(files.material).toBe(before);
  expect(files.isStale).toBe(true);
  expect(counters.snapshot().tls_reload_failed).toBe(1);
  expect(lines.map(({ level, msg }) => [level, msg.includes('tlsKey: ')])).toEqual([[50, true]]);
  expect(JSON.stringify(lines)).not.toMatch(/BEGIN|MI[GI]/);
  folder.write('server.crt', next.certificate);
  await look();
  await look();
  expect(files.material).toMatchObject(next);
  expect(files.isStale).toBe(false);
});

test('files that are gone are said, and that they are as they were ends it', async () => {
  const { certificate } = folder.server;
  folder.write('server.crt', '');
  await look();
  await look();
  expect(files.isStale).toBe(true);
  folder.write('server.crt', certificate);
  await look();
  expect(files.isStale).toBe(false);
  expect(taken).toEqual([]);
});

test('that a certificate expires within 14 days is said once a day', async () => {
  files.tick(0);
  expect(lines).toEqual([]);
  wallMs += 77 * dayMs;
  files.tick(1);
  files.tick(2);
  expect(lines).toMatchObject([
    { level: 40, setting: 'tlsCert', msg: 'a certificate of tlsCert expires within 14 days' },
  ]);
  wallMs += 13 * dayMs + 1;
  files.tick(3);
  expect(lines[1]).toMatchObject({ level: 50, msg: 'a certificate of tlsCert has expired' });
  expect(lines.length).toBe(2);
});

test('a new certificate that is about to expire is said at once', async () => {
  files.tick(0);
  await look();
  folder.replaceServer(issueServer(folder.authority, { validity: validFor(3) }));
  for (let looks = 0; looks < 3; looks++) await look();
  expect(lines.map(({ msg }) => msg)).toContain('a certificate of tlsCert expires within 14 days');
});
