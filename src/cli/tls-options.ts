import { readFileSync } from 'node:fs';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import type { ClientTls } from '../client/index.ts';
import { caVariable, certVariable, keyVariable, serverNameVariable } from '../config/config-sources.ts';

export const serverDefault = 'ws://127.0.0.1:7070';

/** Where a registry is, and how connections to it are encrypted. Files are given as what they hold. */
export interface TlsOptions extends ClientTls {
  readonly server?: string[];
  readonly http?: string;
}

export function addTlsOptions(command: Command): Command {
  const file = (flags: string, meaning: string, variable: string): Option =>
    readVariable(new Option(flags, meaning), variable).argParser(readPem);
  return command
    .addOption(file('--ca <file>', "authorities of the registry's certificate, for wss: and https:", caVariable))
    .addOption(file('--cert <file>', 'certificate to show to the registry', certVariable))
    .addOption(file('--key <file>', 'key of that certificate', keyVariable))
    .addOption(
      readVariable(
        new Option('--server-name <name>', "name in the registry's certificate, if the URL has another"),
        serverNameVariable,
      ),
    );
}

/** A variable that is empty counts as unset, like those of `start`. */
export function readVariable(option: Option, variable: string): Option {
  return process.env[variable] === '' ? option : option.env(variable);
}

export function readServers({ server }: Pick<TlsOptions, 'server'>): string[] {
  return server ?? [serverDefault];
}

/** Undefined if nothing of it is given. Throws an `InvalidArgumentError` if nothing could be meant by it. */
export function readTls(options: TlsOptions): ClientTls | undefined {
  const { ca, cert, key, serverName, http = '' } = options;
  if ([ca, cert, key, serverName].every((value) => value === undefined)) return undefined;
  if ((cert === undefined) !== (key === undefined)) {
    throw new InvalidArgumentError('--cert and --key belong together: give both, or neither.');
  }
  const servers = readServers(options);
  if (![...servers, http].some((url) => /^(?:wss|https):/.test(url))) {
    throw new InvalidArgumentError(
      `--ca, --cert, --key and --server-name are for wss: and https: URLs, and ${servers.join(', ')} is none.`,
    );
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(serverName === undefined ? {} : { serverName }),
  };
}

function readPem(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new InvalidArgumentError(`It cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}.`);
  }
  if (!text.includes('-----BEGIN ')) throw new InvalidArgumentError('It must be a file in PEM form.');
  return text;
}
