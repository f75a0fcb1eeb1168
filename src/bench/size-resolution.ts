import type { Scenario } from './scenario.ts';
import { scales, sizeNames } from './sizes.ts';
import type { ResolvedSizes, Scale, Sizes } from './sizes.ts';

/** The sizes of a scenario at a scale, with those that were given in their place. */
export function resolveSizes(scenario: Scenario, scale: Scale, given: Sizes): ResolvedSizes {
  const column = scales.indexOf(scale);
  const resolved = sizeNames.map((name) => {
    const choice = scenario.sizes[name];
    return [name, choice === undefined ? 0 : (given[name] ?? choice.at[column] ?? 0)];
  });
  return Object.fromEntries(resolved) as ResolvedSizes;
}
