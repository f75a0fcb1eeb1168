import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { exportSPKI, importJWK } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { JwtVerifier } from '../../src/access/jwt.ts';
import type { JwtOptions } from '../../src/access/jwt.ts';
import { baseOptions, encodePart, goodClaims, goodPrincipal, IssuerKey, nowSeconds } from '../support/jwt-issuer.ts';

const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

let folder: string;
let rsa: IssuerKey;
let ec: IssuerKey;
let verifier: JwtVerifier;

async function verifierFor(keys: readonly unknown[], options: Partial<JwtOptions> = {}): Promise<JwtVerifier> {
  const file = path.join(mkdtempSync(path.join(folder, 'keys-')), 'jwks.json');
  writeFileSync(file, JSON.stringify({ keys }));
  const made = new JwtVerifier({ ...baseOptions, place: { kind: 'file', path: file }, ...options });
  await made.start();
  return made;
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'jwt-'));
  rsa = await IssuerKey.generate('RS256', 'rsa-1', { alg: 'RS256' });
  ec = await IssuerKey.generate('ES256', 'ec-1');
  verifier = await verifierFor([rsa.jwk, ec.jwk]);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test.each(algorithms)(
  'a token signed with %s says who it speaks for, with which policies and until when',
  async (name) => {
    const key = await IssuerKey.generate(name, 'k');
    const verified = await (await verifierFor([key.jwk])).verify(await key.sign());
    expect(verified).toEqual(goodPrincipal);
  },
);

test('claims may have other names, and policies may be one text', async () => {
  const other = await verifierFor([ec.jwk], { nameClaim: 'client_id', policiesClaim: 'https://x.example/scope' });
  const claims = { ...goodClaims, client_id: 'web', 'https://x.example/scope': 'a b  a', aud: ['x', 'slotcast'] };
  expect(await other.verify(await ec.sign(claims))).toMatchObject({ name: 'web', policies: ['a', 'b'] });
  const { policies: _, ...bare } = goodClaims;
  expect(await verifier.verify(await ec.sign(bare))).toMatchObject({ policies: [] });
});

const claimCases: [string, object | string, string][] = [
  ['expired', { exp: nowSeconds - 31 }, 'expired'],
  ['without exp', { exp: undefined }, 'claims'],
  ['exp as a text', { exp: String(nowSeconds + 600) }, 'claims'],
  ['exp beyond all dates', { exp: 1e300 }, 'claims'],
  ['a negative exp', { exp: -1 }, 'claims'],
  ['exp null', { exp: null }, 'claims'],
  ['nbf in the future', { nbf: nowSeconds + 31 }, 'not_yet_valid'],
  ['iat in the future', { iat: nowSeconds + 31 }, 'not_yet_valid'],
  ['nbf as a text', { nbf: 'now' }, 'claims'],
  ['another audience', { aud: 'billing' }, 'audience'],
  ['an audience that begins alike', { aud: 'slotcast2' }, 'audience'],
  ['no audience', { aud: undefined }, 'audience'],
  ['an audience that is a list with something else', { aud: ['slotcast', 1] }, 'audience'],
  ['an audience that is an object', { aud: { slotcast: true } }, 'audience'],
  ['another issuer', { iss: 'https://issuer.example/' }, 'issuer'],
  ['no issuer', { iss: undefined }, 'issuer'],
  ['no name', { sub: undefined }, 'claims'],
  ['an empty name', { sub: '' }, 'claims'],
  ['a name that is a number', { sub: 1 }, 'claims'],
  ['a name with a line break', { sub: 'a\nb' }, 'claims'],
  ['a name with half a character', { sub: 'a\ud800' }, 'claims'],
  ['a name that is too long', { sub: 'n'.repeat(257) }, 'claims'],
  ['policies that are no names', { policies: ['a', { b: 1 }] }, 'claims'],
  ['policies that are an object', { policies: { a: 1 } }, 'claims'],
  ['an empty policy', { policies: [''] }, 'claims'],
  ['too many policies', { policies: Array.from({ length: 101 }, (_, index) => `p${index}`) }, 'claims'],
];

