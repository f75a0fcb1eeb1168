import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { createJwtVerifier } from '../../src/access/jwt-settings.ts';
import { resolveConfig } from '../../src/config/config-checking.ts';
import { baseOptions, goodClaims, IssuerKey, nowSeconds } from '../support/jwt-issuer.ts';

let folder: string;
let file: string;
let key: IssuerKey;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'jwt-settings-'));
  file = path.join(folder, 'jwks.json');
  key = await IssuerKey.generate('ES256', 'k');
  writeFileSync(file, JSON.stringify({ keys: [key.jwk] }));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test('without keys no JWT is accepted', () => {
  expect(createJwtVerifier(resolveConfig({}), baseOptions)).toBeUndefined();
});

test('each setting counts', async () => {
  const config = resolveConfig({
    jwtKeys: file,
    jwtIssuer: 'https://a.example',
    jwtAudience: 'registry',
    jwtClockSkewMs: 5000,
    jwtPoliciesClaim: 'scope',
    jwtNameClaim: 'client_id',
  });
  const verifier = createJwtVerifier(config, baseOptions);
  expect(await verifier?.start()).toBe(1);
  const claims = { ...goodClaims, iss: 'https://a.example', aud: 'registry', scope: 'a b', client_id: 'web' };
  const late = { ...claims, exp: nowSeconds - 4 };
  const principal = { name: 'web', policies: ['a', 'b'], expiresAtMs: (nowSeconds + 1) * 1000 };
  expect(await verifier?.verify(await key.sign(late))).toEqual(principal);
  expect(await verifier?.verify(await key.sign({ ...claims, exp: nowSeconds - 6 }))).toEqual({ refused: 'expired' });
  expect(await verifier?.verify(await key.sign({ ...claims, iss: goodClaims['iss'] }))).toEqual({ refused: 'issuer' });
  expect(await verifier?.verify(await key.sign({ ...claims, aud: 'slotcast' }))).toEqual({ refused: 'audience' });
});

test.each([
  [{ jwtKeys: 'jwks.json' }, 'jwtIssuer must be given with jwtKeys'],
  [{ jwtKeys: 'jwks.json', jwtIssuer: 'i' }, 'jwtAudience must be given with jwtKeys'],
  [
    { jwtKeys: 'http://issuer.example/jwks', jwtIssuer: 'i', jwtAudience: 'a' },
    'jwtKeys: "http://issuer.example/jwks" must be',
  ],
  [{ jwtNameClaim: '' }, 'jwtNameClaim must be a non-empty string'],
  [{ jwtClockSkewMs: 600_001 }, 'jwtClockSkewMs must be a whole number from 0 to 600000'],
])('%j is refused', (input, message) => {
  expect(() => resolveConfig(input)).toThrow(message);
});
