import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';

import { ConfigError } from '../config/config-checking.ts';
import type { ServerConfig } from '../config/config.ts';
import { lowestOf } from '../protocol/extremes.ts';
import { createTlsContextOptions } from './tls-context.ts';
import type { TlsKeys } from './tls-context.ts';

/** The settings that name files. */
export type TlsFileSettings = Pick<ServerConfig, 'tlsCert' | 'tlsKey' | 'tlsCa'>;
type TlsFileSetting = keyof TlsFileSettings;

/** What connections are encrypted with, checked as a whole. It is handed to other threads as it is, so that all use the same. */
export interface TlsMaterial extends TlsKeys {
  /** When the first of the certificates of each file expires, in milliseconds since 1970. */
  readonly expiry: { readonly tlsCert: number; readonly tlsCa: number | undefined };
}

/** What the files held at one moment, or why they could not be read. */
export interface TlsTexts {
  readonly tlsCert: TlsText;
  readonly tlsKey: TlsText;
  /** Undefined: not given. */
  readonly tlsCa: TlsText | undefined;
  /** Of all of it. */
  readonly digest: string;
}

interface TlsText {
  readonly path: string;
  readonly text: string;
  /** Why it cannot be read; undefined: it was. */
  readonly fault: string | undefined;
}

/** More than any certificates take, in bytes. */
const fileBytesMax = 1_048_576;

/** Reads the files, without looking at what they hold. */
export async function readTlsTexts({ tlsCert, tlsKey, tlsCa }: TlsFileSettings): Promise<TlsTexts> {
  const [certificate, key, authorities] = await Promise.all([
    readText(tlsCert),
    readText(tlsKey),
    tlsCa === '' ? undefined : readText(tlsCa),
  ]);
  const hash = createHash('sha256');
  for (const each of [certificate, key, authorities]) hash.update(JSON.stringify([each?.text, each?.fault]));
  return { tlsCert: certificate, tlsKey: key, tlsCa: authorities, digest: hash.digest('hex') };
}

async function readText(path: string): Promise<TlsText> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > fileBytesMax) return { path, text: '', fault: `it is larger than ${fileBytesMax} bytes` };
    return { path, text: bytes.toString('utf8'), fault: undefined };
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    return { path, text: '', fault: `it cannot be read: ${code}` };
  }
}

/** Whether the texts belong together. Throws a {@link ConfigError} that names the setting, and never says anything of the key. */
export function checkTlsTexts({ tlsCert, tlsKey, tlsCa }: TlsTexts): TlsMaterial {
  const certificates = readCertificates('tlsCert', tlsCert);
  const key = readKey(tlsKey);
  const authorities = tlsCa === undefined ? undefined : readCertificates('tlsCa', tlsCa);
  const [own] = certificates;
  if (own === undefined || !own.checkPrivateKey(key)) {
    throw refuse('tlsKey', tlsKey, `it is not the key of the first certificate in ${tlsCert.path}`);
  }
  const material = {
    certificate: tlsCert.text,
    key: tlsKey.text,
    clientAuthorities: tlsCa?.text,
    expiry: {
      tlsCert: findExpiry(certificates),
      tlsCa: authorities === undefined ? undefined : findExpiry(authorities),
    },
  };
  try {
    createSecureContext(createTlsContextOptions(material));
  } catch (error) {
    // Such as a key that is too short for the library.
    throw refuse('tlsCert', tlsCert, `it cannot be used: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}`);
  }
  return material;
}

/** What the settings name, checked; undefined: there is no TLS. Rejects with a {@link ConfigError}. */
export async function loadTlsMaterial(settings: TlsFileSettings): Promise<TlsMaterial | undefined> {
  return settings.tlsCert === '' ? undefined : checkTlsTexts(await readTlsTexts(settings));
}

function readCertificates(setting: TlsFileSetting, file: TlsText): X509Certificate[] {
  if (file.fault !== undefined) throw refuse(setting, file, file.fault);
  const blocks = file.text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw refuse(setting, file, 'it holds no certificate in PEM form');
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw refuse(setting, file, `certificate ${index + 1} in it is damaged`);
    }
  });
}

function readKey(file: TlsText): KeyObject {
  if (file.fault !== undefined) throw refuse('tlsKey', file, file.fault);
  if (/ENCRYPTED/.test(file.text))
    throw refuse('tlsKey', file, 'it is encrypted: a key without a passphrase is needed');
  try {
    return createPrivateKey(file.text);
  } catch {
    throw refuse('tlsKey', file, 'it holds no private key in PEM form');
  }
}

function refuse(setting: TlsFileSetting, { path }: TlsText, why: string): ConfigError {
  return new ConfigError(setting, `${setting}: ${path}: ${why}`);
}

function findExpiry(certificates: readonly X509Certificate[]): number {
  return lowestOf(certificates.map(({ validTo }) => Date.parse(validTo)));
}