test.each(claimCases)('a token is refused: %s', async (_, changed, refused) => {
  expect(await verifier.verify(await ec.sign({ ...goodClaims, ...(changed as object) }))).toEqual({ refused });
});

test.each([
  ['a claim that stands twice', `{"sub":"admin",${JSON.stringify(goodClaims).slice(1)}`],
  ['twice, escaped', `{"s\\u0075b":"admin",${JSON.stringify(goodClaims).slice(1)}`],
  ['twice in an object within', `{"x":[{"a":1,"b":{},"a":2}],${JSON.stringify(goodClaims).slice(1)}`],
  ['a list', JSON.stringify([goodClaims])],
  ['null', 'null'],
  ['no JSON', 'sub=admin'],
  ['nothing', ''],
  ['a byte order mark', `\ufeff${JSON.stringify(goodClaims)}`],
  ['lists in lists', '['.repeat(3000) + ']'.repeat(3000)],
])('a token whose payload is no plain object is refused: %s', async (_, payload) => {
  expect(await verifier.verify(await ec.sign(payload))).toEqual({ refused: 'malformed' });
});

test('names that objects have anyway are no claims, and change nothing', async () => {
  const text = `{"__proto__":{"sub":"admin"},"x":"a: \\" {","y":["sub","sub"],${JSON.stringify(goodClaims).slice(1)}`;
  expect(await verifier.verify(await ec.sign(text))).toEqual(goodPrincipal);
  const odd = await verifierFor([ec.jwk], { nameClaim: 'constructor' });
  expect(await odd.verify(await ec.sign())).toEqual({ refused: 'claims' });
  const none = await verifierFor([ec.jwk], { policiesClaim: 'constructor' });
  expect(await none.verify(await ec.sign())).toMatchObject({ policies: [] });
});

test('a token that names no key waits for the keys, too, as long as there are none', async () => {
  const file = path.join(mkdtempSync(path.join(folder, 'keys-')), 'jwks.json');
  const fresh = new JwtVerifier({ ...baseOptions, place: { kind: 'file', path: file } });
  const token = await ec.sign(goodClaims, { kid: undefined });
  expect(await fresh.verify(token)).toEqual({ refused: 'keys_unavailable' });
  writeFileSync(file, JSON.stringify({ keys: [ec.jwk] }));
  const other = new JwtVerifier({ ...baseOptions, place: { kind: 'file', path: file } });
  expect(await other.verify(token, false)).toEqual({ refused: 'keys_unavailable' });
  expect(await other.verify(token)).toEqual(goodPrincipal);
});

test('clocks may differ by the skew, and the principal ends with it', async () => {
  const late = { ...goodClaims, exp: nowSeconds - 29, nbf: nowSeconds + 29, iat: nowSeconds + 29 };
  expect(await verifier.verify(await ec.sign(late))).toMatchObject({ expiresAtMs: (nowSeconds + 1) * 1000 });
});

const headerCases: [string, object, string][] = [
  ['its own key', { jwk: {} }, 'header'],
  ['a URL of keys', { jku: 'https://evil.example/jwks' }, 'header'],
  ['a URL of a certificate', { x5u: 'https://evil.example/c' }, 'header'],
  ['a certificate', { x5c: ['MIIB'] }, 'header'],
  ['another token within', { cty: 'JWT' }, 'header'],
  ['compression', { zip: 'DEF' }, 'header'],
  ['a token for logging out', { typ: 'logout+jwt' }, 'header'],
  ['a type that is no text', { typ: 1 }, 'header'],
];

test.each(headerCases)('a well-signed token is refused whose header has %s', async (_, header, refused) => {
  const parts = (await ec.sign()).split('.');
  expect(await verifier.verify(parts.join('.'))).toEqual(goodPrincipal);
  expect(await verifier.verify(await ec.sign(goodClaims, header))).toEqual({ refused });
});

