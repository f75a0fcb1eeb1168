import type { InstanceOverride } from '../protocol/types.ts';

/** What is asked before an act, beside who does it, why, and for how long. */
export type ActField = { readonly kind: 'override'; readonly initial: InstanceOverride } | { readonly kind: 'over' };

/** What the operator has filled in. */
export interface ActInput {
  readonly reason: string;
  readonly by: string;
  /** Undefined: until somebody lifts it. */
  readonly forMs: number | undefined;
  readonly override: InstanceOverride;
  readonly overMs: number;
}

/** How an act is undone. */
export interface Undo {
  readonly label: string;
  readonly run: () => Promise<void>;
}

/** Something that an operator may do. */
export interface Act {
  readonly title: string;
  /** On the button that does it. */
  readonly verb: string;
  readonly isDangerous: boolean;
  /** Whether who, why and for how long is asked. */
  readonly isOrder: boolean;
  readonly field?: ActField;
  /** What it will do, by what there is now. */
  readonly describeEffect: (input: ActInput) => Promise<string>;
  readonly run: (input: ActInput) => Promise<Done>;
}

export interface Done {
  readonly message: string;
  readonly undo?: Undo;
}
