import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import type { CertificateRequest, IssuedCertificate } from '../../src/tls/certificate-authority.ts';

export function validFor(days: number): CertificateRequest['validity'] {
  return { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + days * 86_400_000) };
}

/** For the loopback address. */
export function issueServer(
  authority: CertificateAuthority,
  more: Partial<CertificateRequest> = {},
): IssuedCertificate {
  return authority.issue({
    usage: 'server',
    commonNames: ['localhost'],
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1', '::1'],
    validity: validFor(90),
    ...more,
  });
}

export function issueClient(
  authority: CertificateAuthority,
  name: string,
  more: Partial<CertificateRequest> = {},
): IssuedCertificate {
  return authority.issue({ usage: 'client', commonNames: [name], validity: validFor(90), ...more });
}

/** Certificates of one authority, in files of a folder of their own. */
export class CertificateFolder {
  readonly path: string = mkdtempSync(path.join(tmpdir(), 'slotcast-tls-'));
  readonly authority: CertificateAuthority = new CertificateAuthority('test authority', validFor(365));
  readonly ca: string = this.write('ca.crt', this.authority.issued.certificate);
  readonly settings: { readonly tlsCert: string; readonly tlsKey: string };
  #server: IssuedCertificate;

  constructor(server: Partial<CertificateRequest> = {}) {
    this.#server = issueServer(this.authority, server);
    this.settings = {
      tlsCert: this.write('server.crt', this.#server.certificate),
      tlsKey: this.write('server.key', this.#server.key),
    };
  }

  /** What clients trust. */
  get trust(): string {
    return this.authority.issued.certificate;
  }

  get server(): IssuedCertificate {
    return this.#server;
  }

  replaceServer(server: IssuedCertificate): void {
    this.#server = server;
    this.write('server.crt', server.certificate);
    this.write('server.key', server.key);
  }

  write(name: string, text: string): string {
    const file = path.join(this.path, name);
    writeFileSync(file, text);
    return file;
  }

  remove(): void {
    rmSync(this.path, { recursive: true });
  }
}
