import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import * as client from '../../src/client/index.ts';
import { resolveOptions } from '../../src/client/options.ts';
import { errorCodes } from '../../src/protocol/errors.ts';
import { CertificateFolder, issueClient } from '../support/test-certificates.ts';

/** Not in step with it: the server is in this process. */
const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const document = readFileSync(join(root, 'docs/CLIENT.md'), 'utf8');

function source(path: string): string {
  return readFileSync(join(root, 'src', path), 'utf8');
}

/** Cells of the rows of the table whose first heading this is. */
function rowsOf(heading: string, columns: number): string[][] {
  const table = new RegExp(`^\\| ${heading} \\|(?:[^\\n]*\\|){${columns - 1}}\\n\\|[-|]+\\n((?:\\|.*\\n)+)`, 'm').exec(
    document,
  );
  return table![1]!
    .trim()
    .split('\n')
    .map((row) => row.slice(2, -2).split(' | '));
}

function namesOf(rows: string[][]): string[] {
  return rows.flatMap(([name]) => [...name!.matchAll(/`(\w+)`/g)].map(([, found]) => found!));
}

/** The members of an interface, or a union of kinds, as they are written. */
function membersOf(path: string, name: string): string[] {
  const body = new RegExp(`interface ${name}[^{]*\\{\\n(.*?)\\n\\}`, 's').exec(source(path))![1]!;
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, member]) => member!);
}

test('docs/CLIENT.md lists every option of connect, with its default', () => {
  const rows = rowsOf('option', 3).filter(([name]) => name !== 'option');
  expect(namesOf(rows)).toEqual(membersOf('client/options.ts', 'ClientOptions'));
  const settings = resolveOptions({ servers: ['ws://a'] });
  for (const [name, value] of rows) {
    const setting = settings[name!.replaceAll('`', '') as keyof typeof settings];
    if (typeof setting === 'number') expect(`${name} ${value}`).toBe(`${name} ${setting}`);
  }
  expect(rows.find(([name]) => name === '`client`')?.[1]).toBe(`\`${settings.open.client}\``);
});

test('docs/CLIENT.md lists every option of calls, of pickers and of the cache in files', () => {
  const calls = [
    ...membersOf('client/options.ts', 'CallOptions'),
    ...membersOf('client/client.ts', 'StandingOptions'),
    ...membersOf('client/registration.ts', 'DeregisterOptions'),
    ...membersOf('client/client.ts', 'SubscribeOptions'),
    ...membersOf('protocol/types.ts', 'InstanceFilter'),
    ...membersOf('protocol/types.ts', 'ListParams'),
  ];
  expect(namesOf(rowsOf('option', 4)).toSorted()).toEqual([...new Set(calls)].toSorted());
  for (const [heading, path, name, section] of [
    ['option of `FileCache`', 'client/file-cache.ts', 'FileCacheOptions', undefined],
    ['option', 'client/picker.ts', 'PickerOptions', 'Picking an instance'],
  ] as const) {
    const text = section === undefined ? document : document.slice(document.indexOf(`## ${section}`));
    const at = text.indexOf(`| ${heading} |`);
    const rows = text
      .slice(at, text.indexOf('\n\n', at))
      .split('\n')
      .slice(2)
      .map((row) => row.slice(2, -2).split(' | '));
    expect(namesOf(rows)).toEqual(membersOf(path, name));
    for (const [option, value] of rows) {
      const fallback = new RegExp(`options\\.${option!.replaceAll('`', '')} \\?\\? ([\\d_ *]+)`).exec(
        source(path),
      )?.[1];
      if (fallback === undefined) continue;
      const factors = fallback.replaceAll('_', '').split('*').map(Number);
      expect(`${option} ${value}`).toBe(`${option} ${factors.reduce((product, factor) => product * factor, 1)}`);
    }
  }
});

test('docs/CLIENT.md lists every option of keys, locks and elections', () => {
  const path = 'client/key-types.ts';
  const options = ['KeyWrite', 'DeleteOptions', 'KeyListOptions', 'LockOptions', 'WatchOptions'].flatMap((name) =>
    membersOf(path, name),
  );
  expect(namesOf(rowsOf('key option', 4)).toSorted()).toEqual([...new Set(options)].toSorted());
});

test('docs/CLIENT.md lists every event and what it holds', () => {
  const notices = [...source('client/effects.ts').matchAll(/\| \{\s+readonly kind: '(\w+)'([^}]*)\}/g)];
  const union = source('client/effects.ts');
  const kinds = new Set(
    notices
      .filter(
        ({ index }) => index > union.indexOf('export type Notice') && index < union.indexOf('export type Refused'),
      )
      .map(([, kind]) => kind!),
  );
  expect(namesOf(rowsOf('event of the client', 3)).toSorted()).toEqual([...kinds, 'cache', 'closed'].toSorted());
  for (const [name, holds] of rowsOf('event of the client', 3)) {
    const [, , members = ''] = notices.find(([, kind]) => `\`${kind}\`` === name) ?? [];
    const fields = [...members.matchAll(/readonly (\w+)/g)].map(([, field]) => field!);
    if (fields.length > 0) expect(namesOf([[holds!]])).toEqual(fields);
  }
  const [change] = rowsOf('event of a subscription', 3);
  expect(namesOf([[change![1]!]])).toEqual(membersOf('client/changes.ts', 'Change'));
  expect(namesOf(rowsOf('event of a subscription', 3))).toEqual(
    membersOf('client/subscription.ts', 'SubscriptionEvents'),
  );
});

