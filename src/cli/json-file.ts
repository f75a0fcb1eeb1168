import { readFile } from 'node:fs/promises';
import { text as readText } from 'node:stream/consumers';

import { InvalidArgumentError } from 'commander';

/** An object from a file of JSON. `-`: stdin. */
export async function readJsonFile(file: string): Promise<object> {
  const content = file === '-' ? await readText(process.stdin) : await readFile(file, 'utf8');
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (error) {
    throw new InvalidArgumentError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new InvalidArgumentError(`${file} must hold an object.`);
  }
  return value;
}
