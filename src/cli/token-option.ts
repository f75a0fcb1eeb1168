import { readFileSync } from 'node:fs';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { tokenFileVariable, tokenVariable } from '../config/config-sources.ts';
import { readVariable } from './tls-options.ts';

/** Who calls. */
export interface TokenOptions {
  /** What the file holds. */
  readonly tokenFile?: string;
}

/** No option takes the token itself: whoever lists the processes of the machine sees those. */
export function addTokenOption(command: Command): Command {
  return command.addOption(
    readVariable(
      new Option(
        '--token-file <file>',
        `file with the token to show to the registry, or ${tokenVariable} with the token`,
      ),
      tokenFileVariable,
    ).argParser(readTokenFile),
  );
}

/** Undefined: none is given. */
export function readToken({ tokenFile }: TokenOptions): string | undefined {
  const { [tokenVariable]: token = '' } = process.env;
  return tokenFile ?? (token === '' ? undefined : token);
}

function readTokenFile(file: string): string {
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new InvalidArgumentError(`It cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'unknown error'}.`);
  }
  if (!/^[\x21-\x7E]+$/.test(token)) throw new InvalidArgumentError('It must hold one token, and nothing else.');
  return token;
}
