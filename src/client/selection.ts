import type { InstanceFilter } from '../protocol/types.ts';

/** A filter as it is sent: a copy, without what lets everything through. */
export function copyFilter({ zone, enabledOnly, selector }: InstanceFilter): InstanceFilter {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === true ? { enabledOnly } : {}),
    ...(selector === undefined || Object.keys(selector).length === 0 ? {} : { selector: { ...selector } }),
  };
}

/** Whether two filters, as {@link copyFilter} makes them, say the same. */
export function isSameFilter(a: InstanceFilter, b: InstanceFilter): boolean {
  const keys = Object.keys(a.selector ?? {});
  return (
    a.zone === b.zone &&
    a.enabledOnly === b.enabledOnly &&
    keys.length === Object.keys(b.selector ?? {}).length &&
    keys.every((key) => b.selector?.[key] === a.selector?.[key])
  );
}
