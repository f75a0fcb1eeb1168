import { constants } from 'node:fs';
import { access, readFile, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';

import { resolveConfig } from '../config/config-checking.ts';
import { usesTls } from '../config/config.ts';
import type { ServerConfig } from '../config/config.ts';
import { FolderLock } from '../durable/folder-lock.ts';
import { findSockets } from '../main/server-loading.ts';
import { loadTlsMaterial } from '../tls/tls-material.ts';
import { checkExpiry } from './doctor-checks.ts';
import { exitCodes } from './exit-codes.ts';
import { printFindings, worstOf } from './findings.ts';
import type { Finding } from './findings.ts';
import { formatBytes } from './quantities.ts';

/** Below it, the store and journals soon have no room. */
const roomBytesMin = 1024 ** 3;
/** Less than what threads, the store and some hundred sessions need. */
const descriptorsMin = 1024;

/**
 * `start --check`: whether a registry would start with these settings, without starting one. What is in use at present is a warning: it may be the registry that is to
 * be replaced. Throws a `ConfigError` if a setting is refused.
 */
export async function checkStart(given: Readonly<Record<string, unknown>>): Promise<void> {
  const config = resolveConfig(given);
  const findings = [
    { check: 'settings', status: 'ok', found: 'every setting is known, and in its range' } as const,
    await checkSockets(config),
    ...(await checkTls(config)),
    await checkPort('port', config.host, config.port),
    ...(config.edgeThreads > 0 ? [await checkPort('httpPort', config.host, config.httpPort)] : []),
    ...(config.inMemory || config.dataDir === '' ? [] : await checkFolder(path.resolve(config.dataDir))),
    await checkDescriptors(),
  ];
  await printFindings({ json: false }, findings);
  process.exitCode = worstOf(findings) === 'failure' ? exitCodes.failed : exitCodes.done;
}

/** Throws a `ConfigError` if the files are of no use. */
async function checkTls(config: ServerConfig): Promise<Finding[]> {
  const tls = await loadTlsMaterial(config);
  return Object.entries(tls?.expiry ?? {}).flatMap(([setting, expiryMs]) =>
    expiryMs === undefined ? [] : [checkExpiry(setting, expiryMs, Date.now())],
  );
}

async function checkSockets(config: ServerConfig): Promise<Finding> {
  try {
    const { kind, fallback, isSuspicious } = await findSockets(config);
    const found = `sockets are held by ${kind}`;
    if (usesTls(config)) return { check: 'transport', status: 'ok', found: `${found}, as always with TLS` };
    if (fallback === undefined) return { check: 'transport', status: 'ok', found };
    return {
      check: 'transport',
      status: 'warning',
      found: `${found}: ${fallback}`,
      advice: isSuspicious
        ? 'find out who changed it, then install slotcast anew'
        : 'it serves less; use Node 20 or 22 with glibc',
    };
  } catch (error) {
    return {
      check: 'transport',
      status: 'failure',
      found: messageOf(error),
      advice: usesTls(config) ? 'see ioThreads' : 'use --transport auto',
    };
  }
}

async function checkPort(check: string, host: string, port: number): Promise<Finding> {
  const where = `${host}:${port}`;
  const code = await tryToListen(host, port);
  switch (code) {
    case undefined:
      return { check, status: 'ok', found: `${where} is free` };
    case 'EADDRINUSE':
      return {
        check,
        status: 'warning',
        found: `${where} is in use`,
        advice: 'stop what listens there before the start, or choose another port',
      };
    default:
      return {
        check,
        status: 'failure',
        found: `cannot listen on ${where}: ${code}`,
        advice: 'see host and the ports',
      };
  }
}

/** Resolves to the code of the error, if there is one. */
function tryToListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code ?? error.message);
    });
    server.listen({ host, port }, () => {
      server.close(() => {
        resolve(undefined);
      });
    });
  });
}

async function checkFolder(folder: string): Promise<Finding[]> {
  const check = 'dataDir';
  const existing = await findExisting(folder);
  const advice = 'without it nothing outlives the process: make it writable for this user, or choose another';
  try {
    await access(existing, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    return [{ check, status: 'warning', found: `${existing}: ${messageOf(error)}`, advice }];
  }
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const room: Finding =
    free < roomBytesMin
      ? {
          check: 'disk',
          status: 'warning',
          found: `${formatBytes(free)} are free`,
          advice: 'make room: what must outlive the process is refused on a full disk',
        }
      : { check: 'disk', status: 'ok', found: `${formatBytes(free)} are free` };
  if (existing !== folder) return [{ check, status: 'ok', found: `${folder} will be made` }, room];
  try {
    (await FolderLock.take(folder)).release();
    return [{ check, status: 'ok', found: `${folder} is free` }, room];
  } catch (error) {
    return [{ check, status: 'warning', found: messageOf(error), advice: 'stop that process before the start' }, room];
  }
}

async function findExisting(folder: string): Promise<string> {
  try {
    await access(folder);
    return folder;
  } catch {
    // What is not there is made in what is.
    return path.dirname(folder) === folder ? folder : await findExisting(path.dirname(folder));
  }
}

async function checkDescriptors(): Promise<Finding> {
  const check = 'descriptors';
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, max] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  if (max === undefined) return { check, status: 'skipped', found: 'this system does not tell, or has no limit' };
  const found = `the process may open ${max}, one for each session`;
  if (Number(max) >= descriptorsMin) return { check, status: 'ok', found };
  return { check, status: 'warning', found, advice: 'raise it: ulimit -n, or LimitNOFILE of systemd' };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
