import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { AccessCheck, anonymous } from '../../src/access/access-check.ts';
import type { KnownToken } from '../../src/access/access-check.ts';
import { JwtVerifier } from '../../src/access/jwt.ts';
import { needService } from '../../src/access/policy.ts';
import { generateToken, hashToken } from '../../src/access/token.ts';
import type { Policy } from '../../src/protocol/access.ts';
import { baseOptions, IssuerKey } from '../support/jwt-issuer.ts';

const tokenKey = Buffer.alloc(32, 7);
const unauthorized = expect.objectContaining({ code: 'unauthorized' });

interface Made {
  readonly check: AccessCheck;
  readonly clock: { nowMs: number };
  readonly delays: number[];
  readonly set: (tokens: readonly KnownToken[], policies?: readonly Policy[]) => void;
}

function make(isOpen = false, jwt?: JwtVerifier): Made {
  const clock = { nowMs: 0 };
  const delays: number[] = [];
  const check = new AccessCheck({
    isOn: true,
    isOpen,
    jwt,
    failuresMax: 3,
    readWallMs: () => clock.nowMs,
    delay: (ms) => {
      delays.push(ms);
      return Promise.resolve();
    },
  });
  const set = (tokens: readonly KnownToken[], policies: readonly Policy[] = []): void => {
    check.set({ tokens, policies, tokenKey });
  };
  return { check, clock, delays, set };
}

function know(name: string, more: Partial<KnownToken> = {}): { readonly token: string; readonly known: KnownToken } {
  const { id, token } = generateToken();
  return { token, known: { id, name, hash: hashToken(tokenKey, token), policies: ['p'], ...more } };
}

test('a token is known by its secret, as a bearer and as a password', async () => {
  const { check, set, delays } = make();
  const { token, known } = know('orders');
  set([known]);
  const principal = { name: 'token:orders', policies: ['p'], token: known.id, expiresAtMs: undefined };
  expect(check.authenticate(token, 'a')).toEqual(principal);
  expect(check.authenticateShown({ authorization: `Bearer ${token}`, certificate: undefined }, 'a')).toEqual(principal);
  expect(check.authenticateShown({ authorization: `bearer  ${token}`, certificate: undefined }, 'a')).toEqual(
    principal,
  );
  const basic = Buffer.from(`anybody:${token}`).toString('base64');
  expect(check.authenticateShown({ authorization: `Basic ${basic}`, certificate: undefined }, 'a')).toEqual(principal);
  expect(check.authenticateShown({ authorization: '', certificate: undefined }, 'a')).toBe(anonymous);
  expect(delays).toEqual([]);
  expect(await check.authenticateShown({ authorization: token, certificate: undefined }, 'a')).toEqual(unauthorized);
});

test('what is no token, or no longer, takes its time to be refused, and looks the same', async () => {
  const { check, set, clock, delays } = make();
  const { token, known } = know('orders', { expiresAtMs: 100 });
  set([known]);
  const other = `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`;
  const [wrong, unknown] = [await check.authenticate(other, 'a'), await check.authenticate('x', 'b')];
  clock.nowMs = 100;
  const expired = await check.authenticate(token, 'c');
  clock.nowMs = 0;
  expect(check.authenticate(token, 'd')).toMatchObject({ name: 'token:orders' });
  set([]);
  const revoked = await check.authenticate(token, 'e');
  expect([wrong, unknown, expired, revoked]).toEqual([unauthorized, unauthorized, unauthorized, unauthorized]);
  expect(new Set([wrong, unknown, expired, revoked].map((failure) => JSON.stringify(failure))).size).toBe(1);
  expect(delays).toEqual([250, 250, 250, 250]);
});

test('from an address with too many failures wrong ones are answered at once until its minute is over, and right ones let in', async () => {
  const { check, set, clock, delays } = make();
  const { token, known } = know('orders');
  set([known]);
  for (let i = 0; i < 3; i++) await check.authenticate('x', 'a');
  expect(await check.authenticate('x', 'a')).toMatchObject({ code: 'busy', retryAfterMs: 60_000 });
  expect(check.authenticate(token, 'a')).toMatchObject({ name: 'token:orders' });
  expect(await check.authenticate('x', 'b')).toEqual(unauthorized);
  expect(delays.length).toBe(4);
  clock.nowMs = 60_000;
  expect(await check.authenticate('x', 'a')).toEqual(unauthorized);
});

