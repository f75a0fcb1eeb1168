import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';

/** What connections are encrypted with, as text (PEM). */
export interface TlsKeys {
  /** The server's own certificate first, then those of intermediate authorities. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities of client certificates; undefined: there are none. */
  readonly clientAuthorities: string | undefined;
}

/** Forward secrecy and authenticated encryption alone; whatever can TLS 1.3 uses it. */
const ciphers: string = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** How every door encrypts. */
export function createTlsContextOptions({ certificate, key, clientAuthorities }: TlsKeys): SecureContextOptions {
  return {
    cert: certificate,
    key,
    ...(clientAuthorities === undefined ? {} : { ca: clientAuthorities }),
    minVersion: 'TLSv1.2',
    ciphers,
    // A client could make the server compute without end.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  };
}
