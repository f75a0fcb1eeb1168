import { encodeInstance } from '../protocol/instance-encoding.ts';
import type { InstanceInput } from '../protocol/types.ts';
import type { RegistrationEntry } from './entries.ts';

/** Whether all that differs from what the session holds is the health: then that is reported, and the claim keeps its place among others'. */
export function isHealthReport({ wanted, held, isUnsure }: RegistrationEntry): boolean {
  if (wanted === undefined || held === undefined || isUnsure || wanted.health === held.health) return false;
  return textOf(wanted) === textOf(held);
}

function textOf(content: InstanceInput): string {
  return encodeInstance({ ...content, health: 'passing' }).fragment;
}
