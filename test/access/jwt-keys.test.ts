import { once } from 'node:events';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { JwtVerifier } from '../../src/access/jwt.ts';
import { baseOptions, goodPrincipal, IssuerKey } from '../support/jwt-issuer.ts';

let folder: string;
let server: Server;
let origin: string;
/** Paths that were asked for. */
let asked: string[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let nowMs: number;
let reports: unknown[];
let first: IssuerKey;
let second: IssuerKey;
let verifier: JwtVerifier | undefined;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'jwt-keys-'));
  asked = [];
  reports = [];
  nowMs = 0;
  first = await IssuerKey.generate('ES256', 'first');
  second = await IssuerKey.generate('ES256', 'second');
  serveKeys(first);
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  verifier?.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

function textOf(...keys: IssuerKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

function serveKeys(...keys: IssuerKey[]): void {
  answer = (_, response) => response.end(textOf(...keys));
}

async function open(place: { kind: 'url'; url: string } | { kind: 'file'; path: string }): Promise<JwtVerifier> {
  verifier = new JwtVerifier({ ...baseOptions, place, readMs: () => nowMs, report: (each) => reports.push(each) });
  await verifier.start();
  return verifier;
}

const openUrl = (): Promise<JwtVerifier> => open({ kind: 'url', url: `${origin}/jwks` });

/** Lets what a tick has begun come to its end. */
async function tick(made: JwtVerifier, atMs: number): Promise<void> {
  nowMs = atMs;
  const before = [asked.length, reports.length].join(' ');
  made.tick(atMs);
  for (let tries = 0; tries < 20 && before === [asked.length, reports.length].join(' '); tries++) await pause(5);
  await pause(30);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

test('keys are fetched from a URL, and again in the background after five minutes', async () => {
  const made = await openUrl();
  const token = await first.sign();
  expect(await made.verify(token)).toEqual(goodPrincipal);
  await tick(made, 299_999);
  expect(asked).toEqual(['/jwks']);
  serveKeys(second);
  await tick(made, 300_000);
  expect(asked).toEqual(['/jwks', '/jwks']);
  // It is gone, so it is no longer trusted, not even for a token that was verified with it.
  expect(await made.verify(token)).toEqual({ refused: 'unknown_key' });
  expect(await made.verify(await second.sign())).toEqual(goodPrincipal);
  expect(reports).toEqual([
    { kind: 'loaded', count: 1, ignored: 0 },
    { kind: 'loaded', count: 1, ignored: 0 },
  ]);
});

test('a token with the name of a new key lets the keys be fetched at once, for all that wait', async () => {
  const made = await openUrl();
  serveKeys(first, second);
  nowMs = 10_000;
  const token = await second.sign();
  expect(await Promise.all([made.verify(token), made.verify(token), made.verify(token)])).toEqual([
    goodPrincipal,
    goodPrincipal,
    goodPrincipal,
  ]);
  expect(asked).toHaveLength(2);
});

test('tokens that make up names of keys do not decide how often the issuer is asked', async () => {
  const made = await openUrl();
  nowMs = 9_999;
  for (let index = 0; index < 50; index++) {
    const stranger = await IssuerKey.generate('ES256', `stranger-${index}`);
    expect(await made.verify(await stranger.sign())).toEqual({ refused: 'unknown_key' });
  }
  expect(asked).toHaveLength(1);
  nowMs = 10_000;
  const stranger = await IssuerKey.generate('ES256', 'stranger');
  for (let index = 0; index < 50; index++) await made.verify(await stranger.sign());
  expect(asked).toHaveLength(2);
});

test.each([
  ['status 500', (_: IncomingMessage, response: ServerResponse) => response.writeHead(500).end(), 'status 500'],
  ['no JSON', (_: IncomingMessage, response: ServerResponse) => response.end('<html>'), 'no JWK set'],
  ['JSON that is no set', (_: IncomingMessage, response: ServerResponse) => response.end('{"keys":{}}'), 'no JWK set'],
  [
    'too many keys',
    (_: IncomingMessage, response: ServerResponse) => response.end(`{"keys":[${'1,'.repeat(100)}1]}`),
    'no JWK set',
  ],
  ['a cut connection', (request: IncomingMessage) => request.socket.destroy(), ''],
])('if the issuer answers with %s, the keys that are known stay', async (_, broken, reason) => {
  const made = await openUrl();
  answer = broken;
  await tick(made, 300_000);
  await tick(made, 330_000);
  expect(asked).toHaveLength(3);
  // Said once, not each time.
  expect(reports).toEqual([
    { kind: 'loaded', count: 1, ignored: 0 },
    { kind: 'failed', reason: expect.stringContaining(reason) as string },
  ]);
  expect(await made.verify(await first.sign())).toEqual(goodPrincipal);
  serveKeys(first);
  await tick(made, 360_000);
  expect(reports.at(-1)).toEqual({ kind: 'loaded', count: 1, ignored: 0 });
});

test('an issuer that never ends its answer is cut off', async () => {
  let isCut = false;
  answer = (_, response) => {
    const chunk = ' '.repeat(65_536);
    const write = (): void => {
      while (response.write(chunk)) continue;
    };
    response.on('drain', write).on('close', () => {
      isCut = true;
    });
    write();
  };
  const made = await openUrl();
  expect(reports).toEqual([{ kind: 'failed', reason: 'it is larger than 262144 bytes' }]);
  expect(await made.verify(await first.sign())).toEqual({ refused: 'keys_unavailable' });
  await expect.poll(() => isCut).toBe(true);
});

test('an issuer that does not answer is given up after five seconds', async () => {
  answer = () => undefined;
  const made = await openUrl();
  expect(reports).toEqual([{ kind: 'failed', reason: expect.stringContaining('timeout') as string }]);
  expect(await made.verify(await first.sign())).toEqual({ refused: 'keys_unavailable' });
  serveKeys(first);
  await tick(made, 30_000);
  expect(await made.verify(await first.sign())).toEqual(goodPrincipal);
});

test('nobody is redirected', async () => {
  answer = ({ url }, response) => {
    if (url === '/jwks') response.writeHead(302, { Location: '/elsewhere' }).end();
    else response.end(textOf(second));
  };
  const made = await openUrl();
  expect(asked).toEqual(['/jwks']);
  expect(reports).toMatchObject([{ kind: 'failed' }]);
  expect(await made.verify(await second.sign())).toEqual({ refused: 'keys_unavailable' });
});

test('a request that is on its way ends with the verifier, and nothing is reported', async () => {
  let isCut = false;
  answer = (_, response) =>
    response.on('close', () => {
      isCut = true;
    });
  const opening = openUrl();
  await expect.poll(() => asked).toHaveLength(1);
  verifier?.close();
  await opening;
  await expect.poll(() => isCut).toBe(true);
  expect(reports).toEqual([]);
});

test('a file is read again when it has changed, and a broken one changes nothing', async () => {
  const file = path.join(folder, 'jwks.json');
  writeFileSync(file, textOf(first));
  const made = await open({ kind: 'file', path: file });
  expect(await made.verify(await first.sign())).toEqual(goodPrincipal);
  writeFileSync(file, textOf(first).slice(0, -10));
  await tick(made, 1000);
  await tick(made, 2000);
  expect(reports).toEqual([
    { kind: 'loaded', count: 1, ignored: 0 },
    { kind: 'failed', reason: 'it is no JWK set' },
  ]);
  expect(await made.verify(await first.sign())).toEqual(goodPrincipal);
  writeFileSync(`${file}.new`, textOf(first, second));
  renameSync(`${file}.new`, file);
  await tick(made, 3000);
  expect(reports.at(-1)).toEqual({ kind: 'loaded', count: 2, ignored: 0 });
  expect(await made.verify(await second.sign())).toEqual(goodPrincipal);
  rmSync(file);
  await tick(made, 4000);
  expect(reports.at(-1)).toMatchObject({ kind: 'failed', reason: expect.stringContaining('ENOENT') as string });
  expect(await made.verify(await second.sign())).toEqual(goodPrincipal);
  writeFileSync(file, textOf(second));
  await tick(made, 5000);
  expect(await made.verify(await first.sign())).toEqual({ refused: 'unknown_key' });
});

test('a file that has not changed is not said to be new, and one that is too large is not read to its end', async () => {
  const file = path.join(folder, 'jwks.json');
  writeFileSync(file, textOf(first));
  const made = await open({ kind: 'file', path: file });
  await tick(made, 1000);
  writeFileSync(file, textOf(first));
  await tick(made, 2000);
  expect(reports).toHaveLength(1);
  await open({ kind: 'file', path: '/dev/zero' });
  expect(reports.at(-1)).toEqual({ kind: 'failed', reason: 'it is larger than 262144 bytes' });
});
