import type { InstanceFilter } from '../../src/protocol/types.ts';

/** Contents are told apart by a mark, and it says which filters let them through. */
export interface MarkedContent {
  readonly zone: string;
  readonly enabled: boolean;
  readonly color: string;
}

export const filters: readonly InstanceFilter[] = [
  {},
  {},
  { zone: 'z1' },
  { enabledOnly: true },
  { selector: { color: 'red' } },
  { zone: 'z0', enabledOnly: true, selector: { color: 'blue' } },
];

export function describeMark(mark: number): MarkedContent {
  return { zone: `z${mark % 2}`, enabled: mark % 3 > 0, color: mark % 5 < 2 ? 'red' : 'blue' };
}

/** Whether a filter lets a content through, by another reckoning than the registry's. */
export function isShown({ zone, enabledOnly, selector }: InstanceFilter, mark: number): boolean {
  const content = describeMark(mark);
  if (zone !== undefined && content.zone !== zone) return false;
  if (enabledOnly === true && !content.enabled) return false;
  return selector === undefined || content.color === selector['color'];
}
