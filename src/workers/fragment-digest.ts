import { createHash } from 'node:crypto';

/** Stands for an instance's canonical JSON where only being equal matters. */
export function digestFragment(fragment: string): string {
  return createHash('sha256').update(fragment).digest('base64');
}
