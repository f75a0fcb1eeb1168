import { expect, test } from 'vitest';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { explainUselessOrigin } from '../../src/config/origins.ts';

test.each([
  '*',
  'null',
  'https://a.example',
  'http://127.0.0.1:8080',
  'http://[::1]:3000',
  'https://xn--bcher-kva.example',
  'chrome-extension://abcdefghijklmnop',
  'capacitor://localhost',
])('%s can match', (entry) => {
  expect(explainUselessOrigin(entry)).toBeUndefined();
  expect(resolveConfig({ allowedOrigins: [entry] }).allowedOrigins).toEqual([entry]);
});

test.each([
  ['https://a.example/', 'https://a.example'],
  ['https://a.example/page?x=1', 'https://a.example'],
  ['HTTPS://A.example', 'https://a.example'],
  ['https://a.example:443', 'https://a.example'],
  ['http://a.example:080', 'http://a.example'],
  ['https://user@a.example', 'https://a.example'],
  ['https://bücher.example', 'https://xn--bcher-kva.example'],
  [' https://a.example', 'https://a.example'],
  ['chrome-extension://abc/', 'chrome-extension://abc'],
])('%j can never match, and what browsers send is said', (entry, sent) => {
  expect(() => resolveConfig({ allowedOrigins: ['https://fine.example', entry] }, 'file')).toThrow(
    `file: allowedOrigins: ${JSON.stringify(entry)} matches no Origin: browsers send it as ${JSON.stringify(sent)}`,
  );
});

test.each(['a.example', 'a.example:8080', 'https://', 'https://*.a.example', '//a.example', 'file:///', 'a b', '"*"'])(
  '%j can never match, and the form is said',
  (entry) => {
    expect(() => resolveConfig({ allowedOrigins: [entry] })).toThrow('it must be scheme://host or scheme://host:port');
  },
);
