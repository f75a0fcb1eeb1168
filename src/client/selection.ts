import { encodeFilter } from '../protocol/instance-filter.ts';
import type { InstanceFilter } from '../protocol/types.ts';

/** A filter as it is sent: a copy, without what lets everything through. */
export function copyFilter({ zone, enabledOnly, healthyOnly, selector }: InstanceFilter): InstanceFilter {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === true ? { enabledOnly } : {}),
    ...(healthyOnly === true ? { healthyOnly } : {}),
    ...(selector === undefined || Object.keys(selector).length === 0 ? {} : { selector: { ...selector } }),
  };
}

export function isSameFilter(a: InstanceFilter, b: InstanceFilter): boolean {
  return encodeFilter(a) === encodeFilter(b);
}

/** The narrowest filter that lets through all that any of these does: what they have in common. */
export function commonFilter([first, ...others]: readonly InstanceFilter[]): InstanceFilter {
  if (first === undefined) return {};
  const { zone, enabledOnly, healthyOnly, selector = {} } = first;
  return copyFilter({
    ...(zone !== undefined && others.every((other) => other.zone === zone) ? { zone } : {}),
    enabledOnly: enabledOnly === true && others.every((other) => other.enabledOnly === true),
    healthyOnly: healthyOnly === true && others.every((other) => other.healthyOnly === true),
    selector: Object.fromEntries(
      Object.entries(selector).filter(([key, value]) => others.every((other) => hasEntry(other, key, value))),
    ),
  });
}

/** Whether all that `narrow` lets through is let through by `wide`, too. */
export function covers(wide: InstanceFilter, narrow: InstanceFilter): boolean {
  return (
    (wide.zone === undefined || wide.zone === narrow.zone) &&
    (wide.enabledOnly !== true || narrow.enabledOnly === true) &&
    (wide.healthyOnly !== true || narrow.healthyOnly === true) &&
    Object.entries(wide.selector ?? {}).every(([key, value]) => hasEntry(narrow, key, value))
  );
}

function hasEntry({ selector = {} }: InstanceFilter, key: string, value: string): boolean {
  return Object.hasOwn(selector, key) && selector[key] === value;
}