test('[AC2] until policies and tokens are known nobody is let in, and nobody counts as wrong', async () => {
  const { check, set, delays } = make(true);
  const { token, known } = know('orders');
  const busy = expect.objectContaining({ code: 'busy' });
  const needs = [needService('read', 'shop/DEFAULT/a')];
  for (let i = 0; i < 4; i++) expect(await check.authenticate(token, 'a')).toEqual(busy);
  expect(check.refuse(check.grantFor(anonymous), needs)).toEqual(busy);
  expect(check.refuseStranger(check.grantFor(anonymous))).toEqual(busy);
  expect(delays).toEqual([]);
  set([known]);
  expect(check.authenticate(token, 'a')).toMatchObject({ name: 'token:orders' });
  expect(check.refuse(check.grantFor(anonymous), needs)).toBeUndefined();
  expect(check.refuseStranger(check.grantFor(anonymous))).toBeUndefined();
});

test('whose JSON Web Token cannot be verified for want of keys is asked to come back, and does not count as wrong', async () => {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'slotcast-access-')), 'jwks.json');
  const jwt = new JwtVerifier({ ...baseOptions, place: { kind: 'file', path: file } });
  const { check, set } = make(false, jwt);
  set([]);
  const key = await IssuerKey.generate('ES256', 'k');
  const token = await key.sign();
  for (let i = 0; i < 4; i++) expect(await check.authenticate(token, 'a')).toMatchObject({ retryAfterMs: 1000 });
  writeFileSync(file, JSON.stringify({ keys: [key.jwk] }));
  await jwt.start();
  for (let i = 0; i < 4; i++) await check.authenticate('x', 'a');
  expect(await check.authenticate(token, 'a')).toMatchObject({ name: 'jwt:orders-team' });
  rmSync(path.dirname(file), { recursive: true });
});

test('whatever stands in the header, nobody becomes somebody by it', async () => {
  const { check, set, clock } = make();
  set([know('orders').known]);
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.string().map((value) => `Bearer ${value}`),
    fc.base64String().map((value) => `Basic ${value}`),
    fc.stringMatching(/^Bearer slotcast_[0-9a-f]{16}_[0-9a-f]{64}$/),
  );
  await fc.assert(
    fc.asyncProperty(text, async (header) => {
      clock.nowMs += 60_000;
      const outcome = await check.authenticateShown({ authorization: header, certificate: undefined }, 'a');
      expect(header === '' ? outcome === anonymous : 'code' in outcome).toBe(true);
    }),
    { numRuns: 1000 },
  );
});

test('a secret that is given to one principal is nothing in the hands of another', () => {
  const { check, set } = make();
  set([]);
  const [me, other] = ['token:me', 'token:other'].map((name) => ({ ...anonymous, name }));
  fc.assert(
    fc.property(fc.string(), fc.nat(19), (secret, at) => {
      const bound = check.bind(secret, me!);
      expect(check.unbind(bound, me!)).toBe(secret);
      expect(check.unbind(bound, other!)).toBeUndefined();
      const tag = bound.length - 20 + at;
      const changed = `${bound.slice(0, tag)}${bound[tag] === 'A' ? 'B' : 'A'}${bound.slice(tag + 1)}`;
      expect(check.unbind(changed, me!)).toBeUndefined();
    }),
  );
  expect(check.unbind('', me!)).toBeUndefined();
});

test('strangers are refused as such, and those who are known by what they may not do', () => {
  const { check, set } = make();
  const policies: Policy[] = [{ policy: 'p', rules: [{ actions: ['read'], namespaces: ['shop'] }] }];
  set([], policies);
  const grant = check.grantFor({ ...anonymous, name: 'token:x', policies: ['p'] });
  expect(check.refuse(grant, [needService('read', 'shop/DEFAULT/a')])).toBeUndefined();
  expect(check.refuse(grant, [needService('read', 'other/DEFAULT/a')])?.code).toBe('forbidden');
  expect(check.refuse(grant, [needService('register', 'shop/DEFAULT/a')])?.code).toBe('forbidden');
  const stranger = check.grantFor(anonymous);
  expect(check.refuse(stranger, [needService('read', 'shop/DEFAULT/a')])?.code).toBe('unauthorized');
  expect(check.refuseStranger(stranger)?.code).toBe('unauthorized');
  expect(check.refuseStranger(grant)).toBeUndefined();
  set([], [{ ...policies[0]!, principals: ['anonymous'] }]);
  expect(check.refuseStranger(stranger)).toBeUndefined();
  expect(check.refuse(check.grantFor(anonymous), [needService('read', 'shop/DEFAULT/a')])).toBeUndefined();
  const { check: open, set: setOpen } = make(true);
  setOpen([]);
  expect(open.refuseStranger(open.grantFor(anonymous))).toBeUndefined();
});
