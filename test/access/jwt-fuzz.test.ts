import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { JwtVerifier } from '../../src/access/jwt.ts';
import { parseObject } from '../../src/access/strict-json.ts';
import { baseOptions, encodePart, goodClaims, goodPrincipal, IssuerKey } from '../support/jwt-issuer.ts';

let folder: string;
let verifier: JwtVerifier;
let keys: IssuerKey[];
let tokens: string[];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'jwt-fuzz-'));
  const file = path.join(folder, 'jwks.json');
  keys = await Promise.all(['RS256', 'ES256', 'EdDSA'].map((name) => IssuerKey.generate(name, name)));
  writeFileSync(file, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  verifier = new JwtVerifier({ ...baseOptions, place: { kind: 'file', path: file } });
  await verifier.start();
  tokens = await Promise.all(keys.map((key) => key.sign()));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** Letters of a token, and others. */
const letter = fc.oneof(
  fc.constantFrom(...Array.from('AQgwZz019-_.=+/ \n\0')),
  fc.string({ minLength: 1, maxLength: 2, unit: 'binary' }),
);
const places = fc.double({ min: 0, max: 1, noNaN: true });
const change = fc.oneof(
  fc.record({ kind: fc.constant('replace'), at: places, letter }),
  fc.record({ kind: fc.constant('insert'), at: places, letter }),
  fc.record({ kind: fc.constant('remove'), at: places, letter }),
  fc.record({ kind: fc.constant('cut'), at: places, letter }),
  fc.record({ kind: fc.constant('repeat'), at: places, letter }),
);

function apply(token: string, { kind, at, letter }: { kind: string; at: number; letter: string }): string {
  const index = Math.floor(at * token.length);
  const [head, tail] = [token.slice(0, index), token.slice(index)];
  switch (kind) {
    case 'replace':
      return head + letter + tail.slice(letter.length);
    case 'insert':
      return head + letter + tail;
    case 'remove':
      return head + tail.slice(1);
    case 'cut':
      return head;
    default:
      return head + tail + tail;
  }
}

test('a token of which anything was changed is refused, and never makes the verifier fail', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.array(change, { minLength: 1, maxLength: 3 }), async (which, changes) => {
      const token = tokens[which] ?? '';
      const changed = changes.reduce((text, each) => apply(text, each), token);
      const verdict = await verifier.verify(changed);
      if (changed === token) expect(verdict).toEqual(goodPrincipal);
      else expect(verdict).toEqual({ refused: expect.any(String) as string });
    }),
    { numRuns: 3000 },
  );
});

test('every single letter of a signature matters', async () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (const token of tokens.slice(1)) {
    const last = token.length - 1;
    const others = Array.from(alphabet)
      .filter((each) => each !== token[last])
      .map((each) => token.slice(0, last) + each);
    for (const other of others) expect(await verifier.verify(other)).toHaveProperty('refused');
  }
});

test('parts of different tokens do not fit together, nor do other headers and claims', async () => {
  const [first, second] = await Promise.all([keys[1]!.sign(), keys[1]!.sign({ ...goodClaims, sub: 'admin' })]);
  const [header, payload, signature] = first.split('.');
  expect(await verifier.verify(`${header}.${second.split('.')[1]}.${signature}`)).toEqual({ refused: 'signature' });
  const member = fc.oneof(
    fc.constantFrom('alg', 'kid', 'typ', 'sub', 'exp', 'aud', 'policies', '__proto__'),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(member, fc.jsonValue()), fc.boolean(), async (members, isHeader) => {
      const other = isHeader ? { alg: 'ES256', kid: 'ES256', ...members } : { ...goodClaims, ...members };
      const part = encodePart(other);
      fc.pre(part !== (isHeader ? header : payload));
      const token = isHeader ? `${part}.${payload}.${signature}` : `${header}.${part}.${signature}`;
      expect(await verifier.verify(token)).toEqual({ refused: expect.any(String) as string });
    }),
    { numRuns: 1000 },
  );
});

test('whatever an issuer signs is a principal or refused, and the verifier never fails', async () => {
  const member = fc.constantFrom('sub', 'exp', 'nbf', 'iat', 'aud', 'iss', 'policies', 'x');
  await fc.assert(
    fc.asyncProperty(fc.dictionary(member, fc.jsonValue()), async (members) => {
      const verdict = await verifier.verify(await keys[1]!.sign({ ...goodClaims, ...members }));
      if ('refused' in verdict) return;
      expect(verdict.name.length).toBeGreaterThan(0);
      expect(verdict.policies.every((each) => typeof each === 'string' && each !== '')).toBe(true);
      expect(verdict.expiresAtMs).toBeGreaterThan(baseOptions.readWallMs());
    }),
    { numRuns: 1000 },
  );
});

test('an object without names that stand twice is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), fc.boolean(), (value, isIndented) => {
      const text = JSON.stringify(value, undefined, isIndented ? 2 : 0);
      expect(parseObject(Buffer.from(text))).toEqual(JSON.parse(text));
    }),
  );
});

/** In JSON, each letter as a number. */
function escape(name: string): string {
  const letters = Array.from({ length: name.length }, (_, index) => name.charCodeAt(index));
  return `"${letters.map((each) => `\\u${each.toString(16).padStart(4, '0')}`).join('')}"`;
}

test('a name that stands twice is found wherever it is, however it is escaped', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 5 }),
      fc.jsonValue(),
      fc.array(fc.constantFrom('object', 'list'), { maxLength: 4 }),
      (name, value, within) => {
        const member = JSON.stringify(value);
        const pair = `{${JSON.stringify(name)} : ${member}, ${JSON.stringify(`other ${name}`)}: ${member}, ${escape(name)}: ${member}}`;
        const text = within.reduce((inner, kind) => (kind === 'list' ? `[${inner}, {}]` : `{"in": ${inner}}`), pair);
        JSON.parse(text);
        expect(parseObject(Buffer.from(`{"in": ${text}}`))).toBeUndefined();
      },
    ),
  );
});
