import { isIP } from 'node:net';
import path from 'node:path';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { explainFaults } from './whole-file.ts';

interface CertOptions {
  readonly out: string;
  readonly host?: string[];
  readonly client?: string[];
  readonly days: number;
  readonly json: boolean;
}

const folderDefault = 'slotcast-certs';
const clientDefault = 'client';
const daysMax = 3650;

/** `cert dev`. */
export function addCertCommand(program: Command): void {
  program
    .command('cert')
    .description('make certificates for trying TLS')
    .command('dev')
    .description('make an authority, and certificates for the server and for clients, as far as they are not there yet')
    .option('--out <folder>', 'where to; no file there is overwritten', folderDefault)
    .option(
      '--host <name>',
      'by which clients reach the server, beside localhost; may be given several times',
      readHost,
    )
    .option(
      '--client <name>',
      `a client to make one for; may be given several times (default: ${clientDefault})`,
      readClient,
    )
    .option('--days <count>', 'how long they are good', readDays, 365)
    .option('--json', 'print JSON', false)
    .action(makeCertificates);
}

async function makeCertificates({ out, host = [], client = [clientDefault], days, json }: CertOptions): Promise<void> {
  // Other commands start sooner without what this needs.
  const { makeDevCertificates, takenNames } = await import('../tls/dev-certificates.ts');
  const taken = client.find((name) => takenNames.includes(name));
  if (taken !== undefined) throw new InvalidArgumentError(`--client cannot be ${taken}: that is another file.`);
  const { made, kept } = await explainFaults(out, () =>
    makeDevCertificates({ folder: out, hosts: host, clients: client, days }),
  );
  if (json) {
    console.log(JSON.stringify({ folder: path.resolve(out), made, kept }));
    return;
  }
  for (const name of made) console.log(`made  ${path.join(out, name)}.crt and .key`);
  for (const name of kept) console.log(`kept  ${path.join(out, name)}.crt and .key, which were there`);
  const file = (name: string): string => path.join(out, name);
  const [first = clientDefault] = client;
  console.log(
    [
      '',
      'They are for trying: the key of the authority lies beside them. To use them:',
      `  slotcast start --tls-cert ${file('server.crt')} --tls-key ${file('server.key')} --tls-ca ${file('ca.crt')} --tls-client-certificate require`,
      `  slotcast services --server wss://127.0.0.1:7070 --ca ${file('ca.crt')} --cert ${file(`${first}.crt`)} --key ${file(`${first}.key`)}`,
    ].join('\n'),
  );
}

function readHost(text: string, before: readonly string[] = []): string[] {
  const isName = /^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i.test(text);
  if (text.length > 253 || (!isName && isIP(text) === 0))
    throw new InvalidArgumentError('It must be a host name or an address.');
  return [...before, text];
}

/** It becomes the name of a file. */
function readClient(text: string, before: readonly string[] = []): string[] {
  if (!/^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/i.test(text)) {
    throw new InvalidArgumentError('It must be up to 64 letters, digits, dots and hyphens.');
  }
  return [...before, text];
}

function readDays(text: string): number {
  const days = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (days < 1 || days > daysMax) throw new InvalidArgumentError(`It must be from 1 to ${daysMax}.`);
  return days;
}