test('docs/CLIENT.md lists every error, its fields, and every code', () => {
  const classes = Object.keys(client).filter((name) => name.endsWith('Error') && name !== 'SlotcastError');
  expect(namesOf(rowsOf('class', 3)).toSorted()).toEqual(classes.toSorted());
  for (const [name, fields] of rowsOf('class', 3)) {
    const body = new RegExp(`class ${name!.replaceAll('`', '')} [^]*?\\n\\}`).exec(source('client/errors.ts'))![0];
    const members = [...body.matchAll(/^ {2}readonly (\w+):/gm)].map(([, member]) => member!);
    expect([name, ...namesOf([[fields!]])]).toEqual([name, ...members]);
  }
  expect(namesOf(rowsOf('code', 2)).toSorted()).toEqual(Object.keys(errorCodes).toSorted());
});

let server: Server;
/** Over TLS, with client certificates. */
let secureServer: Server;
let certificates: CertificateFolder;
let folder: string;
beforeAll(async () => {
  certificates = new CertificateFolder({ dnsNames: ['registry.example'] });
  const orders = issueClient(certificates.authority, 'orders');
  certificates.write('orders.crt', orders.certificate);
  certificates.write('orders.key', orders.key);
  secureServer = await startServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    ...certificates.settings,
    tlsCa: certificates.ca,
    tlsClientCertificate: 'require',
  });
  server = await startServer({ port: 0, partitions: 1, logLevel: 'silent', warmUpMs: 1 });
  // Within the package, so that it can import itself by its name.
  mkdirSync(join(root, 'dist'), { recursive: true });
  folder = mkdtempSync(join(root, 'dist', 'examples-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
  await secureServer.stop();
  certificates.remove();
});

const examples = [
  ...[...document.matchAll(/```js\n(.*?)```/gs)].map(([, code], index) => [`CLIENT.md ${index + 1}`, code!] as const),
  ...[...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/```js\n(import \{ connect .*?)```/gs)].map(
    ([, code]) => ['README.md', `${code!}\nawait client.close();`] as const,
  ),
];

test.each(examples)('the example of %s runs', async (name, code) => {
  const opening =
    "import { connect } from 'slotcast/client';\nconst client = connect({ servers: ['ws://127.0.0.1:7070'] });\n";
  const isWhole = code.includes('connect({');
  const ending = code.includes('SIGTERM')
    ? "process.kill(process.pid, 'SIGTERM');"
    : isWhole
      ? ''
      : 'await client.close();';
  const program = `${isWhole ? '' : opening}${code}\n${ending}`
    .replaceAll('ws://127.0.0.1:7070', server.address.url)
    .replaceAll('wss://registry.example:7070', secureServer.address.url)
    .replaceAll(/'(\w+\.(?:crt|key))'/g, (_, file: string) => JSON.stringify(join(certificates.path, file)))
    .replaceAll('/var/tmp/gateway-lists', join(folder, 'lists'));
  const path = join(folder, `${name.replaceAll(' ', '-')}.mjs`);
  writeFileSync(path, program);
  await expect(run(process.execPath, [path], { timeout: 30_000 })).resolves.toBeDefined();
});

test('there are examples, and the packed client runs them without anything of the server', async () => {
  expect(examples.length).toBeGreaterThan(8);
  const place = mkdtempSync(join(tmpdir(), 'slotcast-client-'));
  try {
    const packing = ['pack', '--workspace', 'slotcast-client', '--pack-destination', place, '--json'];
    await run('npm', packing, { cwd: root });
    const installed = join(place, 'node_modules', 'slotcast-client');
    mkdirSync(installed, { recursive: true });
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    await run('tar', ['-xzf', join(place, `slotcast-client-${version}.tgz`), '-C', installed, '--strip-components=1']);
    symlinkSync(join(root, 'node_modules', 'ws'), join(place, 'node_modules', 'ws'));
    for (const [name, code] of examples) {
      if (!code.includes("from 'slotcast/client/file-cache'")) continue;
      const program = code
        .replaceAll('slotcast/client', 'slotcast-client')
        .replaceAll('ws://127.0.0.1:7070', server.address.url)
        .replaceAll('/var/tmp/gateway-lists', join(place, 'lists'));
      writeFileSync(join(place, 'program.mjs'), program);
      const { stdout } = await run(process.execPath, [join(place, 'program.mjs')]);
      expect([name, stdout]).toEqual([name, expect.stringContaining('false 0')]);
    }
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
});
