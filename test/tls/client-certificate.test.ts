import { X509Certificate } from 'node:crypto';

import { describe, expect, test } from 'vitest';

import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import type { CertificateRequest } from '../../src/tls/certificate-authority.ts';
import { readClientCertificate } from '../../src/tls/client-certificate.ts';
import type { PrincipalRule } from '../../src/tls/client-certificate.ts';
import { issueClient, validFor } from '../support/test-certificates.ts';

const authority = new CertificateAuthority('test authority', validFor(1));

function readPrincipal(rule: PrincipalRule, more: Partial<CertificateRequest>): string | undefined {
  return readClientCertificate(new X509Certificate(issueClient(authority, 'orders', more).certificate), rule)
    ?.principal;
}

describe('[TL3] the principal of a certificate', () => {
  test('is the name of the kind that the rule says', () => {
    const names = {
      commonNames: ['Orders Team'],
      dnsNames: ['Orders.example'],
      uris: ['spiffe://example/orders'],
      ipAddresses: ['10.0.0.1'],
    };
    expect(readPrincipal('cn', names)).toBe('Orders Team');
    expect(readPrincipal('san-dns', names)).toBe('orders.example');
    expect(readPrincipal('san-uri', names)).toBe('spiffe://example/orders');
  });

  test('comes with the SHA-256 of the certificate', () => {
    const { certificate } = issueClient(authority, 'orders');
    const { fingerprint } = readClientCertificate(new X509Certificate(certificate), 'cn')!;
    expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(new X509Certificate(certificate).fingerprint256.toLowerCase().replaceAll(':', '')).toBe(fingerprint);
  });

  test.each<[what: string, rule: PrincipalRule, names: Partial<CertificateRequest>]>([
    ['no common name', 'cn', { commonNames: [] }],
    ['two common names', 'cn', { commonNames: ['a', 'b'] }],
    ['an empty common name', 'cn', { commonNames: [''] }],
    ['a NUL in it', 'cn', { commonNames: ['admin\0.example'] }],
    ['a line break in it', 'cn', { commonNames: ['a\nb'] }],
    ['an invisible character in it', 'cn', { commonNames: ['ad\u200bmin'] }],
    ['a space after it', 'cn', { commonNames: ['admin '] }],
    ['more than 255 characters', 'cn', { commonNames: ['a'.repeat(256)] }],
    ['no URI', 'san-uri', { dnsNames: ['a.example'] }],
    ['two URIs', 'san-uri', { uris: ['spiffe://a/b', 'spiffe://a/c'] }],
    ['two DNS names', 'san-dns', { dnsNames: ['a.example', 'b.example'] }],
    ['a wildcard', 'san-dns', { dnsNames: ['*.example'] }],
    ['a URI that looks like several names', 'san-uri', { uris: ['spiffe://a/b, URI:spiffe://a/admin'] }],
    ['a DNS name that looks like several', 'san-dns', { dnsNames: ['a.example, DNS:admin.example'] }],
    ['a DNS name with a NUL', 'san-dns', { dnsNames: ['admin\0.a.example'] }],
    ['a name of another kind that holds one of this', 'san-dns', { uris: ['x, DNS:admin.example'] }],
    ['a URI of more than 255 characters', 'san-uri', { uris: [`spiffe://a/${'b'.repeat(255)}`] }],
  ])('is nobody with %s', (_, rule, names) => {
    expect(readPrincipal(rule, names)).toBeUndefined();
  });
});
