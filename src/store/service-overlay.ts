import { overrideInstance } from '../protocol/instance-encoding.ts';
import type { InstanceOverride } from '../protocol/types.ts';
import { disabledMark, noMark } from './instance-mark.ts';
import type { InstanceMark } from './instance-mark.ts';

/** What is laid over one instance. */
export interface InstanceOverlay extends InstanceOverride {
  /** How much of its weight is left, of that of the override if there is one: 0 to 100. */
  readonly weightPercent?: number;
}

/** What operators have laid over what is registered of a service. What is registered stays as it is underneath. */
export interface ServiceOverlay {
  /** None of its instances shows. */
  readonly isClosed: boolean;
  /** By id, also of instances that are not there. */
  readonly overrides: ReadonlyMap<string, InstanceOverlay>;
}

/** An overlay as a text that crosses threads; empty: there is none. */
export function encodeOverlay({ isClosed, overrides }: ServiceOverlay): string {
  return isClosed || overrides.size > 0 ? JSON.stringify({ isClosed, overrides: [...overrides] }) : '';
}

export function decodeOverlay(text: string): ServiceOverlay | undefined {
  if (text === '') return undefined;
  const { isClosed, overrides } = JSON.parse(text) as { isClosed: boolean; overrides: [string, InstanceOverlay][] };
  return { isClosed, overrides: new Map(overrides) };
}

/** An instance as subscribers see it, if it is not off. */
export function layOver(
  overlay: ServiceOverlay | undefined,
  id: string,
  fragment: string,
  mark: InstanceMark = noMark,
): string | undefined {
  if (overlay?.isClosed === true) return undefined;
  const override = overlay?.overrides.get(id);
  if (override === undefined && mark === noMark) return fragment;
  const { weightPercent = 100, ...fields } = override ?? {};
  if (mark === noMark) return overrideInstance(fragment, fields, weightPercent);
  if (mark === disabledMark) return overrideInstance(fragment, { ...fields, enabled: false }, 0);
  return overrideInstance(fragment, fields, (weightPercent * Number(mark)) / 100);
}

/** The ids whose overrides differ. */
export function listOverridden(before: ServiceOverlay | undefined, after: ServiceOverlay | undefined): Set<string> {
  const ids = new Set([...(before?.overrides.keys() ?? []), ...(after?.overrides.keys() ?? [])]);
  for (const id of ids) {
    if (JSON.stringify(before?.overrides.get(id)) === JSON.stringify(after?.overrides.get(id))) ids.delete(id);
  }
  return ids;
}