test.each([
  ['crit', { alg: 'ES256', kid: 'ec-1', crit: ['exp'], exp: 1 }, 'header'],
  ['b64', { alg: 'ES256', kid: 'ec-1', crit: ['b64'], b64: false }, 'header'],
  ['a kid that is no text', { alg: 'ES256', kid: ['ec-1'] }, 'header'],
  ['a kid that is too long', { alg: 'ES256', kid: 'k'.repeat(257) }, 'header'],
  ['alg none', { alg: 'none' }, 'algorithm'],
  ['alg nOnE', { alg: 'nOnE' }, 'algorithm'],
  ['no alg', { kid: 'ec-1' }, 'algorithm'],
  ['alg as a list', { alg: ['ES256'], kid: 'ec-1' }, 'algorithm'],
  ['a curve that is not used here', { alg: 'ES256K', kid: 'ec-1' }, 'algorithm'],
  ['an algorithm of encryption', { alg: 'RSA-OAEP', enc: 'A256GCM' }, 'algorithm'],
  ['alg that stands twice', '{"alg":"none","alg":"ES256","kid":"ec-1"}', 'malformed'],
  ['a header that is no object', '"ES256"', 'malformed'],
])('a header is refused: %s', async (_, header, refused) => {
  const [, payload, signature] = (await ec.sign()).split('.');
  expect(await verifier.verify(`${encodePart(header)}.${payload}.${signature}`)).toEqual({ refused });
});

test('alg none is refused with and without a signature', async () => {
  const unsigned = `${encodePart({ alg: 'none' })}.${encodePart(goodClaims)}.`;
  expect(await verifier.verify(unsigned)).toEqual({ refused: 'malformed' });
  expect(await verifier.verify(`${unsigned}AA`)).toEqual({ refused: 'algorithm' });
});

test.each(['HS256', 'HS384', 'HS512'])('a public key is not taken for a secret: %s', async (alg) => {
  const spki = await exportSPKI((await importJWK(rsa.jwk, 'RS256')) as CryptoKey);
  for (const secret of [spki, spki.trim(), JSON.stringify(rsa.jwk), rsa.jwk.n ?? '', '']) {
    const signed = `${encodePart({ alg, kid: 'rsa-1' })}.${encodePart(goodClaims)}`;
    const signature = createHmac(`sha${alg.slice(2)}`, secret)
      .update(signed)
      .digest('base64url');
    expect(await verifier.verify(`${signed}.${signature}`)).toEqual({ refused: 'algorithm' });
  }
});

test('a secret among the keys is none of them', async () => {
  const secret = { kty: 'oct', kid: 's', alg: 'HS256', k: encodePart('secret') };
  const other = await verifierFor([secret, ec.jwk]);
  const signed = `${encodePart({ alg: 'HS256', kid: 's' })}.${encodePart(goodClaims)}`;
  const signature = createHmac('sha256', 'secret').update(signed).digest('base64url');
  expect(await other.verify(`${signed}.${signature}`)).toEqual({ refused: 'algorithm' });
});

test('a key is used with its own algorithm only', async () => {
  const [, payload, signature] = (await rsa.sign()).split('.');
  for (const alg of ['RS384', 'PS256', 'ES256', 'EdDSA']) {
    const token = `${encodePart({ alg, kid: 'rsa-1' })}.${payload}.${signature}`;
    expect(await verifier.verify(token)).toEqual({ refused: 'unknown_key' });
  }
  const foreign = await IssuerKey.generate('PS256', 'rsa-1');
  expect(await verifier.verify(await foreign.sign())).toEqual({ refused: 'unknown_key' });
});

test('a token of another issuer is refused, whatever name its key has', async () => {
  const foreign = await IssuerKey.generate('ES256', 'ec-1');
  expect(await verifier.verify(await foreign.sign())).toEqual({ refused: 'signature' });
  const unknown = await IssuerKey.generate('ES256', 'ec-2');
  expect(await verifier.verify(await unknown.sign())).toEqual({ refused: 'unknown_key' });
});

