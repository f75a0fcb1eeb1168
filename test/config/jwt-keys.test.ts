import { expect, test } from 'vitest';

import { parseJwtKeys } from '../../src/config/jwt-keys.ts';

test.each(['jwks.json', '/etc/slotcast/jwks.json', './a b.json', '../http/keys'])('%s is a file', (value) => {
  expect(parseJwtKeys(value)).toEqual({ kind: 'file', path: value });
});

test.each([
  'https://issuer.example/jwks',
  'HTTPS://issuer.example/jwks',
  'http://localhost:8080/jwks',
  'http://127.0.0.1/jwks',
  'http://[::1]:8080/jwks',
])('%s is fetched', (value) => {
  expect(parseJwtKeys(value)).toEqual({ kind: 'url', url: new URL(value).href });
});

test.each([
  'http://issuer.example/jwks',
  'http://10.0.0.1/jwks',
  'http://127.0.0.1.example/jwks',
  'http://localhost.example/jwks',
  'http://127.0.0.1@issuer.example/jwks',
  'https://user:password@issuer.example/jwks',
  'https://',
  'ftp://issuer.example/jwks',
  'file:///etc/jwks.json',
  'data:application/json,{}',
  'javascript:0',
])('%s is refused', (value) => {
  expect(parseJwtKeys(value)).toMatchObject({ kind: 'useless' });
});

test('a password in a URL is not repeated', () => {
  expect(JSON.stringify(parseJwtKeys('https://user:password@issuer.example/jwks'))).not.toContain('password@');
});
