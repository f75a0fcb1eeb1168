import { createPrivateKey } from 'node:crypto';
import path from 'node:path';

import { afterAll, expect, test } from 'vitest';

import { ConfigError, resolveConfig } from '../../src/config/config-checking.ts';
import { loadTlsMaterial } from '../../src/tls/tls-material.ts';
import { CertificateFolder, issueServer, validFor } from '../support/test-certificates.ts';

const folder = new CertificateFolder();
afterAll(() => {
  folder.remove();
});

async function load(settings: Record<string, string>): Promise<unknown> {
  const config = resolveConfig({ ...folder.settings, ...settings });
  return await loadTlsMaterial(config).catch((error: unknown) => error);
}

test('certificate, key and authorities are read as they are', async () => {
  const { certificate, key } = folder.server;
  const settings = { tlsCa: folder.ca, tlsClientCertificate: 'require' };
  expect(await load(settings)).toMatchObject({ certificate, key, clientAuthorities: folder.trust });
});

test('the first of several certificates to expire counts', async () => {
  const soon = issueServer(folder.authority, { validity: validFor(3) });
  const chain = folder.write('chain.crt', folder.server.certificate + soon.certificate);
  const { expiry } = (await load({ tlsCert: chain })) as { readonly expiry: { readonly tlsCert: number } };
  expect(Math.round((expiry.tlsCert - Date.now()) / 86_400_000)).toBe(3);
});

const otherKey = issueServer(folder.authority).key;
const encryptedKey = createPrivateKey(folder.server.key).export({
  type: 'pkcs8',
  format: 'pem',
  cipher: 'aes-256-cbc',
  passphrase: 'secret',
});

test.each<[what: string, setting: string, file: string, settings: Record<string, string>]>([
  ['it cannot be read: ENOENT', 'tlsCert', 'gone', { tlsCert: path.join(folder.path, 'gone') }],
  ['it cannot be read: EISDIR', 'tlsKey', '', { tlsKey: folder.path }],
  ['it holds no certificate', 'tlsCert', 'server.key', { tlsCert: folder.settings.tlsKey }],
  ['it holds no private key', 'tlsKey', 'server.crt', { tlsKey: folder.settings.tlsCert }],
  ['it is not the key of the first', 'tlsKey', 'other.key', { tlsKey: folder.write('other.key', otherKey) }],
  ['it is encrypted', 'tlsKey', 'encrypted.key', { tlsKey: folder.write('encrypted.key', String(encryptedKey)) }],
  [
    'certificate 2 in it is damaged',
    'tlsCa',
    'damaged.crt',
    {
      tlsCa: folder.write('damaged.crt', folder.trust + folder.trust.replace('MII', 'AAA')),
      tlsClientCertificate: 'request',
    },
  ],
  ['it is larger than', 'tlsCert', 'large.crt', { tlsCert: folder.write('large.crt', 'x'.repeat(2_000_000)) }],
])('"%s" is said of %s', async (what, setting, file, settings) => {
  const error = await load(settings);
  expect(error).toBeInstanceOf(ConfigError);
  const { message, setting: named } = error as ConfigError;
  expect(named).toBe(setting);
  expect(message).toContain(`${setting}: ${path.join(folder.path, file)}: ${what}`);
  expect(message).not.toMatch(/BEGIN|MI[GI]/);
});

test.each<[setting: string, settings: Record<string, unknown>]>([
  ['tlsKey', { tlsCert: 'a' }],
  ['tlsCert', { tlsKey: 'a' }],
  ['tlsCa', { tlsCa: 'a' }],
  ['tlsClientCertificate', { tlsClientCertificate: 'require' }],
  ['tlsCa', { tlsCert: 'a', tlsKey: 'b', tlsClientCertificate: 'require' }],
  ['tlsCa', { tlsCert: 'a', tlsKey: 'b', tlsClientCertificate: 'request' }],
  ['tlsClientCertificate', { tlsCert: 'a', tlsKey: 'b', tlsCa: 'c' }],
  ['transport', { tlsCert: 'a', tlsKey: 'b', transport: 'uws' }],
])('%s is named by what cannot go together: %j', (setting, settings) => {
  expect(() => resolveConfig(settings)).toThrow(`configuration: ${setting}: `);
});