test.each([
  '../../../etc/passwd',
  '/dev/null',
  'https://evil.example/jwks',
  '__proto__',
  'constructor',
  "' OR 1=1",
  '',
])('the name of a key is only looked up: %j', async (kid) => {
  const foreign = await IssuerKey.generate('ES256', kid);
  expect(await verifier.verify(await foreign.sign())).toEqual({ refused: 'unknown_key' });
});

test('a token without a key’s name is accepted if only one key fits', async () => {
  const nameless = await IssuerKey.generate('ES384', undefined);
  const one = await verifierFor([nameless.jwk, rsa.jwk]);
  expect(await one.verify(await nameless.sign())).toEqual(goodPrincipal);
  const second = await IssuerKey.generate('ES384', undefined);
  const two = await verifierFor([nameless.jwk, second.jwk]);
  expect(await two.verify(await nameless.sign())).toEqual({ refused: 'unknown_key' });
});

test('private keys, short ones, broken ones and those for encryption are left out', async () => {
  const reports: unknown[] = [];
  const short = { kty: 'RSA', kid: 'short', e: 'AQAB', n: encodePart('x'.repeat(128)) };
  const keys = [
    { ...(await ec.exportPrivate()), kid: 'private' },
    short,
    { kty: 'EC', crv: 'P-256', kid: 'broken', x: 'AA', y: 'AA' },
    { ...ec.jwk, kid: 'enc', use: 'enc' },
    { ...ec.jwk, kid: 1 },
    { ...ec.jwk, alg: 'ES384', kid: 'contradicting' },
    null,
    'key',
    ec.jwk,
  ];
  const made = await verifierFor(keys, { report: (report) => reports.push(report) });
  expect(reports).toEqual([{ kind: 'loaded', count: 1, ignored: 8 }]);
  expect(await made.verify(await ec.sign())).toEqual(goodPrincipal);
});

test('a token that is too long is refused before anything of it is read', async () => {
  expect(await verifier.verify('a'.repeat(1_000_000))).toEqual({ refused: 'too_long' });
  expect(await verifier.verify(`${(await ec.sign()).slice(0, -1)}${'A'.repeat(8192)}`)).toEqual({
    refused: 'too_long',
  });
  const claims = { ...goodClaims, padding: 'x'.repeat(5500) };
  expect(await verifier.verify(await ec.sign(claims))).toEqual(goodPrincipal);
});

test.each(['', '.', '..', '...', 'a', 'a.b', 'a.b.c.d', 'a.b.c.d.e', 'é.b.c', 'e30.e30.e30', ' '])(
  'what is no token is refused: %j',
  async (text) => {
    expect(await verifier.verify(text)).toMatchObject({
      refused: expect.stringMatching(/malformed|algorithm/) as string,
    });
  },
);

test('a token that was verified is not verified again, until it expires or the keys change', async () => {
  let wallMs = nowSeconds * 1000;
  let nowMs = 0;
  const file = path.join(mkdtempSync(path.join(folder, 'keys-')), 'jwks.json');
  writeFileSync(file, JSON.stringify({ keys: [ec.jwk] }));
  const made = new JwtVerifier({
    ...baseOptions,
    place: { kind: 'file', path: file },
    readWallMs: () => wallMs,
    readMs: () => nowMs,
  });
  expect(await made.start()).toBe(1);
  const token = await ec.sign();
  const first = await made.verify(token);
  expect(first).toEqual(goodPrincipal);
  // The same object: it is the one that was kept.
  expect(await made.verify(token)).toBe(first);
  wallMs = (nowSeconds + 630) * 1000;
  expect(await made.verify(token)).toEqual({ refused: 'expired' });
  wallMs = nowSeconds * 1000;
  expect(await made.verify(token)).toEqual(goodPrincipal);
  const successor = await IssuerKey.generate('ES256', 'ec-2');
  writeFileSync(file, JSON.stringify({ keys: [successor.jwk] }));
  nowMs = 1000;
  // The successor's name is not known yet, so the file is read.
  expect(await made.verify(await successor.sign())).toEqual(goodPrincipal);
  expect(await made.verify(token)).toEqual({ refused: 'unknown_key' });
});
