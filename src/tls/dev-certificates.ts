import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import path from 'node:path';

import { CertificateAuthority } from './certificate-authority.ts';
import type { CertificateValidity, IssuedCertificate } from './certificate-authority.ts';

export interface DevCertificatesOptions {
  readonly folder: string;
  /** By which clients reach the server, beside the loopback address: host names and addresses. */
  readonly hosts: readonly string[];
  /** Names of clients, which are names of files, too. */
  readonly clients: readonly string[];
  /** What is issued expires after so long, or with its authority. */
  readonly days: number;
}

/** The files of certificates, by their names. */
export interface DevCertificates {
  readonly made: readonly string[];
  /** They were there before. */
  readonly kept: readonly string[];
}

/** Something is there that cannot be gone on with. */
class DevCertificatesError extends Error {
  override readonly name: string = 'DevCertificatesError';
}

const authorityName = 'ca';
const serverName = 'server';
/** Names of clients that would be others' files. */
export const takenNames: readonly string[] = [authorityName, serverName];

/** Clocks of other machines may be behind. */
const skewMs = 3_600_000;
const dayMs = 86_400_000;
const authorityDays = 3650;

/** Makes an authority, a certificate for the server and one for each client, as far as they are not there yet: no file is ever overwritten. */
export async function makeDevCertificates(options: DevCertificatesOptions): Promise<DevCertificates> {
  const { folder, hosts, clients, days } = options;
  await mkdir(folder, { recursive: true });
  // All of them first: if one cannot be gone on with, nothing is written.
  const names = [...new Set([authorityName, serverName, ...clients])];
  const found = new Map<string, IssuedCertificate | undefined>();
  for (const name of names) found.set(name, await readPair(folder, name));
  const now = Date.now();
  const authority = createAuthority(now, found.get(authorityName));
  const expiryMs = Math.min(now + days * dayMs, readExpiry(authority.issued));
  if (expiryMs <= now) throw new DevCertificatesError('the authority that is there has expired: use another folder');
  const validity = { notBefore: new Date(now - skewMs), notAfter: new Date(expiryMs) };
  const made = names.filter((name) => found.get(name) === undefined);
  for (const name of made) await writePair(folder, name, issue(name));
  return { made, kept: names.filter((name) => !made.includes(name)) };

  function issue(name: string): IssuedCertificate {
    if (name === authorityName) return authority.issued;
    return name === serverName ? issueServer(authority, hosts, validity) : issueClient(authority, name, validity);
  }
}

function createAuthority(now: number, begun: IssuedCertificate | undefined): CertificateAuthority {
  const validity = { notBefore: new Date(now - skewMs), notAfter: new Date(now + authorityDays * dayMs) };
  return new CertificateAuthority('slotcast, for trying', validity, begun);
}

function readExpiry({ certificate }: IssuedCertificate): number {
  return Date.parse(new X509Certificate(certificate).validTo);
}

function issueServer(
  authority: CertificateAuthority,
  hosts: readonly string[],
  validity: CertificateValidity,
): IssuedCertificate {
  const names = [...new Set(['localhost', '127.0.0.1', '::1', ...hosts])];
  return authority.issue({
    usage: 'server',
    commonNames: ['slotcast'],
    dnsNames: names.filter((name) => isIP(name) === 0),
    ipAddresses: names.filter((name) => isIP(name) !== 0),
    validity,
  });
}

/** It names the client in each of the ways that a rule may look for. */
function issueClient(authority: CertificateAuthority, name: string, validity: CertificateValidity): IssuedCertificate {
  return authority.issue({
    usage: 'client',
    commonNames: [name],
    dnsNames: [name],
    uris: [`spiffe://slotcast/${name}`],
    validity,
  });
}

async function readPair(folder: string, name: string): Promise<IssuedCertificate | undefined> {
  const { certificate: certificateFile, key: keyFile } = filesOf(folder, name);
  const [certificate, key] = await Promise.all([readIfThere(certificateFile), readIfThere(keyFile)]);
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    const [there, gone] = key === undefined ? [certificateFile, keyFile] : [keyFile, certificateFile];
    throw new DevCertificatesError(`${there} is there, and ${gone} is not: nothing is overwritten`);
  }
  return { certificate, key };
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writePair(folder: string, name: string, { certificate, key }: IssuedCertificate): Promise<void> {
  const files = filesOf(folder, name);
  await writeFile(files.key, key, { mode: 0o600, flag: 'wx' });
  await writeFile(files.certificate, certificate, { mode: 0o644, flag: 'wx' });
}

function filesOf(folder: string, name: string): IssuedCertificate {
  return { certificate: path.join(folder, `${name}.crt`), key: path.join(folder, `${name}.key`) };
}
