import type { Population } from './population.ts';
import type { ResolvedSizes, SizeChoice, SizeName } from './sizes.ts';
import type { Stage } from './stage.ts';

/** A kind of load, and what it shows. */
export interface Scenario {
  readonly name: string;
  readonly summary: string;
  /** What to look at in its result. */
  readonly measures: string;
  readonly sizes: Readonly<Partial<Record<SizeName, SizeChoice>>>;
  /** Refuses sizes that do not go together; returns who registers and who reads. */
  readonly populate: (sizes: ResolvedSizes) => Omit<Population, 'namespace' | 'seed'>;
  /** Settings of the server that is started for it, in place of those of the suite. */
  readonly serverSettings?: Readonly<Record<string, unknown>>;
  readonly run: (stage: Stage) => Promise<void>;
}
